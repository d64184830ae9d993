//! The writer: one thread, commits in groups.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, mpsc as channel},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use tokio::sync::oneshot;

use super::{engine, read, recent::Recent, schema};
use crate::{Change, Changes, Entry, Guard, LeaseId, Operation, Range, Revision, StoreError};

/// The most commands that share one transaction.
const GROUP: usize = 512;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Command {
    Commit { guards: Vec<Guard>, operations: Vec<Operation>, reply: Reply<Revision> },
    Grant { ttl_seconds: u32, reply: Reply<LeaseId> },
    KeepAlive { lease: LeaseId, reply: Reply<()> },
    Revoke { lease: LeaseId, reply: Reply<()> },
    Compact { before: Revision, reply: Reply<()> },
}

/// The thread's state.
pub(super) struct Writer {
    connection: Connection,
    commands: channel::Receiver<Command>,
    recent: Arc<Recent>,
    leases: HashMap<LeaseId, (Duration, Instant)>,
}

/// Answers that go out once the group is durable.
type Answers = Vec<Box<dyn FnOnce(Result<(), StoreError>) + Send>>;

impl Writer {
    /// Leases that were granted before get their whole time again.
    pub fn new(
        connection: Connection,
        commands: channel::Receiver<Command>,
        recent: Arc<Recent>,
    ) -> rusqlite::Result<Self> {
        let mut leases = HashMap::new();
        {
            let mut statement = connection.prepare("SELECT id, ttl FROM lease")?;
            let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            for row in rows {
                let (id, ttl) = row?;
                let ttl = Duration::from_secs(ttl.cast_unsigned());
                leases.insert(LeaseId(id.cast_unsigned()), (ttl, Instant::now() + ttl));
            }
        }
        Ok(Writer { connection, commands, recent, leases })
    }

    /// Until the store is dropped.
    pub fn run(mut self) {
        loop {
            let next = self.leases.values().map(|(_, end)| *end).min();
            let first = match next {
                None => match self.commands.recv() {
                    Ok(command) => Some(command),
                    Err(_) => return,
                },
                Some(end) => match self.commands.recv_timeout(end.saturating_duration_since(Instant::now())) {
                    Ok(command) => Some(command),
                    Err(channel::RecvTimeoutError::Timeout) => None,
                    Err(channel::RecvTimeoutError::Disconnected) => return,
                },
            };
            let mut group: Vec<Command> = first.into_iter().collect();
            group.extend(self.commands.try_iter().take(GROUP - group.len()));
            self.carry_out(group);
        }
    }

    /// One transaction for a group; everybody is answered after it.
    fn carry_out(&mut self, group: Vec<Command>) {
        let mut answers: Answers = Vec::new();
        let mut commits = Vec::new();
        let done = self.transact(group, &mut answers, &mut commits);
        match done {
            Ok(oldest) => {
                if let Some(oldest) = oldest {
                    self.recent.compacted(oldest);
                }
                self.recent.add(commits);
                answers.into_iter().for_each(|answer| answer(Ok(())));
            }
            Err(error) => {
                let text = error.to_string();
                answers.into_iter().for_each(|answer| answer(Err(StoreError::Engine(text.clone()))));
            }
        }
    }

