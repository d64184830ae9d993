//! Small plans for this crate's tests.

use serde_json::Value;
use wright_model::Span;

use crate::{Retry, Step, Undo};

/// A step of scope `s` with verb `do` and undo `undo`.
pub(crate) fn step(name: &str, needs: &[&str]) -> Step {
    Step {
        name: name.to_owned(),
        verb: "do".to_owned(),
        input: Value::Null,
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        scope: "s".to_owned(),
        target: None,
        layer: 0,
        deadline: Span::from_secs(30),
        retry: Retry::default(),
        undo: Some(Undo {
            verb: "undo".to_owned(),
            input: Value::Null,
        }),
        expected_ms: 10,
    }
}
