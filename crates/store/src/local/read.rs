//! Reading, beside the writer.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use bytes::Bytes;
use rusqlite::{Connection, Row, params};
use tokio::sync::oneshot;

use super::{engine, schema};
use crate::{Change, Changes, Entry, LeaseId, MAX_KEY, Page, Range, Revision, StoreError};

/// Threads that read at the same time, each by a connection that is kept: making one costs more than
/// many reads, and what waits for processors anyhow may as well wait for its turn.
const KEPT: usize = 4;

const NEWEST: &str = "SELECT key, value, created, modified, version, lease FROM entry
    WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";

// Of the history, the value that is its key's newest is in `entry`: see [`schema`].
const AT: &str = "SELECT key, CASE typeof(value) WHEN 'integer'
      THEN (SELECT value FROM entry WHERE key = h.key) ELSE value END,
      created, revision, version, lease FROM history AS h
    WHERE key >= ?1 AND key < ?2 AND value IS NOT NULL
      AND revision = (SELECT MAX(revision) FROM history WHERE key = h.key AND revision <= ?4)
    ORDER BY key LIMIT ?3";

const SINCE: &str = "SELECT key, CASE typeof(value) WHEN 'integer'
      THEN (SELECT value FROM entry WHERE key = h.key) ELSE value END,
      created, revision, version, lease FROM history AS h
    WHERE revision > ?3 AND revision <= ?4 AND key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY revision, key";

const BEFORE: &str = "SELECT key, value, created, revision, version, lease FROM history
    WHERE key = ?1 AND revision < ?2 ORDER BY revision DESC LIMIT 1";

/// Greater than every key.
static AFTER_ALL: [u8; MAX_KEY + 1] = [0xff; MAX_KEY + 1];

/// Both ends of a range. SQLite ends a search at an upper bound only where there always is one: a
/// condition that allows for none is tried on every row to the end of the table.
pub(super) fn bounds(range: &Range) -> (&[u8], &[u8]) {
    let end = range.end.as_deref().unwrap_or(&AFTER_ALL);
    (&range.start, end)
}

/// Does what comes, until nobody can send any more. What panics answers nothing, which whoever waits
/// for it notices.
fn work_off(waiting: &Mutex<mpsc::Receiver<Work>>) {
    loop {
        let next = match waiting.lock() {
            Ok(waiting) => waiting.recv(),
            Err(_) => return,
        };
        match next {
            Ok(work) => drop(catch_unwind(AssertUnwindSafe(work))),
            Err(_) => return,
        }
    }
}

/// Connections that read, and the threads that read by them.
#[derive(Debug)]
pub(super) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
    work: mpsc::Sender<Work>,
}

type Work = Box<dyn FnOnce() + Send>;

impl Readers {
    /// On this database file.
    ///
    /// # Errors
    /// Where there are no threads to be had.
    pub fn new(file: PathBuf) -> io::Result<Self> {
        let (work, waiting) = mpsc::channel::<Work>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..KEPT {
            let waiting = waiting.clone();
            let thread = thread::Builder::new().name("store-reader".to_owned());
            thread.spawn(move || work_off(&waiting))?;
        }
        Ok(Readers {
            file,
            idle: Mutex::new(Vec::new()),
            work,
        })
    }

    /// Reads on a thread that may wait for the disk. What waits for one is begun by the thread that
    /// is free next: were it for the task that asked to begin it, then everybody behind would wait for
    /// that task's turn at its runtime, too.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let readers = self.clone();
        let work = Box::new(move || drop(answer.send(read(&readers))));
        self.work.send(work).map_err(engine)?;
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
            let rows = if limit == 0 {
                -1
            } else {
                i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1
            };
            let (start, end) = bounds(range);
            let entries: Result<Vec<Entry>, _> = if revision == newest {
                let mut statement = connection.prepare_cached(NEWEST).map_err(engine)?;
                let found = statement
                    .query_map(params![start, end, rows], entry)
                    .map_err(engine)?;
                found.collect()
            } else {
                let mut statement = connection.prepare_cached(AT).map_err(engine)?;
                let at = revision.cast_signed();
                let found = statement
                    .query_map(params![start, end, rows, at], entry)
                    .map_err(engine)?;
                found.collect()
            };
            let mut entries = entries.map_err(engine)?;
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
            let mut statement = connection.prepare_cached(SINCE).map_err(engine)?;
            let (start, end) = (&range.start[..], range.end.as_deref());
            let bounds = params![start, end, after.cast_signed(), to.cast_signed()];
            let rows = statement.query_map(bounds, image).map_err(engine)?;
            let mut commits: Vec<Changes> = Vec::new();
            for row in rows {
                let (key, revision, after) = row.map_err(engine)?;
                let before = before(connection, &key, revision)?;
                let change = Change {
                    revision,
                    key,
                    before,
                    after,
                };
                match commits
                    .last_mut()
                    .filter(|changes| changes[0].revision == revision)
                {
                    Some(changes) => changes.push(change),
                    None => commits.push(vec![change]),
                }
            }
            Ok(commits)
        })
    }
}

fn before(
    connection: &Connection,
    key: &[u8],
    revision: Revision,
) -> Result<Option<Entry>, StoreError> {
    let mut statement = connection.prepare_cached(BEFORE).map_err(engine)?;
    let mut rows = statement
        .query_map(params![key, revision.cast_signed()], image)
        .map_err(engine)?;
    match rows.next() {
        Some(row) => Ok(row.map_err(engine)?.2),
        None => Ok(None),
    }
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

/// A row as an entry: key, value, created, modified, version, lease.
pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        key: Bytes::from(row.get::<_, Vec<u8>>(0)?),
        value: Bytes::from(row.get::<_, Vec<u8>>(1)?),
        created: row.get::<_, i64>(2)?.cast_unsigned(),
        modified: row.get::<_, i64>(3)?.cast_unsigned(),
        version: row.get::<_, i64>(4)?.cast_unsigned(),
        lease: row
            .get::<_, Option<i64>>(5)?
            .map(|id| LeaseId(id.cast_unsigned())),
    })
}

/// A row of the history: its key, its revision, and the entry unless the key was removed.
fn image(row: &Row<'_>) -> rusqlite::Result<(Bytes, Revision, Option<Entry>)> {
    let key = Bytes::from(row.get::<_, Vec<u8>>(0)?);
    let revision = row.get::<_, i64>(3)?.cast_unsigned();
    let removed = row.get_ref(1)? == rusqlite::types::ValueRef::Null;
    Ok((
        key,
        revision,
        if removed { None } else { Some(entry(row)?) },
    ))
}
