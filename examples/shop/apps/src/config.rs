//! Configuration files: TOML, every field named, unknown ones refused.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A configuration an app cannot start with. Its exit code is [`EXIT_CODE`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line is not `--config FILE`.
    #[error("usage: {program} --config FILE")]
    Usage {
        /// The program as it was called.
        program: String,
    },
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what the app expects.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Names the line, the field and what was expected.
        source: Box<toml::de::Error>,
    },
    /// A value has the right type but makes no sense.
    #[error("{field}: {detail}")]
    Value {
        /// The field, as `section.name`.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

/// What a program exits with when its configuration is wrong (`EX_CONFIG` of `sysexits.h`).
pub const EXIT_CODE: u8 = 78;

/// The configuration of one app: the sections it needs as fields.
pub trait Config: DeserializeOwned {
    /// Where it listens.
    fn listen(&self) -> SocketAddr;
}

/// The `[postgres]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// Connection string of the server that takes writes (`host=… port=… user=… password=… dbname=…`).
    pub primary: String,
    /// Connection string of a server for reads.
    #[serde(default)]
    pub replica: Option<String>,
}

/// The `[postgres]` section of an app that never reads from a replica.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Primary {
    /// Connection string of the server that takes writes.
    pub primary: String,
}

/// The `[redis]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// `redis://:PASSWORD@HOST:PORT/`.
    pub url: String,
}

/// The `[nats]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// `nats://TOKEN@HOST:PORT`.
    pub url: String,
}

/// Reads a configuration.
///
/// # Errors
/// When the file cannot be read, or a field is missing, unknown or of the wrong type.
pub fn read<C: DeserializeOwned>(path: &Path) -> Result<C, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.into(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| ConfigError::Parse {
        path: path.into(),
        source: Box::new(source),
    })
}

/// The file named on the command line `PROGRAM --config FILE`.
///
/// # Errors
/// When the command line is anything else.
pub fn path_from_args(mut args: impl Iterator<Item = String>) -> Result<PathBuf, ConfigError> {
    let program = args.next().unwrap_or_else(|| "app".into());
    match (args.next().as_deref(), args.next(), args.next()) {
        (Some("--config"), Some(file), None) => Ok(file.into()),
        _ => Err(ConfigError::Usage { program }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code)]
        listen: SocketAddr,
        #[allow(dead_code)]
        redis: Redis,
    }

    fn refusal(text: &str) -> String {
        toml::from_str::<Sample>(text).unwrap_err().to_string()
    }

    #[test]
    fn a_missing_section_is_named() {
        assert!(refusal("listen = '127.0.0.1:1'").contains("missing field `redis`"));
    }

    #[test]
    fn an_unknown_field_is_named_with_its_line() {
        let text = "listen = '127.0.0.1:1'\n[redis]\nurl = 'x'\nport = 1\n";
        let message = refusal(text);
        assert!(
            message.contains("line 4") && message.contains("unknown field `port`"),
            "{message}"
        );
    }

    #[test]
    fn only_one_command_line_is_accepted() {
        let args = |list: &[&str]| path_from_args(list.iter().map(|s| s.to_string()));
        assert_eq!(args(&["x", "--config", "f"]).unwrap(), PathBuf::from("f"));
        assert!(args(&["x"]).is_err());
        assert!(args(&["x", "--config", "f", "more"]).is_err());
    }
}
