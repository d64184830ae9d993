use std::{fmt, sync::Arc};

use serde_json::Value;

use super::Related;
use crate::Resource;

/// Which resources of its kinds are watched.
#[derive(Debug, Clone)]
pub enum Selection {
    /// By what each is itself.
    Own(Arc<dyn Filter>),
    /// Also by what it refers to, and what refers to it.
    Related(Arc<Related>),
}

/// What a watcher wants to see of its kinds, by what each resource is.
pub trait Filter: Send + Sync + fmt::Debug + 'static {
    /// Whether a state of a resource belongs to what is watched.
    fn matches(&self, resource: &Resource) -> bool;

    /// Fields that have one certain value in whatever matches. The feed finds by one of them which
    /// of many watchers a change concerns, so that the others are not asked.
    fn equalities(&self) -> &[Equality] {
        &[]
    }
}

/// A field and the value that it must have.
#[derive(Debug, Clone, PartialEq)]
pub struct Equality {
    /// From the resource down: `["body", "model"]`, `["labels", "tier"]`, `["name"]`.
    pub path: Vec<String>,
    /// A text, a number or a truth value.
    pub value: Value,
}

/// A value as the feed looks it up: equal values have equal keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Text(String),
    /// The bits of the number as a float: 4 and 4.0 are equal.
    Number(u64),
    Truth(bool),
}

impl Key {
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Key::Text(text.clone())),
            Value::Bool(truth) => Some(Key::Truth(*truth)),
            // Adding zero makes one of the two zeros.
            Value::Number(number) => number.as_f64().map(|it| Key::Number((it + 0.0).to_bits())),
            _ => None,
        }
    }

    /// The key of what a resource has at a path.
    pub(super) fn at(resource: &Resource, path: &[String]) -> Option<Self> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "name" if rest.is_empty() => Some(Key::Text(resource.name.clone())),
            "labels" => {
                let label = resource.labels.get(rest.first()?)?;
                (rest.len() == 1).then(|| Key::Text(label.clone()))
            }
            "body" => {
                let mut value = &resource.body;
                for name in rest {
                    value = value.get(name)?;
                }
                Key::of(value)
            }
            _ => None,
        }
    }
}
