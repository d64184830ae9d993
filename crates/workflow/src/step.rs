use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;
use wright_model::Span;

use crate::Question;

/// Which job. Time-ordered (UUID version 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::str::FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Ok(JobId(text.parse()?))
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the job and stable over plans: what keeps its name keeps its state.
    pub name: String,
    /// What does it.
    pub verb: String,
    /// The verb's input.
    pub input: Value,
    /// Names of the steps that must have succeeded before it may start.
    pub needs: Vec<String>,
    /// What is undone together: when a step fails for good, the effects of its scope's steps are
    /// undone in reverse order. An instance that is made, an app that is updated.
    pub scope: String,
    /// The host or other target it acts on; for limits and for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// For progress: the layer of the site (0: what needs nothing).
    pub layer: u32,
    /// How long one attempt may take.
    pub deadline: Span,
    /// What happens when an attempt fails.
    pub retry: Retry,
    /// How its effect is undone; `None`: nothing to undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// How long it is expected to take, milliseconds; for the expected critical path and time left.
    pub expected_ms: u64,
}

/// A step that is shared is written as any other.
pub(crate) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Step;

    pub fn serialize<S: Serializer>(step: &Arc<Step>, serializer: S) -> Result<S::Ok, S::Error> {
        step.as_ref().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(reader: D) -> Result<Arc<Step>, D::Error> {
        Step::deserialize(reader).map(Arc::new)
    }
}

/// How often and how fast a failed attempt is made again: 1 s doubling, capped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, from 1.
    pub attempts: u32,
    /// The wait before the second attempt.
    pub first: Span,
    /// The longest wait.
    pub cap: Span,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 4,
            first: Span::from_secs(1),
            cap: Span::from_secs(30),
        }
    }
}

/// What undoes a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// The verb.
    pub verb: String,
    /// Its input.
    pub input: Value,
}

/// What a job is asked to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The sort of job, such as `site-up`.
    pub kind: String,
    /// What it is about, such as `site/shop`. At most one unfinished job per subject.
    pub subject: String,
    /// One line for people.
    pub title: String,
    /// Who asked for it.
    pub actor: String,
    /// With whom it shares: tenants take turns where slots are short. `None`: its subject, or
    /// `default` where that is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What the planner needs to make the plan anew; the engine does not look into it.
    pub context: Value,
    /// The graph.
    pub steps: Vec<Step>,
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// Something it needs has not succeeded.
    Waiting,
    /// An attempt runs.
    Running,
    /// An attempt failed; the next comes when its back-off is over.
    Backoff,
    /// Done.
    Succeeded,
    /// Every attempt failed.
    Failed,
    /// Will not run (any more): something it needs failed, the job was cancelled before it started,
    /// a later plan dropped it before it was done, or an operator waived it.
    Skipped,
    /// Its effect is being taken back.
    Undoing,
    /// Its effect was taken back.
    Undone,
    /// Taking back failed: a person must look.
    Stuck,
}

/// A step and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The plan's step; shared with whoever carries it out.
    #[serde(with = "shared")]
    pub step: Arc<Step>,
    /// Where it is.
    pub state: StepState,
    /// Attempts begun.
    pub attempts: u32,
    /// Attempts that failed.
    #[serde(default)]
    pub failed_attempts: u32,
    /// Attempts at its undo begun.
    #[serde(default)]
    pub undo_attempts: u32,
    /// Attempts made before an operator's last retry: they count no more against the policy.
    #[serde(default)]
    pub forgiven: u32,
    /// The same for attempts at its undo.
    #[serde(default)]
    pub undo_forgiven: u32,
    /// When everything it needs had succeeded.
    pub ready_at: Option<Timestamp>,
    /// When the first attempt began.
    pub started_at: Option<Timestamp>,
    /// When the last attempt began.
    #[serde(default)]
    pub attempt_at: Option<Timestamp>,
    /// When the next attempt comes: in [`StepState::Backoff`], and between attempts at its undo.
    #[serde(default)]
    pub next_at: Option<Timestamp>,
    /// When it ended for good.
    pub ended_at: Option<Timestamp>,
    /// The error of the last failed attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// What the verb answered.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// Whether a later plan no longer has this step.
    #[serde(default)]
    pub dropped: bool,
    /// Whether it was dropped together with what it acted on: its effect is never undone.
    #[serde(default)]
    pub abandoned: bool,
    /// Who decided that the job goes on as if it had succeeded, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<JobEvent>,
}

