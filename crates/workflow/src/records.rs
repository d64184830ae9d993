//! How a job lies in the store.
//!
//! | key | value |
//! |---|---|
//! | `job/{id}/meta` | [`Meta`] |
//! | `job/{id}/context/{n}` | the planner's context, in pieces |
//! | `job/{id}/plan/{plan key}/{n}` | [`Planned`] steps in the plan's order, in pieces |
//! | `job/{id}/log/{n}` | what became of steps, oldest first: names, each with its [`Status`] |
//! | `job/{id}/owner` | the engine that walks the job, on its lease |
//! | `job/{id}/fence` | how often the job was claimed |
//! | `job/{id}/question/{step}/{attempt}` | what a step asks, and the answer: [`crate::Question`] |
//! | `job/{id}/child/{step}/{attempt}` | the job that a step submitted: [`Child`] |
//! | `job-subject/{subject}` | the id of the unfinished job of that subject |
//! | `job-list/{complement of id}` | the id; newest first |
//! | `job-draft/{id}` | when a job that takes several commits to submit was begun |
//!
//! All are JSON; long ones, and pieces, are compressed (see [`crate::packed`]).

mod load;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;
use wright_store::{Guard, MAX_OPERATIONS, MAX_VALUE, Operation, Revision};

pub(crate) use self::load::{Loaded, load, load_ended, load_fresh, load_meta, load_plan, read_all};
use crate::packed::{pack, unpack};
use crate::plan::MAX_STEP;
use crate::{
    JobError, JobEvent, JobId, JobSummary, PlanError, Step, StepError, StepRecord, StepState,
};

/// Pieces of a plan or context are about this large, bytes.
const PIECE: usize = 256 << 10;
/// A commit carries about this much, bytes (an etcd request may have 1.5 MiB).
const COMMIT: usize = 1 << 20;
/// An entry of the log has at most this much, bytes, unless one status alone has more: a value of the
/// store may have twice as much.
const ENTRY: usize = MAX_VALUE / 2;
/// What is round an entry's statuses, and between two.
const BRACKETS: usize = 2;

pub(crate) const SUBJECTS: &str = "job-subject/";
pub(crate) const DRAFTS: &str = "job-draft/";
pub(crate) const LIST: &str = "job-list/";

pub(crate) fn job_prefix(id: JobId) -> String {
    format!("job/{id}/")
}

pub(crate) fn meta_key(id: JobId) -> String {
    format!("job/{id}/meta")
}

pub(crate) fn owner_key(id: JobId) -> String {
    format!("job/{id}/owner")
}

pub(crate) fn fence_key(id: JobId) -> String {
    format!("job/{id}/fence")
}

pub(crate) fn log_prefix(id: JobId) -> String {
    format!("job/{id}/log/")
}

pub(crate) fn log_key(id: JobId, number: u64) -> String {
    format!("job/{id}/log/{number:016x}")
}

pub(crate) fn plan_prefix(id: JobId, plan: Uuid) -> String {
    format!("{}{plan}/", plans_prefix(id))
}

pub(crate) fn plans_prefix(id: JobId) -> String {
    format!("job/{id}/plan/")
}

pub(crate) fn context_prefix(id: JobId) -> String {
    format!("job/{id}/context/")
}

pub(crate) fn question_key(id: JobId, step: &str, attempt: u32) -> String {
    format!("{}{step}/{attempt}", question_prefix(id))
}

pub(crate) fn question_prefix(id: JobId) -> String {
    format!("job/{id}/question/")
}

pub(crate) fn child_key(id: JobId, step: &str, attempt: u32) -> String {
    format!("{}{step}/{attempt:08}", child_prefix(id))
}

pub(crate) fn child_prefix(id: JobId) -> String {
    format!("job/{id}/child/")
}

pub(crate) fn subject_key(subject: &str) -> String {
    format!("{SUBJECTS}{subject}")
}

pub(crate) fn list_key(id: JobId) -> String {
    format!("{LIST}{:032x}", !id.0.as_u128())
}

pub(crate) fn draft_key(id: JobId) -> String {
    format!("{DRAFTS}{id}")
}

/// What is written of a job when it, and not one of its steps, changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    #[serde(flatten)]
    pub summary: JobSummary,
    /// Where the pieces of the newest plan are.
    pub plan_key: Uuid,
    /// Who asked the job to end, and why.
    pub cancel: Option<JobEvent>,
    /// Whether an operator's retry is yet to be applied to the steps.
    pub resume: bool,
    /// What operators ordered of single steps, and is yet to be applied to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<JobEvent>,
    /// Whether everything is taken back, also what is complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    pub history: Vec<JobEvent>,
}

/// The job that an attempt at a step submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Child {
    pub job: JobId,
    /// When the attempt has waited long enough.
    pub until: Timestamp,
}

/// A step in a plan's pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Planned {
    #[serde(with = "crate::step::shared")]
    pub step: Arc<Step>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub abandoned: bool,
}

