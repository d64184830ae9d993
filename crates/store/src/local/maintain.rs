//! Looking after a store: checks, backups and what they are for.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use rusqlite::{Connection, Transaction};

use super::{FILE, commit, engine, lock::Lock, schema, state::State};
use crate::{Revision, StoreError};

/// How much newer than its backup a restored store is: more commits than were made after the backup
/// and are lost. As etcd's own `snapshot restore --bump-revision`.
const LEAP: Revision = 1_000_000_000;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Keys there are now.
    pub keys: u64,
    /// The newest revision.
    pub newest: Revision,
    /// The oldest revision kept.
    pub oldest: Revision,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            keys,
            newest,
            oldest,
        } = self;
        write!(
            f,
            "the store is whole: {keys} keys, revision {newest}, history from revision {oldest}"
        )
    }
}

/// What must never be found: how it is called, and the SQL that counts it.
const BREACHES: [(&str, &str); 6] = [
    (
        "changes newer than the newest revision",
        "SELECT COUNT(*) FROM (SELECT modified AS at FROM entry UNION ALL SELECT revision FROM history
         UNION ALL SELECT revision FROM touched)
         WHERE at > (SELECT value FROM meta WHERE name = 'revision')",
    ),
    (
        "changes that are older than what they changed",
        "SELECT COUNT(*) FROM history WHERE modified >= revision",
    ),
    (
        "keys that no commit touched",
        "SELECT COUNT(*) FROM entry AS e WHERE modified > (SELECT value FROM meta WHERE name = 'oldest')
         AND NOT EXISTS (SELECT 1 FROM touched WHERE revision = e.modified)",
    ),
    (
        "values that are missing",
        "SELECT COUNT(*) FROM (SELECT value FROM entry UNION ALL SELECT value FROM history) AS one
         WHERE typeof(value) = 'integer' AND NOT EXISTS (SELECT 1 FROM body WHERE id = one.value)",
    ),
    (
        "values that are nobody's, or several keys'",
        "SELECT ABS((SELECT COUNT(*) FROM body)
         - (SELECT COUNT(*) FROM entry WHERE typeof(value) = 'integer')
         - (SELECT COUNT(*) FROM history WHERE typeof(value) = 'integer'))",
    ),
    (
        "keys on a lease that does not exist",
        "SELECT COUNT(*) FROM entry WHERE lease IS NOT NULL AND lease NOT IN (SELECT id FROM lease)",
    ),
];

fn open(directory: &Path) -> Result<Connection, StoreError> {
    schema::open_reader(&directory.join(FILE)).map_err(|error| unopened(directory, &error))
}

fn unopened(directory: &Path, reason: &dyn fmt::Display) -> StoreError {
    StoreError::Open {
        url: format!("file:{}", directory.display()),
        reason: reason.to_string(),
    }
}

/// Proves that a store is whole: the file's own structure, and that what is there now agrees with
/// the history. May run while the store is in use; what it reads is one moment's state.
///
/// # Errors
/// Where there is no store, or it is not whole: what was found.
pub fn check(directory: &Path) -> Result<Summary, StoreError> {
    check_through(&mut open(directory)?)
}

fn check_through(connection: &mut Connection) -> Result<Summary, StoreError> {
    let moment = connection.transaction().map_err(engine)?;
    let said: String = moment
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(engine)?;
    if said != "ok" {
        return Err(StoreError::Engine(format!("the file is damaged: {said}")));
    }
    for (what, sql) in BREACHES {
        let found = count(&moment, sql)?;
        if found > 0 {
            return Err(StoreError::Engine(format!(
                "the store is not whole: {found} {what}"
            )));
        }
    }
    for (what, found) in [
        (
            "keys that differ from their checksum",
            damaged_values(&moment),
        ),
        (
            "keys that the store has not as their last change left them",
            lost(&moment),
        ),
        (
            "changes without what was there before",
            unexplained(&moment),
        ),
    ] {
        let found = found.map_err(engine)?;
        if found > 0 {
            return Err(StoreError::Engine(format!(
                "the store is not whole: {found} {what}"
            )));
        }
    }
    let (newest, oldest) = schema::revisions(&moment).map_err(engine)?;
    Ok(Summary {
        keys: count(
            &moment,
            "SELECT COUNT(*) FROM entry WHERE value IS NOT NULL",
        )?,
        newest,
        oldest,
    })
}

