//! What an expression can be about: one field of a document or a row, or something computed of it.

use std::cmp::Ordering;

use serde_json::Value as Json;

use crate::{
    column::Column, expr::Literal, packed::Packed, posting::Rows, sight::View, table::Table,
};

/// A value while an expression is evaluated. What is missing, or of a type that does not go with an
/// operation, is no value: `None` wherever one is computed, CEL's error.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'v> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'v str),
    /// Nanoseconds since 1970.
    Time(i64),
    /// Nanoseconds.
    Span(i64),
    List(List<'v>),
    Map(Map<'v>),
    /// A resource that a reference leads to, or that refers.
    Row(&'v Table, u32),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum List<'v> {
    Json(&'v [Json]),
    Packed(Packed<'v>),
    Literal(&'v [Literal]),
    Rows(&'v Table, Rows<'v>),
    /// Those that refer by a field, as far as that is seen.
    Seen(View<'v>, &'v Column, &'v Table, Rows<'v>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Map<'v> {
    Json(&'v serde_json::Map<String, Json>),
    Packed(Packed<'v>),
}

impl<'v> Value<'v> {
    pub(crate) fn of(json: &'v Json) -> Self {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => Value::Int(value),
                None => Value::Float(number.as_f64().unwrap_or(f64::MAX)),
            },
            Json::String(text) => Value::Text(text),
            Json::Array(elements) => Value::List(List::Json(elements)),
            Json::Object(map) => Value::Map(Map::Json(map)),
        }
    }

    pub(crate) fn truth(self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Whether two values are equal; of different types they are not, but numbers are compared as
    /// numbers. Resources have no equality.
    pub(crate) fn equals(self, other: Self) -> Option<bool> {
        Some(match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b))
            | (Value::Time(a), Value::Time(b))
            | (Value::Span(a), Value::Span(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
                self.order(other) == Some(Ordering::Equal)
            }
            (Value::List(a), Value::List(b)) => return a.equals(b),
            (Value::Map(_) | Value::Row(..), _) | (_, Value::Map(_) | Value::Row(..)) => {
                return None;
            }
            _ => false,
        })
    }

    /// Which is less; `None` where the types have no common order.
    pub(crate) fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(&b)),
            (Value::Int(a), Value::Int(b))
            | (Value::Time(a), Value::Time(b))
            | (Value::Span(a), Value::Span(b)) => Some(a.cmp(&b)),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(&b),
            #[expect(clippy::cast_precision_loss, reason = "as CEL compares them")]
            (Value::Int(a), Value::Float(b)) => (a as f64).partial_cmp(&b),
            (Value::Float(_), Value::Int(_)) => other.order(self).map(Ordering::reverse),
            _ => None,
        }
    }

    /// How many characters, elements or entries.
    pub(crate) fn size(self) -> Option<i64> {
        let size = match self {
            Value::Text(text) => text.chars().count(),
            Value::List(list) => list.len(),
            Value::Map(Map::Json(map)) => map.len(),
            Value::Map(Map::Packed(map)) => map.len(),
            _ => return None,
        };
        i64::try_from(size).ok()
    }

    /// An entry of a map.
    pub(crate) fn entry(self, key: &str) -> Option<Value<'v>> {
        match self {
            Value::Map(Map::Json(map)) => map.get(key).map(Value::of),
            Value::Map(Map::Packed(map)) => map
                .entries()
                .find(|(at, _)| *at == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value for an answer.
    pub(crate) fn to_json(self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Bool(value) => value.into(),
            Value::Int(value) => value.into(),
            Value::Float(value) => value.into(),
            Value::Text(text) => text.into(),
            Value::Time(at) => jiff::Timestamp::from_nanosecond(at.into())
                .map_or(Json::Null, |at| at.to_string().into()),
            Value::Span(span) => format!("{:#}", jiff::SignedDuration::from_nanos(span)).into(),
            Value::List(list) => {
                let mut elements = Vec::new();
                list.any(|element| {
                    elements.push(element.to_json());
                    false
                });
                elements.into()
            }
            Value::Map(Map::Json(map)) => map.clone().into(),
            Value::Map(Map::Packed(map)) => {
                let entry = |(key, value): (&str, Value<'_>)| (key.to_owned(), value.to_json());
                Json::Object(map.entries().map(entry).collect())
            }
            Value::Row(table, row) => table.name(row).into(),
        }
    }
}

impl<'v> List<'v> {
    pub(crate) fn len(self) -> usize {
        match self {
            List::Json(elements) => elements.len(),
            List::Packed(list) => list.len(),
            List::Literal(elements) => elements.len(),
            List::Rows(_, rows) => rows.len(),
            List::Seen(..) => {
                let mut length = 0;
                self.any(|_| {
                    length += 1;
                    false
                });
                length
            }
        }
    }

    /// Whether any element is so; asked in order until one is.
    pub(crate) fn any(self, mut is: impl FnMut(Value<'v>) -> bool) -> bool {
        match self {
            List::Json(elements) => elements.iter().any(|element| is(Value::of(element))),
            List::Packed(list) => list.elements().any(is),
            List::Literal(elements) => elements.iter().any(|element| is(element.value())),
            List::Rows(table, rows) => rows.iter().any(|row| is(Value::Row(table, row))),
            List::Seen(view, column, table, rows) => rows
                .iter()
                .any(|row| view.sees(table, row, &column.path) && is(Value::Row(table, row))),
        }
    }

    pub(crate) fn get(self, at: usize) -> Option<Value<'v>> {
        let (mut found, mut seen) = (None, 0);
        self.any(|element| {
            found = Some(element);
            seen += 1;
            seen > at
        });
        found.filter(|_| seen > at)
    }

    fn equals(self, other: Self) -> Option<bool> {
        if self.len() != other.len() {
            return Some(false);
        }
        let mut at = 0;
        let mut equal = Some(true);
        self.any(|element| {
            let same = other.get(at).and_then(|other| element.equals(other));
            at += 1;
            if same != Some(true) {
                equal = same;
            }
            equal != Some(true)
        });
        equal
    }
}
