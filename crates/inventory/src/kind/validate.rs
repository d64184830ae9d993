use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{
    Kind,
    field::{Computed, Field, unknown},
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
        // What is sealed stays out of sight.
        let open = |(_, value): &(&String, &Value)| sealed(value).is_none();
        let secret = |name: &str| {
            matches!(
                self.fields.get(name).map(|f| &f.shape),
                Some(Shape::Secret { .. })
            )
        };
        let seen: Map<String, Value> = body
            .iter()
            .filter(open)
            .filter(|(name, _)| !secret(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (name, field) in &self.fields {
            let Some(computed) = &field.computed else {
                continue;
            };
            let at = At::Body;
            let at = At::Field(&at, name);
            match evaluate(computed, &seen) {
                Ok(None) => {}
                Ok(Some(value)) => {
                    if let Some(value) = field.shape.normalise(value, at, violations) {
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
}

/// What an expression over `self` gives; nothing where it asks for a field that is not there.
fn evaluate(computed: &Computed, body: &Map<String, Value>) -> Result<Option<Value>, String> {
    let mut scope = cel::Context::default();
    scope
        .add_variable("self", Value::Object(body.clone()))
        .map_err(|error| error.to_string())?;
    match computed.program.execute(&scope) {
        Ok(cel::Value::Null) | Err(cel::ExecutionError::NoSuchKey(_)) => Ok(None),
        Ok(value) => value.json().map(Some).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
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
