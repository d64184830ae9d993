//! The newest commits, in memory: for those who watch, and for those who read what was written a
//! moment ago.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{Changes, Entry, Revision};

/// How many commits are kept in memory at most.
const KEPT: usize = 4096;
/// How many bytes of keys and values are kept in memory, the newest commit apart.
const KEPT_BYTES: usize = 16 << 20;

/// The newest commits, and the news that there is another.
#[derive(Debug)]
pub(super) struct Recent {
    kept: RwLock<Kept>,
    newest: watch::Sender<Revision>,
    oldest: AtomicU64,
}

/// Commits without a gap between their revisions.
#[derive(Debug, Default)]
struct Kept {
    commits: VecDeque<(Revision, Arc<Changes>)>,
    /// What these commits made of each key they touched: the newest of them, and what is there now.
    keys: HashMap<Bytes, (Revision, Option<Entry>)>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, revision: Revision, changes: Changes) {
        if self
            .commits
            .back()
            .is_some_and(|(last, _)| last + 1 != revision)
        {
            *self = Kept::default();
        }
        self.bytes += size(&changes);
        for change in &changes {
            let now = (revision, change.after.clone());
            self.keys.insert(change.key.clone(), now);
        }
        self.commits.push_back((revision, Arc::new(changes)));
        while self.commits.len() > KEPT || (self.bytes > KEPT_BYTES && self.commits.len() > 1) {
            let Some((revision, gone)) = self.commits.pop_front() else {
                return;
            };
            self.bytes -= size(&gone);
            for change in gone.iter() {
                if self
                    .keys
                    .get(&change.key)
                    .is_some_and(|key| key.0 == revision)
                {
                    self.keys.remove(&change.key);
                }
            }
        }
    }
}

fn size(changes: &Changes) -> usize {
    let entries = changes
        .iter()
        .flat_map(|change| [&change.before, &change.after])
        .flatten();
    entries
        .map(|entry| entry.key.len() + entry.value.len())
        .sum()
}

impl Recent {
    /// Nothing yet after `newest`.
    pub fn new(newest: Revision, oldest: Revision) -> Self {
        let (kept, newest) = (RwLock::default(), watch::Sender::new(newest));
        Recent {
            kept,
            newest,
            oldest: AtomicU64::new(oldest),
        }
    }

    /// The newest revision that is durable.
    pub fn newest(&self) -> Revision {
        *self.newest.borrow()
    }

    /// The oldest revision that is kept.
    pub fn oldest(&self) -> Revision {
        self.oldest.load(Ordering::Acquire)
    }

    /// Follows the newest revision.
    pub fn follow(&self) -> watch::Receiver<Revision> {
        self.newest.subscribe()
    }

    /// Returns once a revision that was read from the file has been announced, so that what a reader
    /// saw is never in the future for a watch.
    pub async fn announced(&self, revision: Revision) {
        if self.newest() < revision {
            let _ = self.follow().wait_for(|newest| *newest >= revision).await;
        }
    }

    /// Adds durable commits, in order.
    pub fn add(&self, commits: Vec<(Revision, Changes)>) {
        let Some(newest) = commits.last().map(|(revision, _)| *revision) else {
            return;
        };
        if let Ok(mut kept) = self.kept.write() {
            commits
                .into_iter()
                .for_each(|(revision, changes)| kept.push(revision, changes));
        }
        self.newest.send_replace(newest);
    }

    /// The revision that last touched a key and what is there since, if that is one of the newest.
    pub fn get(&self, key: &[u8]) -> Option<(Revision, Option<Entry>)> {
        self.kept.read().ok()?.keys.get(key).cloned()
    }

    /// Announces commits that only the file has: what is in memory is no longer the newest.
    pub fn jump(&self, newest: Revision) {
        if newest > self.newest()
            && let Ok(mut kept) = self.kept.write()
        {
            *kept = Kept::default();
        }
        self.newest.send_if_modified(|announced| {
            let ahead = newest > *announced;
            *announced = newest.max(*announced);
            ahead
        });
    }

