use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The name of a site, app, host, package, port, secret or any other thing people name.
///
/// A DNS label (RFC 1123): 1 to 63 of `a-z`, `0-9` and `-`, beginning with a letter and not ending
/// with `-`, so that it can stand in host names, file names, environment variables and URLs.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a name: {why} (1 to 63 of a-z, 0-9 and -, beginning with a letter)")]
pub struct NameError {
    text: String,
    why: &'static str,
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |why| {
            Err(NameError {
                text: text.chars().take(80).collect(),
                why,
            })
        };
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > 63 {
            return refuse("it is longer than 63 characters");
        }
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return refuse("it does not begin with a lower-case letter");
        }
        if text.ends_with('-') {
            return refuse("it ends with a hyphen");
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return refuse("it has a character that is not allowed");
        }
        Ok(Name(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_dns_labels_only() {
        for good in ["a", "catalog", "shop-2", "x9"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in ["", "9a", "-a", "a-", "A", "a_b", "a b", "ä", long.as_str()] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
