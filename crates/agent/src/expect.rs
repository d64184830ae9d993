//! Whether an HTTP answer is what a check expects. Pure.

use cel::{Context, Program, Value};
use wright_model::Expectation;

/// Says what is wrong with an answer.
///
/// # Errors
/// The first expectation that is not met, in words.
pub(crate) fn judge(expect: &Expectation, status: u16, body: &str) -> Result<(), String> {
    match expect.status {
        Some(wanted) if status != wanted => return Err(format!("{wanted} was expected")),
        None if status >= 400 => return Err("a status below 400 was expected".to_owned()),
        _ => {}
    }
    if let Some(text) = &expect.contains
        && !body.contains(text.as_str())
    {
        return Err(format!("its body does not contain {text:?}"));
    }
    match &expect.json {
        Some(condition) => holds(condition, body),
        None => Ok(()),
    }
}

fn holds(condition: &str, body: &str) -> Result<(), String> {
    let json: serde_json::Value =
        serde_json::from_str(body).map_err(|error| format!("its body is not JSON: {error}"))?;
    let program = Program::compile(condition)
        .map_err(|error| format!("the condition `{condition}` cannot be read: {error}"))?;
    let mut context = Context::default();
    context
        .add_variable("body", json)
        .map_err(|error| format!("its body cannot be used in a condition: {error}"))?;
    match program.execute(&context) {
        Ok(Value::Bool(true)) => Ok(()),
        Ok(_) => Err(format!("`{condition}` is not true of its body")),
        Err(error) => Err(format!("`{condition}`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(status: Option<u16>, json: Option<&str>, contains: Option<&str>) -> Expectation {
        Expectation {
            status,
            json: json.map(str::to_owned),
            contains: contains.map(str::to_owned),
        }
    }

    #[test]
    fn without_expectation_any_status_below_400_is_good() {
        let any = Expectation::default();
        assert!(judge(&any, 204, "").is_ok() && judge(&any, 399, "").is_ok());
        assert_eq!(
            judge(&any, 503, "").unwrap_err(),
            "a status below 400 was expected"
        );
    }

    #[test]
    fn every_expectation_must_hold() {
        let all = expect(Some(200), Some("size(body) == 2"), Some("1"));
        assert!(judge(&all, 200, "[1, 2]").is_ok());
        assert!(judge(&all, 200, "[1]").unwrap_err().contains("is not true"));
        assert!(
            judge(&all, 200, "[3, 4]")
                .unwrap_err()
                .contains("does not contain")
        );
        assert!(
            judge(&all, 201, "[1, 2]")
                .unwrap_err()
                .contains("200 was expected")
        );
        assert!(judge(&all, 200, "1").unwrap_err().contains("size(body)"));
    }
}
