//! What a key is or was, as it stands in a row.

use bytes::Bytes;
use rusqlite::{
    Connection, OptionalExtension as _, Result, Row, ToSql, params,
    types::{ToSqlOutput, ValueRef},
};

use crate::{Entry, LeaseId, Revision};

/// Values of more bytes stand in a table of their own: rows that are only keys are many to a page, and
/// a value that another takes the place of is not copied.
const SMALL: usize = 256;

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// There is none: the key was removed.
    Removed,
    /// In the row.
    Small(Bytes),
    /// In `body`, under this number.
    Body(i64),
}

impl ToSql for Content {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Content::Removed => ValueRef::Null,
            Content::Small(value) => ValueRef::Blob(value),
            Content::Body(number) => ValueRef::Integer(*number),
        }))
    }
}

impl Content {
    /// Puts a value where it belongs.
    pub fn keep(connection: &Connection, value: &Bytes) -> Result<Self> {
        if value.len() <= SMALL {
            return Ok(Content::Small(value.clone()));
        }
        let mut keep = connection.prepare_cached("INSERT INTO body (value) VALUES (?1)")?;
        Ok(Content::Body(keep.insert([&value[..]])?))
    }

    /// The value; nothing where the key was removed.
    fn value(self, connection: &Connection) -> Result<Option<Bytes>> {
        let number = match self {
            Content::Removed => return Ok(None),
            Content::Small(value) => return Ok(Some(value)),
            Content::Body(number) => number,
        };
        let mut read = connection.prepare_cached("SELECT value FROM body WHERE id = ?1")?;
        let value: Vec<u8> = read.query_row([number], |row| row.get(0))?;
        Ok(Some(value.into()))
    }
}

/// What a key is, or was from one commit to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub content: Content,
    pub created: Revision,
    pub modified: Revision,
    pub version: u64,
    pub lease: Option<LeaseId>,
}

impl State {
    /// From the columns `value, created, modified, version, lease`, of which the first is `from`.
    pub fn read(row: &Row<'_>, from: usize) -> Result<Self> {
        let content = match row.get_ref(from)? {
            ValueRef::Null => Content::Removed,
            ValueRef::Integer(number) => Content::Body(number),
            small => Content::Small(Bytes::copy_from_slice(small.as_blob()?)),
        };
        let lease: Option<i64> = row.get(from + 4)?;
        Ok(State {
            content,
            created: row.get::<_, i64>(from + 1)?.cast_unsigned(),
            modified: row.get::<_, i64>(from + 2)?.cast_unsigned(),
            version: row.get::<_, i64>(from + 3)?.cast_unsigned(),
            lease: lease.map(|id| LeaseId(id.cast_unsigned())),
        })
    }

    /// What a key is now; nothing where it never was, or it was removed and that is forgotten.
    pub fn now(connection: &Connection, key: &[u8]) -> Result<Option<Self>> {
        const NOW: &str =
            "SELECT value, created, modified, version, lease FROM entry WHERE key = ?1";
        let mut now = connection.prepare_cached(NOW)?;
        now.query_row([key], |row| State::read(row, 0)).optional()
    }

    /// What a key was until a commit made it something else; nothing where it was not there.
    pub fn before(connection: &Connection, key: &[u8], revision: Revision) -> Result<Option<Self>> {
        const BEFORE: &str = "SELECT value, created, modified, version, lease FROM history
            WHERE revision = ?1 AND key = ?2";
        let mut before = connection.prepare_cached(BEFORE)?;
        let which = params![revision.cast_signed(), key];
        before
            .query_row(which, |row| State::read(row, 0))
            .optional()
    }

    /// What a key that is now so was at a revision: back from change to change.
    pub fn at(
        self,
        connection: &Connection,
        key: &[u8],
        revision: Revision,
    ) -> Result<Option<Self>> {
        let mut state = self;
        while state.modified > revision {
            match State::before(connection, key, state.modified)? {
                Some(before) => state = before,
                None => return Ok(None),
            }
        }
        Ok(Some(state))
    }

    /// Makes a key so, unless there is something under it; whether there was nothing.
    pub fn begin(
        &self,
        connection: &Connection,
        key: &[u8],
        checksum: Option<i64>,
    ) -> Result<bool> {
        const BEGIN: &str = "INSERT OR IGNORE INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        Ok(self.write(connection, BEGIN, key, checksum)? == 1)
    }

    /// Makes a key so that was something else.
    pub fn replace(
        &self,
        connection: &Connection,
        key: &[u8],
        checksum: Option<i64>,
    ) -> Result<()> {
        const REPLACE: &str =
            "UPDATE entry SET value = ?2, created = ?3, modified = ?4, version = ?5,
            lease = ?6, checksum = ?7 WHERE key = ?1";
        self.write(connection, REPLACE, key, checksum).map(drop)
    }

    fn write(
        &self,
        connection: &Connection,
        how: &str,
        key: &[u8],
        checksum: Option<i64>,
    ) -> Result<usize> {
        connection.prepare_cached(how)?.execute(params![
            key,
            self.content,
            self.created.cast_signed(),
            self.modified.cast_signed(),
            self.version.cast_signed(),
            self.lease.map(|lease| lease.0.cast_signed()),
            checksum,
        ])
    }

    /// Notes that a key was so until a commit made it something else.
    pub fn end(&self, connection: &Connection, key: &[u8], revision: Revision) -> Result<()> {
        const END: &str = "INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        connection.prepare_cached(END)?.execute(params![
            revision.cast_signed(),
            key,
            self.content,
            self.created.cast_signed(),
            self.modified.cast_signed(),
            self.version.cast_signed(),
            self.lease.map(|lease| lease.0.cast_signed()),
        ])?;
        Ok(())
    }

    pub fn is_removed(&self) -> bool {
        self.content == Content::Removed
    }

    /// With its value; nothing where the key was removed.
    pub fn entry(self, connection: &Connection, key: Bytes) -> Result<Option<Entry>> {
        let value = self.content.value(connection)?;
        Ok(value.map(|value| Entry {
            key,
            value,
            created: self.created,
            modified: self.modified,
            version: self.version,
            lease: self.lease,
        }))
    }
}
