//! One commit, lease end or compaction, inside the writer's transaction.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{engine, lease::Leases, read, schema};
use crate::{Change, Changes, Entry, Guard, LeaseId, Operation, Range, Revision, StoreError};

/// A key's new value and lease; `None` removes it.
type Write = Option<(Bytes, Option<LeaseId>)>;

/// Writes one commit as `revision`; what it changed, in the order of the keys. Nothing has been
/// written where the answer is an error other than [`StoreError::Engine`].
pub(super) fn commit(
    connection: &Connection,
    guards: &[Guard],
    operations: &[Operation],
    leases: &Leases,
    revision: Revision,
) -> Result<Changes, StoreError> {
    for guard in guards {
        if !holds(connection, guard)? {
            return Err(StoreError::Refused {
                guard: guard.clone(),
                revision: revision - 1,
            });
        }
    }
    // A later operation on the same key wins, so a key changes at most once in a commit.
    let mut writes: BTreeMap<Bytes, Write> = BTreeMap::new();
    for operation in operations {
        match operation {
            Operation::Put { key, value, lease } => {
                if let Some(lease) = lease.filter(|lease| !leases.runs(*lease)) {
                    return Err(StoreError::NoLease(lease));
                }
                writes.insert(key.clone(), Some((value.clone(), *lease)));
            }
            Operation::Delete(key) => drop(writes.insert(key.clone(), None)),
            Operation::DeleteRange(range) => {
                let written = writes.iter_mut().filter(|(key, _)| range.contains(key));
                written.for_each(|(_, write)| *write = None);
                for key in keys(connection, range)? {
                    writes.insert(key, None);
                }
            }
        }
    }
    let mut changes = Changes::new();
    for (key, write) in writes {
        changes.extend(write_key(connection, key, write, revision)?);
    }
    Ok(changes)
}

fn holds(connection: &Connection, guard: &Guard) -> Result<bool, StoreError> {
    let (key, wanted): (&Bytes, &dyn Fn(&Entry) -> bool) = match guard {
        Guard::Absent(key) => return Ok(read_entry(connection, key)?.is_none()),
        Guard::Exists(key) => (key, &|_| true),
        Guard::Modified(key, revision) => (key, &|entry| entry.modified == *revision),
        Guard::Version(key, version) => (key, &|entry| entry.version == *version),
        Guard::Value(key, value) => (key, &|entry| entry.value == *value),
    };
    Ok(read_entry(connection, key)?.as_ref().is_some_and(wanted))
}

fn read_entry(connection: &Connection, key: &[u8]) -> Result<Option<Entry>, StoreError> {
    const GET: &str =
        "SELECT key, value, created, modified, version, lease FROM entry WHERE key = ?1";
    let mut statement = connection.prepare_cached(GET).map_err(engine)?;
    statement
        .query_row([key], read::entry)
        .optional()
        .map_err(engine)
}

fn keys(connection: &Connection, range: &Range) -> Result<Vec<Bytes>, StoreError> {
    const KEYS: &str = "SELECT key FROM entry WHERE key >= ?1 AND key < ?2 ORDER BY key";
    let mut statement = connection.prepare_cached(KEYS).map_err(engine)?;
    let (start, end) = read::bounds(range);
    let rows = statement
        .query_map(params![start, end], |row| row.get::<_, Vec<u8>>(0))
        .map_err(engine)?;
    rows.map(|row| row.map(Bytes::from).map_err(engine))
        .collect()
}

fn write_key(
    connection: &Connection,
    key: Bytes,
    write: Write,
    revision: Revision,
) -> Result<Option<Change>, StoreError> {
    let before = read_entry(connection, &key)?;
    if let Some(before) = &before {
        keep_value(connection, before)?;
    }
    let after = match (write, &before) {
        (None, None) => return Ok(None),
        (None, Some(gone)) => {
            const DELETE: &str = "DELETE FROM entry WHERE key = ?1";
            let mut delete = connection.prepare_cached(DELETE).map_err(engine)?;
            delete.execute([&key[..]]).map_err(engine)?;
            keep_past(connection, &key, revision, None, gone.created)?;
            None
        }
        (Some((value, lease)), before) => {
            const PUT: &str = "INSERT OR REPLACE INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let (created, version) = before
                .as_ref()
                .map_or((revision, 1), |entry| (entry.created, entry.version + 1));
            let entry = Entry {
                key: key.clone(),
                value,
                created,
                modified: revision,
                version,
                lease,
            };
            let mut put = connection.prepare_cached(PUT).map_err(engine)?;
            put.execute(params![
                &key[..],
                &entry.value[..],
                created.cast_signed(),
                revision.cast_signed(),
                version.cast_signed(),
                lease.map(|lease| lease.0.cast_signed()),
            ])
            .map_err(engine)?;
            keep_past(connection, &key, revision, Some(&entry), created)?;
            Some(entry)
        }
    };
    Ok(Some(Change {
        revision,
        key,
        before,
        after,
    }))
}

