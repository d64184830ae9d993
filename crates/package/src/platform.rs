use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a package runs: anywhere, or on one operating system and processor, such as
/// `linux-x86_64` (the names of [`std::env::consts`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Platform {
    /// Scripts and data: every platform.
    #[default]
    Any,
    /// One operating system on one processor.
    Exact {
        /// The operating system, such as `linux`.
        os: String,
        /// The processor, such as `x86_64`.
        arch: String,
    },
}

/// A text that is not a [`Platform`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a platform: `any` or a system and a processor such as `linux-x86_64` was expected"
)]
pub struct PlatformError(String);

/// The platforms that hosts can have.
pub(crate) const KNOWN: [&str; 6] = [
    "any",
    "linux-x86_64",
    "linux-aarch64",
    "linux-riscv64",
    "macos-aarch64",
    "macos-x86_64",
];

impl Platform {
    /// The platform this program was compiled for.
    pub fn current() -> Self {
        Platform::Exact {
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
        }
    }

    /// Whether a package for this platform runs on a host of platform `host`.
    pub fn runs_on(&self, host: &Platform) -> bool {
        *self == Platform::Any || self == host
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        if text == "any" {
            return Ok(Platform::Any);
        }
        match text.split_once('-') {
            Some((os, arch)) if KNOWN.contains(&text) => Ok(Platform::Exact {
                os: os.to_owned(),
                arch: arch.to_owned(),
            }),
            _ => Err(PlatformError(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> String {
        platform.to_string()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Platform::Any => f.pad("any"),
            Platform::Exact { os, arch } => f.pad(&format!("{os}-{arch}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_runs_where_it_was_made_for() {
        let x86: Platform = "linux-x86_64".parse().unwrap();
        let arm: Platform = "linux-aarch64".parse().unwrap();
        assert!(Platform::Any.runs_on(&x86));
        assert!(x86.runs_on(&x86));
        assert!(!x86.runs_on(&arm));
        assert!("linux".parse::<Platform>().is_err());
    }
}
