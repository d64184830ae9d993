use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wright_store::{Guard, Operation};

use crate::records::fence_key;
use crate::{JobId, StepError};

/// What a verb is told beside its input.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// The job.
    pub job: JobId,
    /// The step's name.
    pub step: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// How often the job was claimed by an engine, this time included. An engine that takes the job
    /// over has a higher one, so whoever acts on the world can refuse what comes from a predecessor
    /// that does not know yet that it was replaced.
    pub fence: u64,
    /// Whether this is the step's undo.
    pub undo: bool,
    /// When the attempt must have ended. Of one that follows another that is the latest it can be:
    /// its own time, `takes`, begins with that one's end.
    pub deadline: tokio::time::Instant,
    /// How long the attempt may take.
    pub takes: Duration,
    /// The attempt that this one follows, which still ran when this one was begun. The effect must
    /// not begin before that one has succeeded; see [`Verb::follows`].
    pub before: Option<Before>,
    /// Cancelled when the job is, or when a new plan no longer has the step.
    pub cancel: CancellationToken,
    /// Whether the verb said that its effect was not begun.
    pub(crate) spared: Arc<AtomicBool>,
}

/// An attempt that another follows.
#[derive(Debug, Clone)]
pub struct Before {
    pub(crate) effect_key: String,
    pub(crate) deadline: tokio::time::Instant,
    /// Whether it succeeded, once it has ended.
    pub(crate) ended: watch::Receiver<Option<bool>>,
}

impl Before {
    /// The key under which the world records its effect.
    pub fn effect_key(&self) -> &str {
        &self.effect_key
    }

    /// Waits for its end; whether it succeeded.
    pub async fn succeeded(&self) -> bool {
        let mut ended = self.ended.clone();
        // Without a sender the engine gives the job up, and this attempt with it.
        let ended = ended.wait_for(Option::is_some).await;
        ended.is_ok_and(|ended| *ended == Some(true))
    }
}

impl StepContext {
    /// Ends an attempt that follows another, and whose effect was not begun since that one failed:
    /// the step waits again, as if it had not been tried.
    pub fn not_begun(&self) -> StepError {
        self.spared.store(true, Ordering::Relaxed);
        StepError {
            message: "it was not begun, since what it follows failed".to_owned(),
            retry: true,
            evidence: Vec::new(),
        }
    }

    /// The key under which the world records the effect: the same after a crash of the engine,
    /// another for every attempt.
    pub fn effect_key(&self) -> String {
        effect_key(self.job, &self.step, self.attempt, self.undo)
    }

    /// True in the store while no other engine has claimed the job.
    pub(crate) fn unfenced(&self) -> Guard {
        Guard::Value(fence_key(self.job).into(), self.fence.to_string().into())
    }
}

/// What a verb achieved.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For people and reports.
    pub output: Value,
    /// Facts to record in the same commit as the step's success.
    pub writes: Vec<Operation>,
}

/// What a step does. Called again with the same [`StepContext::effect_key`] after a crash: the
/// effect must then happen at most once.
#[async_trait]
pub trait Verb: Send + Sync + 'static {
    /// Does it.
    async fn run(&self, context: &StepContext, input: &Value) -> Result<Outcome, StepError>;

    /// Whether an attempt may be begun while the step before it runs, where that one has this verb
    /// and the same target, and is all that is waited for. It is then for the verb to see that its
    /// effect comes after that one's, and only if that succeeded: [`StepContext::before`]. Whoever
    /// carries both out is told of both at once and needs no word from here in between.
    fn follows(&self, _before: &str) -> bool {
        false
    }
}

pub(crate) fn effect_key(job: JobId, step: &str, attempt: u32, undo: bool) -> String {
    let undo = if undo { "/undo" } else { "" };
    format!("{job}/{step}/{attempt}{undo}")
}
