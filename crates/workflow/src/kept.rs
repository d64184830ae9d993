//! Outlines of jobs that are asked about: had from the driver where it is here, otherwise read once,
//! then followed through the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OnceCell, RwLock, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use wright_store::Revision;

use crate::engine::{Engine, Shared};
use crate::watch::{JobDelta, JobWatch};
use crate::{JobError, JobId, JobOutline};

/// An outline that nobody asked for during this time is dropped.
const UNASKED: Duration = Duration::from_secs(60);

/// An outline that follows its job; hold it for a look only.
pub type SharedOutline = Arc<RwLock<JobOutline>>;

/// The outlines that an engine keeps.
#[derive(Debug, Default)]
pub(crate) struct Outlines(Mutex<HashMap<JobId, Arc<Kept>>>);

impl Outlines {
    /// Held for a few instructions.
    fn all(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self, id: JobId) -> Arc<Kept> {
        let kept = self.all().entry(id).or_default().clone();
        kept.asked.set(Instant::now());
        kept
    }

    /// Drops an outline that is not read yet, or no longer followed, unless it was asked for since.
    fn forget(&self, id: JobId, kept: &Arc<Asked>, unasked: bool) -> bool {
        let mut all = self.all();
        if unasked && kept.for_how_long() < UNASKED {
            return false;
        }
        if all
            .get(&id)
            .is_some_and(|now| Arc::ptr_eq(&now.asked, kept))
        {
            all.remove(&id);
        }
        true
    }
}

/// When an outline was last asked for.
#[derive(Debug)]
struct Asked(Mutex<Instant>);

impl Default for Asked {
    fn default() -> Self {
        Asked(Mutex::new(Instant::now()))
    }
}

impl Asked {
    fn set(&self, at: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn for_how_long(&self) -> Duration {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

#[derive(Debug, Default)]
struct Kept {
    asked: Arc<Asked>,
    /// Empty while the job is being read.
    followed: OnceCell<Followed>,
}

#[derive(Debug)]
struct Followed {
    outline: SharedOutline,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Somebody who wants the outline of a job from its driver, with a revision since which the store's
/// watch tells all that is not in it.
pub(crate) type Ask = oneshot::Sender<(JobOutline, Revision)>;

/// The jobs that an engine walks, and how their drivers are asked.
#[derive(Debug, Default)]
pub(crate) struct Walked(Mutex<HashMap<JobId, mpsc::UnboundedSender<Ask>>>);

impl Walked {
    /// Held for a few instructions.
    fn all(&self) -> MutexGuard<'_, HashMap<JobId, mpsc::UnboundedSender<Ask>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self, id: JobId) -> mpsc::UnboundedReceiver<Ask> {
        let (sender, asks) = mpsc::unbounded_channel();
        self.all().insert(id, sender);
        asks
    }

    pub fn end(&self, id: JobId) {
        self.all().remove(&id);
    }

    /// `None` where the job is not walked here, or its driver cannot tell.
    async fn ask(&self, id: JobId) -> Option<(JobOutline, Revision)> {
        let (ask, answer) = oneshot::channel();
        self.all().get(&id)?.send(ask).ok()?;
        answer.await.ok()
    }
}

impl Engine {
    /// A job's outline, whichever engine walks it: at most as old as the store takes to tell of a
    /// commit. The first to ask waits until the job is read; it is kept for the others until nobody
    /// has asked for a minute.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or where the store fails.
    pub async fn outline(&self, id: JobId) -> Result<SharedOutline, JobError> {
        let outlines = &self.shared.outlines;
        let kept = outlines.asked(id);
        let begun = kept
            .followed
            .get_or_try_init(|| self.follow(id, kept.asked.clone()))
            .await;
        match begun {
            Ok(followed) => Ok(followed.outline.clone()),
            Err(error) => {
                outlines.forget(id, &kept.asked, false);
                Err(error)
            }
        }
    }

    /// A job's outline, and a watch that tells of all that is not in it.
    pub(crate) async fn begin_outline(
        &self,
        id: JobId,
    ) -> Result<(JobOutline, JobWatch), JobError> {
        let store = self.shared.store.clone();
        // Many times faster than the store, which has to be read and parsed.
        let at_hand = match self.shared.walked.ask(id).await {
            None => self.shared.fresh_outline(id),
            walked => walked,
        };
        if let Some((mut outline, revision)) = at_hand {
            let mut watch = JobWatch::from_outline(store, id, &outline, revision).await?;
            // That it has ended is told again with the last steps, which are not in the outline.
            if let Some(Ok(JobDelta::Changed { summary, steps })) = watch.next().await
                && !summary.state.is_final()
            {
                drop(outline.take(*summary, steps));
            }
            return Ok((outline, watch));
        }
        let mut watch = JobWatch::beyond_end(store, id).await?;
        match watch.next().await {
            Some(Ok(JobDelta::Whole(view))) => Ok((JobOutline::of(&view), watch)),
            Some(Err(error)) => Err(error),
            _ => Err(JobError::Unknown(id)),
        }
    }

    async fn follow(&self, id: JobId, asked: Arc<Asked>) -> Result<Followed, JobError> {
        let (outline, watch) = self.begin_outline(id).await?;
        let outline: SharedOutline = Arc::new(RwLock::new(outline));
        // Weak: what is kept must not keep the engine and its store.
        let keeper = Arc::downgrade(&self.shared);
        let task = tokio::spawn(keep(keeper, id, asked, watch, outline.clone())).abort_handle();
        Ok(Followed { outline, task })
    }
}

/// Takes in what changes until nobody asks any more or the job cannot be followed.
async fn keep(
    keeper: Weak<Shared>,
    id: JobId,
    asked: Arc<Asked>,
    mut watch: JobWatch,
    outline: SharedOutline,
) {
    loop {
        let unasked = tokio::select! {
            delta = watch.next() => match delta {
                Some(Ok(delta)) => {
                    take(&outline, delta).await;
                    // A large commit is milliseconds of work, and many may be there at once.
                    tokio::task::yield_now().await;
                    continue;
                }
                Some(Err(error)) => {
                    tracing::warn!(job = %id, %error, "a job's outline is no longer followed");
                    false
                }
                None => false,
            },
            () = tokio::time::sleep(UNASKED.saturating_sub(asked.for_how_long())) => true,
        };
        let Some(shared) = keeper.upgrade() else {
            return;
        };
        if shared.outlines.forget(id, &asked, unasked) {
            return;
        }
    }
}

/// Takes in what changed. Whoever looks waits for as little of it as can be: nobody else writes, so what
/// was found while they looked, too, is still there.
async fn take(outline: &SharedOutline, delta: JobDelta) {
    let former = match delta {
        JobDelta::Whole(view) => {
            let now = JobOutline::of(&view);
            std::mem::replace(&mut *outline.write().await, now)
        }
        JobDelta::Changed { summary, steps } => {
            let found = outline.read().await.find(steps);
            return outline.write().await.take_found(*summary, found);
        }
    };
    drop(former);
}

#[cfg(test)]
mod tests;