    /// History before `oldest` was forgotten.
    pub fn compacted(&self, oldest: Revision) {
        self.oldest.store(oldest, Ordering::Release);
    }

    /// Every commit after `after`, if all of them are in memory.
    pub fn since(&self, after: Revision) -> Option<Vec<Arc<Changes>>> {
        let kept = self.kept.read().ok()?;
        let (first, last) = (kept.commits.front()?.0, kept.commits.back()?.0);
        if first > after + 1 || last <= after {
            return None;
        }
        // Revisions have no gaps, so the position follows from the number.
        let skip = usize::try_from(after + 1 - first).ok()?;
        Some(
            kept.commits
                .iter()
                .skip(skip)
                .map(|(_, changes)| changes.clone())
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Entry};

    fn commit(revision: Revision, bytes: usize) -> (Revision, Changes) {
        let (key, value) = ("k".into(), vec![0; bytes].into());
        let after = Entry {
            key,
            value,
            created: 1,
            modified: revision,
            version: 1,
            lease: None,
        };
        (
            revision,
            vec![Change {
                revision,
                key: after.key.clone(),
                before: None,
                after: Some(after),
            }],
        )
    }

    fn revisions(recent: &Recent, after: Revision) -> Option<Vec<Revision>> {
        let commits = recent.since(after)?;
        Some(commits.iter().map(|changes| changes[0].revision).collect())
    }

    #[test]
    fn it_answers_only_where_it_has_every_commit() {
        let recent = Recent::new(5, 0);
        assert_eq!(revisions(&recent, 5), None);
        recent.add(vec![commit(6, 1), commit(7, 1)]);
        assert_eq!(revisions(&recent, 5), Some(vec![6, 7]));
        assert_eq!(revisions(&recent, 6), Some(vec![7]));
        assert_eq!(revisions(&recent, 4), None);
    }

    #[test]
    fn large_commits_push_older_ones_out() {
        let recent = Recent::new(0, 0);
        recent.add(
            (1..=3)
                .map(|revision| commit(revision, KEPT_BYTES / 2))
                .collect(),
        );
        assert_eq!(revisions(&recent, 0), None);
        assert_eq!(revisions(&recent, 2), Some(vec![3]));
    }

    #[test]
    fn a_key_is_known_as_the_newest_commit_left_it_as_long_as_that_is_kept() {
        let recent = Recent::new(0, 0);
        assert_eq!(recent.get(b"k"), None);
        recent.add(vec![commit(1, 1), commit(2, 2)]);
        let value = |recent: &Recent| Some(recent.get(b"k")?.1?.value.len());
        assert_eq!(value(&recent), Some(2));
        let (_, mut gone) = commit(3, 0);
        gone[0].after = None;
        recent.add(vec![(3, gone)]);
        assert_eq!(recent.get(b"k"), Some((3, None)));
        let (_, mut other) = commit(4, KEPT_BYTES + 1);
        other[0].key = "other".into();
        recent.add(vec![(4, other)]);
        assert_eq!(recent.get(b"k"), None);
    }

    #[test]
    fn nothing_is_known_of_a_key_once_the_file_is_ahead() {
        let recent = Recent::new(0, 0);
        recent.add(vec![commit(1, 1)]);
        recent.jump(2);
        assert_eq!(recent.get(b"k"), None);
    }

    #[test]
    fn commits_on_both_sides_of_a_gap_are_never_given_together() {
        let recent = Recent::new(0, 0);
        recent.add(vec![commit(1, 1)]);
        recent.jump(2);
        assert_eq!((recent.newest(), revisions(&recent, 1)), (2, None));
        recent.add(vec![commit(3, 1)]);
        assert_eq!(revisions(&recent, 0), None);
        assert_eq!(revisions(&recent, 2), Some(vec![3]));
    }
}
