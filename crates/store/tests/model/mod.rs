//! The store as a list of its states: so plain that it is right by reading it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wright_store::{Change, Changes, Entry, Guard, LeaseId, Operation, Range, Revision};

type State = BTreeMap<Bytes, Entry>;

/// What a commit answers.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Done(Revision),
    Refused(Guard),
    NoLease(LeaseId),
}

#[derive(Debug)]
pub struct Model {
    /// The revision of the first state.
    first: Revision,
    /// The state at each revision, from the first.
    states: Vec<State>,
    pub leases: BTreeSet<LeaseId>,
    pub oldest: Revision,
}

impl Model {
    /// Empty at a revision.
    pub fn new(first: Revision) -> Self {
        Model {
            first,
            states: vec![State::new()],
            leases: BTreeSet::new(),
            oldest: first,
        }
    }

    pub fn newest(&self) -> Revision {
        self.first + self.states.len() as Revision - 1
    }

    /// The revision that is a share (of 255) of the way from the first to the newest.
    pub fn share(&self, share: u8) -> Revision {
        self.first + (self.newest() - self.first) * u64::from(share) / 255
    }

    /// A revision counted from the first.
    pub fn revision(&self, number: u64) -> Revision {
        self.first + number
    }

    fn state(&self, revision: Revision) -> &State {
        &self.states[usize::try_from(revision - self.first).unwrap()]
    }

    pub fn commit(&mut self, guards: &[Guard], operations: &[Operation]) -> Answer {
        let now = self.state(self.newest());
        if let Some(guard) = guards.iter().find(|guard| !holds(now, guard)) {
            return Answer::Refused(guard.clone());
        }
        let revision = self.newest() + 1;
        let mut next = now.clone();
        for operation in operations {
            match operation {
                Operation::Put { key, value, lease } => {
                    if let Some(lease) = lease.filter(|lease| !self.leases.contains(lease)) {
                        return Answer::NoLease(lease);
                    }
                    let before = now.get(key);
                    let entry = Entry {
                        key: key.clone(),
                        value: value.clone(),
                        created: before.map_or(revision, |entry| entry.created),
                        modified: revision,
                        version: before.map_or(1, |entry| entry.version + 1),
                        lease: *lease,
                    };
                    next.insert(key.clone(), entry);
                }
                Operation::Delete(key) => drop(next.remove(key)),
                Operation::DeleteRange(range) => next.retain(|key, _| !range.contains(key)),
            }
        }
        self.states.push(next);
        Answer::Done(revision)
    }

    pub fn revoke(&mut self, lease: LeaseId) -> bool {
        if !self.leases.remove(&lease) {
            return false;
        }
        let mut next = self.state(self.newest()).clone();
        next.retain(|_, entry| entry.lease != Some(lease));
        if next.len() != self.state(self.newest()).len() {
            self.states.push(next);
        }
        true
    }

    pub fn range(&self, range: &Range, at: Revision) -> Vec<Entry> {
        self.state(at)
            .values()
            .filter(|entry| range.contains(&entry.key))
            .cloned()
            .collect()
    }

    /// What a watch of a range says after a revision.
    pub fn changes(&self, range: &Range, after: Revision) -> Vec<Changes> {
        (after + 1..=self.newest())
            .map(|revision| self.differences(range, revision))
            .filter(|changes| !changes.is_empty())
            .collect()
    }

    fn differences(&self, range: &Range, revision: Revision) -> Changes {
        let (was, is) = (self.state(revision - 1), self.state(revision));
        let keys: BTreeSet<&Bytes> = was
            .keys()
            .chain(is.keys())
            .filter(|key| range.contains(key))
            .collect();
        let change = |key: &Bytes| Change {
            revision,
            key: key.clone(),
            before: was.get(key).cloned(),
            after: is.get(key).cloned(),
        };
        keys.into_iter()
            .map(change)
            .filter(|change| change.before != change.after)
            .collect()
    }
}

fn holds(state: &State, guard: &Guard) -> bool {
    match guard {
        Guard::Absent(key) => !state.contains_key(key),
        Guard::Exists(key) => state.contains_key(key),
        Guard::Modified(key, revision) => state
            .get(key)
            .is_some_and(|entry| entry.modified == *revision),
        Guard::Version(key, version) => state
            .get(key)
            .is_some_and(|entry| entry.version == *version),
        Guard::Value(key, value) => state.get(key).is_some_and(|entry| entry.value == *value),
    }
}
