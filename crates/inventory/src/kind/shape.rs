use std::fmt::Display;

use indexmap::IndexMap;
use jiff::{Timestamp, civil::Date};
use regex::Regex;
use serde_json::{Map, Number, Value};
use wright_model::{ByteSize, Span, nearest};

use super::{
    OnDelete,
    field::Field,
    form,
    validate::fields,
    violation::{At, Violation, quoted},
};

/// From the least to the most, both allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<T> {
    pub least: Option<T>,
    pub most: Option<T>,
}

impl<T: PartialOrd + Display + Copy> Bounds<T> {
    fn hold(&self, value: T) -> bool {
        self.least.is_none_or(|least| value >= least) && self.most.is_none_or(|most| value <= most)
    }

    fn told(&self) -> String {
        match (self.least, self.most) {
            (Some(least), Some(most)) => format!(" from {least} to {most}"),
            (Some(least), None) => format!(" of at least {least}"),
            (None, Some(most)) => format!(" of at most {most}"),
            (None, None) => String::new(),
        }
    }
}

/// Where a reference leads.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub to: String,
    pub many: bool,
    pub on_delete: OnDelete,
    pub reverse: Option<String>,
}

/// What may stand in a field, compiled.
#[derive(Debug)]
pub(crate) enum Shape {
    Text {
        pattern: Option<Regex>,
        length: Bounds<usize>,
    },
    Secret {
        pattern: Option<Regex>,
        length: Bounds<usize>,
    },
    Integer(Bounds<i64>),
    Float(Bounds<f64>),
    Boolean,
    Enumeration(Vec<String>),
    Time,
    Date,
    Duration(Bounds<Span>),
    Bytes(Bounds<ByteSize>),
    Address,
    Prefix,
    Mac,
    Url,
    Email,
    Json,
    List(Box<Shape>, Bounds<usize>),
    Map(Box<Shape>, Bounds<usize>),
    Object(IndexMap<String, Field>),
    Reference(Reference),
}

/// The key under which a sealed text stands.
const SEALED: &str = "sealed";

/// The sealed text of a secret field, if that is what stands there.
pub(crate) fn sealed(value: &Value) -> Option<&str> {
    match value {
        Value::Object(map) if map.len() == 1 => map.get(SEALED)?.as_str(),
        _ => None,
    }
}

/// A sealed text as it stands in a body.
pub(crate) fn as_sealed(text: String) -> Value {
    Value::Object(Map::from_iter([(SEALED.to_owned(), Value::String(text))]))
}

impl Shape {
    /// A value in the one way of writing it. Where it is wrong, says so and answers nothing.
    pub(crate) fn normalise(
        &self,
        value: Value,
        at: At<'_>,
        violations: &mut Vec<Violation>,
    ) -> Option<Value> {
        let value = match (self, value) {
            (Shape::List(item, length), Value::Array(items)) if length.hold(items.len()) => {
                let item = |(index, value)| item.normalise(value, At::Item(&at, index), violations);
                return Some(items.into_iter().enumerate().filter_map(item).collect());
            }
            (Shape::Map(of, length), Value::Object(map)) if length.hold(map.len()) => {
                let entry = |(key, value): (String, Value)| {
                    let value = of.normalise(value, At::Field(&at, &key), violations)?;
                    Some((key, value))
                };
                return Some(Value::Object(map.into_iter().filter_map(entry).collect()));
            }
            (Shape::Object(of), Value::Object(map)) => {
                return Some(Value::Object(fields(of, map, None, at, violations)));
            }
            (Shape::Reference(reference), Value::Array(names)) if reference.many => {
                return names_of(names, &reference.to, at, violations);
            }
            (_, value) => value,
        };
        match self.scalar(value) {
            Ok(value) => Some(value),
            Err((value, help)) => {
                let help = if help.is_empty() {
                    self.suggestion(&value)
                } else {
                    help
                };
                let found = match self {
                    // Not even a wrong one is quoted.
                    Shape::Secret { .. } => "something else".to_owned(),
                    _ => quoted(&value),
                };
                let violation = Violation::new("value", at.to_string(), found, self.expected());
                violations.push(violation.help(help));
                None
            }
        }
    }

    /// A value that has no parts; what was given and what would help where it is wrong.
    fn scalar(&self, value: Value) -> Result<Value, (Value, form::Wrong)> {
        let no = |value| Err((value, String::new()));
        match (self, value) {
            (Shape::Json, value) => Ok(value),
            (Shape::Boolean, value @ Value::Bool(_)) => Ok(value),
            (Shape::Integer(bounds), Value::Number(number)) => match whole(&number) {
                Some(whole) if bounds.hold(whole) => Ok(whole.into()),
                _ => no(number.into()),
            },
            (Shape::Float(bounds), Value::Number(number)) => {
                // Adding zero makes one of the two zeros.
                let float = number.as_f64().map(|float| float + 0.0);
                let held = float.filter(|float| bounds.hold(*float));
                match held.and_then(Number::from_f64) {
                    Some(float) => Ok(float.into()),
                    None => no(number.into()),
                }
            }
            (Shape::Secret { .. }, value) if sealed(&value).is_some() => Ok(value),
            (shape, Value::String(text)) => match shape.text(&text) {
                Ok(Some(normal)) => Ok(normal.into()),
                Ok(None) => Ok(text.into()),
                Err(help) => Err((text.into(), help)),
            },
            (_, value) => no(value),
        }
    }

