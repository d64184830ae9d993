use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use wright_store::Revision;

use crate::resource::check;

/// How far a watcher has come: written `812` when it knows all of commit 812, `812.3` when it knows
/// the first three of the changes that this commit made (in the order of their keys, whether they
/// concerned it or not). What a filter that follows references is told of a commit is in the order of the
/// names: `812@h3` knows what comes up to `h3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    revision: Revision,
    known: Known,
}

/// What of a commit is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Known {
    First(u32),
    UpTo(Arc<str>),
    All,
}

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no position: a revision such as 812, or what a watch told, was expected")]
pub struct PositionError(String);

impl Position {
    /// All of a commit is known, and what came before it.
    pub fn after(revision: Revision) -> Self {
        Position {
            revision,
            known: Known::All,
        }
    }

    /// After the first `known` of a commit's `all` changes.
    pub(super) fn within(revision: Revision, known: usize, all: usize) -> Self {
        let first = u32::try_from(known).ok().filter(|_| known < all);
        Position {
            revision,
            known: first.map_or(Known::All, Known::First),
        }
    }

    /// After what a commit means for the resources up to one of this name.
    pub(super) fn up_to(revision: Revision, name: &str) -> Self {
        Position {
            revision,
            known: Known::UpTo(name.into()),
        }
    }

    /// The commit.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether it has the name of a resource in it.
    pub fn tells_a_name(&self) -> bool {
        self.name().is_some()
    }

    /// The name up to which the commit is known, where it is known by names.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.known {
            Known::UpTo(name) => Some(name),
            Known::First(_) | Known::All => None,
        }
    }

    /// Where a watch goes on that tells commits by names, or by their changes: to it, the other sort says
    /// nothing of its commit.
    pub(super) fn told_by(self, names: bool) -> Self {
        match (&self.known, names) {
            (Known::First(_), true) | (Known::UpTo(_), false) => Position::after(self.whole()),
            _ => self,
        }
    }

    /// The newest commit of which everything is known.
    pub(super) fn whole(&self) -> Revision {
        match self.known {
            Known::All => self.revision,
            Known::First(_) | Known::UpTo(_) => self.revision.saturating_sub(1),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.revision)?;
        match &self.known {
            Known::First(known) => write!(f, ".{known}"),
            Known::UpTo(name) => write!(f, "@{name}"),
            Known::All => Ok(()),
        }
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let wrong = || PositionError(text.to_owned());
        let revision = |text: &str| text.parse().map_err(|_| wrong());
        if let Some((before, name)) = text.split_once('@') {
            check(name).map_err(|_| wrong())?;
            return Ok(Position::up_to(revision(before)?, name));
        }
        match text.split_once('.') {
            None => revision(text).map(Position::after),
            Some((before, known)) => Ok(Position {
                revision: revision(before)?,
                known: Known::First(known.parse().map_err(|_| wrong())?),
            }),
        }
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_as_they_are_read_and_are_in_order() {
        let texts = [
            "0", "811", "812.0", "812.3", "812@a.b", "812@h@3", "812", "813.1",
        ];
        let positions: Vec<Position> = texts.iter().map(|text| text.parse().unwrap()).collect();
        assert!(positions.is_sorted());
        for (position, text) in positions.iter().zip(texts) {
            assert_eq!(position.to_string(), text);
        }
        assert_eq!(Position::within(7, 2, 2), Position::after(7));
        assert_eq!(Position::within(7, 1, 2).to_string(), "7.1");
        for wrong in [
            "", "x", "1.", "1.x", "-1", "1.2.3", "1@", "1@a/b", "@a", "1.2@a",
        ] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }
    #[test]
    fn a_place_in_a_commit_of_the_other_sort_of_watch_is_before_the_commit() {
        let told = |text: &str, names| text.parse::<Position>().unwrap().told_by(names).to_string();
        assert_eq!([told("7.2", false), told("7.2", true)], ["7.2", "6"]);
        assert_eq!([told("7@a", false), told("7@a", true)], ["6", "7@a"]);
        assert_eq!([told("7", false), told("7", true)], ["7", "7"]);
    }
}
