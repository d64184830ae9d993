use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;
use wright_model::ByteSize;

use crate::value::Value;

/// What is known of a kind's fields. Fields that it does not name are indexed by what they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    /// The kind.
    pub kind: String,
    /// The fields that are known, in the order in which they are shown.
    pub fields: Vec<FieldSchema>,
    /// Whether documents may have other fields.
    pub open: bool,
    /// The reference to what such a resource is a part of.
    pub parent: Option<String>,
    /// Fields that are those of what a reference leads to, where a document has none of its own.
    pub inherited: Vec<Inherited>,
}

/// A field that is inherited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// The field.
    pub path: String,
    /// The reference to whom it is inherited from.
    pub from: String,
}

/// A field of a kind.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldSchema {
    /// Where it is: `model`, `hardware.cores`.
    pub path: String,
    /// What it holds.
    pub sort: Sort,
}

/// What a field holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sort {
    /// Whatever it is.
    #[default]
    Any,
    /// Text; its words are searched.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// True or false.
    Boolean,
    /// A time, written as in RFC 3339; kept to the nanosecond, from 1678 to 2261.
    Time,
    /// A length of time, written as `1h30m`; kept in nanoseconds.
    Span,
    /// A number of bytes, or a text such as `128MiB`.
    Bytes,
    /// A list; its texts are not searched.
    List,
    /// Any JSON, kept as one value: for maps with keys of the user's choice.
    Json,
    /// What nobody may find anything by: it is not indexed.
    Hidden,
    /// The name of a resource, or a list of names.
    Reference {
        /// Its kind.
        kind: String,
        /// What the resources that refer are called from there: `instances` of a host.
        reverse: Option<String>,
    },
}

impl Schema {
    /// A kind with these fields and no others.
    pub fn new<'a>(kind: &str, fields: impl IntoIterator<Item = (&'a str, Sort)>) -> Self {
        let field = |(path, sort): (&str, Sort)| FieldSchema {
            path: path.to_owned(),
            sort,
        };
        Schema {
            kind: kind.to_owned(),
            fields: fields.into_iter().map(field).collect(),
            open: false,
            ..Schema::default()
        }
    }

    /// What a field holds, where that is known.
    pub fn sort(&self, path: &str) -> Option<&Sort> {
        let field = self.fields.iter().find(|field| field.path == path);
        field.map(|field| &field.sort)
    }
}

impl Sort {
    /// A reference to a kind, whose resources know those that refer by a name.
    pub fn reference(kind: &str, reverse: &str) -> Self {
        Sort::Reference {
            kind: kind.to_owned(),
            reverse: Some(reverse.to_owned()),
        }
    }

    /// What is expected, for people.
    pub(crate) fn expected(&self) -> &'static str {
        match self {
            Sort::Any | Sort::Json | Sort::Hidden => "any value",
            Sort::Text => "a text",
            Sort::Integer => "a whole number",
            Sort::Float => "a number",
            Sort::Boolean => "true or false",
            Sort::Time => "a time, such as timestamp(\"2026-01-31T12:00:00Z\")",
            Sort::Span => "a duration, such as duration(\"1h30m\")",
            Sort::Bytes => "a number of bytes, such as 134217728 or \"128MiB\"",
            Sort::List => "a list",
            Sort::Reference { .. } => "the name of a resource",
        }
    }

    /// Whether the words of the field's texts are searched.
    pub(crate) fn is_searched(&self) -> bool {
        matches!(self, Sort::Any | Sort::Text)
    }

    /// A field's value; what is not as the sort says stays what it is.
    pub(crate) fn read<'v>(&self, value: &'v Json) -> Value<'v> {
        let read = match (self, value) {
            (Sort::Time, Json::String(text)) => time(text).map(Value::Time),
            (Sort::Span, Json::String(text)) => span(text).map(Value::Span),
            (Sort::Bytes, Json::String(text)) => bytes(text).map(Value::Int),
            _ => None,
        };
        read.unwrap_or_else(|| Value::of(value))
    }
}

/// Nanoseconds since 1970.
pub(crate) fn time(text: &str) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

/// Nanoseconds.
pub(crate) fn span(text: &str) -> Option<i64> {
    let span: SignedDuration = text.parse().ok()?;
    i64::try_from(span.as_nanos()).ok()
}

pub(crate) fn bytes(text: &str) -> Option<i64> {
    let size: ByteSize = text.parse().ok()?;
    i64::try_from(size.bytes()).ok()
}
