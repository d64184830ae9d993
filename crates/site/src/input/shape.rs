//! Checks a YAML document against a JSON Schema and finds everything that is wrong at once. Knows
//! the keywords that [`super::schema`] uses.

use serde_json::Value as Schema;
use wright_model::Diagnostic;

use super::{
    kinds,
    yaml::{Document, Key, Node, Value},
};
use wright_model::nearest;

/// Everything in a document that does not have the shape its schema asks for.
pub(crate) fn check(document: &Document, schema: &Schema) -> Vec<Diagnostic> {
    let mut check = Check {
        file: &document.file,
        found: Vec::new(),
    };
    check.node(&document.root, schema, "");
    check.found
}

struct Check<'a> {
    file: &'a str,
    found: Vec<Diagnostic>,
}

fn variants(schema: &Schema) -> Option<&Vec<Schema>> {
    schema
        .get("anyOf")
        .or_else(|| schema.get("oneOf"))?
        .as_array()
}

/// The schema's type, without `null`: writing nothing is never meant.
fn type_of(schema: &Schema) -> Option<&str> {
    match schema.get("type")? {
        Schema::String(name) => Some(name),
        Schema::Array(names) => names
            .iter()
            .filter_map(Schema::as_str)
            .find(|name| *name != "null"),
        _ => None,
    }
}

fn is_null(schema: &Schema) -> bool {
    schema.get("type").and_then(Schema::as_str) == Some("null")
}

fn has_type(value: &Value, name: &str) -> bool {
    match (value, name) {
        (Value::Map(_), "object") | (Value::List(_), "array") | (Value::Bool(_), "boolean") => true,
        (Value::Number(_), "number") | (Value::Text(_), "string") => true,
        (Value::Number(number), "integer") => !number.is_f64(),
        _ => false,
    }
}

fn words(schema: &Schema) -> Vec<&str> {
    let one = schema.get("const").into_iter();
    let many = schema
        .get("enum")
        .and_then(Schema::as_array)
        .into_iter()
        .flatten();
    let nested = variants(schema).into_iter().flatten().flat_map(words);
    one.chain(many)
        .filter_map(Schema::as_str)
        .chain(nested)
        .collect()
}

/// Whether a text is none of the words that a schema takes.
fn wrong_word(value: &Value, schema: &Schema) -> bool {
    let words = words(schema);
    matches!(value, Value::Text(text) if !words.is_empty() && !words.contains(&text.as_str()))
}

