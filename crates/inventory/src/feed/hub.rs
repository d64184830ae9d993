use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::mpsc, time};
use wright_store::{Operation, Range, Revision, SharedStore, StoreError, Watch};

use super::{
    FeedError, Position, Subscription, Told, Watcher,
    change::Commit,
    interest::{Id, Interests},
    ring::Ring,
};
use crate::keys;

/// Written so that readers of the feed see how far the store has come where no resource changed: the
/// key after all resources, in the same watched range.
const MARK: &str = "r0";
/// How often it is seen whether a mark is needed.
const MARK_EVERY: Duration = Duration::from_secs(5);
/// The wait before the reader tries again what the store refused.
const PAUSE: Duration = Duration::from_secs(1);

/// How much the feed keeps.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Changes that wait for a slow watcher before it must catch up by itself.
    pub queue: usize,
    /// Commits that are kept in memory for those who join or catch up.
    pub commits: usize,
    /// About how many bytes of memory those commits take, the newest apart.
    pub bytes: usize,
    /// How far back before its start the feed reads, commits of the store.
    pub back: Revision,
    /// How long a watcher hears nothing before it is told how far it has come.
    pub bookmark: Duration,
    /// Commits without a change of a resource after which a mark is made.
    pub mark_after: Revision,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            queue: 256,
            commits: 4096,
            bytes: 8 << 20,
            back: 2000,
            bookmark: Duration::from_secs(5),
            mark_after: 500,
        }
    }
}

/// One reader of the store for all who watch resources.
#[derive(Debug, Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub store: SharedStore,
    pub settings: Settings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    interests: Interests,
    last: Id,
    closed: bool,
}

/// What a watcher that wants to go on finds.
#[derive(Debug)]
pub(super) enum Next {
    /// It knows everything: from now on it is told here.
    Joined(Id, mpsc::Receiver<Told>),
    /// What comes next.
    Commits(Vec<Arc<Commit>>),
    /// The store has it, or nobody.
    Older,
    /// The server ends.
    Closed,
}

/// What reads the store for a hub.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    watch: Watch,
}

/// All resources, and the mark.
pub(crate) fn range() -> Range {
    Range {
        start: keys::everything().start,
        end: Some(format!("{MARK}\0").into()),
    }
}

impl Hub {
    /// A hub that knows the newest commits, and its reader, which must run.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn open(store: SharedStore, settings: Settings) -> Result<(Self, Reader), FeedError> {
        let (mut start, mut watch) = begin(&store, settings.back).await?;
        let now = match mark(&store).await {
            Ok(now) => now,
            // A store that takes no writes, as on a full disk, still tells what comes.
            Err(error) => {
                tracing::warn!(%error, "the feed begins without the newest commits");
                (start, watch) = begin(&store, 0).await?;
                start
            }
        };
        let ring = Ring::new(start, settings.commits, settings.bytes);
        let shared = Arc::new(Shared {
            store,
            settings,
            state: Mutex::new(State {
                ring,
                interests: Interests::default(),
                last: 0,
                closed: false,
            }),
        });
        let mut reader = Reader {
            shared: shared.clone(),
            watch,
        };
        while shared.head() < now {
            let changes = reader.watch.next().await.ok_or(FeedError::Closed)??;
            shared.take(Commit::new(changes)).await;
        }
        Ok((Hub { shared }, reader))
    }

    /// Begins to watch.
    ///
    /// # Errors
    /// Where the position to watch from is no longer kept or has not happened, or the store fails.
    pub async fn watch(&self, subscription: Subscription) -> Result<Watcher, FeedError> {
        Watcher::begin(self.shared.clone(), subscription).await
    }

    /// Whether everything after a position can still be watched.
    ///
    /// # Errors
    /// Where it cannot, or the store fails.
    pub async fn is_kept(&self, position: Position) -> Result<(), FeedError> {
        let subscription = Subscription {
            from: Some(position),
            ..Subscription::default()
        };
        self.watch(subscription).await.map(drop)
    }

    /// The newest revision of which all watchers were told.
    pub fn head(&self) -> Revision {
        self.shared.head()
    }

    /// How many watchers are told of changes as they come.
    pub fn watchers(&self) -> usize {
        self.shared.state().interests.len()
    }
}

