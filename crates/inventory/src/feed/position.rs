use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use wright_store::Revision;

/// How far a watcher has come: written `812` when it knows all of commit 812, `812.3` when it knows
/// the first three of the changes that this commit made (in the order of their keys, whether they
/// concerned it or not).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    revision: Revision,
    known: u32,
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
            known: u32::MAX,
        }
    }

    /// After the first `known` of a commit's `all` changes.
    pub(super) fn within(revision: Revision, known: usize, all: usize) -> Self {
        let known = u32::try_from(known).unwrap_or(u32::MAX);
        Position {
            revision,
            known: if known as usize >= all {
                u32::MAX
            } else {
                known
            },
        }
    }

    /// The commit.
    pub fn revision(self) -> Revision {
        self.revision
    }

    /// The newest commit of which everything is known.
    pub(super) fn whole(self) -> Revision {
        if self.known == u32::MAX {
            self.revision
        } else {
            self.revision.saturating_sub(1)
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.known == u32::MAX {
            write!(f, "{}", self.revision)
        } else {
            write!(f, "{}.{}", self.revision, self.known)
        }
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let wrong = || PositionError(text.to_owned());
        match text.split_once('.') {
            None => text.parse().map(Position::after).map_err(|_| wrong()),
            Some((revision, known)) => Ok(Position {
                revision: revision.parse().map_err(|_| wrong())?,
                known: known.parse().map_err(|_| wrong())?,
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
        let texts = ["0", "811", "812.0", "812.3", "812", "813.1"];
        let positions: Vec<Position> = texts.iter().map(|text| text.parse().unwrap()).collect();
        assert!(positions.is_sorted());
        for (position, text) in positions.iter().zip(texts) {
            assert_eq!(position.to_string(), text);
        }
        assert_eq!(Position::within(7, 2, 2), Position::after(7));
        assert_eq!(Position::within(7, 1, 2).to_string(), "7.1");
        for wrong in ["", "x", "1.", "1.x", "-1", "1.2.3"] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }
}
