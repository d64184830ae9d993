use std::{collections::VecDeque, sync::Arc};

use wright_store::Revision;

use super::{Position, change::Commit};

/// The newest commits, for watchers that join or have fallen behind.
#[derive(Debug)]
pub(super) struct Ring {
    /// Every commit after it is here.
    start: Revision,
    commits: VecDeque<Arc<Commit>>,
    bytes: usize,
    /// How many commits, and how many bytes of them, the newest apart.
    most: (usize, usize),
}

impl Ring {
    /// Nothing yet after `start`.
    pub fn new(start: Revision, commits: usize, bytes: usize) -> Self {
        Ring {
            start,
            commits: VecDeque::new(),
            bytes: 0,
            most: (commits, bytes),
        }
    }

    /// How far it reaches.
    pub fn head(&self) -> Revision {
        self.commits.back().map_or(self.start, |last| last.revision)
    }

    /// Begins anew after a gap.
    pub fn restart(&mut self, start: Revision) {
        *self = Ring::new(start, self.most.0, self.most.1);
    }

    pub fn push(&mut self, commit: Arc<Commit>) {
        self.bytes += commit.bytes;
        self.commits.push_back(commit);
        while self.commits.len() > self.most.0
            || (self.bytes > self.most.1 && self.commits.len() > 1)
        {
            let Some(gone) = self.commits.pop_front() else {
                return;
            };
            self.bytes -= gone.bytes;
            self.start = gone.revision;
        }
    }

    /// At most `limit` commits that have something after a position; `None` where some that have are
    /// no longer here.
    pub fn after(&self, position: &Position, limit: usize) -> Option<Vec<Arc<Commit>>> {
        if position.whole() < self.start {
            return None;
        }
        let known = |commit: &Arc<Commit>| commit.revision <= position.whole();
        let skip = self.commits.partition_point(known);
        Some(
            self.commits
                .iter()
                .skip(skip)
                .take(limit)
                .cloned()
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(revision: Revision, bytes: usize) -> Arc<Commit> {
        Arc::new(Commit {
            revision,
            changes: Vec::new(),
            bytes,
        })
    }

    fn revisions(ring: &Ring, position: &str) -> Option<Vec<Revision>> {
        let commits = ring.after(&position.parse().unwrap(), 10)?;
        Some(commits.iter().map(|commit| commit.revision).collect())
    }

    #[test]
    fn it_answers_only_where_it_has_every_commit() {
        let mut ring = Ring::new(5, 2, 100);
        assert_eq!((ring.head(), revisions(&ring, "5")), (5, Some(vec![])));
        for revision in [7, 8, 10] {
            ring.push(commit(revision, 1));
        }
        assert_eq!(ring.head(), 10);
        assert_eq!(revisions(&ring, "6"), None);
        assert_eq!(revisions(&ring, "7"), Some(vec![8, 10]));
        assert_eq!(revisions(&ring, "7.1"), None);
        assert_eq!(revisions(&ring, "8.1"), Some(vec![8, 10]));
        assert_eq!(revisions(&ring, "9"), Some(vec![10]));
        assert_eq!(revisions(&ring, "10"), Some(vec![]));
    }

    #[test]
    fn large_commits_push_older_ones_out_and_the_newest_stays() {
        let mut ring = Ring::new(0, 10, 100);
        ring.push(commit(1, 60));
        ring.push(commit(2, 60));
        assert_eq!(revisions(&ring, "0"), None);
        ring.push(commit(3, 200));
        assert_eq!(revisions(&ring, "2"), Some(vec![3]));
    }
}