impl StepRecord {
    /// A step that has not begun.
    pub fn new(step: impl Into<Arc<Step>>) -> Self {
        StepRecord {
            step: step.into(),
            state: StepState::Waiting,
            attempts: 0,
            failed_attempts: 0,
            undo_attempts: 0,
            forgiven: 0,
            undo_forgiven: 0,
            ready_at: None,
            started_at: None,
            attempt_at: None,
            next_at: None,
            ended_at: None,
            error: None,
            output: Value::Null,
            dropped: false,
            abandoned: false,
            waived: None,
        }
    }

    /// Whether what needs this step may start: it has succeeded, or an operator waived it.
    pub fn is_satisfied(&self) -> bool {
        self.state == StepState::Succeeded || self.waived.is_some()
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// One line: the cause.
    pub message: String,
    /// Whether the same again may help.
    pub retry: bool,
    /// Lines that show it (log, output).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Steps run or wait.
    Running,
    /// A step failed for good; effects are taken back.
    Undoing,
    /// Every step succeeded.
    Succeeded,
    /// A step failed; what was half-made was taken back.
    Failed,
    /// Somebody cancelled it; what was half-made was taken back.
    Cancelled,
    /// Taking back failed: a person must look.
    Stuck,
}

impl JobState {
    /// Whether nothing more will happen by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, JobState::Running | JobState::Undoing)
    }
}

/// A job without its steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobSummary {
    /// Which.
    #[schema(value_type = String, format = "uuid")]
    pub id: JobId,
    /// See [`JobSpec`].
    pub kind: String,
    /// See [`JobSpec`].
    pub subject: String,
    /// See [`JobSpec`].
    pub title: String,
    /// See [`JobSpec`].
    pub actor: String,
    /// See [`JobSpec`].
    #[serde(default)]
    pub tenant: String,
    /// The step of another job that waits for this one's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<JobParent>,
    /// Where it is.
    pub state: JobState,
    /// Who paused it, and why. What runs goes on; nothing more starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<JobEvent>,
    /// The number of its plan, from 1; raised by every amendment.
    pub plan: u64,
    /// When it was submitted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Why it failed, was cancelled or is stuck: the one cause.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// Whether it is so old that its steps are no longer kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
}

/// Which step a job was submitted by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobParent {
    /// Its job.
    #[schema(value_type = String, format = "uuid")]
    pub job: JobId,
    /// Its name.
    pub step: String,
}

/// A job with its steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// The job.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// See [`JobSpec`].
    pub context: Value,
    /// In the plan's order; steps that a later plan dropped come last.
    pub steps: Vec<StepRecord>,
    /// What people and planners did to it, oldest first.
    #[serde(default)]
    pub history: Vec<JobEvent>,
    /// What its steps ask people or the world, answered or not, in the order of steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// The jobs that its steps submitted, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<JobSummary>,
}

/// Something somebody did to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobEvent {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: JobAction,
    /// The step it was done to, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Why, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What can be done to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobAction {
    /// Its plan was replaced.
    Amend,
    /// It was told to end.
    Cancel,
    /// What had failed was begun again: the job, or one step.
    Retry,
    /// Nothing more was to start.
    Pause,
    /// It was to go on.
    Resume,
    /// A step was waived: the job goes on as if it had succeeded.
    Skip,
    /// A question of a step was answered with yes.
    Approve,
    /// A question of a step was answered with no.
    Refuse,
    /// What it did was to be taken back, also where it had succeeded.
    Undo,
}