    /// A text; the normal way of writing it where that may be another.
    fn text(&self, text: &str) -> Result<Option<String>, form::Wrong> {
        let as_it_is = |good: bool| if good { Ok(None) } else { Err(String::new()) };
        match self {
            Shape::Text { pattern, length } | Shape::Secret { pattern, length } => {
                let fits = pattern
                    .as_ref()
                    .is_none_or(|pattern| pattern.is_match(text));
                as_it_is(fits && length.hold(text.chars().count()))
            }
            Shape::Enumeration(values) => as_it_is(values.iter().any(|value| value == text)),
            Shape::Reference(reference) => as_it_is(!reference.many && is_name(text)),
            Shape::Time => text
                .parse::<Timestamp>()
                .map(|time| Some(time.to_string()))
                .map_err(|error| error.to_string()),
            Shape::Date => text
                .parse::<Date>()
                .map(|date| Some(date.to_string()))
                .map_err(|error| error.to_string()),
            Shape::Duration(bounds) => bounded(text, bounds),
            Shape::Bytes(bounds) => bounded(text, bounds),
            Shape::Address => form::address(text).map(Some),
            Shape::Prefix => form::prefix(text).map(Some),
            Shape::Mac => form::mac(text).map(Some),
            Shape::Url => form::url(text).map(Some),
            Shape::Email => form::email(text).map(Some),
            _ => Err(String::new()),
        }
    }

    /// What would do, in words.
    pub(crate) fn expected(&self) -> String {
        match self {
            Shape::Text { pattern, length } | Shape::Secret { pattern, length } => {
                let like = pattern
                    .as_ref()
                    .map(|pattern| format!(" that matches {pattern}"));
                let long = match length.told() {
                    told if told.is_empty() => told,
                    told => format!("{told} characters"),
                };
                format!("a text{long}{}", like.unwrap_or_default())
            }
            Shape::Integer(bounds) => format!("a whole number{}", bounds.told()),
            Shape::Float(bounds) => format!("a number{}", bounds.told()),
            Shape::Boolean => "true or false".to_owned(),
            Shape::Enumeration(values) => format!("one of {}", values.join(", ")),
            Shape::Time => "a moment, such as 2026-03-01T12:00:00Z".to_owned(),
            Shape::Date => "a day, such as 2026-03-01".to_owned(),
            Shape::Duration(bounds) => format!("a length of time{}, such as 90s", bounds.told()),
            Shape::Bytes(bounds) => format!("a number of bytes{}, such as 4GiB", bounds.told()),
            Shape::Address => "an IP address, such as 10.0.0.7".to_owned(),
            Shape::Prefix => "a network, such as 10.0.0.0/8".to_owned(),
            Shape::Mac => "a MAC address, such as aa:bb:cc:dd:ee:ff".to_owned(),
            Shape::Url => "a URL, such as https://example.com/".to_owned(),
            Shape::Email => "an e-mail address, such as anna@example.com".to_owned(),
            Shape::Json => "anything".to_owned(),
            Shape::List(_, length) => format!("a list{}", items(length)),
            Shape::Map(_, length) => format!("names with values{}", items(length)),
            Shape::Object(_) => "an object".to_owned(),
            Shape::Reference(Reference { to, many: true, .. }) => {
                format!("a list of names of {to}")
            }
            Shape::Reference(Reference { to, .. }) => format!("the name of a {to}"),
        }
    }

    fn suggestion(&self, found: &Value) -> String {
        match (self, found) {
            (Shape::Enumeration(values), Value::String(text)) => {
                nearest(text, values.iter().map(String::as_str))
                    .map_or_else(String::new, |near| format!("did you mean {near}?"))
            }
            (Shape::Reference(Reference { many: true, .. }), Value::String(text)) => {
                format!("write [{text}]")
            }
            _ => String::new(),
        }
    }
}

fn items(length: &Bounds<usize>) -> String {
    match length.told() {
        told if told.is_empty() => told,
        told => format!("{told} items"),
    }
}

fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        // Every such float is a whole number that 64 bits hold exactly.
        (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
    })
}

fn bounded<T>(text: &str, bounds: &Bounds<T>) -> Result<Option<String>, form::Wrong>
where
    T: std::str::FromStr<Err: Display> + PartialOrd + Display + Copy,
{
    let value: T = text.parse().map_err(|_| String::new())?;
    if bounds.hold(value) {
        Ok(Some(value.to_string()))
    } else {
        Err(String::new())
    }
}

/// The names of a reference to several: each once, in the order given.
fn names_of(
    names: Vec<Value>,
    to: &str,
    at: At<'_>,
    violations: &mut Vec<Violation>,
) -> Option<Value> {
    let mut kept: Vec<Value> = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        match name {
            Value::String(name) if is_name(&name) => {
                let name = Value::String(name);
                if !kept.contains(&name) {
                    kept.push(name);
                }
            }
            other => violations.push(Violation::new(
                "value",
                At::Item(&at, index).to_string(),
                quoted(&other),
                format!("the name of a {to}"),
            )),
        }
    }
    Some(Value::Array(kept))
}

fn is_name(text: &str) -> bool {
    crate::resource::check(text).is_ok()
}