    fn transact(
        &mut self,
        group: Vec<Command>,
        answers: &mut Answers,
        commits: &mut Vec<(Revision, Changes)>,
    ) -> Result<Option<Revision>, StoreError> {
        let now = Instant::now();
        let expired: Vec<LeaseId> =
            self.leases.iter().filter(|(_, (_, end))| *end <= now).map(|(lease, _)| *lease).collect();
        let mut compacted = None;
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = match begun {
            Ok(transaction) => transaction,
            Err(error) => {
                let text = error.to_string();
                group.into_iter().for_each(|command| command.fail(&text));
                return Err(StoreError::Engine(text));
            }
        };
        let mut revision = schema::meta(&transaction, "revision").map_err(engine)?;
        for lease in expired {
            self.leases.remove(&lease);
            end_lease(&transaction, lease, &mut revision, commits)?;
        }
        for command in group {
            match command {
                Command::Commit { guards, operations, reply } => {
                    let done = commit(&transaction, &guards, &operations, &self.leases, revision + 1);
                    match done {
                        Ok(changes) => {
                            revision += 1;
                            commits.push((revision, changes));
                            answer(answers, reply, revision);
                        }
                        Err(error @ StoreError::Engine(_)) => {
                            let _ = reply.send(Err(StoreError::Engine(error.to_string())));
                            return Err(error);
                        }
                        Err(error) => {
                            let _ = reply.send(Err(error));
                        }
                    }
                }
                Command::Grant { ttl_seconds, reply } => {
                    let lease = grant(&transaction, ttl_seconds)?;
                    let ttl = Duration::from_secs(u64::from(ttl_seconds));
                    self.leases.insert(lease, (ttl, now + ttl));
                    answer(answers, reply, lease);
                }
                Command::KeepAlive { lease, reply } => {
                    let known = self.leases.get_mut(&lease).map(|(ttl, end)| *end = now + *ttl);
                    let _ = reply.send(known.ok_or(StoreError::NoLease(lease)));
                }
                Command::Revoke { lease, reply } => {
                    if self.leases.remove(&lease).is_none() {
                        let _ = reply.send(Err(StoreError::NoLease(lease)));
                        continue;
                    }
                    end_lease(&transaction, lease, &mut revision, commits)?;
                    answer(answers, reply, ());
                }
                Command::Compact { before, reply } => {
                    let before = before.min(revision);
                    compact(&transaction, before)?;
                    compacted = Some(before);
                    answer(answers, reply, ());
                }
            }
        }
        let mut statement =
            transaction.prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'revision'").map_err(engine)?;
        statement.execute([revision.cast_signed()]).map_err(engine)?;
        drop(statement);
        transaction.commit().map_err(engine)?;
        Ok(compacted)
    }
}

impl Command {
    fn fail(self, text: &str) {
        let error = || StoreError::Engine(text.to_owned());
        match self {
            Command::Commit { reply, .. } => drop(reply.send(Err(error()))),
            Command::Grant { reply, .. } => drop(reply.send(Err(error()))),
            Command::KeepAlive { reply, .. } | Command::Revoke { reply, .. } | Command::Compact { reply, .. } => {
                drop(reply.send(Err(error())));
            }
        }
    }
}

fn answer<T: Send + 'static>(answers: &mut Answers, reply: Reply<T>, value: T) {
    answers.push(Box::new(move |done| drop(reply.send(done.map(|()| value)))));
}

fn read_entry(connection: &Connection, key: &[u8]) -> Result<Option<Entry>, StoreError> {
    const GET: &str = "SELECT key, value, created, modified, version, lease FROM entry WHERE key = ?1";
    let mut statement = connection.prepare_cached(GET).map_err(engine)?;
    statement.query_row([key], read::entry).optional().map_err(engine)
}

fn holds(connection: &Connection, guard: &Guard) -> Result<bool, StoreError> {
    Ok(match guard {
        Guard::Absent(key) => read_entry(connection, key)?.is_none(),
        Guard::Exists(key) => read_entry(connection, key)?.is_some(),
        Guard::Modified(key, revision) => read_entry(connection, key)?.is_some_and(|entry| entry.modified == *revision),
        Guard::Version(key, version) => read_entry(connection, key)?.is_some_and(|entry| entry.version == *version),
        Guard::Value(key, value) => read_entry(connection, key)?.is_some_and(|entry| entry.value == *value),
    })
}

