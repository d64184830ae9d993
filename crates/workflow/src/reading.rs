//! What jobs there are, and how they stand.

use wright_store::{Range, StoreError};

use crate::engine::Engine;
use crate::records::{LIST, Meta, SUBJECTS, from_json, load_meta, meta_key, read_all};
use crate::watch::JobWatch;
use crate::{JobError, JobFilter, JobId, JobSummary, JobView};

impl Engine {
    /// A job with its steps, at one revision.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or where the store fails.
    pub async fn show(&self, id: JobId) -> Result<JobView, JobError> {
        let store = self.shared.store.as_ref();
        self.load(id).await?.view(store).await
    }

    /// A job without its steps.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or where the store fails.
    pub async fn summary(&self, id: JobId) -> Result<JobSummary, JobError> {
        Ok(load_meta(self.shared.store.as_ref(), id).await?.0.summary)
    }

    /// Waits for a job's end, without its steps; how it ended.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or where the store fails or is closed.
    pub async fn ended(&self, id: JobId) -> Result<JobSummary, JobError> {
        let store = &self.shared.store;
        loop {
            let after = store.revision().await?;
            let summary = self.summary(id).await?;
            if summary.state.is_final() {
                return Ok(summary);
            }
            let mut changes = store.watch(Range::key(meta_key(id)), after).await?;
            match changes.next().await {
                None => return Err(StoreError::Closed.into()),
                Some(Err(StoreError::Compacted { .. }) | Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// The jobs that have not ended, newest first: at most one for each subject.
    async fn unfinished(&self) -> Result<Vec<JobId>, JobError> {
        let store = self.shared.store.as_ref();
        let (entries, _) = read_all(store, Range::prefix(SUBJECTS), None).await?;
        let ids = entries
            .iter()
            .filter_map(|entry| String::from_utf8_lossy(&entry.value).parse::<JobId>().ok());
        let mut ids: Vec<JobId> = ids.collect();
        ids.sort_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    pub(crate) async fn all(&self) -> Result<Vec<JobId>, JobError> {
        let store = self.shared.store.as_ref();
        let (entries, _) = read_all(store, Range::prefix(LIST), None).await?;
        let ids = entries
            .iter()
            .filter_map(|entry| String::from_utf8_lossy(&entry.value).parse().ok());
        Ok(ids.collect())
    }

    /// At most `limit` jobs (0: all), newest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn list(
        &self,
        limit: usize,
        filter: &JobFilter,
    ) -> Result<Vec<JobSummary>, JobError> {
        let store = self.shared.store.as_ref();
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut jobs = Vec::new();
        // The indexes hold ids only: reading them whole is cheap, and metas are read until enough
        // match.
        let ids = match filter.unfinished {
            Some(true) => self.unfinished().await?,
            _ => self.all().await?,
        };
        for id in ids {
            if jobs.len() >= limit {
                break;
            }
            let Some(entry) = store.get(meta_key(id).as_bytes()).await? else {
                continue;
            };
            let meta: Meta = from_json(&entry.key, &entry.value)?;
            if filter.takes(&meta.summary) {
                jobs.push(meta.summary);
            }
        }
        Ok(jobs)
    }

    /// Follows a job: first the whole view, then what changes, until it ends.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or where the store fails.
    pub async fn watch(&self, id: JobId) -> Result<JobWatch, JobError> {
        JobWatch::begin(self.shared.store.clone(), id).await
    }
}
