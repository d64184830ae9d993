use std::{collections::VecDeque, sync::Arc};

use tokio::{sync::mpsc, time};
use wright_store::Watch;

use super::{
    FeedError, Position, Selection, Told,
    change::Commit,
    hub::{self, Next, Shared},
    interest::{Id, Interest},
};

/// How many commits are judged at once by somebody who catches up.
const STRIDE: usize = 64;

/// What somebody wants to watch.
#[derive(Debug, Clone, Default)]
pub struct Subscription {
    /// Of these kinds; none: of all.
    pub kinds: Arc<[String]>,
    /// What matches this.
    pub filter: Option<Selection>,
    /// After this; `None`: from now on.
    pub from: Option<Position>,
}

impl Subscription {
    /// All of one kind, from now on.
    pub fn kind(kind: &str) -> Self {
        Subscription {
            kinds: [kind.to_owned()].into(),
            ..Subscription::default()
        }
    }

    /// The kinds whose changes may concern it; none: all.
    fn looked_at(&self) -> &Arc<[String]> {
        match &self.filter {
            Some(Selection::Related(related)) => related.kinds(),
            _ => &self.kinds,
        }
    }

    fn follows_references(&self) -> bool {
        matches!(self.filter, Some(Selection::Related(_)))
    }

    fn wants(&self, kind: &str) -> bool {
        let kinds = self.looked_at();
        kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind)
    }

    /// What the hub tells its watcher. Where references are followed, that there is something to look at.
    pub(super) fn interest(&self, queue: mpsc::Sender<Told>) -> Interest {
        Interest {
            kinds: self.looked_at().clone(),
            filter: match &self.filter {
                Some(Selection::Own(filter)) => Some(filter.clone()),
                Some(Selection::Related(_)) | None => None,
            },
            queue,
        }
    }

    /// What of a commit concerns it after a position, and how far that is.
    async fn concerned(
        &self,
        commit: &Commit,
        after: &Position,
    ) -> Result<(Vec<Told>, Position), FeedError> {
        let filter = match &self.filter {
            Some(Selection::Related(related)) => return related.judge(commit, after).await,
            Some(Selection::Own(filter)) => Some(&**filter),
            None => None,
        };
        let changes = commit.changes.iter();
        let changes = changes.filter(|it| it.position > *after && self.wants(&it.kind));
        let told = changes.filter_map(|change| {
            let what = change.judge(filter)?;
            let change = change.clone();
            Some(Told { change, what })
        });
        Ok((told.collect(), Position::after(commit.revision)))
    }
}

/// What a watcher is told.
#[derive(Debug, Clone)]
pub enum News {
    /// A resource changed.
    Change(Told),
    /// Nothing more concerns it up to here.
    Bookmark(Position),
}

impl News {
    /// Where whoever was told this stands.
    pub fn position(&self) -> Position {
        match self {
            News::Change(told) => told.change.position.clone(),
            News::Bookmark(position) => position.clone(),
        }
    }
}

/// Somebody who watches; dropping it ends that.
#[derive(Debug)]
pub struct Watcher {
    hub: Arc<Shared>,
    subscription: Subscription,
    source: Source,
    /// What was found for it and not told yet, after `position`.
    ready: VecDeque<Told>,
    /// What it was told.
    position: Position,
    /// Everything up to here was judged; what concerns it is in `ready`.
    judged: Position,
    /// When it is told how far it has come.
    due: time::Instant,
}

/// Where a watcher reads.
#[derive(Debug)]
enum Source {
    /// The hub tells it.
    Told(Id, mpsc::Receiver<Told>),
    /// It reads what the hub keeps.
    Kept,
    /// It reads the store; one commit is on its way.
    Store(Watch, Option<Arc<Commit>>),
}

impl Watcher {
    pub(super) async fn begin(
        hub: Arc<Shared>,
        subscription: Subscription,
    ) -> Result<Self, FeedError> {
        let from = match subscription.from.clone() {
            None => Position::after(hub.head()),
            Some(from) => {
                let newest = hub.head();
                if from.revision() > newest {
                    // The hub may be a moment behind the store that the caller has read.
                    let newest = hub.store.revision().await?;
                    if from.revision() > newest {
                        let asked = from.revision();
                        return Err(FeedError::Future { asked, newest });
                    }
                }
                from.told_by(subscription.follows_references())
            }
        };
        let mut watcher = Watcher {
            hub,
            subscription,
            source: Source::Kept,
            ready: VecDeque::new(),
            position: from.clone(),
            judged: from,
            due: time::Instant::now(),
        };
        watcher.advance().await?;
        Ok(watcher)
    }

