use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::future::{Either, select};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wright_model::Span;
use wright_store::{MAX_KEY, MAX_OPERATIONS, MAX_VALUE, Operation};

use crate::inject::Injected;
use crate::plan::only_waits;
use crate::verb::effect_key;
use crate::{Before, Clock, JobId, Outcome, Step, StepContext, StepError, Verb};

/// The largest output that is recorded, bytes of JSON.
const MAX_OUTPUT: usize = 128 << 10;
const MAX_MESSAGE: usize = 4_000;
const MAX_EVIDENCE_LINES: usize = 100;
const MAX_EVIDENCE_LINE: usize = 1_000;

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself, its deadline or its cancellation.
    Done(Result<Outcome, StepError>),
    /// With the attempt that it follows, or cancelled before that had ended.
    Recalled {
        /// Whether its effect was certainly not begun.
        spared: bool,
    },
}

/// The attempt at a step, by its index in the walk, has ended.
pub(crate) type Ended = (usize, End);

/// One attempt at a step or at its undo.
pub(crate) struct Attempt {
    pub index: usize,
    pub verb: Option<Arc<dyn Verb>>,
    pub grace: Span,
    pub clock: Arc<dyn Clock>,
    pub job: JobId,
    pub step: Arc<Step>,
    pub attempt: u32,
    pub fence: u64,
    pub undo: bool,
    pub cancel: CancellationToken,
    /// When it must have ended, at the latest.
    pub until: Instant,
    /// The one that it follows.
    pub before: Option<Before>,
    /// Who wants to know that it ended, where others follow it.
    pub ended: Option<watch::Sender<Option<bool>>>,
    /// What a test wants to happen.
    pub injected: Injected,
}

impl Attempt {
    /// See [`StepContext::effect_key`].
    pub fn effect_key(&self) -> String {
        effect_key(self.job, &self.step.name, self.attempt, self.undo)
    }

    /// The name of the verb that does it, or takes it back, and its input.
    fn what(&self) -> (&str, &Value) {
        let step = &self.step;
        match &step.undo {
            Some(undo) if self.undo => (&undo.verb, &undo.input),
            _ => (&step.verb, &step.input),
        }
    }

    /// Runs it, and tells how it ended: what follows it tells that later.
    pub async fn tell(mut self, told: mpsc::UnboundedSender<Ended>) {
        let (index, ended) = (self.index, self.ended.take());
        let end = self.end().await;
        let well = matches!(end, End::Done(Ok(_)));
        // Where nobody is told, the job is given up.
        let _ = told.send((index, end));
        if let Some(ended) = ended {
            ended.send_replace(Some(well));
        }
    }

    async fn end(&self) -> End {
        let spared = Arc::new(AtomicBool::new(false));
        let result = self.run(spared.clone()).await;
        let Some(before) = &self.before else {
            return End::Done(result);
        };
        let recalled = || End::Recalled {
            spared: spared.load(Ordering::Relaxed),
        };
        tokio::select! {
            biased;
            well = before.succeeded() => match result {
                Err(_) if spared.load(Ordering::Relaxed) => recalled(),
                result if well => End::Done(result),
                _ => recalled(),
            },
            () = self.cancel.cancelled() => recalled(),
        }
    }

    /// Runs it to its end, its deadline or its cancellation; what it answers can be recorded.
    async fn run(&self, spared: Arc<AtomicBool>) -> Result<Outcome, StepError> {
        let (name, input) = self.what();
        let Some(verb) = self.verb.clone() else {
            let message = format!("this engine has no verb {name}");
            return Err(StepError {
                message,
                retry: false,
                evidence: Vec::new(),
            });
        };
        let context = StepContext {
            job: self.job,
            step: self.step.name.clone(),
            attempt: self.attempt,
            fence: self.fence,
            undo: self.undo,
            deadline: self.until,
            takes: self.step.deadline.duration(),
            before: self.before.clone(),
            cancel: self.cancel.clone(),
            spared,
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
                let _ = verb.run(&context, input).await;
            }
            verb.run(&context, input).await
        };
        let effect = AssertUnwindSafe(effect).catch_unwind();
        let effect =
            std::pin::pin!(async { effect.await.unwrap_or_else(|_| Err(self.panicked())) });
        if only_waits(name) {
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

    /// Whether the deadline passed (`true`), or somebody cancelled or what it follows failed.
    async fn stop(&self) -> bool {
        let cancelled = std::pin::pin!(self.cancel.cancelled());
        let passed = std::pin::pin!(async {
            match &self.before {
                Some(before) if !before.succeeded().await => false,
                _ => {
                    self.after(self.step.deadline).await;
                    true
                }
            }
        });
        match select(cancelled, passed).await {
            Either::Left(_) => false,
            Either::Right((passed, _)) => passed,
        }
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
            self.step.deadline,
            self.what().0
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
            self.what().0,
            self.grace
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
            self.what().0
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
