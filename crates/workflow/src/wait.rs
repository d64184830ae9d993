//! The verb `wait`: a step that succeeds when somebody says yes.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wright_model::Span;
use wright_store::{Guard, Range, StoreError};

use crate::engine::Engine;
use crate::records::{
    from_json, load_meta, meta_guard, meta_key, put_json, question_key, question_prefix, read_all,
};
use crate::{JobAction, JobError, JobEvent, JobId, Outcome, StepContext, StepError, Verb};

/// The input of a step with the verb [`WAIT`](crate::WAIT). Its expiry is the step's deadline, which
/// goes on while no engine runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// What is to be decided, or what is to happen: one line.
    pub what: String,
    /// Who is waited for: a person, a team, a system.
    pub from: String,
}

/// What an attempt at a step asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The step.
    pub step: String,
    /// The attempt, from 1; a step that is retried asks anew.
    pub attempt: u32,
    /// What is asked, and who.
    #[serde(flatten)]
    pub wait: Wait,
    /// Since when.
    pub since: Timestamp,
    /// Until when an answer counts.
    pub until: Timestamp,
    /// What came of it; `None` while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

/// How a question ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Closed {
    /// Somebody answered.
    Answered(Answer),
    /// Nobody did in time.
    Expired,
    /// The job was cancelled, or its plan no longer has the step.
    Withdrawn,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The step succeeds.
    Approved,
    /// The step fails.
    Refused,
}

/// What somebody decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Yes or no.
    pub verdict: Verdict,
    /// What comes with it, such as the facts of the event that was waited for.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
}

/// A decision, whose it is, and why. The output of a step that was approved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What.
    #[serde(flatten)]
    pub decision: Decision,
    /// Who.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

impl Engine {
    /// Answers the question of a step of the verb [`WAIT`](crate::WAIT).
    ///
    /// # Errors
    /// [`JobError::Step`] where the step asks nothing (any more), [`JobError::NoReason`].
    pub async fn answer(
        &self,
        id: JobId,
        step: &str,
        decision: Decision,
        reason: &str,
        actor: &str,
    ) -> Result<(), JobError> {
        let action = match decision.verdict {
            Verdict::Approved => JobAction::Approve,
            Verdict::Refused => JobAction::Refuse,
        };
        let event = JobEvent {
            step: Some(step.to_owned()),
            ..self.reasoned(action, actor, reason)?
        };
        let answer = Answer {
            decision,
            actor: event.actor.clone(),
            at: event.at,
            reason: event.reason.clone(),
        };
        let store = self.shared.store.as_ref();
        loop {
            let (mut meta, revision) = load_meta(store, id).await?;
            let Some((entry, mut question)) = self.open_question(id, step).await? else {
                return Err(JobError::Step {
                    job: id,
                    step: step.to_owned(),
                    why: "it waits for no answer, or no longer",
                });
            };
            question.closed = Some(Closed::Answered(answer.clone()));
            meta.history.push(event.clone());
            let key = question_key(id, step, question.attempt);
            let guards = vec![
                meta_guard(id, revision),
                Guard::Modified(key.clone().into(), entry),
            ];
            let operations = vec![put_json(meta_key(id), &meta)?, put_json(key, &question)?];
            match store.commit(guards, operations).await {
                Err(error) if error.is_refused() => {}
                other => return other.map(drop).map_err(Into::into),
            }
        }
    }

    /// The unanswered question of a step, and the revision that wrote it.
    async fn open_question(
        &self,
        id: JobId,
        step: &str,
    ) -> Result<Option<(u64, Question)>, JobError> {
        let range = Range::prefix(format!("{}{step}/", question_prefix(id)));
        let (entries, _) = read_all(self.shared.store.as_ref(), range, None).await?;
        for entry in entries {
            let question: Question = from_json(&entry.key, &entry.value)?;
            if question.step == step && question.closed.is_none() {
                return Ok(Some((entry.modified, question)));
            }
        }
        Ok(None)
    }
}

/// The verb.
pub(crate) struct Waiting {
    pub engine: Engine,
    pub deadline: Span,
}