/// How many of the newest values are not those that were written.
fn damaged_values(moment: &Transaction<'_>) -> rusqlite::Result<u64> {
    const NEWEST: &str = "SELECT key, value, created, modified, version, lease, checksum FROM entry
        WHERE value IS NOT NULL";
    let mut statement = moment.prepare(NEWEST)?;
    let mut rows = statement.query([])?;
    let mut damaged = 0;
    while let Some(row) = rows.next()? {
        let checksum: Option<i64> = row.get(6)?;
        let entry = State::read(row, 1)?.entry(moment, Bytes::new())?;
        let is = entry.map(|entry| schema::checksum(&entry.value));
        damaged += u64::from(is != checksum);
    }
    Ok(damaged)
}

/// Which commit touched each key last, of those that are kept.
fn last_touched(moment: &Transaction<'_>) -> rusqlite::Result<HashMap<Vec<u8>, Revision>> {
    let mut last = HashMap::new();
    each_touch(moment, |key, revision| {
        last.insert(key.to_vec(), revision);
        Ok(())
    })?;
    Ok(last)
}

fn each_touch(
    moment: &Transaction<'_>,
    mut each: impl FnMut(&[u8], Revision) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = moment.prepare("SELECT revision, keys FROM touched ORDER BY revision")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let revision = row.get::<_, i64>(0)?.cast_unsigned();
        for key in schema::parted(row.get_ref(1)?.as_blob()?) {
            each(key, revision)?;
        }
    }
    Ok(())
}

/// How many keys are not what the last commit that touched them left.
fn lost(moment: &Transaction<'_>) -> rusqlite::Result<u64> {
    let mut lost = 0;
    for (key, revision) in last_touched(moment)? {
        let now = State::now(moment, &key)?;
        lost += u64::from(now.is_none_or(|now| now.modified != revision));
    }
    Ok(lost)
}

/// How many changes of a key that there had been a change of before do not know it.
fn unexplained(moment: &Transaction<'_>) -> rusqlite::Result<u64> {
    let (mut last, mut unexplained) = (HashMap::new(), 0);
    each_touch(moment, |key, revision| {
        if let Some(former) = last.insert(key.to_vec(), revision) {
            let before = State::before(moment, key, revision)?;
            unexplained += u64::from(before.is_none_or(|before| before.modified != former));
        }
        Ok(())
    })?;
    Ok(unexplained)
}

fn count(moment: &Transaction<'_>, sql: &str) -> Result<u64, StoreError> {
    let found: i64 = moment
        .query_row(sql, [], |row| row.get(0))
        .map_err(engine)?;
    Ok(found.cast_unsigned())
}

/// Copies a store, also while it is in use, into one file that only its owner can read; the copy is
/// one moment's state, and durable before the answer. [`restore`] makes it a store again.
///
/// # Errors
/// Where the store cannot be read, or the file exists or cannot be written.
pub fn backup(directory: &Path, file: &Path) -> Result<(), StoreError> {
    if file.exists() {
        return Err(StoreError::Engine(format!(
            "{} exists: name a new file",
            file.display()
        )));
    }
    let connection = open(directory)?;
    let partial = with_suffix(file, ".partial");
    let copied = copy(&connection, &partial).and_then(|()| {
        // Only a whole copy ever has the name that was asked for.
        settle(&partial, file).map_err(|error| failed(file, &error))
    });
    if copied.is_err() {
        // The reason for the failure is the better message than that of its remains.
        let _ = fs::remove_file(&partial);
    }
    copied
}

fn copy(connection: &Connection, partial: &Path) -> Result<(), StoreError> {
    let name = partial
        .to_str()
        .ok_or_else(|| failed(partial, &"not UTF-8"))?;
    // SQLite takes an empty file, so that it is private from the beginning.
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(partial);
    made.map_err(|error| failed(partial, &error))?;
    connection
        .execute("VACUUM INTO ?1", [name])
        .map_err(engine)?;
    Ok(())
}

