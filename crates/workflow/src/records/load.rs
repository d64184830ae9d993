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

/// Steps that are put together in one go.
const AT_ONCE: usize = 4_096;
/// What is longer, compressed perhaps, is not read in one go with what comes next, bytes.
const LONG: usize = 4 << 10;

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
    loaded(id, &entries, (meta, meta_revision), revision, Vec::new()).await
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
    loaded(id, &entries, (meta, meta_revision), revision, fresh.steps).await
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
    let loaded = loaded(id, &entries, (meta, meta_revision), revision, Vec::new()).await?;
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
///
/// Seconds of work for hundreds of thousands of steps: others have their turn after each piece.
async fn loaded(
    id: JobId,
    entries: &[Entry],
    (meta, meta_revision): (Meta, Revision),
    revision: Revision,
    mut steps: Vec<Planned>,
) -> Result<Loaded, JobError> {
    let plan = plan_prefix(id, meta.plan_key);
    let (log_start, context_start) = (log_prefix(id), context_prefix(id));
    let mut context = Vec::new();
    let (questions_start, children_start) = (question_prefix(id), child_prefix(id));
    let (mut questions, mut children) = (Vec::new(), Vec::new());
    let (mut statuses, mut next_entry) = (HashMap::<String, Status>::new(), 0);
    for entry in entries {
        if entry.value.len() >= LONG {
            tokio::task::yield_now().await;
        }
        if entry.key.starts_with(plan.as_bytes()) {
            steps.append(&mut from_json(&entry.key, &entry.value)?);
        } else if entry.key.starts_with(context_start.as_bytes()) {
            let piece = unpack(&entry.value).map_err(serde::de::Error::custom);
            context.extend_from_slice(&piece.map_err(|error| unreadable(&entry.key, error))?);
        } else if let Some(number) = entry.key.strip_prefix(log_start.as_bytes()) {
            statuses.extend(from_json::<Logged>(&entry.key, &entry.value)?);
            let number = u64::from_str_radix(&String::from_utf8_lossy(number), 16);
            next_entry = number.map_or(next_entry, |number| number + 1);
        } else if entry.key.starts_with(questions_start.as_bytes()) {
            questions.push(from_json(&entry.key, &entry.value)?);
        } else if entry.key.starts_with(children_start.as_bytes()) {
            children.push(from_json::<Child>(&entry.key, &entry.value)?.job);
        }
    }
    let mut records = Vec::with_capacity(steps.len());
    for (place, planned) in steps.into_iter().enumerate() {
        if place % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let status = statuses.remove(&planned.step.name);
        let mut record = StepRecord::new(planned.step);
        if let Some(status) = status {
            status.apply(&mut record);
        }
        (record.dropped, record.abandoned) = (planned.dropped, planned.abandoned);
        records.push(record);
    }
    children.sort();
    Ok(Loaded {
        meta_revision,
        // What is no longer kept was nothing.
        context: if context.is_empty() {
            Value::Null
        } else {
            from_json(context_start.as_bytes(), &context)?
        },
        meta,
        revision,
        records,
        questions,
        children,
        next_entry,
    })
}
