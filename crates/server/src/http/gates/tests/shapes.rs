//! Whether answers are as the document says: every answer that a test is given is held against it. A
//! field that the document does not name is as wrong as one that is missing.

use serde_json::{Map, Value, json};

use super::bed::Answer;
use crate::http::document::DOCUMENT;

/// Panics where an answer is not as the document says of its operation.
pub fn hold(method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap_or_default();
    let Some(operation) = operation(&method.to_lowercase(), path) else {
        return;
    };
    let response = &operation["responses"][answer.status.as_str()];
    assert!(
        !response.is_null() || !answer.status.is_success(),
        "{method} {path}: {} is not in the document",
        answer.status
    );
    if let (Some(sent), Some(documented)) = (&answer.media, response["content"].as_object()) {
        assert!(
            documented.contains_key(sent) || !answer.status.is_success(),
            "{method} {path} is sent as {sent}, and documented as {:?}",
            documented.keys()
        );
    }
    let content = response["content"].as_object().into_iter().flatten();
    for (media, content) in content.filter(|(media, _)| media.ends_with("json")) {
        let held = serde_json::from_str(&answer.text)
            .map_err(|error| error.to_string())
            .and_then(|value| fits(&content["schema"], &value, "answer"));
        if let Err(error) = held {
            panic!("{method} {path} as {media}: {error}: {answer:?}");
        }
    }
}

/// The operation of the most literal path that fits.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        let mut pairs = template.iter().zip(&parts);
        template.len() == parts.len()
            && pairs.all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
    };
    let paths = DOCUMENT["paths"].as_object()?;
    let fitting = paths.iter().filter(|(template, _)| fits(template));
    let (_, found) = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
    found.get(method)
}

/// A schema, with what it refers to and is made of put together.
fn whole(schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let place = name.trim_start_matches('#');
        let found = DOCUMENT.pointer(place);
        return whole(found.unwrap_or_else(|| panic!("{name} is not in the document")));
    }
    let Some(parts) = schema["allOf"].as_array() else {
        return schema.clone();
    };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts.iter().map(whole) {
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn fits(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = whole(schema);
    if let Some(ways) = schema["oneOf"].as_array() {
        let tried: Vec<_> = ways.iter().map(|way| fits(way, value, at)).collect();
        return match tried.iter().any(Result::is_ok) {
            true => Ok(()),
            false => Err(format!("{at} is none of {tried:?}")),
        };
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is(name, value)) {
        return Err(format!("{at} is {value}, not {types:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{at} is {value}, not one of {words:?}"));
    }
    match value {
        Value::Array(items) => items.iter().enumerate().try_for_each(|(nth, item)| {
            let at = format!("{at}[{nth}]");
            fits(&schema["items"], item, &at)
        }),
        Value::Object(fields) => fields_fit(&schema, fields, at),
        _ => Ok(()),
    }
}

fn fields_fit(schema: &Value, fields: &Map<String, Value>, at: &str) -> Result<(), String> {
    let required = schema["required"].as_array().into_iter().flatten();
    let mut required = required.filter_map(Value::as_str);
    if let Some(missing) = required.find(|name| !fields.contains_key(*name)) {
        return Err(format!("{at} has no {missing}"));
    }
    let known = schema["properties"].as_object();
    for (name, value) in fields {
        let at = format!("{at}.{name}");
        let others = &schema["additionalProperties"];
        match known.and_then(|known| known.get(name)) {
            Some(schema) => fits(schema, value, &at)?,
            None if others.is_object() => fits(others, value, &at)?,
            None if known.is_some() => return Err(format!("{at} is not in the document")),
            None => {}
        }
    }
    Ok(())
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

#[test]
fn an_answer_with_a_field_too_few_or_too_many_or_of_another_type_does_not_fit() {
    let schema = json!({ "$ref": "#/components/schemas/QueryAnswer" });
    let row = json!({ "name": "h1", "revision": 7, "values": [null, 3] });
    let good = json!({ "revision": 812, "total": 1, "rows": [row] });
    assert_eq!(fits(&schema, &good, "answer"), Ok(()));
    for (pointer, value) in [
        ("/revision", json!("812")),
        ("/rows/0/name", json!(null)),
        ("/rows/0", json!({ "name": "h1" })),
        ("/rows/0", json!({ "name": "h1", "revision": 7, "more": 1 })),
        ("/rows", json!({})),
    ] {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert!(fits(&schema, &wrong, "answer").is_err(), "{wrong}");
    }
}
