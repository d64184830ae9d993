//! Which jobs this engine walks: ownership, take-over and the loop around the drivers.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wright_store::{Guard, LeaseId, Operation, Range, StoreError};

use crate::driver::Driver;
use crate::engine::{Engine, Shared};
use crate::records::{DRAFTS, SUBJECTS, fence_key, job_prefix, meta_key, owner_key, read_all};
use crate::{JobError, JobId};

/// A submission that was not finished for so long never will be.
const DRAFT_AGE: SignedDuration = SignedDuration::from_hours(1);
/// The wait before a job whose driver failed is taken up again.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// How much longer an engine that shares its store leaves a job to the others, for each that it walks.
const COURTESY: Duration = Duration::from_millis(20);
/// Jobs after which it leaves them no longer.
const COURTEOUS: u32 = 10;

/// Held for a job that an engine found when it began to run, until the job is read.
type Unread = mpsc::Sender<Infallible>;

/// How an engine's term ended: the time during which it held one lease.
enum Term {
    Shutdown,
    LeaseLost,
}

/// That a job is an engine's to walk.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// What every commit checks: that the job is still ours.
    pub guard: Guard,
    /// How often the job was claimed; every later owner has a higher one. Counted rather than taken
    /// from the store's revision, which begins anew where a store is copied.
    pub fence: u64,
}

/// What an engine holds during a term.
#[derive(Clone)]
struct Tenure {
    shared: Arc<Shared>,
    lease: LeaseId,
    /// The engine's name and this term's own id: what stands in the owner keys.
    owner: String,
    /// How many jobs it walks, where the store is shared with other engines.
    load: Option<Arc<AtomicU32>>,
}