/// Writes one commit as `revision`; what it changed, in the order of the keys.
fn commit(
    connection: &Connection,
    guards: &[Guard],
    operations: &[Operation],
    leases: &HashMap<LeaseId, (Duration, Instant)>,
    revision: Revision,
) -> Result<Changes, StoreError> {
    for guard in guards {
        if !holds(connection, guard)? {
            return Err(StoreError::Refused { guard: guard.clone(), revision: revision - 1 });
        }
    }
    // A later operation on the same key wins, so a key changes at most once in a commit.
    let mut writes: BTreeMap<Bytes, Option<(Bytes, Option<LeaseId>)>> = BTreeMap::new();
    for operation in operations {
        match operation {
            Operation::Put { key, value, lease } => {
                if let Some(lease) = lease.filter(|lease| !leases.contains_key(lease)) {
                    return Err(StoreError::NoLease(lease));
                }
                writes.insert(key.clone(), Some((value.clone(), *lease)));
            }
            Operation::Delete(key) => drop(writes.insert(key.clone(), None)),
            Operation::DeleteRange(range) => {
                writes.iter_mut().filter(|(key, _)| range.contains(key)).for_each(|(_, write)| *write = None);
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

fn keys(connection: &Connection, range: &Range) -> Result<Vec<Bytes>, StoreError> {
    const KEYS: &str = "SELECT key FROM entry WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key";
    let mut statement = connection.prepare_cached(KEYS).map_err(engine)?;
    let rows = statement
        .query_map(params![&range.start[..], range.end.as_deref()], |row| row.get::<_, Vec<u8>>(0))
        .map_err(engine)?;
    rows.map(|row| row.map(Bytes::from).map_err(engine)).collect()
}

fn write_key(
    connection: &Connection,
    key: Bytes,
    write: Option<(Bytes, Option<LeaseId>)>,
    revision: Revision,
) -> Result<Option<Change>, StoreError> {
    const PUT: &str = "INSERT OR REPLACE INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    const KEEP: &str = "INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let before = read_entry(connection, &key)?;
    let Some((value, lease)) = write else {
        let Some(gone) = &before else { return Ok(None) };
        let mut delete = connection.prepare_cached("DELETE FROM entry WHERE key = ?1").map_err(engine)?;
        delete.execute([&key[..]]).map_err(engine)?;
        let mut keep = connection.prepare_cached(KEEP).map_err(engine)?;
        let row = params![&key[..], revision.cast_signed(), None::<&[u8]>, gone.created.cast_signed(), 0, None::<i64>];
        keep.execute(row).map_err(engine)?;
        return Ok(Some(Change { revision, key, before, after: None }));
    };
    let (created, version) = before.as_ref().map_or((revision, 1), |entry| (entry.created, entry.version + 1));
    let id = lease.map(|lease| lease.0.cast_signed());
    let (created_row, version_row) = (created.cast_signed(), version.cast_signed());
    let mut put = connection.prepare_cached(PUT).map_err(engine)?;
    put.execute(params![&key[..], &value[..], created_row, revision.cast_signed(), version_row, id]).map_err(engine)?;
    let mut keep = connection.prepare_cached(KEEP).map_err(engine)?;
    keep.execute(params![&key[..], revision.cast_signed(), &value[..], created_row, version_row, id]).map_err(engine)?;
    let after = Entry { key: key.clone(), value, created, modified: revision, version, lease };
    Ok(Some(Change { revision, key, before, after: Some(after) }))
}

fn grant(connection: &Connection, ttl_seconds: u32) -> Result<LeaseId, StoreError> {
    let id = schema::meta(connection, "next_lease").map_err(engine)?;
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'next_lease'", []).map_err(engine)?;
    connection
        .execute("INSERT INTO lease VALUES (?1, ?2)", params![id.cast_signed(), ttl_seconds])
        .map_err(engine)?;
    Ok(LeaseId(id))
}

/// Removes a lease, and its keys in one commit.
fn end_lease(
    connection: &Connection,
    lease: LeaseId,
    revision: &mut Revision,
    commits: &mut Vec<(Revision, Changes)>,
) -> Result<(), StoreError> {
    let id = lease.0.cast_signed();
    let mut statement = connection.prepare_cached("SELECT key FROM entry WHERE lease = ?1").map_err(engine)?;
    let rows = statement.query_map([id], |row| row.get::<_, Vec<u8>>(0)).map_err(engine)?;
    let keys: Vec<Bytes> = rows.map(|row| row.map(Bytes::from)).collect::<Result<_, _>>().map_err(engine)?;
    connection.execute("DELETE FROM lease WHERE id = ?1", [id]).map_err(engine)?;
    if keys.is_empty() {
        return Ok(());
    }
    let mut changes = Changes::new();
    for key in keys {
        changes.extend(write_key(connection, key, None, *revision + 1)?);
    }
    *revision += 1;
    commits.push((*revision, changes));
    Ok(())
}

/// Of each key keeps what it was at `before` and what came after; a key that was removed is forgotten.
fn compact(connection: &Connection, before: Revision) -> Result<(), StoreError> {
    const SUPERSEDED: &str = "DELETE FROM history WHERE revision < ?1 AND EXISTS (
        SELECT 1 FROM history AS later
        WHERE later.key = history.key AND later.revision > history.revision AND later.revision <= ?1)";
    const REMOVED: &str = "DELETE FROM history WHERE revision < ?1 AND value IS NULL";
    let bound = before.cast_signed();
    connection.execute(SUPERSEDED, [bound]).map_err(engine)?;
    connection.execute(REMOVED, [bound]).map_err(engine)?;
    let sql = "UPDATE meta SET value = MAX(value, ?1) WHERE name = 'oldest'";
    connection.execute(sql, [bound]).map_err(engine)?;
    Ok(())
}