    /// How far it has come.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// What comes next: a change, or a bookmark, the first of them at once and then whenever there
    /// was nothing for a while. Nothing is lost where the future is dropped.
    ///
    /// # Errors
    /// Where what comes next is no longer kept, the store fails or the server ends. A watcher that
    /// failed has ended.
    pub async fn next(&mut self) -> Result<News, FeedError> {
        loop {
            if let Some(told) = self.ready.pop_front() {
                return Ok(self.tell(News::Change(told)));
            }
            if time::Instant::now() >= self.due
                && let Some(position) = self.reached()
            {
                return Ok(self.tell(News::Bookmark(position)));
            }
            self.advance().await?;
        }
    }

    fn tell(&mut self, news: News) -> News {
        self.position = news.position();
        self.due = time::Instant::now() + self.hub.settings.bookmark;
        news
    }

    /// How far it has come, where nothing waits for it.
    fn reached(&mut self) -> Option<Position> {
        if let Source::Told(_, queue) = &self.source {
            let reached = self.hub.reached(queue)?;
            self.judged = reached.max(self.judged.clone());
        }
        // A name is for whom its resource concerns.
        Some(self.judged.clone()).filter(|judged| !judged.tells_a_name())
    }

    /// One step: a change, a batch of commits, another source, or the time of a bookmark.
    async fn advance(&mut self) -> Result<(), FeedError> {
        match &mut self.source {
            Source::Told(id, queue) => match time::timeout_at(self.due, queue.recv()).await {
                Ok(Some(_)) if self.subscription.follows_references() => {
                    self.hub.leave(*id);
                    self.source = Source::Kept;
                }
                Ok(Some(told)) => {
                    // Whoever asked from a revision that the hub had not come to.
                    if told.change.position > self.judged {
                        self.judged = told.change.position.clone();
                        self.ready.push_back(told);
                    }
                }
                Ok(None) => {
                    self.hub.leave(*id);
                    self.source = Source::Kept;
                }
                Err(_) => {
                    // A queue that is never empty has something to tell; else it is a bookmark.
                    if self.hub.reached(queue).is_none() {
                        tokio::task::yield_now().await;
                    }
                }
            },
            Source::Kept => match self.hub.next(&self.judged, &self.subscription, STRIDE) {
                Next::Joined(id, queue) => self.source = Source::Told(id, queue),
                Next::Commits(commits) => {
                    for commit in &commits {
                        let wanted = |kind: &str| self.subscription.wants(kind);
                        commit.complete(&self.hub.store, wanted).await?;
                        if !self.judge(commit).await? {
                            break;
                        }
                    }
                    tokio::task::yield_now().await;
                }
                Next::Older => {
                    let after = self.judged.whole();
                    let watch = self.hub.store.watch(hub::range(), after).await?;
                    self.source = Source::Store(watch, None);
                }
                Next::Closed => return Err(FeedError::Closed),
            },
            Source::Store(watch, next) => {
                if next.is_none() {
                    let changes = watch.next().await.ok_or(FeedError::Closed)??;
                    *next = Commit::new(changes).map(Arc::new);
                }
                if let Some(commit) = next.clone() {
                    let wanted = |kind: &str| self.subscription.wants(kind);
                    commit.complete(&self.hub.store, wanted).await?;
                    if !self.judge(&commit).await? {
                        return Ok(());
                    }
                }
                if let Source::Store(_, next) = &mut self.source {
                    *next = None;
                }
                if self.hub.keeps(&self.judged) {
                    self.source = Source::Kept;
                }
            }
        }
        Ok(())
    }

    /// Finds out what a commit is to it, or to some resources of many; whether that is all.
    async fn judge(&mut self, commit: &Commit) -> Result<bool, FeedError> {
        let all = Position::after(commit.revision);
        if all > self.judged {
            let concerned = self.subscription.concerned(commit, &self.judged).await?;
            let (told, reached) = concerned;
            self.ready.extend(told);
            self.judged = reached;
        }
        Ok(self.judged >= all)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Source::Told(id, _) = self.source {
            self.hub.leave(id);
        }
    }
}
