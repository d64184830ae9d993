//! Where the store's keys are among etcd's: `{prefix}k/{key}`; the engine's own, which say what
//! became of a commit, are beside them at `{prefix}c/`. So several stores can share a cluster, and a
//! key may be empty, which etcd's own may not.

use bytes::Bytes;

use super::wire::KeyValue;
use crate::{Entry, LeaseId, Range};

#[derive(Debug, Clone)]
pub(super) struct Namespace {
    keys: Bytes,
    commits: String,
}

impl Namespace {
    /// Below this prefix.
    pub fn new(prefix: &str) -> Self {
        Namespace {
            keys: Bytes::from(format!("{prefix}k/")),
            commits: format!("{prefix}c/"),
        }
    }

    /// etcd's name of a key.
    pub fn key(&self, key: &[u8]) -> Bytes {
        [&self.keys, key].concat().into()
    }

    /// etcd's name of a range's end.
    pub fn end(&self, end: Option<&[u8]>) -> Bytes {
        match end {
            Some(end) => self.key(end),
            None => Range::prefix(self.keys.clone()).end.unwrap_or_default(),
        }
    }

    /// The engine's own key for the commits that one session makes one after the other.
    pub fn slot(&self, session: i64, number: u64) -> Bytes {
        format!("{}{session:016x}/{number}", self.commits).into()
    }

    /// The contract's entry.
    pub fn entry(&self, found: KeyValue) -> Entry {
        Entry {
            key: found.key.slice(self.keys.len().min(found.key.len())..),
            value: found.value,
            created: found.create_revision.cast_unsigned(),
            modified: found.mod_revision.cast_unsigned(),
            version: found.version.cast_unsigned(),
            lease: (found.lease != 0).then(|| LeaseId(found.lease.cast_unsigned())),
        }
    }
}

/// Whether no key is in a range. etcd does not define what such a range means.
pub(super) fn is_empty(range: &Range) -> bool {
    range.end.as_ref().is_some_and(|end| *end <= range.start)
}
