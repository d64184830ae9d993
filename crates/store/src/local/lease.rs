//! The leases that run, and when each ends.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::LeaseId;

/// How much longer a lease runs whose end could not be written.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lease {
    ttl: Duration,
    end: Instant,
}

/// What is in memory follows what is on disk: changes are noted until [`Leases::keep`] or
/// [`Leases::undo`] says what became of the transaction that they belong to.
#[derive(Debug, Default)]
pub(super) struct Leases {
    running: HashMap<LeaseId, Lease>,
    before: Vec<(LeaseId, Option<Lease>)>,
}

impl Leases {
    /// Begins a lease.
    pub fn begin(&mut self, id: LeaseId, ttl: Duration, now: Instant) {
        self.set(
            id,
            Some(Lease {
                ttl,
                end: now + ttl,
            }),
        );
    }

    /// Starts a lease's time anew; whether it runs.
    pub fn keep_alive(&mut self, id: LeaseId, now: Instant) -> bool {
        let Some(lease) = self.running.get(&id).copied() else {
            return false;
        };
        self.set(
            id,
            Some(Lease {
                end: now + lease.ttl,
                ..lease
            }),
        );
        true
    }

    /// Ends a lease.
    pub fn end(&mut self, id: LeaseId) {
        self.set(id, None);
    }

    /// Whether a lease runs.
    pub fn runs(&self, id: LeaseId) -> bool {
        self.running.contains_key(&id)
    }

    /// When the next one ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.running.values().map(|lease| lease.end).min()
    }

    /// Those whose time is over, in the order of their ids.
    pub fn expired(&self, now: Instant) -> Vec<LeaseId> {
        let over = self.running.iter().filter(|(_, lease)| lease.end <= now);
        let mut over: Vec<LeaseId> = over.map(|(id, _)| *id).collect();
        over.sort_unstable();
        over
    }

    /// The transaction is durable.
    pub fn keep(&mut self) {
        self.before.clear();
    }

    /// The transaction failed. What should have ended is tried again a little later, so that a full
    /// disk does not keep the writer spinning.
    pub fn undo(&mut self, now: Instant) {
        while let Some((id, before)) = self.before.pop() {
            match before {
                Some(lease) => drop(self.running.insert(id, lease)),
                None => drop(self.running.remove(&id)),
            }
        }
        for lease in self.running.values_mut().filter(|lease| lease.end <= now) {
            lease.end = now + RETRY;
        }
    }

    fn set(&mut self, id: LeaseId, lease: Option<Lease>) {
        let before = match lease {
            Some(lease) => self.running.insert(id, lease),
            None => self.running.remove(&id),
        };
        self.before.push((id, before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_lease_ends_its_time_after_it_was_last_kept_alive() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.begin(LeaseId(1), TTL, start);
        leases.begin(LeaseId(2), TTL, start);
        assert!(leases.keep_alive(LeaseId(1), start + TTL / 2));
        assert_eq!(leases.next_end(), Some(start + TTL));
        assert_eq!(leases.expired(start + TTL), [LeaseId(2)]);
        assert_eq!(leases.expired(start + TTL * 2), [LeaseId(1), LeaseId(2)]);
    }

    #[test]
    fn a_failed_transaction_leaves_the_leases_as_they_were() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.begin(LeaseId(1), TTL, start);
        leases.keep();
        leases.end(LeaseId(1));
        leases.begin(LeaseId(2), TTL, start);
        leases.undo(start);
        assert!(leases.runs(LeaseId(1)) && !leases.runs(LeaseId(2)));
        assert_eq!(leases.next_end(), Some(start + TTL));
    }

    #[test]
    fn an_end_that_could_not_be_written_is_tried_again_later() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.begin(LeaseId(1), TTL, start);
        leases.keep();
        leases.end(LeaseId(1));
        leases.undo(start + TTL);
        assert_eq!(leases.next_end(), Some(start + TTL + RETRY));
    }
}
