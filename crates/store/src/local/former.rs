//! Files of the formats 1 and 2, taken over when they are opened.
//!
//! Their `history` had what every commit left of each key it touched, `(key, revision)`, a removed key
//! without a value (NULL). In format 2 a value that was still its key's newest stood only in `entry`,
//! and its checksum, an integer, in the history.

use bytes::Bytes;
use rusqlite::{Connection, Result, Row, types::ValueRef};

use super::{
    schema,
    state::{Content, State},
};
use crate::Revision;

/// Gives the former tables other names, so that the new ones can be made.
pub(super) fn set_aside(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "DROP INDEX IF EXISTS entry_lease;
         DROP INDEX IF EXISTS history_revision;
         ALTER TABLE entry RENAME TO former_entry;
         ALTER TABLE history RENAME TO former_history;",
    )
}

/// Brings what they have into the new tables, and removes them.
pub(super) fn take_over(connection: &Connection) -> Result<()> {
    entries(connection)?;
    past(connection)?;
    touched(connection)?;
    connection.execute_batch("DROP TABLE former_entry; DROP TABLE former_history;")
}

fn entries(connection: &Connection) -> Result<()> {
    let mut read = connection.prepare(
        "SELECT e.key, e.value, e.created, e.modified, e.version, e.lease, h.value
         FROM former_entry AS e
         LEFT JOIN former_history AS h ON h.key = e.key AND h.revision = e.modified",
    )?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let (key, value): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let value = Bytes::from(value);
        let checksum = match row.get_ref(6)? {
            ValueRef::Integer(checksum) => checksum,
            _ => schema::checksum(&value),
        };
        let state = State {
            content: Content::keep(connection, &value)?,
            ..State::read(row, 1)?
        };
        state.begin(connection, &key, Some(checksum))?;
    }
    Ok(())
}

/// A row of the former history: a key, and what a commit made of it.
struct Left {
    key: Vec<u8>,
    removed: bool,
    value: Bytes,
    state: State,
}

impl Left {
    fn read(row: &Row<'_>) -> Result<Self> {
        let value = row.get_ref(1)?;
        Ok(Left {
            key: row.get(0)?,
            removed: value == ValueRef::Null,
            value: Bytes::copy_from_slice(value.as_blob().unwrap_or_default()),
            state: State {
                content: Content::Removed,
                ..State::read(row, 1)?
            },
        })
    }

    /// It was so until this commit.
    fn until(self, connection: &Connection, revision: Revision) -> Result<()> {
        let content = if self.removed {
            Content::Removed
        } else {
            Content::keep(connection, &self.value)?
        };
        State {
            content,
            ..self.state
        }
        .end(connection, &self.key, revision)
    }

    /// Nothing came after it. One that is there is an entry already.
    fn last(self, connection: &Connection) -> Result<()> {
        if self.removed {
            self.state.begin(connection, &self.key, None)?;
        }
        Ok(())
    }
}

fn past(connection: &Connection) -> Result<()> {
    let mut read = connection.prepare(
        "SELECT key, value, created, revision, version, lease FROM former_history ORDER BY key, revision",
    )?;
    let mut rows = read.query([])?;
    let mut last: Option<Left> = None;
    while let Some(row) = rows.next()? {
        let left = Left::read(row)?;
        match last.take() {
            Some(former) if former.key == left.key => {
                former.until(connection, left.state.modified)?;
            }
            Some(former) => former.last(connection)?,
            None => {}
        }
        last = Some(left);
    }
    last.map_or(Ok(()), |last| last.last(connection))
}

fn touched(connection: &Connection) -> Result<()> {
    let oldest = schema::meta(connection, "oldest")?;
    let mut read = connection.prepare(
        "SELECT revision, key FROM former_history WHERE revision > ?1 ORDER BY revision, key",
    )?;
    let mut rows = read.query([oldest.cast_signed()])?;
    let mut commit: (Revision, Vec<Bytes>) = (0, Vec::new());
    while let Some(row) = rows.next()? {
        let revision = row.get::<_, i64>(0)?.cast_unsigned();
        if revision != commit.0 {
            schema::touch(connection, commit.0, commit.1.iter())?;
            commit = (revision, Vec::new());
        }
        commit.1.push(row.get::<_, Vec<u8>>(1)?.into());
    }
    schema::touch(connection, commit.0, commit.1.iter())
}
