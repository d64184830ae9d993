//! What is declared against what was discovered. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Kind, field::Field, shape::Shape, violation::At};

/// The field in which queries find the names of a resource's fields that are otherwise than discovered.
pub const DRIFT: &str = "drift";
/// The field that says which of them may be so: by field, `{discovered, why}`.
pub const TOLERATED: &str = "tolerated";

/// A field that is not what was discovered of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Drift {
    /// The field.
    pub field: String,
    /// What people say it is; nothing where nobody says.
    #[serde(default)]
    pub declared: Value,
    /// What was discovered; a list where any one of several would do.
    pub discovered: Value,
    /// Why it may be so, where somebody said that it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerated: Option<String>,
}

impl Drift {
    /// Whether something is declared, and nobody said that it may differ.
    pub fn is_open(&self) -> bool {
        !self.declared.is_null() && self.tolerated.is_none()
    }
}

impl Kind {
    /// Whether what is declared of these resources can be held against what was discovered.
    pub fn is_comparable(&self) -> bool {
        self.compares
    }

    /// The fields of a whole body that are not what was discovered of them. Of what could not be
    /// discovered nothing is said.
    pub fn drift(&self, body: &Map<String, Value>) -> Vec<Drift> {
        let fields = self.fields.iter();
        fields
            .filter_map(|(name, field)| compared(name, field, body))
            .collect()
    }

    /// The names of those fields, for whoever looks for them.
    pub(crate) fn drifting(&self, body: &Map<String, Value>) -> Vec<String> {
        // Mostly nothing is declared, and then nothing is evaluated: this is asked at each change of a host.
        let declared = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
        let fields = self.fields.iter().filter(|(name, _)| declared(name));
        let drift = fields.filter_map(|(name, field)| compared(name, field, body));
        drift.filter(Drift::is_open).map(|one| one.field).collect()
    }
}

/// How a field of a whole body is not what was discovered of it.
fn compared(name: &str, field: &Field, body: &Map<String, Value>) -> Option<Drift> {
    let found = field.found.as_ref()?.value(body).ok()??;
    let candidates = candidates(field, found);
    let declared = body.get(name).cloned().unwrap_or(Value::Null);
    if candidates.is_empty() || fits(field, &declared, &candidates) {
        return None;
    }
    let discovered = match <[Value; 1]>::try_from(candidates) {
        Ok([one]) => one,
        Err(several) => Value::Array(several),
    };
    let tolerated = body.get(TOLERATED).and_then(|all| all.get(name));
    // Another value than was tolerated is another drift.
    let tolerated = tolerated.filter(|one| one.get("discovered") == Some(&discovered));
    let why = |one: &Value| Some(one.get("why")?.as_str()?.to_owned());
    Some(Drift {
        field: name.to_owned(),
        declared,
        tolerated: tolerated.map(|one| why(one).unwrap_or_default()),
        discovered,
    })
}

/// What would do of what was discovered, written as the field is.
fn candidates(field: &Field, found: Value) -> Vec<Value> {
    let found = match found {
        Value::Array(items) if !holds_several(field) => items,
        one => vec![one],
    };
    let normal = |value: Value| {
        let value = match (&field.shape, value) {
            (Shape::Reference(_), Value::String(text)) => Value::String(as_name(&text)),
            (_, value) => value,
        };
        field.shape.normalise(value, At::Body, &mut Vec::new())
    };
    let mut normal: Vec<Value> = found.into_iter().filter_map(normal).collect();
    normal.dedup();
    normal
}

fn holds_several(field: &Field) -> bool {
    match &field.shape {
        Shape::List(..) | Shape::Json => true,
        Shape::Reference(reference) => reference.many,
        _ => false,
    }
}

/// A text as the name of a resource: `PowerEdge R650` is `poweredge-r650`.
fn as_name(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
    let name = text.trim().chars();
    name.map(|c| {
        if allowed(c) {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    })
    .collect()
}

fn fits(field: &Field, declared: &Value, candidates: &[Value]) -> bool {
    let same = |candidate: &Value| match (&field.shape, declared, candidate) {
        (Shape::Reference(_), Value::String(name), Value::String(found)) => {
            name.eq_ignore_ascii_case(found)
        }
        // The order in which somebody writes them says nothing.
        (_, Value::Array(declared), Value::Array(found)) => {
            declared.len() == found.len() && declared.iter().all(|one| found.contains(one))
        }
        _ => declared == candidate,
    };
    candidates.iter().any(same)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::shipped;

    fn drift(body: Value) -> Vec<Drift> {
        let kind = Kind::compile("host", shipped("host"), None, 0).unwrap();
        kind.drift(body.as_object().unwrap())
    }

    fn facts() -> Value {
        json!({
            "serial": "7XK", "product": "PowerEdge R650", "memory": "256GiB", "cpu": { "count": 8 },
            "interfaces": [{ "mac": "aa:bb:cc:00:11:22" }, { "mac": "aa:bb:cc:00:11:23" }],
        })
    }

    #[test]
    fn what_is_declared_as_it_was_discovered_does_not_drift() {
        let host = json!({
            "facts": facts(), "serial": "7XK", "model": "PowerEdge-R650", "memory": "256GiB",
            "cpus": 8, "mac": "aa:bb:cc:00:11:23",
        });
        assert_eq!(drift(host), []);
    }

    #[test]
    fn each_field_that_is_otherwise_is_told_with_both_values() {
        let host = json!({ "facts": facts(), "serial": "7XX", "mac": "aa:bb:cc:00:11:99" });
        let open: Vec<Drift> = drift(host).into_iter().filter(Drift::is_open).collect();
        let told: Vec<_> = open
            .iter()
            .map(|one| (one.field.as_str(), &one.discovered))
            .collect();
        let macs = json!(["aa:bb:cc:00:11:22", "aa:bb:cc:00:11:23"]);
        assert_eq!(told, [("serial", &json!("7XK")), ("mac", &macs)]);
    }

    #[test]
    fn what_nobody_declared_is_told_but_is_no_open_drift() {
        let told = drift(json!({ "facts": { "serial": "7XK", "cpu": {} } }));
        assert_eq!(told.len(), 1);
        assert!(told[0].declared.is_null() && !told[0].is_open());
    }

    #[test]
    fn of_what_could_not_be_discovered_nothing_is_said() {
        assert_eq!(
            drift(json!({ "serial": "7XK", "facts": { "cpu": {} } })),
            []
        );
        assert_eq!(drift(json!({ "serial": "7XK" })), []);
    }

    #[test]
    fn what_may_differ_may_not_differ_otherwise() {
        let host = |discovered: &str| {
            let tolerated =
                json!({ "serial": { "discovered": discovered, "why": "board swapped" } });
            drift(
                json!({ "serial": "1", "facts": { "serial": "2", "cpu": {} }, "tolerated": tolerated }),
            )
        };
        assert_eq!(host("2")[0].tolerated.as_deref(), Some("board swapped"));
        assert!(host("3")[0].is_open());
    }
}
