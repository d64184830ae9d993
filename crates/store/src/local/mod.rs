//! The embedded engine: one SQLite file, one writer that commits in groups, readers beside it.
//!
//! The writer takes whatever commits are waiting into one SQLite transaction, so that many share one
//! fsync; each still has its own revision and its own guards. A commit is acknowledged after the
//! fsync. Readers never wait for the writer (WAL). Recent commits are kept in memory: a key that they
//! touched is read from there, and watches follow them; a watch that falls behind them reads on from
//! the history table.

mod commit;
mod former;
mod lanes;
mod lease;
mod lock;
mod maintain;
mod read;
mod recent;
mod schema;
mod state;
#[cfg(test)]
mod tests;
mod watch;
mod write;

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;

pub use self::{
    lanes::reads_go_first,
    maintain::{Summary, backup, check, restore},
};
use self::{
    lock::Lock,
    read::Readers,
    recent::Recent,
    write::{Commands, Request},
};
use crate::{
    Entry, Guard, LeaseId, Operation, Page, Range, Revision, Store, StoreError, Watch, limits,
};

/// The name of the database file in the store's directory.
const FILE: &str = "store.db";

/// Opens the store in a directory; the URL is what it was asked for by.
pub(crate) async fn open(directory: PathBuf, url: &str) -> Result<LocalStore, StoreError> {
    let url = url.to_owned();
    let opened = tokio::task::spawn_blocking(move || LocalStore::open(&directory, &url)).await;
    opened.map_err(engine)?
}

/// An error of the engine beneath.
fn engine(error: impl std::fmt::Display) -> StoreError {
    StoreError::Engine(error.to_string())
}

/// The commands come first: the writer has ended before the lock is given up.
#[derive(Debug)]
pub(crate) struct LocalStore {
    commands: Commands,
    readers: Arc<Readers>,
    recent: Arc<Recent>,
    _lock: Lock,
}

impl LocalStore {
    fn open(directory: &Path, url: &str) -> Result<Self, StoreError> {
        let refuse = |reason: String| StoreError::Open {
            url: url.to_owned(),
            reason,
        };
        let failed = |error: &dyn std::fmt::Display| refuse(error.to_string());
        // What is in the store is for its owner only.
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.map_err(|error| failed(&error))?;
        let lock = Lock::take(directory).map_err(refuse)?;
        let file = directory.join(FILE);
        let connection = schema::open_writer(&file).map_err(|error| failed(&error))?;
        let (newest, oldest) = schema::revisions(&connection).map_err(|error| failed(&error))?;
        let recent = Arc::new(Recent::new(newest, oldest));
        let commands = write::start(connection, recent.clone()).map_err(|error| failed(&error))?;
        let readers = Readers::new(file).map_err(|error| failed(&error))?;
        Ok(LocalStore {
            commands,
            readers: Arc::new(readers),
            recent,
            _lock: lock,
        })
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        // A thread that may wait for the disk costs more than most answers are worth.
        if let Some((revision, known)) = self.recent.get(key) {
            self.recent.announced(revision).await;
            return Ok(known);
        }
        let range = Range::key(key.to_vec());
        // Who answers somebody reads so little himself: on a busy machine the way to another thread and
        // back takes a hundred times as long.
        let page = if lanes::go_first_here() {
            let page = self.readers.range(&range, 1, None)?;
            self.recent.announced(page.revision).await;
            page
        } else {
            self.range(range, 1, None).await?
        };
        Ok(page.entries.into_iter().next())
    }

    async fn range(
        &self,
        range: Range,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, StoreError> {
        let read = self
            .readers
            .read(move |readers| readers.range(&range, limit, at));
        let page = read.await?;
        self.recent.announced(page.revision).await;
        Ok(page)
    }

    async fn commit(
        &self,
        guards: Vec<Guard>,
        operations: Vec<Operation>,
    ) -> Result<Revision, StoreError> {
        limits::check(&guards, &operations)?;
        self.commands
            .ask(Request::Commit { guards, operations })
            .await
    }

    async fn watch(&self, range: Range, after: Revision) -> Result<Watch, StoreError> {
        watch::start(&self.recent, self.readers.clone(), range, after)
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.recent.newest())
    }

    async fn lease_grant(&self, ttl_seconds: u32) -> Result<LeaseId, StoreError> {
        self.commands
            .ask(Request::Grant { ttl_seconds })
            .await
            .map(LeaseId)
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.commands.ask(Request::KeepAlive(lease)).await.map(drop)
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.commands.ask(Request::Revoke(lease)).await.map(drop)
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.commands
            .ask(Request::Compact { before })
            .await
            .map(drop)
    }
}
