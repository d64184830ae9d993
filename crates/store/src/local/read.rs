//! Reading, beside the writer.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::{engine, lanes::Lanes, schema, state::State};
use crate::{Change, Changes, Entry, MAX_KEY, Page, Range, Revision, StoreError};

/// Threads that read at the same time, each by a connection that is kept: making one costs more than
/// many reads, and what waits for processors anyhow may as well wait for its turn.
const READERS: usize = 4;
/// Connections that are kept: theirs, and some for those who read by themselves.
const KEPT: usize = READERS + 2;

const NEWEST: &str = "SELECT key, value, created, modified, version, lease FROM entry
    WHERE key >= ?1 AND key < ?2 AND value IS NOT NULL ORDER BY key LIMIT ?3";

/// Also those that were removed: they may have been there.
const EVER: &str = "SELECT key, value, created, modified, version, lease FROM entry
    WHERE key >= ?1 AND key < ?2 ORDER BY key";

const TOUCHED: &str = "SELECT revision, keys FROM touched WHERE revision > ?1 AND revision <= ?2 ORDER BY revision DESC";

/// Greater than every key.
static AFTER_ALL: [u8; MAX_KEY + 1] = [0xff; MAX_KEY + 1];

/// Both ends of a range. SQLite ends a search at an upper bound only where there always is one: a
/// condition that allows for none is tried on every row to the end of the table.
pub(super) fn bounds(range: &Range) -> (&[u8], &[u8]) {
    let end = range.end.as_deref().unwrap_or(&AFTER_ALL);
    (&range.start, end)
}

/// Connections that read, and the threads that read by them.
#[derive(Debug)]
pub(super) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
    lanes: Lanes,
}

impl Readers {
    /// On this database file.
    ///
    /// # Errors
    /// Where there are no threads to be had.
    pub fn new(file: PathBuf) -> io::Result<Self> {
        Ok(Readers {
            file,
            idle: Mutex::new(Vec::new()),
            lanes: Lanes::start(READERS)?,
        })
    }

    /// Reads on a thread that may wait for the disk, in the lane of the thread that polls this first.
    /// What waits is begun by the thread that is free next: were it for the task that asked to begin
    /// it, then everybody behind would wait for that task's turn at its runtime, too.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let readers = self.clone();
        let work = Box::new(move || drop(answer.send(read(&readers))));
        self.lanes.send(work);
        answered.await.map_err(engine)?
    }

    fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        let mut connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&self.file).map_err(engine)?,
        };
        let snapshot = connection.transaction().map_err(engine)?;
        let result = read(&snapshot);
        snapshot.finish().map_err(engine)?;
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < KEPT
        {
            idle.push(connection);
        }
        result
    }

    /// See [`crate::Store::range`].
    pub fn range(
        &self,
        range: &Range,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, StoreError> {
        self.with(|connection| {
            let (newest, oldest) = schema::revisions(connection).map_err(engine)?;
            let revision = at.unwrap_or(newest);
            check_kept(revision, newest, oldest)?;
            // One more than asked for tells whether there is more.
            let most = if limit == 0 { usize::MAX } else { limit + 1 };
            let found = if revision == newest {
                newest_entries(connection, range, most)
            } else {
                entries_at(connection, range, most, revision)
            };
            let mut entries = found.map_err(engine)?;
            let more = limit != 0 && entries.len() > limit;
            if more {
                entries.truncate(limit);
            }
            Ok(Page {
                entries,
                revision,
                more,
            })
        })
    }

    /// The changes of the commits after `after` up to `to` that touch the range, a commit each.
    pub fn since(
        &self,
        range: &Range,
        after: Revision,
        to: Revision,
    ) -> Result<Vec<Changes>, StoreError> {
        self.with(|connection| {
            let (newest, oldest) = schema::revisions(connection).map_err(engine)?;
            check_kept(after, newest, oldest)?;
            changes(connection, range, after, to).map_err(engine)
        })
    }
}

fn newest_entries(
    connection: &Connection,
    range: &Range,
    most: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare_cached(NEWEST)?;
    let (start, end) = bounds(range);
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![start, end, limit])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let key = Bytes::from(row.get::<_, Vec<u8>>(0)?);
        entries.extend(State::read(row, 1)?.entry(connection, key)?);
    }
    Ok(entries)
}

fn entries_at(
    connection: &Connection,
    range: &Range,
    most: usize,
    revision: Revision,
) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare_cached(EVER)?;
    let (start, end) = bounds(range);
    let mut rows = statement.query(params![start, end])?;
    let mut entries = Vec::new();
    while entries.len() < most
        && let Some(row) = rows.next()?
    {
        let key = Bytes::from(row.get::<_, Vec<u8>>(0)?);
        if let Some(then) = State::read(row, 1)?.at(connection, &key, revision)? {
            entries.extend(then.entry(connection, key)?);
        }
    }
    Ok(entries)
}

/// From the last commit to the first: what a key was before one is what it was after the one before.
fn changes(
    connection: &Connection,
    range: &Range,
    after: Revision,
    to: Revision,
) -> rusqlite::Result<Vec<Changes>> {
    let mut statement = connection.prepare_cached(TOUCHED)?;
    let mut rows = statement.query(params![after.cast_signed(), to.cast_signed()])?;
    let mut commits = Vec::new();
    let mut later: HashMap<Bytes, Option<State>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let revision = row.get::<_, i64>(0)?.cast_unsigned();
        let mut commit = Changes::new();
        for key in schema::parted(row.get_ref(1)?.as_blob()?) {
            if !range.contains(key) {
                continue;
            }
            let key = Bytes::copy_from_slice(key);
            let is = match later.remove(&key) {
                Some(state) => state,
                None => match State::now(connection, &key)? {
                    Some(now) => now.at(connection, &key, revision)?,
                    None => None,
                },
            };
            let was = State::before(connection, &key, revision)?;
            let entry = |state: Option<State>| match state {
                Some(state) => state.entry(connection, key.clone()),
                None => Ok(None),
            };
            let (before, after) = (entry(was.clone())?, entry(is)?);
            commit.push(Change {
                revision,
                key: key.clone(),
                before,
                after,
            });
            later.insert(key, was);
        }
        if !commit.is_empty() {
            commits.push(commit);
        }
    }
    commits.reverse();
    Ok(commits)
}

/// Whether the state at a revision, and every change after it, is there.
pub(super) fn check_kept(
    asked: Revision,
    newest: Revision,
    oldest: Revision,
) -> Result<(), StoreError> {
    if asked > newest {
        return Err(StoreError::Future { asked, newest });
    }
    if asked < oldest {
        return Err(StoreError::Compacted { asked, oldest });
    }
    Ok(())
}
