//! Names for objects, and rows of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

use super::{
    super::{Fields, Row},
    dump::{Dump, Object},
};

/// The longest name, bytes.
const LONGEST: usize = 200;

/// The names of objects: each once in its kind.
#[derive(Debug, Default)]
pub(super) struct Names {
    of: HashMap<(&'static str, i64), String>,
    taken: HashSet<(&'static str, String)>,
}

impl Names {
    /// Names an object of a model, as near to what it is called as a name may be.
    pub fn give(
        &mut self,
        kind: &'static str,
        model: &'static str,
        pk: i64,
        called: &str,
    ) -> String {
        let mut name = clean(called);
        if !self.taken.insert((kind, name.clone())) {
            name = clean(&format!("{called}-{pk}"));
            self.taken.insert((kind, name.clone()));
        }
        self.of.insert((model, pk), name.clone());
        name
    }

    /// The name of an object that was named.
    pub fn of(&self, model: &'static str, pk: i64) -> Option<&str> {
        self.of.get(&(model, pk)).map(String::as_str)
    }

    /// The name of what an object refers to.
    pub fn refer(&self, object: &Object, field: &str, model: &'static str) -> Option<Value> {
        Some(self.of(model, object.refer(field)?)?.into())
    }
}

/// Letters, digits and `-._@` of what something is called.
fn clean(called: &str) -> String {
    let mut name = String::with_capacity(called.len());
    for letter in called.trim().chars() {
        match letter {
            letter if letter.is_ascii_alphanumeric() || "-._@".contains(letter) => {
                name.push(letter)
            }
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.truncate(LONGEST);
    if name.is_empty() {
        "-".to_owned()
    } else {
        name
    }
}

/// A row of an object; fields without a value are left out.
pub(super) fn row<const N: usize>(
    dump: &Dump,
    model: &str,
    object: &Object,
    (kind, name): (&str, String),
    fields: [(&str, Option<Value>); N],
) -> Row {
    let tags = dump.tags(model, object.pk).iter();
    let tags = tags.map(|tag| (format!("tag.{tag}"), Some("true".to_owned())));
    let custom = object.custom().into_iter().filter_map(|(name, value)| {
        let text = match value {
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
            Value::String(text) => text,
            other => other.to_string(),
        };
        Some((name, Some(text)))
    });
    let labels: BTreeMap<String, Option<String>> = tags.chain(custom).collect();
    let fields = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Row {
        line: object.line,
        kind: kind.to_owned(),
        name,
        labels,
        fields: Fields::Body(fields.collect::<Map<_, _>>()),
    }
}

/// A text as a value.
pub(super) fn text(object: &Object, field: &str) -> Option<Value> {
    match object.value(field)? {
        Value::String(text) => Some(text.trim().into()),
        // A serial or a name of digits only.
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

/// A number as a value.
pub(super) fn number(object: &Object, field: &str) -> Option<Value> {
    object.number(field).map(Value::from)
}

/// The word that a kind has for NetBox's.
pub(super) fn word(object: &Object, field: &str, words: &[(&str, &str)]) -> Option<Value> {
    let theirs = object.text(field)?;
    let ours = words.iter().find(|(known, _)| *known == theirs);
    Some(ours.map_or(theirs, |(_, ours)| ours).into())
}
