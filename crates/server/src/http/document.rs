//! The OpenAPI document: what the handlers say of themselves, and what is true of all of them.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;

use super::{
    Document,
    gates::{Endpoint, Gate, TABLE},
};

/// The document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    // Made of what is compiled in: a test reads it.
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    complete(&mut document);
    document
});

/// Methods that an operation may have, as paths of the document name them.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// What is answered without the fields that its reader may not see, whichever those are.
const CUT: [&str; 1] = ["JobSummary"];

/// Says of each operation what the gate and the framework answer, and how errors look.
fn complete(document: &mut Value) {
    let components = &mut document["components"];
    components["schemas"]["Problem"] = problem();
    for name in CUT {
        components["schemas"][name]["required"] = json!([]);
    }
    components["securitySchemes"]["token"] = json!({ "type": "http", "scheme": "bearer" });
    document["security"] = json!([{ "token": [] }]);
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else {
        return;
    };
    for (path, operations) in paths {
        for method in METHODS {
            let endpoint = TABLE.iter().find(|endpoint| {
                endpoint.path == path && endpoint.method.eq_ignore_ascii_case(method)
            });
            if let (Some(operation), Some(endpoint)) = (operations.get_mut(method), endpoint) {
                answers(operation, endpoint, path.contains('{'));
            }
        }
    }
}

/// The answers that an operation has beside those that its handler names.
fn answers(operation: &mut Value, endpoint: &Endpoint, named: bool) {
    let takes_body = operation.get("requestBody").is_some();
    let takes = takes_body || operation.get("parameters").is_some();
    let Some(responses) = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let mut add = |status: &str, description: &str| {
        let entry = responses.entry(status.to_owned());
        entry.or_insert_with(|| json!({ "description": description }));
    };
    if endpoint.gate != Gate::Anybody {
        add("401", "No token, or one that is worth nothing.");
        add("403", "The caller may not.");
    }
    if named {
        add("404", "There is none, or the caller may not know of it.");
    }
    if takes {
        add("400", "A part of the request cannot be read.");
    }
    if takes_body {
        add("413", "The body is too large.");
        add("415", "The body is of another media type.");
        add("422", "The body is not what was expected.");
    }
    responses.iter_mut().for_each(as_problem);
}

/// Every error is a problem (RFC 9457).
fn as_problem((status, response): (&String, &mut Value)) {
    if status.starts_with(['4', '5']) {
        let schema = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        response["content"] = json!({ "application/problem+json": schema });
    }
}

/// [`wright_model::Problem`], and what it holds.
fn problem() -> Value {
    let text = json!({ "type": "string" });
    let number = json!({ "type": "integer", "minimum": 0 });
    let severity = json!({ "type": "string", "enum": ["error", "warning"] });
    let diagnostic = object(
        &["code", "severity", "message"],
        [
            ("code", text.clone()),
            ("severity", severity),
            ("file", text.clone()),
            ("line", number.clone()),
            ("column", number),
            ("message", text.clone()),
            ("help", text.clone()),
        ],
    );
    let status = json!({ "type": "integer", "minimum": 400, "maximum": 599 });
    object(
        &["type", "title", "status", "detail"],
        [
            (
                "type",
                json!({ "type": "string", "pattern": "^urn:wright:" }),
            ),
            ("title", text.clone()),
            ("status", status),
            ("detail", text),
            (
                "diagnostics",
                json!({ "type": "array", "items": diagnostic }),
            ),
        ],
    )
}

fn object<const N: usize>(required: &[&str], properties: [(&str, Value); N]) -> Value {
    let properties = properties.map(|(name, schema)| (name.to_owned(), schema));
    let properties: Map<String, Value> = properties.into_iter().collect();
    json!({ "type": "object", "required": required, "properties": properties })
}
