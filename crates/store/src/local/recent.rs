//! The newest commits, in memory, for those who watch.

use std::{
    collections::VecDeque,
    sync::{Arc, RwLock},
};

use tokio::sync::watch;

use crate::{Changes, Revision};

/// How many commits are kept in memory.
const KEPT: usize = 4096;

/// The newest commits, and the news that there is another.
#[derive(Debug)]
pub(super) struct Recent {
    commits: RwLock<VecDeque<(Revision, Arc<Changes>)>>,
    newest: watch::Sender<Revision>,
    oldest: watch::Sender<Revision>,
}

impl Recent {
    /// Nothing yet after `newest`.
    pub fn new(newest: Revision, oldest: Revision) -> Self {
        Recent {
            commits: RwLock::new(VecDeque::new()),
            newest: watch::Sender::new(newest),
            oldest: watch::Sender::new(oldest),
        }
    }

    /// The newest revision that is durable.
    pub fn newest(&self) -> Revision {
        *self.newest.borrow()
    }

    /// The oldest revision that is kept.
    pub fn oldest(&self) -> Revision {
        *self.oldest.borrow()
    }

    /// Follows the newest revision.
    pub fn follow(&self) -> watch::Receiver<Revision> {
        self.newest.subscribe()
    }

    /// Adds durable commits, in order.
    pub fn add(&self, commits: Vec<(Revision, Changes)>) {
        let Some(newest) = commits.last().map(|(revision, _)| *revision) else { return };
        if let Ok(mut kept) = self.commits.write() {
            kept.extend(commits.into_iter().map(|(revision, changes)| (revision, Arc::new(changes))));
            while kept.len() > KEPT {
                kept.pop_front();
            }
        }
        self.newest.send_replace(newest);
    }

    /// History before `oldest` was forgotten.
    pub fn compacted(&self, oldest: Revision) {
        self.oldest.send_replace(oldest);
    }

    /// Every commit after `after`, if all of them are in memory.
    pub fn since(&self, after: Revision) -> Option<Vec<Arc<Changes>>> {
        let kept = self.commits.read().ok()?;
        let first = kept.front()?.0;
        if first > after + 1 {
            return None;
        }
        // Revisions have no gaps, so the position follows from the number.
        let skip = usize::try_from(after + 1 - first).ok()?;
        Some(kept.iter().skip(skip).map(|(_, changes)| changes.clone()).collect())
    }
}
