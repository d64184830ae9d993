//! How a job is read from the store.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;
use wright_store::{Entry, Range, Revision, Store, StoreError};

use super::{
    Child, Fresh, Logged, Meta, Planned, Status, child_prefix, context_prefix, from_json,
    job_prefix, log_prefix, meta_key, plan_prefix, plans_prefix, question_prefix, unreadable,
};
use crate::ended::EndedJob;
use crate::packed::unpack;
use crate::{JobError, JobId, JobView, Question, StepRecord};

/// A job as it was at one revision.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub meta: Meta,
    pub meta_revision: Revision,
    pub revision: Revision,
    pub context: Value,
    pub records: Vec<StepRecord>,
    pub questions: Vec<Question>,
    pub children: Vec<JobId>,
    /// The number of the log's next entry.
    pub next_entry: u64,
}

impl Loaded {
    /// What people see. Children that are no longer kept are left out.
    pub async fn view(self, store: &dyn Store) -> Result<JobView, JobError> {
        let mut children = Vec::with_capacity(self.children.len());
        for child in self.children {
            match load_meta(store, child).await {
                Ok((meta, _)) => children.push(meta.summary),
                Err(JobError::Unknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(JobView {
            summary: self.meta.summary,
            context: self.context,
            steps: self.records,
            history: self.meta.history,
            questions: self.questions,
            children,
        })
    }
}

/// Everything in a range, at one revision.
pub(crate) async fn read_all(
    store: &dyn Store,
    range: Range,
    at: Option<Revision>,
) -> Result<(Vec<Entry>, Revision), StoreError> {
    const PAGE: usize = 2_000;
    let mut page = store.range(range.clone(), PAGE, at).await?;
    let revision = page.revision;
    let mut entries = page.entries;
    while page.more {
        let Some(last) = entries.last() else { break };
        let rest = range.clone().after(&last.key);
        page = store.range(rest, PAGE, Some(revision)).await?;
        entries.append(&mut page.entries);
    }
    Ok((entries, revision))
}

/// A job's [`Meta`] and the revision that wrote it.
pub(crate) async fn load_meta(store: &dyn Store, id: JobId) -> Result<(Meta, Revision), JobError> {
    let entry = store
        .get(meta_key(id).as_bytes())
        .await?
        .ok_or(JobError::Unknown(id))?;
    Ok((from_json(&entry.key, &entry.value)?, entry.modified))
}

/// The steps of one plan.
pub(crate) async fn load_plan(
    store: &dyn Store,
    id: JobId,
    plan: Uuid,
) -> Result<Vec<Planned>, JobError> {
    let (entries, _) = read_all(store, Range::prefix(plan_prefix(id, plan)), None).await?;
    let mut steps = Vec::new();
    for entry in entries {
        steps.append(&mut from_json(&entry.key, &entry.value)?);
    }
    Ok(steps)
}

/// A whole job, at one revision.
pub(crate) async fn load(store: &dyn Store, id: JobId) -> Result<Loaded, JobError> {
    let (entries, revision) = read_all(store, Range::prefix(job_prefix(id)), None).await?;
    let (meta, meta_revision) = meta_among(id, &entries)?;
    loaded(id, entries, (meta, meta_revision), revision, Vec::new()).await
}

/// A whole job whose plan may be at hand: then its pieces are not read.
pub(crate) async fn load_fresh(
    store: &dyn Store,
    id: JobId,
    fresh: Fresh,
) -> Result<Loaded, JobError> {
    let (entries, revision) = read_without(store, id, &[plans_prefix(id)]).await?;
    let (meta, meta_revision) = meta_among(id, &entries)?;
    if meta.plan_key != fresh.plan_key {
        return load(store, id).await;
    }
    loaded(id, entries, (meta, meta_revision), revision, fresh.steps).await
}

/// A whole job whose steps are at hand as they ended; `None` where it was begun again since.
pub(crate) async fn load_ended(
    store: &dyn Store,
    ended: EndedJob,
) -> Result<Option<Loaded>, JobError> {
    let id = ended.id;
    let known = [log_prefix(id), plans_prefix(id)];
    let (entries, revision) = read_without(store, id, &known).await?;
    let (meta, meta_revision) = meta_among(id, &entries)?;
    if meta_revision != ended.meta_revision {
        return Ok(None);
    }
    let loaded = loaded(id, entries, (meta, meta_revision), revision, Vec::new()).await?;
    Ok(Some(Loaded {
        records: ended.records,
        ..loaded
    }))
}

/// What there is of a job but what begins with these prefixes, which are in order; at one revision.
async fn read_without(
    store: &dyn Store,
    id: JobId,
    prefixes: &[String],
) -> Result<(Vec<Entry>, Revision), StoreError> {
    let job = Range::prefix(job_prefix(id));
    let (mut entries, mut at, mut start) = (Vec::new(), None, job.start);
    let skipped = prefixes.iter().map(|prefix| Range::prefix(prefix.clone()));
    let ends = skipped.map(|range| (Some(range.start), range.end.unwrap_or_default()));
    for (end, next) in ends.chain([(job.end, Bytes::new())]) {
        let (some, revision) = read_all(store, Range { start, end }, at).await?;
        entries.extend(some);
        (at, start) = (Some(revision), next);
    }
    Ok((entries, at.unwrap_or_default()))
}

fn meta_among(id: JobId, entries: &[Entry]) -> Result<(Meta, Revision), JobError> {
    let name = meta_key(id);
    let entry = entries.iter().find(|entry| entry.key == name.as_bytes());
    let entry = entry.ok_or(JobError::Unknown(id))?;
    Ok((from_json(&entry.key, &entry.value)?, entry.modified))
}

/// A job from what is in the store; `steps` are its plan's where its pieces are not among that.
async fn loaded(
    id: JobId,
    entries: Vec<Entry>,
    (meta, meta_revision): (Meta, Revision),
    revision: Revision,
    mut steps: Vec<Planned>,
) -> Result<Loaded, JobError> {
    let (plan_start, log_start) = (plan_prefix(id, meta.plan_key), log_prefix(id));
    let of_plan = |entry: &Entry| entry.key.starts_with(plan_start.as_bytes());
    let of_log = |entry: &Entry| entry.key.starts_with(log_start.as_bytes());
    let (pieces, entries): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(of_plan);
    let (log, entries): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(of_log);
    let planned = apart(move || {
        for piece in &pieces {
            steps.append(&mut from_json(&piece.key, &piece.value)?);
        }
        Ok(steps)
    });
    let (last, statuses) = (log.last().cloned(), apart(move || statuses(&log)));
    let (steps, statuses) = tokio::try_join!(planned, statuses)?;
    let records = apart(move || Ok(records(steps, statuses))).await?;
    let mut context = Vec::new();
    let (mut questions, mut children) = (Vec::new(), Vec::new());
    for Entry { key, value, .. } in &entries {
        if key.starts_with(context_prefix(id).as_bytes()) {
            let piece = unpack(value).map_err(serde::de::Error::custom);
            context.extend_from_slice(&piece.map_err(|error| unreadable(key, error))?);
        } else if key.starts_with(question_prefix(id).as_bytes()) {
            questions.push(from_json(key, value)?);
        } else if key.starts_with(child_prefix(id).as_bytes()) {
            children.push(from_json::<Child>(key, value)?.job);
        }
    }
    children.sort();
    Ok(Loaded {
        meta_revision,
        // What is no longer kept was nothing.
        context: if context.is_empty() {
            Value::Null
        } else {
            from_json(context_prefix(id).as_bytes(), &context)?
        },
        meta,
        revision,
        records,
        questions,
        children,
        next_entry: last.map_or(0, |last| number(&last.key[log_start.len()..]) + 1),
    })
}

/// Seconds of work for hundreds of thousands of steps: on a thread of its own, for after a restart
/// thousands of tasks stand in one line for the others.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JobError> + Send + 'static,
) -> Result<T, JobError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::Engine(format!("a job cannot be read: {error}")))?
}

/// What became of steps, from the entries of a log.
fn statuses(log: &[Entry]) -> Result<HashMap<String, Status>, JobError> {
    let mut statuses = HashMap::new();
    for entry in log {
        statuses.extend(from_json::<Logged>(&entry.key, &entry.value)?);
    }
    Ok(statuses)
}

/// The number of an entry of a log, as it stands in its key.
fn number(text: &[u8]) -> u64 {
    u64::from_str_radix(&String::from_utf8_lossy(text), 16).unwrap_or_default()
}

fn records(steps: Vec<Planned>, mut statuses: HashMap<String, Status>) -> Vec<StepRecord> {
    let record = |planned: Planned| {
        let status = statuses.remove(&planned.step.name);
        let mut record = StepRecord::new(planned.step);
        if let Some(status) = status {
            status.apply(&mut record);
        }
        (record.dropped, record.abandoned) = (planned.dropped, planned.abandoned);
        record
    };
    steps.into_iter().map(record).collect()
}
