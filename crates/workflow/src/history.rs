//! Ended jobs are forgotten by age: first their steps, later altogether.

use std::convert::Infallible;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;
use wright_model::Span;
use wright_store::{Operation, Range, StoreError};

use crate::engine::Engine;
use crate::records::{
    LIST, Meta, context_prefix, from_json, job_prefix, list_key, load, log_prefix, meta_guard,
    meta_key, plans_prefix, put_json, question_prefix,
};
use crate::{JobError, JobId, JobView};

/// Jobs that are forgotten in one go, so that the store has time for others.
const AT_ONCE: usize = 100;
/// How many ids are read at once.
const PAGE: usize = 500;
/// The wait between two goes while there is more, and when there was no more.
const SOON: SignedDuration = SignedDuration::from_secs(60);
const LATER: SignedDuration = SignedDuration::from_hours(1);
/// The rest between two jobs.
const REST: Duration = Duration::from_millis(5);

impl Engine {
    /// Forgets what is older than [`Settings::keep`](crate::Settings) says, at a slow pace and for
    /// ever. Where several engines do, each job is forgotten once.
    pub(crate) async fn forget_for_ever(&self) -> Infallible {
        let clock = &self.shared.settings.clock;
        let mut wait = SOON;
        loop {
            let now = clock.now();
            clock
                .sleep_until(now.checked_add(wait).unwrap_or(now))
                .await;
            wait = match self.forget_old().await {
                Ok(AT_ONCE..) => SOON,
                Ok(_) => LATER,
                Err(error) => {
                    tracing::warn!(%error, "old jobs could not be forgotten");
                    LATER
                }
            };
        }
    }

    /// Forgets up to a hundred jobs that are older than [`Settings::keep`](crate::Settings) says:
    /// each in one commit that is refused where somebody begins the job again. Answers with how many.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget_old(&self) -> Result<usize, JobError> {
        let (settings, store) = (&self.shared.settings, self.shared.store.as_ref());
        let now = settings.clock.now();
        let (steps_from, jobs_from) = (
            before(now, settings.keep.steps),
            before(now, settings.keep.jobs),
        );
        let mut forgotten = 0;
        // Ids carry the time: newer jobs are not even listed.
        let mut range = Range {
            start: list_key(first_id(steps_from.max(jobs_from))).into(),
            ..Range::prefix(LIST)
        };
        loop {
            let page = store.range(range.clone(), PAGE, None).await?;
            for entry in &page.entries {
                let Ok(id) = String::from_utf8_lossy(&entry.value).parse::<JobId>() else {
                    continue;
                };
                if self.forget(id, steps_from, jobs_from).await? {
                    forgotten += 1;
                    if forgotten == AT_ONCE {
                        return Ok(forgotten);
                    }
                    tokio::time::sleep(REST).await;
                }
            }
            match page.entries.last() {
                Some(last) if page.more => range = range.after(&last.key),
                _ => return Ok(forgotten),
            }
        }
    }

    /// Whether there was something to forget of this job.
    async fn forget(
        &self,
        id: JobId,
        steps_from: Timestamp,
        jobs_from: Timestamp,
    ) -> Result<bool, JobError> {
        let store = &self.shared.store;
        let Some(entry) = store.get(meta_key(id).as_bytes()).await? else {
            return Ok(false);
        };
        let mut meta: Meta = from_json(&entry.key, &entry.value)?;
        let Some(ended_at) = meta.summary.ended_at else {
            return Ok(false);
        };
        let operations = if ended_at < jobs_from {
            vec![
                Operation::DeleteRange(Range::prefix(job_prefix(id))),
                Operation::Delete(list_key(id).into()),
            ]
        } else if ended_at < steps_from && !meta.summary.forgotten {
            meta.summary.forgotten = true;
            let ranges = [
                plans_prefix(id),
                log_prefix(id),
                context_prefix(id),
                question_prefix(id),
            ];
            let mut operations = vec![put_json(meta_key(id), &meta)?];
            operations.extend(ranges.map(|range| Operation::DeleteRange(Range::prefix(range))));
            operations
        } else {
            return Ok(false);
        };
        let unmoved = vec![meta_guard(id, entry.modified)];
        match store.commit(unmoved, operations).await {
            Ok(_) => Ok(true),
            Err(StoreError::Refused { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Shows each job whose steps are kept, one after the other: what their contexts and inputs refer
    /// to is still in use, for a job that failed may be retried.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn each_kept(&self, mut visit: impl FnMut(&JobView)) -> Result<(), JobError> {
        let store = self.shared.store.as_ref();
        for id in self.all().await? {
            match load(store, id).await {
                Ok(loaded) if loaded.meta.summary.forgotten => {}
                Ok(loaded) => visit(&loaded.view(store).await?),
                Err(JobError::Unknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn before(now: Timestamp, span: Span) -> Timestamp {
    let age = SignedDuration::from_millis(i64::try_from(span.millis()).unwrap_or(i64::MAX));
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}

/// The lowest id of a job submitted at this time (RFC 9562, 5.7: 48 bits of Unix milliseconds first).
fn first_id(at: Timestamp) -> JobId {
    let millis = u128::try_from(at.as_millisecond()).unwrap_or(0);
    JobId(Uuid::from_u128(millis << 80))
}