/// What a schema asks for, in words.
fn expected(schema: &Schema) -> String {
    if let Some(all) = variants(schema) {
        let mut said: Vec<_> = all.iter().filter(|s| !is_null(s)).map(expected).collect();
        said.dedup();
        return said.join(" or ");
    }
    let words = words(schema);
    if !words.is_empty() {
        return words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    let format = schema.get("format").and_then(Schema::as_str);
    if let Some(kind) = format.and_then(kinds::kind) {
        return kind.expected.to_owned();
    }
    let bounds = |what: &str| match (schema.get("minimum"), schema.get("maximum")) {
        (Some(low), Some(high)) => format!("{what} from {low} to {high}"),
        _ => what.to_owned(),
    };
    match type_of(schema) {
        Some("object") => match fields(schema) {
            fields if fields.is_empty() => "a map".to_owned(),
            fields if fields.len() > 4 => format!("a map with {}, …", list(&fields[..2])),
            fields => format!("a map with {}", list(&fields)),
        },
        Some("array") => "a list".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => bounds("a whole number"),
        Some("number") => bounds("a number"),
        _ => "a text".to_owned(),
    }
}

fn fields(schema: &Schema) -> Vec<&str> {
    let properties = schema.get("properties").and_then(Schema::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect()
}

fn list(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn subject(path: &str) -> String {
    if path.is_empty() {
        "the document".to_owned()
    } else {
        format!("`{path}`")
    }
}

fn below(path: &str, segment: &str) -> String {
    if path.is_empty() {
        segment.to_owned()
    } else {
        format!("{path}.{segment}")
    }
}

impl Check<'_> {
    fn report(&mut self, code: &str, (line, column): (u32, u32), message: String, help: String) {
        let place = (line.max(1), column.max(1));
        self.found.push(
            Diagnostic::error(code, message)
                .at(self.file, place.0, place.1)
                .help(help),
        );
    }

    fn node(&mut self, node: &Node, schema: &Schema, path: &str) {
        if let Some(all) = variants(schema) {
            let fits = |s: &&Schema| match type_of(s) {
                Some(name) => has_type(&node.value, name),
                None => variants(s).is_some() || !words(s).is_empty(),
            };
            match all.iter().filter(|s| !is_null(s)).find(fits) {
                Some(variant) if wrong_word(&node.value, variant) => self.word(node, schema, path),
                Some(variant) => self.node(node, variant, path),
                None => self.wrong_type(node, schema, path),
            }
            return;
        }
        if let Some(name) = type_of(schema)
            && !has_type(&node.value, name)
        {
            return self.wrong_type(node, schema, path);
        }
        match &node.value {
            Value::Map(entries) => self.map(node, entries, schema, path),
            Value::List(items) => self.list(node, items, schema, path),
            Value::Number(number) => self.number(node, number, schema, path),
            Value::Text(text) => self.text(node, text, schema, path),
            _ => {}
        }
    }

    fn wrong_type(&mut self, node: &Node, schema: &Schema, path: &str) {
        let (what, found) = (expected(schema), node.value.describe());
        let message = format!("{} must be {what}; found {found}", subject(path));
        let help = match (&node.value, type_of(schema)) {
            (Value::Null, _) => "write a value after the colon, or remove the key".to_owned(),
            (Value::Number(n), Some("string")) => match schema.get("format") {
                Some(_) => format!("write {what}"),
                None => format!("write it in quotes: \"{n}\""),
            },
            (Value::Bool(b), Some("string")) => format!("write it in quotes: \"{b}\""),
            (Value::Text(t), Some("boolean")) if ["yes", "on"].contains(&t.as_str()) => {
                "write `true`".to_owned()
            }
            (Value::Text(_), Some("array")) => "write it as a list: [ … ]".to_owned(),
            _ => format!("write {what}"),
        };
        self.report("wrong-type", (node.line, node.column), message, help);
    }

    fn map(&mut self, node: &Node, entries: &[(Key, Node)], schema: &Schema, path: &str) {
        let known = fields(schema);
        let properties = schema.get("properties").and_then(Schema::as_object);
        for (key, value) in entries {
            let inner = below(path, &key.text);
            if let Some(schema) = properties.and_then(|p| p.get(&key.text)) {
                self.node(value, schema, &inner);
                continue;
            }
            let names = schema.get("propertyNames").and_then(|s| s.get("format"));
            if let Some(kind) = names.and_then(Schema::as_str).and_then(kinds::kind)
                && let Err(why) = (kind.check)(&key.text)
            {
                let help = format!("write {}", kind.expected);
                self.report(
                    "bad-key",
                    (key.line, key.column),
                    format!("`{path}`: {why}"),
                    help,
                );
            }
            match schema.get("additionalProperties") {
                Some(Schema::Bool(false)) => self.unknown(key, &known, path),
                Some(schema @ Schema::Object(_)) => self.node(value, schema, &inner),
                _ => {}
            }
        }
        let required = schema
            .get("required")
            .and_then(Schema::as_array)
            .into_iter()
            .flatten();
        for field in required.filter_map(Schema::as_str) {
            if !entries.iter().any(|(key, _)| key.text == field) {
                let what = properties
                    .and_then(|p| p.get(field))
                    .map(expected)
                    .unwrap_or_default();
                let message = format!("{} has no `{field}`", subject(path));
                let help = format!("add `{field}:` with {what}");
                self.report("missing-field", (node.line, node.column), message, help);
            }
        }
    }

    fn unknown(&mut self, key: &Key, known: &[&str], path: &str) {
        let message = format!("{} has no field `{}`", subject(path), key.text);
        let help = match nearest(&key.text, known.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known here: {}", list(known)),
        };
        self.report("unknown-field", (key.line, key.column), message, help);
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &Schema, path: &str) {
        let bound = |name| schema.get(name).and_then(Schema::as_u64);
        let count = items.len() as u64;
        if bound("minItems").is_some_and(|least| count < least) {
            let message = format!("{} is empty; at least one entry is expected", subject(path));
            self.report(
                "empty-list",
                (node.line, node.column),
                message,
                "add an entry".to_owned(),
            );
        }
        if let Some(most) = bound("maxItems").filter(|most| count > *most) {
            let message = format!(
                "{} has {count} entries; at most {most} are allowed",
                subject(path)
            );
            self.report(
                "too-many",
                (node.line, node.column),
                message,
                "remove some".to_owned(),
            );
        }
        if let Some(schema) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.node(item, schema, &format!("{path}[{index}]"));
            }
        }
    }

    fn number(&mut self, node: &Node, number: &serde_json::Number, schema: &Schema, path: &str) {
        let (Some(value), bound) = (number.as_f64(), |n| schema.get(n).and_then(Schema::as_f64))
        else {
            return;
        };
        let low = bound("minimum").is_some_and(|least| value < least);
        let high = bound("maximum").is_some_and(|most| value > most);
        if low || high {
            let message = format!(
                "{} must be {}; found {number}",
                subject(path),
                expected(schema)
            );
            let help = match (low, path.ends_with("instances")) {
                (true, true) => "to have none, take the app out of the site's files",
                (true, false) => "write a larger number",
                (false, _) => "write a smaller number",
            };
            self.report(
                "out-of-range",
                (node.line, node.column),
                message,
                help.to_owned(),
            );
        }
    }

    fn word(&mut self, node: &Node, schema: &Schema, path: &str) {
        let Value::Text(text) = &node.value else {
            return;
        };
        let message = format!(
            "{} must be {}; found {text:?}",
            subject(path),
            expected(schema)
        );
        let help = match nearest(text, words(schema)) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("write {}", expected(schema)),
        };
        self.report("unknown-word", (node.line, node.column), message, help);
    }

    fn text(&mut self, node: &Node, text: &str, schema: &Schema, path: &str) {
        if wrong_word(&node.value, schema) {
            self.word(node, schema, path);
        }
        let format = schema.get("format").and_then(Schema::as_str);
        if let Some(kind) = format.and_then(kinds::kind)
            && let Err(why) = (kind.check)(text)
        {
            let code = kind.format.replace("wright", "bad");
            let message = format!("{}: {why}", subject(path));
            self.report(
                &code,
                (node.line, node.column),
                message,
                format!("write {}", kind.expected),
            );
        }
    }
}
