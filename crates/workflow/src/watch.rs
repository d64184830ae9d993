use std::collections::HashSet;

use futures::Stream;
use serde::{Deserialize, Serialize};
use wright_store::{Changes, Range, Revision, SharedStore, StoreError, Watch};

use crate::records::{
    Logged, Meta, Status, from_json, job_prefix, load, load_meta, log_prefix, meta_key,
};
use crate::{JobError, JobId, JobOutline, JobSummary, JobView};

/// One message of a [`JobWatch`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobDelta {
    /// The whole job: the first message, and again when its plan was replaced.
    Whole(Box<JobView>),
    /// What one commit changed.
    Changed {
        /// The job as it is now.
        summary: Box<JobSummary>,
        /// The steps that changed.
        steps: Vec<StepChange>,
    },
}

/// What became of a step of the job that was told whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepChange {
    /// The step's name.
    pub name: String,
    /// What became of it.
    pub status: Status,
}

/// Follows one job through the store, whichever engine walks it; ends with the job.
#[derive(Debug)]
pub struct JobWatch {
    store: SharedStore,
    id: JobId,
    changes: Watch,
    meta: Meta,
    /// The names of the steps that were told.
    steps: HashSet<String>,
    pending: Option<JobDelta>,
    /// Whether everything must be read anew.
    stale: bool,
    ended: bool,
    /// Whether it goes on when the job has ended: an operator may begin it again.
    beyond_end: bool,
}

impl JobWatch {
    pub(crate) async fn begin(store: SharedStore, id: JobId) -> Result<Self, JobError> {
        Self::load(store, id, false).await
    }

    /// One that ends only where the job is no longer kept, or the store is closed.
    pub(crate) async fn beyond_end(store: SharedStore, id: JobId) -> Result<Self, JobError> {
        Self::load(store, id, true).await
    }

    /// The same from an outline on that is no older than the revision; it tells only of changes, and
    /// may tell again what the outline has.
    pub(crate) async fn from_outline(
        store: SharedStore,
        id: JobId,
        outline: &JobOutline,
        revision: Revision,
    ) -> Result<Self, JobError> {
        let changes = store.watch(Range::prefix(job_prefix(id)), revision).await?;
        let (meta, _) = load_meta(store.as_ref(), id).await?;
        Ok(JobWatch {
            store,
            id,
            changes,
            // Another plan than the outline's is read whole.
            stale: meta.summary.plan != outline.summary().plan,
            // What others wrote of the job is perhaps older than the revision, and not in the outline.
            pending: Some(JobDelta::Changed {
                summary: Box::new(meta.summary.clone()),
                steps: Vec::new(),
            }),
            meta,
            steps: outline
                .steps()
                .iter()
                .map(|step| step.name.clone())
                .collect(),
            ended: false,
            beyond_end: true,
        })
    }

    async fn load(store: SharedStore, id: JobId, beyond_end: bool) -> Result<Self, JobError> {
        let loaded = load(store.as_ref(), id).await?;
        let changes = store
            .watch(Range::prefix(job_prefix(id)), loaded.revision)
            .await?;
        let meta = loaded.meta.clone();
        let (steps, pending) = (HashSet::new(), None);
        let mut watch = JobWatch {
            store,
            id,
            changes,
            meta,
            steps,
            pending,
            stale: false,
            ended: false,
            beyond_end,
        };
        let view = loaded.view(watch.store.as_ref()).await?;
        watch.take_view(view);
        Ok(watch)
    }

    fn take_view(&mut self, view: JobView) {
        self.steps = view
            .steps
            .iter()
            .map(|record| record.step.name.clone())
            .collect();
        self.pending = Some(JobDelta::Whole(Box::new(view)));
    }

    /// The next message; `None` when the job has ended or the store was closed. A dropped call
    /// loses nothing.
    pub async fn next(&mut self) -> Option<Result<JobDelta, JobError>> {
        loop {
            if let Some(delta) = self.pending.take() {
                return Some(Ok(delta));
            }
            let result = if self.stale {
                self.reload().await
            } else if self.ended || !self.beyond_end && self.meta.summary.state.is_final() {
                return None;
            } else {
                match self.changes.next().await? {
                    Ok(changes) => self.take_changes(&changes),
                    Err(StoreError::Compacted { .. }) => {
                        self.stale = true;
                        Ok(())
                    }
                    Err(error) => Err(error.into()),
                }
            };
            if let Err(error) = result {
                (self.stale, self.ended) = (false, true);
                return Some(Err(error));
            }
        }
    }

    /// The messages as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<JobDelta, JobError>> + Send {
        futures::stream::unfold(self, |mut watch| async move {
            Some((watch.next().await?, watch))
        })
    }

    async fn reload(&mut self) -> Result<(), JobError> {
        *self = JobWatch::load(self.store.clone(), self.id, self.beyond_end).await?;
        Ok(())
    }

    fn take_changes(&mut self, changes: &Changes) -> Result<(), JobError> {
        let (meta, log) = (meta_key(self.id), log_prefix(self.id));
        let mut steps = Vec::new();
        let mut touched = false;
        for change in changes {
            let Some(after) = &change.after else {
                self.ended |= change.key == meta.as_bytes();
                continue;
            };
            if after.key == meta.as_bytes() {
                let now: Meta = from_json(&after.key, &after.value)?;
                let replanned = now.plan_key != self.meta.plan_key;
                self.meta = now;
                touched = true;
                if replanned {
                    self.stale = true;
                    return Ok(());
                }
            } else if after.key.starts_with(log.as_bytes()) {
                let logged = from_json::<Logged>(&after.key, &after.value)?;
                if logged.iter().any(|(name, _)| !self.steps.contains(name)) {
                    self.stale = true;
                    return Ok(());
                }
                let changed = |(name, status)| StepChange { name, status };
                steps.extend(logged.into_iter().map(changed));
            }
        }
        if touched || !steps.is_empty() {
            let summary = Box::new(self.meta.summary.clone());
            self.pending = Some(JobDelta::Changed { summary, steps });
        }
        Ok(())
    }
}
