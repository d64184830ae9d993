use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One resource as a file has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Where it begins, from 1.
    pub line: u64,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Labels; one that is `null` goes, others that it has stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// Fields; others that it has stay.
    #[serde(flatten)]
    pub fields: Fields,
}

/// What a file says of fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fields {
    /// Text that the kind gives a meaning to; an empty one clears the field.
    Cells(IndexMap<String, String>),
    /// Values; `null` clears the field.
    Body(Map<String, Value>),
}

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct LineError {
    /// Which, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub message: String,
}

impl LineError {
    pub(super) fn new(line: u64, message: impl ToString) -> Self {
        LineError {
            line,
            message: message.to_string(),
        }
    }
}
