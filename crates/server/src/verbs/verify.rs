//! `verify`: a baseline's checks, made by the instance's agent and judged here.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;
use wright_model::{Check, CheckKind, Expectation};
use wright_protocol::{Blame, Observation, Task};
use wright_workflow::{Outcome, StepContext, StepError, Verb};

use super::{Hands, OnInstance, broken, fenced, from_fault, input};

pub(super) struct Verify(pub Arc<Hands>);

/// Between two tries of a check that was not good yet.
const PAUSE: Duration = Duration::from_millis(200);

#[async_trait]
impl Verb for Verify {
    async fn run(&self, context: &StepContext, value: &Value) -> Result<Outcome, StepError> {
        let on: OnInstance = input(value)?;
        for (number, check) in on.checks.iter().enumerate() {
            self.hold(context, &on, number, check).await?;
        }
        Ok(Outcome {
            output: json!({ "checks": on.checks.len() }),
            writes: Vec::new(),
        })
    }

    fn follows(&self, before: &str) -> bool {
        before == "ready"
    }
}

impl Verify {
    /// Makes one check again and again until it is good or its time is over.
    async fn hold(
        &self,
        context: &StepContext,
        on: &OnInstance,
        number: usize,
        check: &Check,
    ) -> Result<(), StepError> {
        let within = || {
            context
                .deadline
                .min(Instant::now() + check.within.duration())
        };
        // The first try of all goes out with what it follows; its time begins with that one's end.
        let mut before = context.before.as_ref().filter(|_| number == 0);
        let mut until = match before {
            Some(_) => context.deadline,
            None => within(),
        };
        let mut tries = 0_u32;
        loop {
            tries += 1;
            let key = format!("{}/{number}.{tries}", context.effect_key());
            let mut key = fenced(key, context);
            if let Some(before) = before {
                key = key.after(before.effect_key(), check.within.duration());
            }
            let task = Task::Check {
                instance: on.instance.clone(),
                check: check.clone(),
            };
            let answer = self
                .0
                .fleet
                .submit(&on.host, key, task, until, context.cancel.clone())
                .await;
            if before.take().is_some() {
                until = within();
            }
            let bad = match answer {
                Ok(answer) => match judge(&check.check, answer.observation.as_ref()) {
                    Ok(()) => return Ok(()),
                    Err(bad) => broken(format!("{}: {bad}", describe(&check.check))),
                },
                Err(fault) if fault.blame == Blame::NotBegun => return Err(context.not_begun()),
                Err(fault) => from_fault(fault),
            };
            if context.cancel.is_cancelled() || Instant::now() + PAUSE >= until {
                return Err(StepError {
                    retry: false,
                    ..bad
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn describe(check: &CheckKind) -> String {
    match check {
        CheckKind::Http(http) => format!("{} {} on port {}", http.method, http.path, http.port),
        CheckKind::Tcp(port) => format!("a connection to port {port}"),
        CheckKind::Command(words) => words.join(" "),
        CheckKind::Monitor => "the package's monitor operation".to_owned(),
    }
}

/// Whether what was seen is what was expected; if not, what was seen instead.
fn judge(check: &CheckKind, seen: Option<&Observation>) -> Result<(), String> {
    let (CheckKind::Http(http), Some(seen)) = (check, seen) else {
        return Ok(());
    };
    let Expectation {
        status,
        json,
        contains,
    } = &http.expect;
    let got = seen.status.unwrap_or(0);
    let begin: String = seen.body.chars().take(200).collect();
    match status {
        Some(expected) if *expected != got => {
            return Err(format!(
                "status {expected} was expected, the answer was {got}: {begin}"
            ));
        }
        None if got >= 400 => {
            return Err(format!(
                "a status below 400 was expected, the answer was {got}: {begin}"
            ));
        }
        _ => {}
    }
    if let Some(text) = contains
        && !seen.body.contains(text)
    {
        return Err(format!("{text:?} was expected in the answer: {begin}"));
    }
    json.as_ref()
        .map_or(Ok(()), |expression| holds(expression, &seen.body))
}

/// Whether a CEL expression (cel.dev) over `body` is true.
fn holds(expression: &str, body: &str) -> Result<(), String> {
    let value: Value =
        serde_json::from_str(body).map_err(|error| format!("the answer is not JSON: {error}"))?;
    let program =
        cel::Program::compile(expression).map_err(|error| format!("{expression}: {error}"))?;
    let mut scope = cel::Context::default();
    scope
        .add_variable("body", value)
        .map_err(|error| error.to_string())?;
    match program.execute(&scope) {
        Ok(cel::Value::Bool(true)) => Ok(()),
        Ok(other) => {
            let begin: String = body.chars().take(200).collect();
            Err(format!(
                "`{expression}` was expected to be true, it is {other:?}; the answer was {begin}"
            ))
        }
        Err(error) => Err(format!("`{expression}`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wright_model::HttpCheck;

    use super::*;

    fn check(expect: Expectation) -> CheckKind {
        CheckKind::Http(HttpCheck {
            port: "http".parse().unwrap(),
            path: "/".into(),
            method: "GET".into(),
            headers: BTreeMap::new(),
            body: None,
            expect,
        })
    }

    fn seen(status: u16, body: &str) -> Observation {
        Observation {
            status: Some(status),
            body: body.into(),
        }
    }

    #[test]
    fn an_answer_is_held_against_status_text_and_expression() {
        let expect = |json: &str| {
            check(Expectation {
                status: Some(200),
                json: Some(json.into()),
                contains: None,
            })
        };
        assert_eq!(
            judge(&expect("size(body) == 2"), Some(&seen(200, "[1,2]"))),
            Ok(())
        );
        assert!(judge(&expect("size(body) == 3"), Some(&seen(200, "[1,2]"))).is_err());
        assert!(
            judge(&expect("true"), Some(&seen(500, "[]")))
                .unwrap_err()
                .contains("500")
        );
        assert!(judge(&expect("true"), Some(&seen(200, "no json"))).is_err());
    }

    #[test]
    fn without_expectation_a_status_below_400_is_good() {
        assert_eq!(
            judge(&check(Expectation::default()), Some(&seen(302, ""))),
            Ok(())
        );
        assert!(judge(&check(Expectation::default()), Some(&seen(404, ""))).is_err());
    }
}
