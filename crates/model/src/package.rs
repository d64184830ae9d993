use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Digest, Name};

/// A package version: three numbers, `MAJOR.MINOR.PATCH` (semver.org 2.0.0 without pre-releases).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    /// Raised when what others rely on changes.
    pub major: u32,
    /// Raised when something is added.
    pub minor: u32,
    /// Raised when something is mended.
    pub patch: u32,
}

/// A text that is not a version or a version requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct VersionError {
    text: String,
    expected: &'static str,
}

fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split('.')
        .map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        })
        .collect()
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        match numbers(text).as_deref() {
            Some(&[major, minor, patch]) => Ok(Version {
                major,
                minor,
                patch,
            }),
            _ => Err(VersionError {
                text: text.chars().take(80).collect(),
                expected: "a version such as 1.4.0",
            }),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}.{}", self.major, self.minor, self.patch))
    }
}

/// What a baseline asks for: `NAME@1`, `NAME@1.4` or `NAME@1.4.2`. The newest version that begins
/// with the numbers given is taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionReq {
    /// The package.
    pub name: Name,
    /// One to three leading numbers of the version.
    pub prefix: Vec<u32>,
}

impl VersionReq {
    /// Whether a version satisfies the requirement.
    pub fn matches(&self, version: Version) -> bool {
        [version.major, version.minor, version.patch].starts_with(&self.prefix)
    }
}

impl FromStr for VersionReq {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let refuse = || VersionError {
            text: text.chars().take(80).collect(),
            expected: "a package with its version, such as catalog@1.4",
        };
        let (name, version) = text.split_once('@').ok_or_else(refuse)?;
        let name = name.parse().map_err(|_| refuse())?;
        let prefix = numbers(version)
            .filter(|n| n.len() <= 3)
            .ok_or_else(refuse)?;
        Ok(VersionReq { name, prefix })
    }
}

impl TryFrom<String> for VersionReq {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<VersionReq> for String {
    fn from(req: VersionReq) -> String {
        req.to_string()
    }
}

impl fmt::Display for VersionReq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix: Vec<_> = self.prefix.iter().map(u32::to_string).collect();
        write!(f, "{}@{}", self.name, prefix.join("."))
    }
}

/// One exact package: its name, its version and the BLAKE3 digest of its archive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PackageId {
    /// The package's name.
    pub name: Name,
    /// The package's version.
    pub version: Version,
    /// The digest of the whole archive file.
    pub digest: Digest,
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// The eight operations that every package has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Makes the instance ready to be configured and started.
    Install,
    /// Starts the program.
    Start,
    /// Stops the program.
    Stop,
    /// Stops and starts the program.
    Restart,
    /// Says whether the program does its work.
    Monitor,
    /// Frees disk space that can be spared.
    Diskclear,
    /// Undoes `install`.
    Uninstall,
    /// Proves that what is installed is what was shipped.
    Checksum,
}

impl Operation {
    /// All eight.
    pub const ALL: [Operation; 8] = [
        Operation::Install,
        Operation::Start,
        Operation::Stop,
        Operation::Restart,
        Operation::Monitor,
        Operation::Diskclear,
        Operation::Uninstall,
        Operation::Checksum,
    ];

    /// The operation's name, as in `package.toml` and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Install => "install",
            Operation::Start => "start",
            Operation::Stop => "stop",
            Operation::Restart => "restart",
            Operation::Monitor => "monitor",
            Operation::Diskclear => "diskclear",
            Operation::Uninstall => "uninstall",
            Operation::Checksum => "checksum",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_takes_versions_with_its_prefix() {
        let req: VersionReq = "catalog@1.4".parse().unwrap();
        assert!(req.matches("1.4.7".parse().unwrap()));
        assert!(!req.matches("1.40.0".parse().unwrap()));
        for bad in [
            "catalog",
            "catalog@",
            "catalog@1.2.3.4",
            "@1",
            "catalog@v1",
            "catalog@1.",
        ] {
            assert!(bad.parse::<VersionReq>().is_err(), "{bad}");
        }
    }
}
