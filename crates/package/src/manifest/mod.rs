//! `package.toml`: what a package is, what it runs and how its operations are done.

mod fields;
mod operations;
mod read;
mod signal;

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use wright_model::{Diagnostic, Name, Operation, Span, Version};

use crate::{Error, Platform};

pub use signal::Signal;

pub(crate) use read::{Parsed, Program, of_dir, parse};

/// The manifest's name in a package.
pub const MANIFEST_FILE: &str = "package.toml";

/// The largest manifest, in bytes.
pub(crate) const MAX_SIZE: u64 = 64 << 10;

/// What a `package.toml` says, with every default in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The package's name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// What it is, in one line; may be empty.
    #[serde(default)]
    pub description: String,
    /// Where it runs.
    #[serde(default)]
    pub platform: Platform,
    /// The program and its arguments, with placeholders (see [`expand`](crate::expand)).
    pub run: Vec<String>,
    /// As whom its commands run.
    #[serde(default)]
    pub user: RunAs,
    /// Environment variables for all its commands, before the baseline's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The operations it does otherwise than by default; [`Manifest::operation`] fills in the rest.
    #[serde(default)]
    pub operations: BTreeMap<Operation, Customised>,
}

/// As whom a package's commands run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunAs {
    /// An unprivileged user that each instance has of its own.
    #[default]
    Own,
    /// Root, where the agent is root. Only for what cannot be done otherwise.
    Root,
}

/// One `[operations.NAME]` table, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Customised {
    /// Run instead of the default; empty where the default is kept.
    #[serde(default)]
    pub command: Vec<String>,
    /// How long it may take.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// `stop` only: the signal that asks the program to end.
    #[serde(default)]
    pub signal: Option<Signal>,
    /// `diskclear` only: directories below the instance's home to empty.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// How one operation is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationSpec {
    /// What is done.
    pub action: Action,
    /// How long it may take. For `stop`: how long until the program is killed (SIGKILL).
    pub timeout: Span,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The package's own command, with placeholders. It exits 0 if all is well. A `stop` command
    /// has done its work when the program has ended.
    Command(Vec<String>),
    /// `install`: nothing more than unpacking.
    Unpack,
    /// `start`: run this in the foreground, and supervise it. With placeholders.
    Run(Vec<String>),
    /// `stop`: send this signal, wait, kill.
    Signal(Signal),
    /// `restart`: stop, then start.
    StopStart,
    /// `monitor`: ask the instance's readiness check.
    Readiness,
    /// `diskclear`: empty these directories below the instance's home, and rotated logs.
    Clear(Vec<String>),
    /// `uninstall`: remove the instance's directory and user.
    Remove,
    /// `checksum`: compare every installed file with the archive's list.
    Compare,
}

impl Manifest {
    /// Reads the text of a manifest; `file` is what findings call it.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<Diagnostic>> {
        parse(text.as_bytes(), file).map(|parsed| parsed.manifest)
    }

    /// Reads the manifest of a package that is a directory, unpacked or not yet built.
    ///
    /// # Errors
    /// Where there is none, or what is wrong with it.
    pub fn of_dir(dir: &Path) -> Result<Self, Error> {
        read::of_dir(dir).map(|parsed| parsed.manifest)
    }

    /// How an operation of this package is done.
    pub fn operation(&self, operation: Operation) -> OperationSpec {
        let customised = self.operations.get(&operation);
        let timeout = customised
            .and_then(|c| c.timeout)
            .unwrap_or_else(|| match operation {
                Operation::Restart => self.default_restart_timeout(),
                other => default_timeout(other),
            });
        let action = match customised {
            Some(own) if !own.command.is_empty() => match operation {
                Operation::Start => Action::Run(own.command.clone()),
                _ => Action::Command(own.command.clone()),
            },
            own => self.default_action(operation, own),
        };
        OperationSpec { action, timeout }
    }

    fn default_action(&self, operation: Operation, own: Option<&Customised>) -> Action {
        match operation {
            Operation::Install => Action::Unpack,
            Operation::Start => Action::Run(self.run.clone()),
            Operation::Stop => Action::Signal(own.and_then(|c| c.signal).unwrap_or_default()),
            Operation::Restart => Action::StopStart,
            Operation::Monitor => Action::Readiness,
            Operation::Diskclear => Action::Clear(own.map(|c| c.paths.clone()).unwrap_or_default()),
            Operation::Uninstall => Action::Remove,
            Operation::Checksum => Action::Compare,
        }
    }

    /// A restart may take as long as the stop and the start that it consists of.
    fn default_restart_timeout(&self) -> Span {
        let parts = [Operation::Stop, Operation::Start];
        Span::from_millis(
            parts
                .map(|part| self.operation(part).timeout.millis())
                .iter()
                .sum(),
        )
    }
}

fn default_timeout(operation: Operation) -> Span {
    match operation {
        Operation::Stop | Operation::Monitor => Span::from_secs(10),
        Operation::Checksum => Span::from_secs(300),
        _ => Span::from_secs(60),
    }
}