#[async_trait]
impl Verb for Waiting {
    async fn run(&self, context: &StepContext, input: &Value) -> Result<Outcome, StepError> {
        let wait: Wait = match serde_json::from_value(input.clone()) {
            Ok(wait) => wait,
            Err(error) => return Err(failure(format!("what to wait for is not told: {error}"))),
        };
        loop {
            match self.closed(context, &wait).await {
                Ok((question, closed)) => return self.conclude(&question, closed),
                Err(error) => self.engine.shared.bear(error).await,
            }
        }
    }
}

impl Waiting {
    /// Asks, unless an earlier life of this attempt has, and waits for what comes of it.
    async fn closed(
        &self,
        context: &StepContext,
        wait: &Wait,
    ) -> Result<(Question, Closed), JobError> {
        let (store, clock) = (
            &self.engine.shared.store,
            &self.engine.shared.settings.clock,
        );
        let key = question_key(context.job, &context.step, context.attempt);
        loop {
            let revision = store.revision().await?;
            let Some(entry) = store.get(key.as_bytes()).await? else {
                let question = self.question(context, wait);
                self.write(context, Guard::Absent(key.clone().into()), &key, &question)
                    .await?;
                continue;
            };
            let mut question: Question = from_json(&entry.key, &entry.value)?;
            if let Some(closed) = question.closed.take() {
                return Ok((question, closed));
            }
            let mut changes = store.watch(Range::key(key.clone()), revision).await?;
            let closed = tokio::select! {
                changes = changes.next() => match changes {
                    None => return Err(StoreError::Closed.into()),
                    Some(Ok(_) | Err(StoreError::Compacted { .. })) => continue,
                    Some(Err(error)) => return Err(error.into()),
                },
                () = context.cancel.cancelled() => Closed::Withdrawn,
                () = clock.sleep_until(question.until) => Closed::Expired,
            };
            question.closed = Some(closed);
            let unanswered = Guard::Modified(key.clone().into(), entry.modified);
            self.write(context, unanswered, &key, &question).await?;
        }
    }

    fn question(&self, context: &StepContext, wait: &Wait) -> Question {
        let since = self.engine.shared.settings.clock.now();
        Question {
            step: context.step.clone(),
            attempt: context.attempt,
            wait: wait.clone(),
            since,
            until: later(since, self.deadline),
            closed: None,
        }
    }

    /// Writes the question unless somebody else has: then it is to be read again.
    async fn write(
        &self,
        context: &StepContext,
        unmoved: Guard,
        key: &str,
        question: &Question,
    ) -> Result<(), JobError> {
        let guards = vec![context.unfenced(), unmoved.clone()];
        let put = put_json(key.to_owned(), question)?;
        match self.engine.shared.store.commit(guards, vec![put]).await {
            Err(StoreError::Refused { guard, .. }) if guard == unmoved => Ok(()),
            other => other.map(drop).map_err(Into::into),
        }
    }

    fn conclude(&self, question: &Question, closed: Closed) -> Result<Outcome, StepError> {
        let Wait { what, from } = &question.wait;
        match closed {
            Closed::Answered(answer) if answer.decision.verdict == Verdict::Approved => {
                let output = serde_json::to_value(answer).unwrap_or_default();
                Ok(Outcome {
                    output,
                    ..Outcome::default()
                })
            }
            Closed::Answered(Answer { actor, reason, .. }) => {
                Err(failure(format!("refused by {actor}: {reason}")))
            }
            Closed::Expired => Err(failure(format!(
                "expired: no answer from {from} within {}: {what}",
                self.deadline
            ))),
            Closed::Withdrawn => Err(failure(format!("no longer asks {from}: {what}"))),
        }
    }
}

/// An attempt's failure that the same again would not mend.
pub(crate) fn failure(message: String) -> StepError {
    StepError {
        message,
        retry: false,
        evidence: Vec::new(),
    }
}

pub(crate) fn later(from: Timestamp, span: Span) -> Timestamp {
    let wait = jiff::SignedDuration::from_millis(i64::try_from(span.millis()).unwrap_or(i64::MAX));
    from.checked_add(wait).unwrap_or(Timestamp::MAX)
}