impl From<Step> for Planned {
    fn from(step: Step) -> Self {
        Planned {
            step: step.into(),
            dropped: false,
            abandoned: false,
        }
    }
}

/// What became of a step: a [`StepRecord`] without its step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Where it is.
    pub state: StepState,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) attempts: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    failed_attempts: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    undo_attempts: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    forgiven: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    undo_forgiven: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ready_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<StepError>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    output: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waived: Option<JobEvent>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // what serde hands over
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A job that was just submitted: whoever walks it here, or looks on, need not read it.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub summary: JobSummary,
    pub plan_key: Uuid,
    pub steps: Vec<Planned>,
    /// A revision before the one that made it visible.
    pub since: Revision,
}

/// One entry of a job's log.
pub(crate) type Logged = Vec<(String, Status)>;

impl Status {
    pub(crate) fn of(record: &StepRecord) -> Self {
        Status {
            state: record.state,
            attempts: record.attempts,
            failed_attempts: record.failed_attempts,
            undo_attempts: record.undo_attempts,
            forgiven: record.forgiven,
            undo_forgiven: record.undo_forgiven,
            ready_at: record.ready_at,
            started_at: record.started_at,
            attempt_at: record.attempt_at,
            next_at: record.next_at,
            ended_at: record.ended_at,
            error: record.error.clone(),
            output: record.output.clone(),
            waived: record.waived.clone(),
        }
    }

    /// Makes a record say this of its step.
    pub fn apply(self, record: &mut StepRecord) {
        record.state = self.state;
        record.attempts = self.attempts;
        record.failed_attempts = self.failed_attempts;
        record.undo_attempts = self.undo_attempts;
        record.forgiven = self.forgiven;
        record.undo_forgiven = self.undo_forgiven;
        record.ready_at = self.ready_at;
        record.started_at = self.started_at;
        record.attempt_at = self.attempt_at;
        record.next_at = self.next_at;
        record.ended_at = self.ended_at;
        record.error = self.error;
        record.output = self.output;
        record.waived = self.waived;
    }
}

pub(crate) fn to_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Vec<u8>, JobError> {
    serde_json::to_vec(value).map_err(|source| JobError::Record {
        key: key.to_owned(),
        source,
    })
}

pub(crate) fn from_json<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, JobError> {
    let json = unpack(value).map_err(|error| unreadable(key, serde::de::Error::custom(error)))?;
    serde_json::from_slice(&json).map_err(|error| unreadable(key, error))
}

fn unreadable(key: &[u8], source: serde_json::Error) -> JobError {
    JobError::Record {
        key: String::from_utf8_lossy(key).into_owned(),
        source,
    }
}

pub(crate) fn put_json<T: Serialize + ?Sized>(
    key: String,
    value: &T,
) -> Result<Operation, JobError> {
    let value = to_json(&key, value)?;
    Ok(Operation::put(key, value))
}

/// The operations that write a job's context in pieces.
pub(crate) fn context_pieces(id: JobId, context: &Value) -> Result<Vec<Operation>, JobError> {
    let prefix = context_prefix(id);
    let text = to_json(&prefix, context)?;
    let piece = |(n, piece): (usize, &[u8])| {
        Operation::put(format!("{prefix}{n:06}"), pack(piece.to_vec()))
    };
    Ok(text.chunks(PIECE).enumerate().map(piece).collect())
}

/// The operations that write a plan in pieces. A step that is too large is refused.
pub(crate) fn plan_pieces(
    id: JobId,
    plan: Uuid,
    steps: &[Planned],
) -> Result<Vec<Operation>, JobError> {
    let prefix = plan_prefix(id, plan);
    let mut operations = Vec::new();
    let mut piece = vec![b'['];
    for (i, planned) in steps.iter().enumerate() {
        let text = to_json(&prefix, planned)?;
        if text.len() > MAX_STEP {
            return Err(JobError::Plan(PlanError::TooLarge {
                step: planned.step.name.clone(),
                size: text.len(),
                limit: MAX_STEP,
            }));
        }
        piece.extend(text);
        let last = i + 1 == steps.len();
        if last || piece.len() >= PIECE {
            piece.push(b']');
            operations.push(Operation::put(
                format!("{prefix}{:06}", operations.len()),
                pack(piece),
            ));
            piece = vec![b'['];
        } else {
            piece.push(b',');
        }
    }
    Ok(operations)
}

/// The most operations in a commit: with room for the guards beside them.
const COMMIT_OPERATIONS: usize = MAX_OPERATIONS - 4;

/// Cuts groups of operations into commits within the store's limits. A group is never cut.
pub(crate) fn into_commits(
    groups: impl IntoIterator<Item = Vec<Operation>>,
) -> Vec<Vec<Operation>> {
    let mut commits: Vec<Vec<Operation>> = Vec::new();
    let mut size = 0;
    for group in groups {
        let grown = group.iter().map(size_of_operation).sum::<usize>();
        match commits.last_mut() {
            Some(last)
                if last.len() + group.len() <= COMMIT_OPERATIONS && size + grown <= COMMIT =>
            {
                last.extend(group);
                size += grown;
            }
            _ if group.is_empty() => {}
            _ => {
                commits.push(group);
                size = grown;
            }
        }
    }
    commits
}

