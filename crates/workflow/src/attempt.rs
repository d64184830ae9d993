use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{Either, select};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wright_model::Span;
use wright_store::{MAX_KEY, MAX_OPERATIONS, MAX_VALUE, Operation};

use crate::inject::Injected;
use crate::plan::only_waits;
use crate::{Clock, JobId, Outcome, StepContext, StepError, Verb};

/// The largest output that is recorded, bytes of JSON.
const MAX_OUTPUT: usize = 128 << 10;
const MAX_MESSAGE: usize = 4_000;
const MAX_EVIDENCE_LINES: usize = 100;
const MAX_EVIDENCE_LINE: usize = 1_000;

/// One attempt at a step or at its undo.
pub(crate) struct Attempt {
    pub verb: Option<Arc<dyn Verb>>,
    pub verb_name: String,
    pub input: Value,
    pub deadline: Span,
    pub grace: Span,
    pub clock: Arc<dyn Clock>,
    pub job: JobId,
    pub step: String,
    pub attempt: u32,
    pub fence: u64,
    pub undo: bool,
    pub cancel: CancellationToken,
    /// What a test wants to happen.
    pub injected: Injected,
}

impl Attempt {
    /// Runs it to its end, its deadline or its cancellation; what it answers can be recorded.
    pub async fn run(self) -> Result<Outcome, StepError> {
        let Some(verb) = self.verb.clone() else {
            let message = format!("this engine has no verb {}", self.verb_name);
            return Err(StepError {
                message,
                retry: false,
                evidence: Vec::new(),
            });
        };
        let context = StepContext {
            job: self.job,
            step: self.step.clone(),
            attempt: self.attempt,
            fence: self.fence,
            undo: self.undo,
            deadline: tokio::time::Instant::now() + self.deadline.duration(),
            cancel: self.cancel.clone(),
        };
        if self.injected.error {
            return Err(StepError {
                message: "injected error".to_owned(),
                retry: false,
                evidence: Vec::new(),
            });
        }
        let effect = async {
            for _ in 1..self.injected.times.get() {
                // The same effect once more: only the last answer counts.
                let _ = verb.run(&context, &self.input).await;
            }
            verb.run(&context, &self.input).await
        };
        let effect = AssertUnwindSafe(effect).catch_unwind();
        let effect =
            std::pin::pin!(async { effect.await.unwrap_or_else(|_| Err(self.panicked())) });
        if only_waits(&self.verb_name) {
            return effect.await.and_then(bounded).map_err(bounded_error);
        }
        let result = match select(effect, std::pin::pin!(self.stop())).await {
            Either::Left((result, _)) => result,
            Either::Right((overran, effect)) => {
                context.cancel.cancel();
                let grace = self.after(self.grace);
                match (select(effect, grace).await, overran) {
                    // It got there after all.
                    (Either::Left((Ok(outcome), _)), _) => Ok(outcome),
                    (Either::Left((Err(error), _)), true) => Err(self.overran(Some(error))),
                    (Either::Left((Err(error), _)), false) => Err(error),
                    (Either::Right(_), true) => Err(self.overran(None)),
                    (Either::Right(_), false) => Err(self.ignored_cancel()),
                }
            }
        };
        result.and_then(bounded).map_err(bounded_error)
    }

    /// Whether the deadline passed (`true`) or somebody cancelled.
    async fn stop(&self) -> bool {
        let cancelled = std::pin::pin!(self.cancel.cancelled());
        matches!(
            select(cancelled, self.after(self.deadline)).await,
            Either::Right(_)
        )
    }

    fn after(&self, span: Span) -> futures::future::BoxFuture<'static, ()> {
        let wait =
            jiff::SignedDuration::from_millis(i64::try_from(span.millis()).unwrap_or(i64::MAX));
        let now = self.clock.now();
        self.clock
            .sleep_until(now.checked_add(wait).unwrap_or(jiff::Timestamp::MAX))
    }

    fn overran(&self, error: Option<StepError>) -> StepError {
        let mut message = format!(
            "deadline of {} passed while {} was running",
            self.deadline, self.verb_name
        );
        let evidence = match error {
            Some(error) => {
                message = format!("{message}: {}", error.message);
                error.evidence
            }
            None => Vec::new(),
        };
        StepError {
            message,
            retry: true,
            evidence,
        }
    }

    fn ignored_cancel(&self) -> StepError {
        let message = format!(
            "{} was cancelled and did not return within {}",
            self.verb_name, self.grace
        );
        StepError {
            message,
            retry: true,
            evidence: Vec::new(),
        }
    }

    fn panicked(&self) -> StepError {
        let message = format!(
            "the verb {} panicked: a defect of this program",
            self.verb_name
        );
        StepError {
            message,
            retry: false,
            evidence: Vec::new(),
        }
    }
}

/// Refuses what the store would refuse, before it is in a commit with other steps.
fn bounded(mut outcome: Outcome) -> Result<Outcome, StepError> {
    let refuse = |what: String| {
        Err(StepError {
            message: what,
            retry: false,
            evidence: Vec::new(),
        })
    };
    if outcome.writes.len() > MAX_OPERATIONS - 8 {
        return refuse(format!(
            "the verb wants {} facts recorded, too many at once",
            outcome.writes.len()
        ));
    }
    for write in &outcome.writes {
        let (key, value) = match write {
            Operation::Put { key, value, .. } => (key, value.len()),
            Operation::Delete(key) => (key, 0),
            Operation::DeleteRange(range) => (&range.start, 0),
        };
        if key.is_empty() || key.len() > MAX_KEY || value > MAX_VALUE {
            return refuse(format!(
                "the fact {} does not fit into the store",
                String::from_utf8_lossy(key)
            ));
        }
    }
    let size = serde_json::to_vec(&outcome.output).map_or(usize::MAX, |text| text.len());
    if size > MAX_OUTPUT {
        outcome.output = Value::String(format!("output of {size} bytes left out"));
    }
    Ok(outcome)
}

fn bounded_error(mut error: StepError) -> StepError {
    shorten(&mut error.message, MAX_MESSAGE);
    let surplus = error.evidence.len().saturating_sub(MAX_EVIDENCE_LINES);
    error.evidence.drain(..surplus);
    for line in &mut error.evidence {
        shorten(line, MAX_EVIDENCE_LINE);
    }
    error
}

fn shorten(text: &mut String, limit: usize) {
    if text.len() > limit {
        let end = (0..=limit)
            .rev()
            .find(|&i| text.is_char_boundary(i))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}
