//! Small plans for this crate's tests.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;
use wright_model::Span;

use crate::{
    JobId, JobState, JobSummary, JobView, Outcome, Retry, Step, StepContext, StepError, StepRecord,
    Undo, Verb, Verbs,
};

/// A verb whose attempts follow each other, and are not run.
struct Line;

#[async_trait]
impl Verb for Line {
    async fn run(&self, _: &StepContext, _: &Value) -> Result<Outcome, StepError> {
        Ok(Outcome::default())
    }

    fn follows(&self, before: &str) -> bool {
        before == "do"
    }
}

/// Verbs with which attempts at [`step`]s on one target follow each other.
pub(crate) fn in_line() -> Verbs {
    Verbs::new().with("do", Line)
}

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

/// A job with these steps, of which none has begun.
pub(crate) fn view(steps: Vec<Step>) -> JobView {
    JobView {
        summary: JobSummary {
            id: JobId(Uuid::nil()),
            kind: "test".to_owned(),
            subject: "test".to_owned(),
            title: "test".to_owned(),
            actor: "test".to_owned(),
            tenant: "default".to_owned(),
            parent: None,
            state: JobState::Running,
            paused: None,
            plan: 1,
            created_at: Timestamp::UNIX_EPOCH,
            ended_at: None,
            cause: String::new(),
            forgotten: false,
        },
        context: Value::Null,
        steps: steps.into_iter().map(StepRecord::new).collect(),
        history: Vec::new(),
        questions: Vec::new(),
        children: Vec::new(),
    }
}
