use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{
    Kind,
    expression::Expression,
    field::{Field, unknown},
    shape::{Shape, sealed},
    violation::{At, Violation, quoted},
};

impl Kind {
    /// A body in the one way of writing it: defaults filled in, computed fields computed, equal
    /// values equal, fields in the kind's order. Of a kind of the platform this is the part that
    /// people own.
    ///
    /// `before` is what the resource was: an immutable field keeps what it has there.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn validate(
        &self,
        body: Value,
        before: Option<&Map<String, Value>>,
    ) -> Result<Map<String, Value>, Vec<Violation>> {
        let mut violations = Vec::new();
        let Value::Object(body) = body else {
            let found = quoted(&body);
            return Err(vec![Violation::new(
                "body",
                "",
                found,
                "an object of fields",
            )]);
        };
        let mut body = fields(&self.fields, body, before, At::Body, &mut violations);
        if violations.is_empty() && self.computes {
            self.compute(&mut body, &mut violations);
        }
        if violations.is_empty() {
            Ok(body)
        } else {
            Err(violations)
        }
    }

    fn compute(&self, body: &mut Map<String, Value>, violations: &mut Vec<Violation>) {
        let seen = self.unsealed(body);
        for (name, computed, shape) in self.computed() {
            let at = At::Body;
            let at = At::Field(&at, name);
            match computed.value(&seen) {
                Ok(None) => {}
                Ok(Some(value)) => {
                    if let Some(value) = shape.normalise(value, at, violations) {
                        body.insert(name.clone(), value);
                    }
                }
                Err(error) => {
                    let found = format!("`{}`: {error}", computed.source);
                    let expected = "an expression that has a value for this body";
                    violations.push(Violation::new("computed", at.to_string(), found, expected));
                }
            }
        }
    }

    /// Computes the computed fields of a whole body anew: it may have been written before the kind had
    /// them, and of a resource of the platform they are of all its parts. What has no value is left out.
    pub(crate) fn derive(&self, body: &mut Value) {
        let Value::Object(body) = body else {
            return;
        };
        if !self.computes {
            return;
        }
        let seen = self.unsealed(body);
        for (name, computed, shape) in self.computed() {
            let value = computed.value(&seen).ok().flatten();
            let value = value.and_then(|value| shape.normalise(value, At::Body, &mut Vec::new()));
            match value {
                Some(value) => drop(body.insert(name.clone(), value)),
                None => drop(body.shift_remove(name)),
            }
        }
    }

    fn computed(&self) -> impl Iterator<Item = (&String, &Expression, &Shape)> {
        self.fields
            .iter()
            .filter_map(|(name, field)| Some((name, field.computed.as_ref()?, &field.shape)))
    }

    /// A body for expressions: what is sealed, and what is computed itself, stays out of sight.
    fn unsealed(&self, body: &Map<String, Value>) -> Map<String, Value> {
        let hidden = |name: &str| {
            let field = self.fields.get(name);
            field.is_some_and(|field| {
                field.computed.is_some() || matches!(field.shape, Shape::Secret { .. })
            })
        };
        body.iter()
            .filter(|(name, value)| sealed(value).is_none() && !hidden(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// The fields of a body or an object. What is null is not there.
pub(super) fn fields(
    declared: &IndexMap<String, Field>,
    mut given: Map<String, Value>,
    before: Option<&Map<String, Value>>,
    at: At<'_>,
    violations: &mut Vec<Violation>,
) -> Map<String, Value> {
    let mut kept = Map::with_capacity(declared.len());
    for (name, field) in declared {
        if field.platform {
            continue;
        }
        let at = At::Field(&at, name);
        let value = given.swap_remove(name).filter(|value| !value.is_null());
        if field.computed.is_some() {
            continue;
        }
        let value = match value {
            Some(value) => field.shape.normalise(value, at, violations),
            None => match &field.default {
                Some(default) => Some(default.clone()),
                None if field.required => {
                    let expected = field.shape.expected();
                    let at = at.to_string();
                    violations.push(Violation::new("required", at, "nothing", expected));
                    None
                }
                None => None,
            },
        };
        let was = before.and_then(|before| before.get(name));
        if field.immutable
            && let Some(was) = was
            && value.as_ref() != Some(was)
        {
            let found = quoted(value.as_ref().unwrap_or(&Value::Null));
            let expected = format!("{}, for it never changes", quoted(was));
            violations.push(Violation::new("immutable", at.to_string(), found, expected));
        }
        if let Some(value) = value {
            kept.insert(name.clone(), value);
        }
    }
    for (name, value) in given {
        let at = At::Field(&at, &name);
        match declared.get(&name) {
            Some(_) => violations.push(Violation::new(
                "platform-field",
                at.to_string(),
                quoted(&value),
                "no such field, for the platform keeps it",
            )),
            None if value.is_null() => {}
            None => violations.push(unknown(&name, declared, at)),
        }
    }
    kept
}