fn settle(partial: &Path, file: &Path) -> io::Result<()> {
    // SQLite leaves it to the caller to bring the copy to the disk.
    File::open(partial)?.sync_all()?;
    fs::rename(partial, file)?;
    let directory = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes the store in a directory what a backup has, and answers what that is. The backup is proved whole
/// before anything changes, and stays as it is. Its history is left behind and its revision leaps
/// ahead: whoever watched from a revision that the backup does not know is told to list again, and is not given
/// other changes under the same number.
///
/// A store that is there already is refused, unless it is to be `replaced`: it is then kept beside, under the
/// name in the answer.
///
/// # Errors
/// Where a process has the store open, the backup is not whole, a store is there, or files cannot be
/// written; the store is then as it was.
pub fn restore(
    directory: &Path,
    backup: &Path,
    replace: bool,
) -> Result<(Summary, Option<PathBuf>), StoreError> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.map_err(|error| unopened(directory, &error))?;
    let _lock = Lock::take(directory).map_err(|reason| unopened(directory, &reason))?;
    let store = directory.join(FILE);
    if store.exists() && !replace {
        return Err(StoreError::Engine(format!(
            "there is a store in {}: name another directory, or have it replaced (--replace)",
            directory.display()
        )));
    }
    let partial = directory.join("restoring.db");
    let done = prepared(backup, &partial).and_then(|summary| {
        let kept = set_aside(directory)?;
        settle(&partial, &store).map_err(|error| failed(&store, &error))?;
        Ok((summary, kept))
    });
    if done.is_err() {
        remove(&partial);
    }
    done
}

/// Copies a backup, brings it to today's format, proves it whole and lets its revision leap.
fn prepared(backup: &Path, partial: &Path) -> Result<Summary, StoreError> {
    // What an interrupted one left.
    remove(partial);
    let source = schema::open_reader(backup).map_err(|error| failed(backup, &error))?;
    schema::revisions(&source).map_err(|error| failed(backup, &format!("no store: {error}")))?;
    copy(&source, partial)?;
    let mut connection = schema::open_writer(partial).map_err(|error| failed(backup, &error))?;
    let mut summary = check_through(&mut connection)?;
    let leap = connection.transaction().map_err(engine)?;
    summary.newest += LEAP;
    summary.oldest = summary.newest;
    schema::set_meta(&leap, "revision", summary.newest).map_err(engine)?;
    commit::compact(&leap, summary.oldest)?;
    leap.commit().map_err(engine)?;
    // The log is brought into the file, and goes.
    connection.close().map_err(|(_, error)| engine(error))?;
    Ok(summary)
}

/// Gives the store that is there another name: the file and its log.
fn set_aside(directory: &Path) -> Result<Option<PathBuf>, StoreError> {
    let store = directory.join(FILE);
    if !store.exists() {
        return Ok(None);
    }
    let names = (1..).map(|number| directory.join(format!("replaced-{number}.db")));
    let Some(aside) = names.into_iter().find(|name| !name.exists()) else {
        return Ok(None);
    };
    // Closed by its last user, a store is one file. One that is damaged keeps its log.
    if let Ok(former) = Connection::open(&store) {
        let _ = former.close();
    }
    for part in ["", "-wal"] {
        let (from, to) = (with_suffix(&store, part), with_suffix(&aside, part));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&from, &error));
            }
            _ => {}
        }
    }
    remove(&with_suffix(&store, "-shm"));
    Ok(Some(aside))
}

/// Removes a file of a database and what SQLite keeps beside it, as far as they are there.
fn remove(file: &Path) {
    for part in ["", "-wal", "-shm", "-journal"] {
        // What cannot be removed is in the way of what comes next, which says so.
        let _ = fs::remove_file(with_suffix(file, part));
    }
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn failed(file: &Path, error: &dyn fmt::Display) -> StoreError {
    StoreError::Engine(format!("{}: {error}", file.display()))
}
