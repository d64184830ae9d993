use std::{path::PathBuf, str::FromStr};

use crate::path;

/// Something from outside the package's directory that goes into the archive as well, such as a
/// freshly compiled program: `bin/catalog=target/release/catalog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Where it goes in the archive.
    pub at: String,
    /// The file, or the directory with everything in it.
    pub source: PathBuf,
}

/// A text that is not an [`Addition`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} cannot be added: {why}; write PATH-IN-PACKAGE=FILE, such as bin/catalog=target/release/catalog"
)]
pub struct AdditionError {
    text: String,
    why: &'static str,
}

impl Addition {
    /// Adds `source` to the archive at `at`.
    pub fn new(at: impl Into<String>, source: impl Into<PathBuf>) -> Self {
        Addition {
            at: at.into(),
            source: source.into(),
        }
    }
}

impl FromStr for Addition {
    type Err = AdditionError;

    fn from_str(text: &str) -> Result<Self, AdditionError> {
        let refuse = |why| AdditionError {
            text: text.to_owned(),
            why,
        };
        let (at, source) = text
            .split_once('=')
            .ok_or_else(|| refuse("it has no `=`"))?;
        path::check(at).map_err(refuse)?;
        if source.is_empty() {
            return Err(refuse("it names no file"));
        }
        Ok(Addition::new(at, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addition_names_where_and_what() {
        let addition: Addition = "bin/catalog=target/release/catalog".parse().unwrap();
        assert_eq!(
            addition,
            Addition::new("bin/catalog", "target/release/catalog")
        );
        for bad in ["bin/catalog", "=x", "../x=y", "/x=y", "bin/x="] {
            assert!(bad.parse::<Addition>().is_err(), "{bad}");
        }
    }
}
