use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

/// The number of a commit. The empty store before the first has the lowest: 0, in etcd 1.
pub type Revision = u64;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// The longest value, in bytes.
pub const MAX_VALUE: usize = 1 << 20;
/// The most guards and operations in one commit, together.
pub const MAX_OPERATIONS: usize = 1024;

/// A lease: keys put on it vanish when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

/// A key with its value and where they came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision that made the key.
    pub created: Revision,
    /// The revision that last wrote it.
    pub modified: Revision,
    /// How often it was written since it was made, from 1.
    pub version: u64,
    /// The lease it vanishes with.
    pub lease: Option<LeaseId>,
}

/// Keys from `start` up to but not including `end`; to the last key where `end` is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The first key.
    pub start: Bytes,
    /// The first key no longer in the range.
    pub end: Option<Bytes>,
}

impl Range {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let mut end = start.to_vec();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Range {
            start,
            end: (!end.is_empty()).then(|| end.into()),
        }
    }

    /// Exactly one key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        let start = key.into();
        let mut end = start.to_vec();
        end.push(0);
        Range {
            start,
            end: Some(end.into()),
        }
    }

    /// What of the range comes after a key, such as the last one of a page.
    #[must_use]
    pub fn after(self, key: &[u8]) -> Self {
        Range {
            start: [key, b"\0"].concat().into(),
            ..self
        }
    }

    /// Whether a key is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && self.end.as_ref().is_none_or(|end| key < &end[..])
    }
}

/// What must be true for a commit to happen. Of a key that does not exist only [`Guard::Absent`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The key does not exist.
    Absent(Bytes),
    /// The key exists.
    Exists(Bytes),
    /// The key was last written at this revision.
    Modified(Bytes, Revision),
    /// The key has been written this often.
    Version(Bytes, u64),
    /// The key has this value.
    Value(Bytes, Bytes),
}

/// One write of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Writes a key.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// The lease it shall vanish with.
        lease: Option<LeaseId>,
    },
    /// Removes a key, if it is there.
    Delete(Bytes),
    /// Removes all keys of a range.
    DeleteRange(Range),
}

impl Operation {
    /// A put without a lease.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Operation::Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        }
    }
}

/// A page of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// The revision that was read; ask for the next page at the same one.
    pub revision: Revision,
    /// Whether there is more after the last entry.
    pub more: bool,
}

/// One key changed by one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The commit.
    pub revision: Revision,
    /// The key.
    pub key: Bytes,
    /// What was there before; `None` where the key is new.
    pub before: Option<Entry>,
    /// What is there now; `None` where the key was removed.
    pub after: Option<Entry>,
}

/// All changes of one commit that fall in a watched range.
pub type Changes = Vec<Change>;

/// A running watch; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    receiver: mpsc::Receiver<Result<Changes, StoreError>>,
}

impl Watch {
    /// For engines.
    pub fn new(receiver: mpsc::Receiver<Result<Changes, StoreError>>) -> Self {
        Watch { receiver }
    }

    /// The next commit that touches the range; never empty. `None` when the store was closed.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] where the reader fell behind what is kept: list again.
    pub async fn next(&mut self) -> Option<Result<Changes, StoreError>> {
        self.receiver.recv().await
    }
}

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A guard was false; nothing was written.
    #[error("a guard was false at revision {revision}: {guard:?}")]
    Refused {
        /// The first guard that was false.
        guard: Guard,
        /// The revision at which it was checked.
        revision: Revision,
    },
    /// History before `oldest` is gone.
    #[error("revision {asked} is compacted; the oldest kept is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The oldest revision kept.
        oldest: Revision,
    },
    /// A revision that has not happened yet.
    #[error("revision {asked} is in the future; the newest is {newest}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// A key, value or commit over its limit.
    #[error("{what} is {size}, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// No such lease, or it has ended.
    #[error("lease {0:?} does not exist or has ended")]
    NoLease(LeaseId),
    /// The URL names no engine, or the place cannot be used.
    #[error("cannot open the store {url}: {reason}")]
    Open {
        /// The URL asked for.
        url: String,
        /// Why, and what would do.
        reason: String,
    },
    /// The disk or the cluster failed. A commit may have been made only where the text says that
    /// this is not known.
    #[error("the store failed: {0}")]
    Engine(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether another writer came first: read again and retry.
    pub fn is_refused(&self) -> bool {
        matches!(self, StoreError::Refused { .. })
    }
}

/// What every engine does. All methods may be called from any task at once.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// One key, at the newest revision.
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError>;

    /// A page of at most `limit` keys (0: no limit), at the newest revision or a kept one.
    async fn range(
        &self,
        range: Range,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, StoreError>;

    /// Writes all operations if all guards are true, and answers with the new revision once the
    /// commit is durable. A later operation on the same key of one commit wins.
    async fn commit(
        &self,
        guards: Vec<Guard>,
        operations: Vec<Operation>,
    ) -> Result<Revision, StoreError>;

    /// Every commit after `after` that touches the range: once, in order, with before and after.
    async fn watch(&self, range: Range, after: Revision) -> Result<Watch, StoreError>;

    /// The newest revision.
    async fn revision(&self) -> Result<Revision, StoreError>;

    /// A new lease that ends after `ttl_seconds`, or a little later, unless kept alive.
    async fn lease_grant(&self, ttl_seconds: u32) -> Result<LeaseId, StoreError>;

    /// Starts the lease's time anew.
    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<(), StoreError>;

    /// Ends a lease; its keys vanish in one commit.
    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), StoreError>;

    /// Forgets history before `before`; the state at `before` and all that came after stays.
    async fn compact(&self, before: Revision) -> Result<(), StoreError>;
}

/// A store that many tasks share.
pub type SharedStore = Arc<dyn Store>;
