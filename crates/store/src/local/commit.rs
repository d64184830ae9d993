//! One commit, lease end or compaction, inside the writer's transaction.

use std::collections::{BTreeMap, HashMap, hash_map};

use bytes::Bytes;
use rusqlite::{Connection, params};

use super::{
    engine,
    lease::Leases,
    read, schema,
    state::{Content, State},
};
use crate::{Change, Changes, Entry, Guard, LeaseId, Operation, Range, Revision, StoreError};

/// A key's new value and lease; `None` removes it.
type Write = Option<(Bytes, Option<LeaseId>)>;

/// What guards found under their keys, so that it is read once.
type Looked<'a> = HashMap<&'a Bytes, Option<State>>;

/// Writes one commit as `revision`; what it changed, in the order of the keys. Nothing has been
/// written where the answer is an error other than [`StoreError::Engine`].
pub(super) fn commit(
    connection: &Connection,
    guards: &[Guard],
    operations: &[Operation],
    leases: &Leases,
    revision: Revision,
) -> Result<Changes, StoreError> {
    let mut looked = Looked::new();
    for guard in guards {
        if !holds(connection, guard, &mut looked)? {
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
        let before = looked.remove(&key);
        changes.extend(write_key(connection, key, write, before, revision)?);
    }
    touch(connection, revision, &changes)?;
    Ok(changes)
}

fn holds<'a>(
    connection: &Connection,
    guard: &'a Guard,
    looked: &mut Looked<'a>,
) -> Result<bool, StoreError> {
    let (Guard::Absent(key)
    | Guard::Exists(key)
    | Guard::Modified(key, _)
    | Guard::Version(key, _)
    | Guard::Value(key, _)) = guard;
    let found = match looked.entry(key) {
        hash_map::Entry::Occupied(looked) => looked.into_mut(),
        hash_map::Entry::Vacant(new) => new.insert(State::now(connection, key).map_err(engine)?),
    };
    let Some(state) = found.as_ref().filter(|state| !state.is_removed()) else {
        return Ok(matches!(guard, Guard::Absent(_)));
    };
    Ok(match guard {
        Guard::Absent(_) => false,
        Guard::Exists(_) => true,
        Guard::Modified(_, revision) => state.modified == *revision,
        Guard::Version(_, version) => state.version == *version,
        Guard::Value(_, value) => {
            let entry = state.clone().entry(connection, key.clone());
            entry
                .map_err(engine)?
                .is_some_and(|entry| entry.value == *value)
        }
    })
}

fn keys(connection: &Connection, range: &Range) -> Result<Vec<Bytes>, StoreError> {
    const KEYS: &str = "SELECT key FROM entry
        WHERE key >= ?1 AND key < ?2 AND value IS NOT NULL ORDER BY key";
    let mut statement = connection.prepare_cached(KEYS).map_err(engine)?;
    let (start, end) = read::bounds(range);
    let rows = statement
        .query_map(params![start, end], |row| row.get::<_, Vec<u8>>(0))
        .map_err(engine)?;
    rows.map(|row| row.map(Bytes::from).map_err(engine))
        .collect()
}

/// Writes one key; `looked` is what is there, if that is known. Nothing where it was gone already.
fn write_key(
    connection: &Connection,
    key: Bytes,
    write: Write,
    looked: Option<Option<State>>,
    revision: Revision,
) -> Result<Option<Change>, StoreError> {
    let written = match write {
        Some((value, lease)) => put(connection, key.clone(), value, lease, looked, revision),
        None => remove(connection, key.clone(), looked, revision),
    };
    let written = written.map_err(engine)?;
    Ok(written.map(|(before, after)| Change {
        revision,
        key,
        before,
        after,
    }))
}

/// What was there, and what is.
type Written = (Option<Entry>, Option<Entry>);

fn put(
    connection: &Connection,
    key: Bytes,
    value: Bytes,
    lease: Option<LeaseId>,
    looked: Option<Option<State>>,
    revision: Revision,
) -> rusqlite::Result<Option<Written>> {
    let checksum = Some(schema::checksum(&value));
    let mut state = State {
        content: Content::keep(connection, &value)?,
        created: revision,
        modified: revision,
        version: 1,
        lease,
    };
    // Most keys that nobody looked at are new: then one step finds that out and writes.
    let there = match looked {
        Some(Some(there)) => Some(there),
        Some(None) | None if state.begin(connection, &key, checksum)? => None,
        _ => State::now(connection, &key)?,
    };
    let mut before = None;
    if let Some(there) = there {
        there.end(connection, &key, revision)?;
        if !there.is_removed() {
            (state.created, state.version) = (there.created, there.version + 1);
        }
        state.replace(connection, &key, checksum)?;
        before = there.entry(connection, key.clone())?;
    }
    let after = Entry {
        key,
        value,
        created: state.created,
        modified: revision,
        version: state.version,
        lease,
    };
    Ok(Some((before, Some(after))))
}

fn remove(
    connection: &Connection,
    key: Bytes,
    looked: Option<Option<State>>,
    revision: Revision,
) -> rusqlite::Result<Option<Written>> {
    let there = match looked {
        Some(looked) => looked,
        None => State::now(connection, &key)?,
    };
    let Some(there) = there.filter(|there| !there.is_removed()) else {
        return Ok(None);
    };
    there.end(connection, &key, revision)?;
    let gone = State {
        content: Content::Removed,
        created: there.created,
        modified: revision,
        version: 0,
        lease: None,
    };
    gone.replace(connection, &key, None)?;
    Ok(Some((there.entry(connection, key)?, None)))
}

fn touch(connection: &Connection, revision: Revision, changes: &Changes) -> Result<(), StoreError> {
    let keys = changes.iter().map(|change| &change.key);
    schema::touch(connection, revision, keys).map_err(engine)
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
        changes.extend(write_key(connection, key, None, None, revision)?);
    }
    touch(connection, revision, &changes)?;
    connection
        .execute("DELETE FROM lease WHERE id = ?1", [id])
        .map_err(engine)?;
    Ok(changes)
}

/// Of each key keeps what it was at `before` and what came after; a key that was removed by then is
/// forgotten.
pub(super) fn compact(connection: &Connection, before: Revision) -> Result<(), StoreError> {
    const FORGET: [&str; 4] = [
        "DELETE FROM body WHERE id IN (
           SELECT value FROM history WHERE revision <= ?1 AND typeof(value) = 'integer')",
        "DELETE FROM history WHERE revision <= ?1",
        "DELETE FROM entry WHERE value IS NULL AND modified <= ?1",
        "DELETE FROM touched WHERE revision <= ?1",
    ];
    for forget in FORGET {
        let upto = [before.cast_signed()];
        connection.execute(forget, upto).map_err(engine)?;
    }
    schema::set_meta(connection, "oldest", before).map_err(engine)
}