/// Watches the store from `back` commits before now, or as far back as it is kept.
async fn begin(store: &SharedStore, back: Revision) -> Result<(Revision, Watch), StoreError> {
    let mut start = store.revision().await?.saturating_sub(back);
    loop {
        match store.watch(range(), start).await {
            Ok(watch) => return Ok((start, watch)),
            Err(StoreError::Compacted { oldest, .. }) if oldest > start => start = oldest,
            Err(error) => return Err(error),
        }
    }
}

pub(crate) async fn mark(store: &SharedStore) -> Result<Revision, StoreError> {
    store
        .commit(Vec::new(), vec![Operation::put(MARK, "")])
        .await
}

impl Reader {
    /// Reads until the store is closed. Dropping the future ends the feed, too.
    pub async fn run(mut self) {
        let mut due = time::interval(MARK_EVERY);
        due.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            let changes = tokio::select! {
                changes = self.watch.next() => changes,
                _ = due.tick() => {
                    if let Err(error) = self.shared.mark_if_far().await {
                        tracing::warn!(%error, "the feed's mark could not be made");
                    }
                    continue;
                }
            };
            match changes {
                Some(Ok(changes)) => self.shared.take(Commit::new(changes)).await,
                Some(Err(error)) => {
                    tracing::warn!(%error, "the feed's reader lost the store; it begins anew");
                    if !self.restart().await {
                        return;
                    }
                }
                None => return,
            }
        }
    }

    /// Begins anew; whether the store is still open.
    async fn restart(&mut self) -> bool {
        loop {
            match begin(&self.shared.store, 0).await {
                Ok((start, watch)) => {
                    self.watch = watch;
                    self.shared.restart(start);
                    // Those who fell behind read the store up to this.
                    match mark(&self.shared.store).await {
                        Ok(_) => return true,
                        Err(error) => tracing::warn!(%error, "the feed's mark could not be made"),
                    }
                }
                Err(StoreError::Closed) => return false,
                Err(error) => tracing::warn!(%error, "the store cannot be watched; trying again"),
            }
            time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        state.interests.clear();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn head(&self) -> Revision {
        self.state().ring.head()
    }

    /// After a gap: nobody is told what is missing, all read it from the store.
    fn restart(&self, start: Revision) {
        let mut state = self.state();
        state.ring.restart(start);
        state.interests.clear();
    }

    /// Tells of a commit, and keeps it.
    async fn take(&self, commit: Option<Commit>) {
        let Some(commit) = commit else {
            return;
        };
        let wanted = |kind: &str| self.state().interests.wants(kind);
        if let Err(error) = commit.complete(&self.store, wanted).await {
            tracing::warn!(%error, "part of a change could not be read; its watchers try again");
        }
        let mut state = self.state();
        for change in &commit.changes {
            state.interests.tell(change);
        }
        state.ring.push(Arc::new(commit));
    }

    async fn mark_if_far(&self) -> Result<(), StoreError> {
        let newest = self.store.revision().await?;
        if newest > self.head() + self.settings.mark_after {
            mark(&self.store).await?;
        }
        Ok(())
    }

    /// What comes after a position: commits, or a place among those who are told.
    pub fn next(&self, position: &Position, subscription: &Subscription, limit: usize) -> Next {
        let mut state = self.state();
        if state.closed {
            return Next::Closed;
        }
        match state.ring.after(position, limit) {
            None => Next::Older,
            Some(commits) if !commits.is_empty() => Next::Commits(commits),
            Some(_) => {
                let (queue, told) = mpsc::channel(self.settings.queue);
                state.last += 1;
                let id = state.last;
                let interest = subscription.interest(queue);
                state.interests.add(id, interest);
                Next::Joined(id, told)
            }
        }
    }

    /// Whether everything after a position is kept here.
    pub fn keeps(&self, position: &Position) -> bool {
        self.state().ring.after(position, 0).is_some()
    }

    /// How far a watcher with an empty queue has come; `None` where something waits in it.
    pub fn reached(&self, queue: &mpsc::Receiver<Told>) -> Option<Position> {
        let state = self.state();
        (queue.is_empty() && !queue.is_closed()).then(|| Position::after(state.ring.head()))
    }

    pub fn leave(&self, id: Id) {
        self.state().interests.remove(id);
    }
}