/// Gives the history the value of an entry that is about to go.
fn keep_value(connection: &Connection, gone: &Entry) -> Result<(), StoreError> {
    const KEEP: &str = "UPDATE history SET value = ?3 WHERE key = ?1 AND revision = ?2";
    let mut keep = connection.prepare_cached(KEEP).map_err(engine)?;
    keep.execute(params![
        &gone.key[..],
        gone.modified.cast_signed(),
        &gone.value[..]
    ])
    .map_err(engine)?;
    Ok(())
}

/// Writes what a key became into the history: with the checksum of its value, or, where it was
/// removed, without one.
fn keep_past(
    connection: &Connection,
    key: &[u8],
    revision: Revision,
    entry: Option<&Entry>,
    created: Revision,
) -> Result<(), StoreError> {
    const KEEP: &str = "INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut keep = connection.prepare_cached(KEEP).map_err(engine)?;
    keep.execute(params![
        key,
        revision.cast_signed(),
        entry.map(|entry| schema::checksum(&entry.value)),
        created.cast_signed(),
        entry.map_or(0, |entry| entry.version.cast_signed()),
        entry
            .and_then(|entry| entry.lease)
            .map(|lease| lease.0.cast_signed()),
    ])
    .map_err(engine)?;
    Ok(())
}

/// Makes a lease durable and names it.
pub(super) fn grant(connection: &Connection, ttl_seconds: u32) -> Result<LeaseId, StoreError> {
    let id = schema::meta(connection, "next_lease").map_err(engine)?;
    schema::set_meta(connection, "next_lease", id + 1).map_err(engine)?;
    let row = params![id.cast_signed(), ttl_seconds];
    connection
        .execute("INSERT INTO lease VALUES (?1, ?2)", row)
        .map_err(engine)?;
    Ok(LeaseId(id))
}

/// Removes a lease, and its keys as `revision`; what changed, in the order of the keys.
pub(super) fn end_lease(
    connection: &Connection,
    lease: LeaseId,
    revision: Revision,
) -> Result<Changes, StoreError> {
    const KEYS: &str = "SELECT key FROM entry WHERE lease = ?1 ORDER BY key";
    let id = lease.0.cast_signed();
    let mut statement = connection.prepare_cached(KEYS).map_err(engine)?;
    let rows = statement
        .query_map([id], |row| row.get::<_, Vec<u8>>(0))
        .map_err(engine)?;
    let keys: Result<Vec<Bytes>, _> = rows.map(|row| row.map(Bytes::from)).collect();
    let mut changes = Changes::new();
    for key in keys.map_err(engine)? {
        changes.extend(write_key(connection, key, None, revision)?);
    }
    connection
        .execute("DELETE FROM lease WHERE id = ?1", [id])
        .map_err(engine)?;
    Ok(changes)
}

/// Of each key keeps what it was at `before` and what came after; a key that was removed by then is
/// forgotten.
pub(super) fn compact(connection: &Connection, before: Revision) -> Result<(), StoreError> {
    // Only what was written since the last time can have taken another's place: what costs is what
    // happened since, not what there is. A cross join is made in the order in which it is written.
    const SUPERSEDED: &str = "DELETE FROM history WHERE (key, revision) IN (
        SELECT former.key, former.revision FROM history AS later CROSS JOIN history AS former
        WHERE later.revision > ?1 AND later.revision <= ?2
          AND former.key = later.key AND former.revision < later.revision)";
    const REMOVED: &str =
        "DELETE FROM history WHERE revision > ?1 AND revision <= ?2 AND value IS NULL";
    let (_, oldest) = schema::revisions(connection).map_err(engine)?;
    let since = [oldest.cast_signed(), before.cast_signed()];
    connection.execute(SUPERSEDED, since).map_err(engine)?;
    connection.execute(REMOVED, since).map_err(engine)?;
    schema::set_meta(connection, "oldest", before).map_err(engine)
}
