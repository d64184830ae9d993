use serde_json::{Map, Value, json};

use super::{FieldDefinition, FieldType, Kind};

impl Kind {
    /// The JSON Schema (draft 2020-12) of its bodies, for editors and the API's description.
    pub fn json_schema(&self) -> Value {
        let definition = self.definition();
        let mut schema = object(&definition.fields, !definition.platform);
        schema.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        schema.insert("title".to_owned(), json!(self.name()));
        if !definition.description.is_empty() {
            schema.insert("description".to_owned(), json!(definition.description));
        }
        Value::Object(schema)
    }
}

fn object(
    fields: &indexmap::IndexMap<String, FieldDefinition>,
    closed: bool,
) -> Map<String, Value> {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, field)| (name.clone(), described(field)))
        .collect();
    let needed = |field: &FieldDefinition| field.required && field.default.is_none();
    let required: Vec<&String> = fields
        .iter()
        .filter(|(_, field)| needed(field))
        .map(|(name, _)| name)
        .collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    if closed {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    schema
}

fn described(field: &FieldDefinition) -> Value {
    let mut schema = typed(field);
    if let Value::Object(schema) = &mut schema {
        let mut text = field.description.clone();
        if !field.unit.is_empty() {
            text = format!("{text} ({})", field.unit).trim_start().to_owned();
        }
        if !text.is_empty() {
            schema.insert("description".to_owned(), json!(text));
        }
        if let Some(default) = &field.default {
            schema.insert("default".to_owned(), default.clone());
        }
        if field.platform || field.computed.is_some() {
            schema.insert("readOnly".to_owned(), json!(true));
        }
    }
    schema
}

fn typed(field: &FieldDefinition) -> Value {
    let text = |format: &str| json!({ "type": "string", "format": format });
    let like = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let mut schema = match field.of_type {
        FieldType::Text if field.secret => json!({ "type": ["string", "object"] }),
        FieldType::Text => json!({ "type": "string" }),
        FieldType::Integer => json!({ "type": "integer" }),
        FieldType::Float => json!({ "type": "number" }),
        FieldType::Boolean => json!({ "type": "boolean" }),
        FieldType::Enumeration => json!({ "enum": field.values }),
        FieldType::Time => text("date-time"),
        FieldType::Date => text("date"),
        FieldType::Duration => like("^[0-9]+(ms|s|m|h|d)$"),
        FieldType::Bytes => like("^[0-9]+(B|KiB|MiB|GiB|TiB)$"),
        FieldType::Address => {
            json!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] })
        }
        FieldType::Prefix => like("^[0-9a-fA-F.:]+/[0-9]{1,3}$"),
        FieldType::Mac => like("^[0-9a-fA-F]{2,4}([:.-]?[0-9a-fA-F]{2,4})+$"),
        FieldType::Url => text("uri"),
        FieldType::Email => text("email"),
        FieldType::Json => json!({}),
        FieldType::List => {
            json!({ "type": "array", "items": field.of.as_deref().map_or_else(|| json!({ "type": "string" }), described) })
        }
        FieldType::Map => {
            json!({ "type": "object", "additionalProperties": field.of.as_deref().map_or_else(|| json!({ "type": "string" }), described) })
        }
        FieldType::Object => Value::Object(object(&field.fields, true)),
        FieldType::Reference | FieldType::User if field.many => {
            json!({ "type": "array", "items": { "type": "string" } })
        }
        FieldType::Reference | FieldType::User => json!({ "type": "string" }),
    };
    if let Value::Object(schema) = &mut schema {
        limits(field, schema);
    }
    schema
}

fn limits(field: &FieldDefinition, schema: &mut Map<String, Value>) {
    if matches!(field.of_type, FieldType::Integer | FieldType::Float) {
        let bounds = [("minimum", &field.minimum), ("maximum", &field.maximum)];
        for (name, bound) in bounds {
            if let Some(bound) = bound {
                schema.insert(name.to_owned(), bound.clone());
            }
        }
    }
    let what = match field.of_type {
        FieldType::Text => "Length",
        FieldType::List => "Items",
        _ => "Properties",
    };
    for (side, length) in [("min", field.min_length), ("max", field.max_length)] {
        if let Some(length) = length {
            schema.insert(format!("{side}{what}"), json!(length));
        }
    }
    if let Some(pattern) = &field.pattern {
        schema.insert("pattern".to_owned(), json!(format!("^(?:{pattern})$")));
    }
    if let Some(to) = &field.to {
        schema.insert("x-wright-reference".to_owned(), json!(to));
    }
}
