use std::{collections::HashMap, sync::Arc};

use cel::{Context, ExecutionError, Program, objects};
use serde_json::{Map, Value};

use super::violation::{At, Violation};

/// A CEL expression over `self`, and its source.
#[derive(Debug)]
pub(crate) struct Expression {
    pub source: String,
    program: Program,
}

impl Expression {
    /// Compiles the attribute of a field, where it says something.
    pub fn compile(
        source: Option<&String>,
        at: At<'_>,
        violations: &mut Vec<Violation>,
    ) -> Option<Self> {
        let source = source?;
        match Program::compile(source) {
            Ok(program) => Some(Expression {
                source: source.clone(),
                program,
            }),
            Err(error) => {
                let found = format!("{source:?}");
                let violation =
                    Violation::new("expression", at.to_string(), found, "a CEL expression");
                violations.push(violation.help(error.to_string()));
                None
            }
        }
    }

    /// What it gives for a body; nothing where it asks for a field that is not there.
    ///
    /// # Errors
    /// Why it gives nothing.
    pub fn value(&self, body: &Map<String, Value>) -> Result<Option<Value>, String> {
        let mut scope = Context::default();
        scope.add_variable_from_value("self", map(body));
        match self.program.execute(&scope) {
            Ok(cel::Value::Null) | Err(ExecutionError::NoSuchKey(_)) => Ok(None),
            Ok(value) => value.json().map(Some).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn map(of: &Map<String, Value>) -> cel::Value {
    let entries = of
        .iter()
        .map(|(key, value)| (key.clone().into(), cel_value(value)));
    cel::Value::Map(objects::Map {
        map: Arc::new(entries.collect::<HashMap<_, _>>()),
    })
}

/// JSON has one sort of whole numbers; so has an expression: an integer literal in CEL is an `int`, which
/// does not go together with an `uint`.
fn cel_value(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => cel::Value::Int(whole),
            (None, Some(whole)) => cel::Value::UInt(whole),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(cel_value).collect())),
        Value::Object(object) => map(object),
    }
}
