use wright_store::StoreError;

use crate::{JobId, JobState};

/// Why a plan is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A name that is empty or longer than [`MAX_NAME`](crate::MAX_NAME) bytes.
    #[error("step name {0:?} is empty or longer than 512 bytes")]
    Name(String),
    /// Two steps of one name.
    #[error("two steps are named {0}")]
    Duplicate(String),
    /// A need that is no step of the plan.
    #[error("step {step} needs {need}, which is not in the plan")]
    UnknownNeed {
        /// The step.
        step: String,
        /// What it needs.
        need: String,
    },
    /// Steps that wait for each other.
    #[error("steps wait for each other: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// A verb that this engine does not have.
    #[error("step {step} uses the verb {verb}, which this engine does not have")]
    UnknownVerb {
        /// The step.
        step: String,
        /// The verb.
        verb: String,
    },
    /// A step of the engine's own verbs whose input does not say what it must.
    #[error("step {step}: the input of the verb {verb} is wrong: {reason}")]
    Input {
        /// The step.
        step: String,
        /// The verb.
        verb: String,
        /// What is wrong.
        reason: String,
    },
    /// A step that does not fit into one value of the store.
    #[error("step {step} is {size} bytes; the limit is {limit}")]
    TooLarge {
        /// The step.
        step: String,
        /// Its size as JSON.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
}

/// Why the engine does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The plan is wrong; nothing was recorded.
    #[error("the plan is refused: {0}")]
    Plan(#[from] PlanError),
    /// Another job of the same subject has not ended.
    #[error("job {other} on {subject} has not ended")]
    Busy {
        /// What both are about.
        subject: String,
        /// The other job.
        other: JobId,
    },
    /// No such job.
    #[error("there is no job {0}")]
    Unknown(JobId),
    /// The job's plan is no longer the one the caller knows: look again.
    #[error("job {job} is at plan {found}, not {expected}")]
    PlanMoved {
        /// The job.
        job: JobId,
        /// The plan the caller knows.
        expected: u64,
        /// The plan it has.
        found: u64,
    },
    /// The job's state does not allow it.
    #[error("job {job} is {state:?}: {why}")]
    State {
        /// The job.
        job: JobId,
        /// Where it is.
        state: JobState,
        /// What would have to be.
        why: &'static str,
    },
    /// The step's state does not allow it.
    #[error("step {step} of job {job}: {why}")]
    Step {
        /// The job.
        job: JobId,
        /// The step.
        step: String,
        /// What would have to be.
        why: &'static str,
    },
    /// Somebody steps in and does not say why.
    #[error("say why: what people do to jobs is kept with its reason")]
    NoReason,
    /// A record cannot be read or written.
    #[error("the record {key} of a job cannot be read")]
    Record {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
