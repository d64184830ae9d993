use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};
use wright_model::{Diagnostic, token};

/// One YAML value and where it begins (line and column from 1; 0 where unknown).
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub line: u32,
    pub column: u32,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub line: u32,
    pub column: u32,
    pub text: String,
}

/// One document of one file.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub file: String,
    pub root: Node,
}

fn place(location: serde_saphyr::Location) -> (u32, u32) {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    (number(location.line()), number(location.column()))
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        let (line, column) = place(spanned.referenced);
        Node {
            line,
            column,
            value: spanned.value,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> de::Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(item.into());
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let (line, column) = place(key.referenced);
            let key = Key {
                line,
                column,
                text: key.value,
            };
            map.push((key, entries.next_value::<Spanned<Value>>()?.into()));
        }
        Ok(Value::Map(map))
    }
}

const MAX_DEPTH: usize = 24;

/// Parses every document of a file.
///
/// Bounded in depth, aliases and size, so that a hostile file costs no more than its bytes.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Document>, Diagnostic> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_aliases: 200,
            max_anchors: 100,
            max_nodes: 100_000,
            max_events: 400_000,
            max_documents: 500,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    };
    let documents: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|e| refusal(file, &e))?;
    let documents = documents.into_iter().map(|d| Document {
        file: file.to_owned(),
        root: d.into(),
    });
    Ok(documents.collect())
}

fn refusal(file: &str, error: &serde_saphyr::Error) -> Diagnostic {
    let error = error.without_snippet();
    let (line, column) = error.location().map_or((1, 1), place);
    let text = error.to_string();
    // The place is in the diagnostic's own fields.
    let said = text
        .split(" at line ")
        .next()
        .unwrap_or(&text)
        .replace('\n', " ");
    let lower = said.to_lowercase();
    let (code, message, help) = if let Some((_, key)) = said.split_once("duplicate mapping key: ") {
        let key = key.split(", set ").next().unwrap_or(key);
        (
            "duplicate-key",
            format!("`{key}` is there twice"),
            "keep one of the two",
        )
    } else if ["budget", "alias", "recursion"]
        .iter()
        .any(|word| lower.contains(word))
    {
        let limit = if lower.contains("depth") || lower.contains("recursion") {
            format!("it is nested deeper than {MAX_DEPTH} levels")
        } else {
            "with its aliases written out it is too large".to_owned()
        };
        let help = "write it out flat: a site needs neither deep nesting nor many aliases";
        ("too-complex", limit, help)
    } else {
        let message = format!("this is not YAML: {said}");
        (
            "not-yaml",
            message,
            "check indentation, quotes and brackets around this place",
        )
    };
    Diagnostic::error(code, message)
        .at(file, line.max(1), column.max(1))
        .help(help)
}

impl Value {
    /// The value in words, for messages.
    pub(crate) fn describe(&self) -> String {
        let short = |text: &str| {
            let cut: String = text.chars().take(40).collect();
            if cut.len() < text.len() {
                format!("{cut}…")
            } else {
                cut
            }
        };
        match self {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(number) => format!("the number {number}"),
            Value::Text(text) => format!("the text {:?}", short(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }
}

impl Node {
    /// The same as JSON, without places.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(k, v)| (k.text.clone(), v.to_json()))
                    .collect(),
            ),
        }
    }

    pub(crate) fn get(&self, segment: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(map) => map
                .iter()
                .find(|(k, _)| k.text == segment)
                .map(|(_, node)| node),
            Value::List(items) => items.get(segment.parse::<usize>().ok()?),
            _ => None,
        }
    }

    fn places_of_tokens(&self, found: &mut Vec<(u32, u32)>) {
        match &self.value {
            Value::Text(text) if text.contains(token::MARK) => found.push((self.line, self.column)),
            Value::List(items) => items.iter().for_each(|item| item.places_of_tokens(found)),
            Value::Map(entries) => {
                for (key, node) in entries {
                    if key.text.contains(token::MARK) {
                        found.push((key.line, key.column));
                    }
                    node.places_of_tokens(found);
                }
            }
            _ => {}
        }
    }
}

impl Document {
    /// Where the value at a path stands; where the path ends early, the last value on it. List
    /// items are numbered from 0.
    pub(crate) fn place(&self, path: &[&str]) -> (u32, u32) {
        let mut node = &self.root;
        for segment in path {
            let Some(next) = node.get(segment) else { break };
            node = next;
        }
        (node.line.max(1), node.column.max(1))
    }

    /// An error about the value at a path.
    pub(crate) fn error(
        &self,
        code: &str,
        path: &[&str],
        message: impl Into<String>,
    ) -> Diagnostic {
        let (line, column) = self.place(path);
        Diagnostic::error(code, message).at(&self.file, line, column)
    }

    /// An error for every text that holds a token (see [`wright_model::token`]).
    pub(crate) fn tokens(&self) -> Vec<Diagnostic> {
        let mut places = Vec::new();
        self.root.places_of_tokens(&mut places);
        places
            .into_iter()
            .map(|(line, column)| written_token(&self.file, line, column))
            .collect()
    }
}

/// The refusal of a token that a person wrote.
pub(crate) fn written_token(file: &str, line: u32, column: u32) -> Diagnostic {
    let message = format!(
        "`{}` stands for what is filled in later and cannot be written",
        token::MARK
    );
    Diagnostic::error("token", message)
        .at(file, line, column)
        .help("ask for a secret under `secrets` and write `{{ secrets.NAME }}`; for a directory write `{{ paths.data }}`")
}
