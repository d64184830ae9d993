//! Text of a table's cells to values, and back, as the kind says. Pure.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::kind::{FieldDefinition, FieldType, Violation};

/// The values of cells; of an empty one `null`. What a kind does not know stays text, for the kind to
/// refuse it.
pub(super) fn values(
    fields: &IndexMap<String, FieldDefinition>,
    cells: IndexMap<String, String>,
) -> Result<Map<String, Value>, Vec<Violation>> {
    let mut violations = Vec::new();
    let mut body = Map::with_capacity(cells.len());
    for (name, cell) in cells {
        let value = match fields.get(&name) {
            _ if cell.is_empty() => Some(Value::Null),
            None => Some(Value::String(cell)),
            Some(field) => match value(field, &cell) {
                Some(value) => Some(value),
                None => {
                    let expected = expected(field.of_type);
                    violations.push(Violation::new("cell", &name, format!("{cell:?}"), expected));
                    None
                }
            },
        };
        body.extend(value.map(|value| (name, value)));
    }
    if violations.is_empty() {
        Ok(body)
    } else {
        Err(violations)
    }
}

fn value(field: &FieldDefinition, cell: &str) -> Option<Value> {
    match field.of_type {
        FieldType::Integer => cell.trim().parse::<i64>().ok().map(Value::from),
        FieldType::Float => cell.trim().parse::<f64>().ok().map(Value::from),
        FieldType::Boolean => match cell.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" => Some(Value::Bool(true)),
            "false" | "no" => Some(Value::Bool(false)),
            _ => None,
        },
        FieldType::List => list(field.of.as_deref(), cell),
        FieldType::Reference if field.many => list(None, cell),
        FieldType::Map | FieldType::Object => serde_json::from_str(cell).ok(),
        FieldType::Json => Some(serde_json::from_str(cell).unwrap_or_else(|_| cell.into())),
        _ => Some(cell.into()),
    }
}

/// JSON, or items with `;` between.
fn list(of: Option<&FieldDefinition>, cell: &str) -> Option<Value> {
    if cell.trim_start().starts_with('[') {
        return serde_json::from_str(cell).ok();
    }
    let text = FieldDefinition::default();
    let of = of.unwrap_or(&text);
    let items = cell.split(';').map(|item| value(of, item.trim()));
    items.collect::<Option<Vec<_>>>().map(Value::Array)
}

fn expected(of_type: FieldType) -> &'static str {
    match of_type {
        FieldType::Integer => "a whole number",
        FieldType::Float => "a number",
        FieldType::Boolean => "true or false",
        FieldType::List | FieldType::Reference => "items with ; between, or a JSON array",
        _ => "a JSON object",
    }
}

/// The cell of a value.
pub(super) fn cell(field: &FieldDefinition, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if field.of_type != FieldType::Json => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields() -> IndexMap<String, FieldDefinition> {
        serde_json::from_value(json!({
            "units": { "type": "integer" },
            "power": { "type": "float" },
            "full": { "type": "boolean" },
            "dns": { "type": "list", "of": { "type": "address" } },
            "counts": { "type": "list", "of": { "type": "integer" } },
            "needs": { "type": "reference", "to": "app", "many": true },
            "tags": { "type": "map" },
            "more": { "type": "json" },
            "title": { "type": "text" },
        }))
        .unwrap()
    }

    fn read(cells: &[(&str, &str)]) -> Result<Map<String, Value>, Vec<Violation>> {
        let owned = |(name, cell): &(&str, &str)| ((*name).to_owned(), (*cell).to_owned());
        values(&fields(), cells.iter().map(owned).collect())
    }

    #[test]
    fn cells_become_what_the_kind_says_and_an_empty_one_clears() {
        let body = read(&[
            ("units", "42"),
            ("power", "1.5"),
            ("full", "Yes"),
            ("dns", "10.0.0.1; 10.0.0.2"),
            ("counts", "[1,2]"),
            ("needs", "a;b"),
            ("tags", "{\"a\":\"b\"}"),
            ("more", "7"),
            ("title", "7"),
            ("strange", "7"),
        ]);
        assert_eq!(
            Value::Object(body.unwrap()),
            json!({
                "units": 42, "power": 1.5, "full": true, "dns": ["10.0.0.1", "10.0.0.2"],
                "counts": [1, 2], "needs": ["a", "b"], "tags": { "a": "b" }, "more": 7,
                "title": "7", "strange": "7",
            })
        );
        assert_eq!(read(&[("units", "")]).unwrap()["units"], Value::Null);
    }

    #[test]
    fn cells_that_have_no_meaning_are_all_named() {
        let wrong = read(&[
            ("units", "4x"),
            ("full", "maybe"),
            ("tags", "a=b"),
            ("power", "1"),
        ]);
        let wrong: Vec<String> = wrong.unwrap_err().into_iter().map(|it| it.field).collect();
        assert_eq!(wrong, ["units", "full", "tags"]);
    }

    #[test]
    fn a_value_that_was_written_is_read_as_it_was() {
        for (name, value) in [
            ("units", json!(42)),
            ("power", json!(0.1)),
            ("full", json!(false)),
            ("dns", json!(["10.0.0.1", "::1"])),
            ("needs", json!(["a"])),
            ("tags", json!({ "a": "b,\"c\"" })),
            ("more", json!("7")),
            ("more", json!([1, null])),
            ("title", json!("[x]; y")),
        ] {
            let written = cell(&fields()[name], &value);
            assert_eq!(read(&[(name, &written)]).unwrap()[name], value, "{written}");
        }
    }
}
