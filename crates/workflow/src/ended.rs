//! The job that ended last here: what its end is followed by is mostly a look at it, for which its
//! steps need not be read again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wright_store::Revision;

use crate::engine::{Engine, Shared};
use crate::records::{Loaded, load, load_ended};
use crate::{JobError, JobId, StepRecord};

/// What nobody asked for during this time is dropped.
const UNASKED: Duration = Duration::from_secs(10);

/// The steps of a job as they ended, for whoever asks first.
#[derive(Debug)]
pub(crate) struct EndedJob {
    pub id: JobId,
    /// The revision that wrote its end: it is as it ended while the record says so.
    pub meta_revision: Revision,
    /// In the plan's order.
    pub records: Vec<StepRecord>,
}

/// The last one.
#[derive(Debug, Default)]
pub(crate) struct LastEnded(Mutex<Option<EndedJob>>);

impl LastEnded {
    /// Held for a few instructions.
    fn last(&self) -> MutexGuard<'_, Option<EndedJob>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn has(&self, id: JobId) -> bool {
        self.last().as_ref().is_some_and(|last| last.id == id)
    }

    fn take(&self, id: JobId) -> Option<EndedJob> {
        self.last().take_if(|last| last.id == id)
    }
}

impl Shared {
    /// A job has ended.
    pub fn keep_ended(self: &Arc<Self>, job: EndedJob) {
        let id = job.id;
        let before = self.ended.last().replace(job);
        drop(before);
        // Weak: what is kept must not keep the engine and its store.
        let keeper = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(UNASKED).await;
            if let Some(shared) = keeper.upgrade() {
                drop(shared.ended.take(id));
            }
        });
    }
}

impl Engine {
    /// A whole job, at one revision.
    pub(crate) async fn load(&self, id: JobId) -> Result<Loaded, JobError> {
        let store = self.shared.store.as_ref();
        if let Some(ended) = self.shared.ended.take(id)
            && let Some(loaded) = load_ended(store, ended).await?
        {
            return Ok(loaded);
        }
        load(store, id).await
    }
}