impl Engine {
    /// Walks every unfinished job, and those submitted from now on, until `shutdown` is cancelled;
    /// then all attempts are dropped and no state is changed: the next engine goes on.
    ///
    /// # Errors
    /// Where the store is closed or cannot grant a lease.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), JobError> {
        self.sweep_drafts().await?;
        loop {
            let lease = self
                .shared
                .store
                .lease_grant(self.shared.settings.lease_seconds)
                .await?;
            let lost = self.keep_lease(lease);
            let result = self.term(lease, &shutdown, lost).await;
            if let Err(error) = self.shared.store.lease_revoke(lease).await {
                tracing::debug!(%error, "the engine's lease ends by itself");
            }
            match result? {
                Term::Shutdown => return Ok(()),
                Term::LeaseLost => tracing::warn!("the engine lost its lease and takes a new one"),
            }
        }
    }

    /// The same on a lease that the caller keeps alive, beside other engines on the same store, until
    /// `over`: cancel it when the lease has ended. What an engine that has lost its lease still wants
    /// written is refused.
    ///
    /// # Errors
    /// Where the store is closed or fails.
    pub async fn run_on(&self, lease: LeaseId, over: CancellationToken) -> Result<(), JobError> {
        self.sweep_drafts().await?;
        let never = futures::future::pending().boxed();
        self.term(lease, &over, never).await.map(drop)
    }

    /// Returns once this engine runs and has read every job that is its to go on with: after a restart
    /// nobody waits for anything else.
    pub async fn taken_up(&self) {
        let mut taken_up = self.shared.taken_up.subscribe();
        // The sender is the engine's own.
        let _ = taken_up.wait_for(|taken_up| *taken_up).await;
    }

    async fn term(
        &self,
        lease: LeaseId,
        shutdown: &CancellationToken,
        lost: BoxFuture<'static, ()>,
    ) -> Result<Term, JobError> {
        let tenure = Tenure {
            shared: self.shared.clone(),
            lease,
            owner: format!("{}/{}", self.shared.settings.name, Uuid::now_v7()),
            load: self.shared.settings.shared.then(Arc::default),
        };
        let mut walking = JoinSet::new();
        let result = tokio::select! {
            result = tenure.serve(shutdown, lost, &mut walking) => result,
            never = self.forget_for_ever() => match never {},
        };
        walking.shutdown().await;
        result
    }

    /// Returns when the lease is lost. Real time: the lease is the store's.
    fn keep_lease(&self, lease: LeaseId) -> BoxFuture<'static, ()> {
        let store = self.shared.store.clone();
        let every = Duration::from_secs(u64::from(self.shared.settings.lease_seconds)) / 3;
        let every = every.max(Duration::from_millis(100));
        async move {
            loop {
                tokio::time::sleep(every).await;
                match store.lease_keep_alive(lease).await {
                    Err(StoreError::NoLease(_) | StoreError::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%error, "the engine's lease could not be kept alive")
                    }
                    Ok(()) => {}
                }
            }
        }
        .boxed()
    }

    /// Removes what submissions left behind that died half way.
    async fn sweep_drafts(&self) -> Result<(), JobError> {
        let store = &self.shared.store;
        let now = self.shared.settings.clock.now();
        let (entries, _) = read_all(store.as_ref(), Range::prefix(DRAFTS), None).await?;
        for entry in entries {
            let name = String::from_utf8_lossy(&entry.key[DRAFTS.len()..]).parse::<JobId>();
            let since = String::from_utf8_lossy(&entry.value).parse::<Timestamp>();
            let (Ok(id), Ok(since)) = (name, since) else {
                continue;
            };
            if now.duration_since(since) < DRAFT_AGE {
                continue;
            }
            let guards = vec![
                Guard::Absent(meta_key(id).into()),
                Guard::Exists(entry.key.clone()),
            ];
            let operations = vec![
                Operation::DeleteRange(Range::prefix(job_prefix(id))),
                Operation::Delete(entry.key),
            ];
            match store.commit(guards, operations).await {
                Err(error) if !error.is_refused() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Tenure {
    async fn serve(
        &self,
        shutdown: &CancellationToken,
        mut lost: BoxFuture<'static, ()>,
        walking: &mut JoinSet<JobId>,
    ) -> Result<Term, JobError> {
        let (mut active, mut again) = (HashSet::new(), HashSet::new());
        loop {
            let store = &self.shared.store;
            let (entries, revision) =
                read_all(store.as_ref(), Range::prefix(SUBJECTS), None).await?;
            // Each job that is there holds one until it is read.
            let (unread, mut all_read) = mpsc::channel(1);
            for entry in entries {
                let unread = Some(unread.clone());
                self.take_up(&entry.value, unread, walking, &mut active, &mut again);
            }
            drop(unread);
            let mut subjects = store.watch(Range::prefix(SUBJECTS), revision).await?;
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(Term::Shutdown),
                    () = &mut lost => return Ok(Term::LeaseLost),
                    None = all_read.recv(), if !*self.shared.taken_up.borrow() => {
                        self.shared.taken_up.send_replace(true);
                    }
                    Some(done) = walking.join_next(), if !walking.is_empty() => {
                        // A walker does not panic; if it did, its job waits for the next term.
                        let Ok(id) = done else { continue };
                        active.remove(&id);
                        if again.remove(&id) {
                            active.insert(id);
                            walking.spawn(self.clone().walk(id, None));
                        }
                    }
                    changes = subjects.next() => match changes {
                        None => return Err(StoreError::Closed.into()),
                        Some(Err(StoreError::Compacted { .. })) => break,
                        Some(changes) => for change in changes? {
                            if let Some(after) = change.after {
                                self.take_up(&after.value, None, walking, &mut active, &mut again);
                            }
                        },
                    }
                }
            }
        }
    }

    fn take_up(
        &self,
        id: &[u8],
        unread: Option<Unread>,
        walking: &mut JoinSet<JobId>,
        active: &mut HashSet<JobId>,
        again: &mut HashSet<JobId>,
    ) {
        let Ok(id) = String::from_utf8_lossy(id).parse::<JobId>() else {
            return;
        };
        if active.insert(id) {
            walking.spawn(self.clone().walk(id, unread));
        } else {
            again.insert(id);
        }
    }

    /// Walks one job to its end, taking it up again from its records whenever something failed.
    async fn walk(self, id: JobId, mut unread: Option<Unread>) -> JobId {
        loop {
            match self.walk_once(id, unread.take()).await {
                Ok(()) | Err(JobError::Unknown(_)) => return id,
                Err(JobError::Store(StoreError::Closed)) => return id,
                // The owner or the meta is another's now: read again.
                Err(JobError::Store(error)) if error.is_refused() => {
                    tracing::info!(job = %id, %error, "the job changed under its engine; reading it again");
                }
                Err(error) => {
                    tracing::error!(job = %id, %error, "the job cannot be walked; trying again");
                    let clock = &self.shared.settings.clock;
                    let now = clock.now();
                    clock
                        .sleep_until(now.checked_add(PAUSE).unwrap_or(now))
                        .await;
                }
            }
        }
    }

    async fn walk_once(&self, id: JobId, mut unread: Option<Unread>) -> Result<(), JobError> {
        let claim = self.own(id, &mut unread).await?;
        let _loaded = self.load.as_deref().map(Loaded::more);
        let driver = Driver::load(self.shared.clone(), id, claim.clone()).await?;
        drop(unread);
        match driver {
            Some(driver) => driver.run().await,
            None => {
                // It ended before we owned it.
                let release = vec![Operation::Delete(owner_key(id).into())];
                match self.shared.store.commit(vec![claim.guard], release).await {
                    Err(error) if !error.is_refused() => Err(error.into()),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Becomes the owner of a job: at once where nobody is or where a predecessor of this name was,
    /// otherwise when the owner's lease has ended: that is another's job until then.
    async fn own(&self, id: JobId, unread: &mut Option<Unread>) -> Result<Claim, JobError> {
        let store = &self.shared.store;
        let (key, fence_key) = (owner_key(id), fence_key(id));
        let guard = Guard::Value(key.clone().into(), self.owner.clone().into());
        let mut left_to_others = false;
        loop {
            let revision = store.revision().await?;
            let owner = store.get(key.as_bytes()).await?;
            let fenced = store.get(fence_key.as_bytes()).await?;
            let fence = fenced.as_ref().map_or(0, |entry| read_fence(&entry.value));
            let free = match owner {
                None if !left_to_others && self.leaves_to_others().await => {
                    left_to_others = true;
                    continue;
                }
                None => Guard::Absent(key.clone().into()),
                Some(entry) if entry.value == self.owner.as_bytes() => {
                    return Ok(Claim { guard, fence });
                }
                Some(entry) if self.precedes(&entry.value) => {
                    Guard::Modified(key.clone().into(), entry.modified)
                }
                Some(_) => {
                    drop(unread.take());
                    let mut changes = store.watch(Range::key(key.clone()), revision).await?;
                    match changes.next().await {
                        None => return Err(StoreError::Closed.into()),
                        Some(Err(StoreError::Compacted { .. })) => {}
                        Some(changes) => drop(changes?),
                    }
                    continue;
                }
            };
            let unmoved = match fenced {
                None => Guard::Absent(fence_key.clone().into()),
                Some(entry) => Guard::Modified(entry.key, entry.modified),
            };
            let fence = fence + 1;
            let puts = vec![
                Operation::Put {
                    key: key.clone().into(),
                    value: self.owner.clone().into(),
                    lease: Some(self.lease),
                },
                Operation::put(fence_key.clone(), fence.to_string()),
            ];
            match store.commit(vec![free, unmoved], puts).await {
                Ok(_) => return Ok(Claim { guard, fence }),
                Err(error) if error.is_refused() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives engines that walk fewer jobs the time to be first; whether it did.
    async fn leaves_to_others(&self) -> bool {
        let walked = self
            .load
            .as_ref()
            .map_or(0, |load| load.load(Ordering::Relaxed));
        if walked > 0 {
            tokio::time::sleep(COURTESY * walked.min(COURTEOUS)).await;
        }
        walked > 0
    }

    /// Whether an owner is an earlier term of an engine of this name. Terms are ordered by their ids
    /// (UUID version 7), so that a predecessor that lives on never takes a job back.
    fn precedes(&self, owner: &[u8]) -> bool {
        let owner = String::from_utf8_lossy(owner);
        match (owner.rsplit_once('/'), self.owner.rsplit_once('/')) {
            (Some((name, term)), Some((own_name, own_term))) => name == own_name && term < own_term,
            _ => false,
        }
    }
}

/// One of an engine's load, as long as it lives.
struct Loaded<'a>(&'a AtomicU32);

impl<'a> Loaded<'a> {
    fn more(load: &'a AtomicU32) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        Loaded(load)
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn read_fence(value: &[u8]) -> u64 {
    String::from_utf8_lossy(value).parse().unwrap_or(0)
}
