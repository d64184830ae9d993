use std::{collections::BTreeMap, fmt};

use cel::{Context, Program};
use serde_json::{Map, Value};

use crate::Target;

/// The longest filter, bytes: parsing is recursive.
pub const MAX_FILTER: usize = 4 << 10;
/// The most brackets that may be open at once.
const MAX_DEPTH: usize = 32;

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Too long, or too deep.
    #[error("the filter is too large: at most {MAX_FILTER} bytes and {MAX_DEPTH} open brackets")]
    TooLarge,
    /// Not CEL.
    #[error("the filter `{text}` is not CEL: {why}")]
    Syntax {
        /// The filter.
        text: String,
        /// What the parser says.
        why: String,
    },
}

/// A CEL expression over one resource.
pub(crate) struct Filter {
    pub(crate) text: String,
    program: Program,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.text).finish()
    }
}

impl Filter {
    pub(crate) fn compile(text: &str) -> Result<Self, FilterError> {
        if text.len() > MAX_FILTER || depth(text) > MAX_DEPTH {
            return Err(FilterError::TooLarge);
        }
        let program = Program::compile(text).map_err(|error| FilterError::Syntax {
            text: text.to_owned(),
            why: error.to_string(),
        })?;
        Ok(Filter {
            text: text.to_owned(),
            program,
        })
    }

    /// Whether it is true of the target. Where it cannot be told, such as of a field that is not
    /// there, it is not.
    pub(crate) fn holds(&self, target: &Target<'_>) -> bool {
        let Some(Value::Object(body)) = target.body else {
            return false;
        };
        let document = document(target, body);
        let mut scope = Context::default();
        let own = document.clone();
        let bound = scope
            .add_variable("self", own)
            .and_then(|()| scope.add_variable(variable(target.kind), document));
        bound.is_ok() && matches!(self.program.execute(&scope), Ok(cel::Value::Bool(true)))
    }
}

/// A kind's name as a variable: CEL has no hyphens in names.
fn variable(kind: &str) -> String {
    kind.replace(['-', '.', '@'], "_")
}

fn document(target: &Target<'_>, body: &Map<String, Value>) -> Value {
    let mut document = body.clone();
    let empty = BTreeMap::new();
    let labels = target.labels.unwrap_or(&empty).iter();
    let labels = labels.map(|(key, value)| (key.clone(), Value::String(value.clone())));
    document.insert("labels".to_owned(), Value::Object(labels.collect()));
    document.insert("name".to_owned(), Value::String(target.name.to_owned()));
    Value::Object(document)
}

fn depth(text: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' | '!' | '-' | '?' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}
