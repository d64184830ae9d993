use async_trait::async_trait;
use serde_json::Value;
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
    /// When the attempt must have ended.
    pub deadline: tokio::time::Instant,
    /// Cancelled when the job is, or when a new plan no longer has the step.
    pub cancel: CancellationToken,
}

impl StepContext {
    /// The key under which the world records the effect: the same after a crash of the engine,
    /// another for every attempt.
    pub fn effect_key(&self) -> String {
        let undo = if self.undo { "/undo" } else { "" };
        format!("{}/{}/{}{undo}", self.job, self.step, self.attempt)
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
}
