use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// The longest quotation of what was found, characters.
const QUOTED: usize = 80;

/// One thing that is wrong with a body: where, what stands there, and what should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// `KIND/NAME`; empty until it is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// The field's path, such as `interfaces[2].mac`; empty for the body as a whole.
    pub field: String,
    /// A stable short name for the sort of violation.
    pub code: &'static str,
    /// What stands there, cut short.
    pub found: String,
    /// What should stand there.
    pub expected: String,
    /// What to write instead; empty where `expected` says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub help: String,
}

impl Violation {
    /// At a field.
    pub fn new(
        code: &'static str,
        field: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Violation {
            resource: String::new(),
            field: field.into(),
            code,
            found: found.into(),
            expected: expected.into(),
            help: String::new(),
        }
    }

    /// With what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Of this resource.
    #[must_use]
    pub fn of(mut self, kind: &str, name: &str) -> Self {
        self.resource = format!("{kind}/{name}");
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.resource.is_empty() {
            write!(f, "{}: ", self.resource)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(
            f,
            "{} was found, {} was expected",
            self.found, self.expected
        )
    }
}

/// A value as a violation quotes it.
pub(crate) fn quoted(value: &Value) -> String {
    let text = match value {
        Value::Null => return "nothing".to_owned(),
        Value::Object(_) => return "an object".to_owned(),
        Value::Array(items) => return format!("a list of {}", items.len()),
        other => other.to_string(),
    };
    if text.chars().count() <= QUOTED {
        return text;
    }
    text.chars().take(QUOTED).chain("…".chars()).collect()
}

/// Where in a body: built on the way down, written only where something is wrong.
#[derive(Clone, Copy)]
pub(crate) enum At<'a> {
    /// The body.
    Body,
    /// A field of what is above.
    Field(&'a At<'a>, &'a str),
    /// An item of what is above.
    Item(&'a At<'a>, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Body => Ok(()),
            At::Field(At::Body, name) => f.write_str(name),
            At::Field(above, name) => write!(f, "{above}.{name}"),
            At::Item(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}
