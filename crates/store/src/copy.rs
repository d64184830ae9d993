//! From one store to another.

use std::fmt;

use bytes::Bytes;

use crate::{Entry, Operation, Range, Revision, SharedStore, StoreError, open};

/// Keys that are read at once.
const PAGE: usize = 500;
/// The most of a commit's values, in bytes: etcd takes 1.5 MiB where it was told nothing else.
const BATCH: usize = 256 << 10;
/// There while a copy is under way, so that one that was interrupted can begin again.
const UNFINISHED: &[u8] = b"copy/unfinished";

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Keys that were copied.
    pub keys: u64,
    /// BLAKE3 of all keys and values, of the copy as it was read back.
    pub digest: String,
    /// The revision of the store that was copied.
    pub revision: Revision,
    /// Keys that were on leases, which end with their store.
    pub leased: u64,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Copied {
            keys,
            digest,
            revision,
            leased,
        } = self;
        write!(
            f,
            "{keys} keys of revision {revision} were copied and read back, digest {digest}; not \
             copied: the history before, revision and version numbers, leases and the {leased} keys on them"
        )
    }
}

/// Copies the newest state of a store that nobody uses into an empty one, or one in which a copy was
/// interrupted, and proves that both have the same keys and values. Keys on leases are left out.
///
/// # Errors
/// Where a store cannot be opened, the second is not empty, the first changes meanwhile, or both
/// differ in the end.
pub async fn copy(from: &str, to: &str) -> Result<Copied, StoreError> {
    if from == to {
        return Err(StoreError::Engine(
            "a store cannot be copied into itself".to_owned(),
        ));
    }
    let (from, to) = (open(from).await?, open(to).await?);
    make_room(&to).await?;
    let revision = from.revision().await?;
    let (mut read, mut wanted, mut leased) = (Reader::new(&from, revision), Digest::default(), 0);
    let mut batch = Batch::default();
    while let Some(entry) = read.next().await? {
        if entry.lease.is_some() {
            leased += 1;
            continue;
        }
        wanted.add(&entry);
        if batch.is_full_with(&entry) {
            batch.write(&to).await?;
        }
        batch.add(entry);
    }
    batch.write(&to).await?;
    if from.revision().await? != revision {
        return Err(StoreError::Engine(
            "the store changed while it was copied: stop what uses it, and copy again".to_owned(),
        ));
    }
    let copied = digest_of(&to).await?;
    if copied != wanted.finish() {
        return Err(StoreError::Engine(
            "the copy differs from the store: does something write to it? Copy again".to_owned(),
        ));
    }
    to.commit(
        Vec::new(),
        vec![Operation::Delete(Bytes::from_static(UNFINISHED))],
    )
    .await?;
    let (keys, digest) = copied;
    Ok(Copied {
        keys,
        digest,
        revision,
        leased,
    })
}

/// Marks the place as one of a copy, and removes what an interrupted one left.
async fn make_room(to: &SharedStore) -> Result<(), StoreError> {
    let some = to.range(Range::prefix(""), 1, None).await?;
    if !some.entries.is_empty() && to.get(UNFINISHED).await?.is_none() {
        return Err(StoreError::Engine(
            "the store to copy to is not empty: name another, or another prefix".to_owned(),
        ));
    }
    let anew = vec![
        Operation::DeleteRange(Range::prefix("")),
        Operation::put(UNFINISHED, ""),
    ];
    to.commit(Vec::new(), anew).await.map(drop)
}

async fn digest_of(store: &SharedStore) -> Result<(u64, String), StoreError> {
    let mut read = Reader::new(store, store.revision().await?);
    let mut digest = Digest::default();
    while let Some(entry) = read.next().await? {
        digest.add(&entry);
    }
    Ok(digest.finish())
}

/// Reads all of one revision, but for the mark of a copy.
struct Reader<'a> {
    store: &'a SharedStore,
    revision: Revision,
    page: std::vec::IntoIter<Entry>,
    rest: Option<Range>,
}

impl<'a> Reader<'a> {
    fn new(store: &'a SharedStore, revision: Revision) -> Self {
        Reader {
            store,
            revision,
            page: Vec::new().into_iter(),
            rest: Some(Range::prefix("")),
        }
    }

    async fn next(&mut self) -> Result<Option<Entry>, StoreError> {
        loop {
            if let Some(entry) = self.page.find(|entry| entry.key != UNFINISHED) {
                return Ok(Some(entry));
            }
            let Some(rest) = self.rest.take() else {
                return Ok(None);
            };
            let page = self.store.range(rest, PAGE, Some(self.revision)).await?;
            let last = page.entries.last().filter(|_| page.more);
            self.rest = last.map(|last| Range {
                start: Range::key(last.key.clone()).end.unwrap_or_default(),
                end: None,
            });
            self.page = page.entries.into_iter();
        }
    }
}

/// Puts of one commit.
#[derive(Default)]
struct Batch {
    puts: Vec<Operation>,
    size: usize,
}

impl Batch {
    fn is_full_with(&self, entry: &Entry) -> bool {
        self.puts.len() >= PAGE || self.size + entry.value.len() > BATCH
    }

    fn add(&mut self, entry: Entry) {
        self.size += entry.value.len();
        self.puts.push(Operation::put(entry.key, entry.value));
    }

    async fn write(&mut self, to: &SharedStore) -> Result<(), StoreError> {
        let Batch { puts, .. } = std::mem::take(self);
        if puts.is_empty() {
            return Ok(());
        }
        to.commit(Vec::new(), puts).await.map(drop)
    }
}

#[derive(Default)]
struct Digest {
    hasher: blake3::Hasher,
    keys: u64,
}

impl Digest {
    /// With their lengths, so that no two states give the same bytes.
    fn add(&mut self, entry: &Entry) {
        for part in [&entry.key, &entry.value] {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
        self.keys += 1;
    }

    fn finish(&self) -> (u64, String) {
        (self.keys, self.hasher.finalize().to_hex().to_string())
    }
}