/// What the driver decided in one turn, cut into commits within the store's limits: an entry of the
/// job's log in each, and beside it what the steps that are in it want recorded.
pub(crate) struct Turn {
    id: JobId,
    next_entry: u64,
    commits: Vec<Commit>,
    entry: Vec<u8>,
    writes: Vec<Operation>,
    size: usize,
}

/// One commit of a turn.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    pub operations: Vec<Operation>,
    /// The log's entry that is in it, which is new: a commit that was thought lost and comes late
    /// replaces none.
    pub entry: Option<String>,
}

impl Turn {
    /// Nothing yet; its first entry of the log has this number.
    pub fn new(id: JobId, next_entry: u64) -> Self {
        Turn {
            id,
            next_entry,
            commits: Vec::new(),
            entry: Vec::new(),
            writes: Vec::new(),
            size: 0,
        }
    }

    /// What became of one step, with what it wants recorded: never in two commits.
    pub fn add(&mut self, record: &StepRecord, writes: Vec<Operation>) -> Result<(), JobError> {
        let name = &record.step.name;
        let status = to_json(name, &(name, Status::of(record)))?;
        let grown = status.len() + writes.iter().map(size_of_operation).sum::<usize>();
        let full = self.writes.len() + writes.len() + 1 > COMMIT_OPERATIONS
            || self.entry.len() + status.len() + BRACKETS > ENTRY;
        if full || self.size + grown > COMMIT {
            self.close();
        }
        self.entry
            .push(if self.entry.is_empty() { b'[' } else { b',' });
        self.entry.extend(status);
        self.writes.extend(writes);
        self.size += grown;
        Ok(())
    }

    fn close(&mut self) {
        if self.entry.is_empty() {
            return;
        }
        let mut entry = std::mem::take(&mut self.entry);
        entry.push(b']');
        let key = log_key(self.id, self.next_entry);
        let mut operations = vec![Operation::put(key.clone(), pack(entry))];
        operations.append(&mut self.writes);
        let entry = Some(key);
        self.commits.push(Commit { operations, entry });
        (self.next_entry, self.size) = (self.next_entry + 1, 0);
    }

    /// The commits, in order, and the number of the log's next entry. `last` belongs together, and is
    /// in the last of them.
    pub fn commits(mut self, last: Vec<Operation>) -> (Vec<Commit>, u64) {
        let grown = last.iter().map(size_of_operation).sum::<usize>();
        let full = self.writes.len() + last.len() + 1 > COMMIT_OPERATIONS;
        let beside = !full && self.size + grown <= COMMIT;
        self.close();
        match self.commits.last_mut() {
            Some(commit) if beside => commit.operations.extend(last),
            _ if last.is_empty() => {}
            _ => self.commits.push(Commit {
                operations: last,
                entry: None,
            }),
        }
        (self.commits, self.next_entry)
    }
}

fn size_of_operation(operation: &Operation) -> usize {
    match operation {
        Operation::Put { key, value, .. } => key.len() + value.len(),
        Operation::Delete(key) => key.len(),
        Operation::DeleteRange(range) => range.start.len(),
    }
}

/// The guard that nobody else wrote the job's meta.
pub(crate) fn meta_guard(id: JobId, revision: Revision) -> Guard {
    Guard::Modified(meta_key(id).into(), revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::step;

    /// The entries of a turn in which so many steps changed, each with an output of so many bytes.
    fn entries(steps: usize, output: usize) -> Vec<Vec<u8>> {
        let mut turn = Turn::new(JobId(Uuid::nil()), 7);
        for number in 0..steps {
            let mut record = StepRecord::new(step(&format!("s{number}"), &[]));
            record.output = Value::String("x".repeat(output));
            turn.add(&record, Vec::new()).unwrap();
        }
        let (commits, next) = turn.commits(Vec::new());
        assert_eq!(next, 7 + commits.len() as u64);
        let value = |commit: Commit| match commit.operations.into_iter().next() {
            Some(Operation::Put { value, .. }) => value.to_vec(),
            other => panic!("{other:?}"),
        };
        commits.into_iter().map(value).collect()
    }

    #[test]
    fn however_many_steps_change_in_a_turn_each_entry_of_the_log_fits_into_a_value() {
        for (steps, output) in [(1, 0), (50_000, 0), (20, 128 << 10)] {
            let entries = entries(steps, output);
            assert!(entries.iter().all(|entry| entry.len() <= MAX_VALUE));
            let read = entries.iter().flat_map(|entry| {
                let logged: Logged = from_json(b"entry", entry).unwrap();
                logged.into_iter().map(|(name, _)| name)
            });
            assert!(read.eq((0..steps).map(|number| format!("s{number}"))));
        }
    }
}
