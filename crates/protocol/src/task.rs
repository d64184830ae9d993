use serde::{Deserialize, Serialize};
use wright_model::{Check, InstanceId, InstanceSpec, Operation, PackageId};

/// What an agent is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Have the archive in the cache, with its hash and signature proved.
    Fetch {
        /// Which package.
        package: PackageId,
    },
    /// Unpack, make the directories and the user, run the package's `install`. With another
    /// package than before: side by side, the old one stays until `Configure` switches over.
    Install {
        /// What to install; `files` and `env` may be left empty.
        spec: Box<InstanceSpec>,
    },
    /// Write the configuration files and remember the specification as the one to start.
    Configure {
        /// Secrets are in the files; path tokens are for the agent to replace.
        spec: Box<InstanceSpec>,
    },
    /// Run with the configured specification; restart if it runs with another one.
    Start {
        /// Which instance.
        instance: InstanceId,
    },
    /// Answer when the readiness check is good.
    AwaitReady {
        /// Which instance.
        instance: InstanceId,
    },
    /// End the program and do not start it again.
    Stop {
        /// Which instance.
        instance: InstanceId,
    },
    /// Stop if it runs, run the package's `uninstall`, remove directory and user.
    Uninstall {
        /// Which instance.
        instance: InstanceId,
    },
    /// One of the eight operations, asked for by a person: `Start`, `Stop`, `Restart`, `Monitor`,
    /// `Diskclear` or `Checksum`.
    Operate {
        /// Which instance.
        instance: InstanceId,
        /// Which operation.
        operation: Operation,
    },
    /// Make a check and answer with what was seen; what was expected is judged by the caller.
    Check {
        /// Which instance.
        instance: InstanceId,
        /// What to ask.
        check: Check,
    },
    /// Send the last lines of the instance's log as output, then, if asked, what comes after.
    Logs {
        /// Which instance.
        instance: InstanceId,
        /// How many lines from the end.
        lines: u32,
        /// Whether to go on until cancelled.
        follow: bool,
    },
    /// Remove everything the agent has made: instances, packages, cache. The host is given back.
    Clear,
}

impl Task {
    /// Whether the task has no effect and may be done any number of times.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Task::AwaitReady { .. } | Task::Check { .. } | Task::Logs { .. } => true,
            Task::Operate { operation, .. } => {
                matches!(operation, Operation::Monitor | Operation::Checksum)
            }
            _ => false,
        }
    }
}

/// How a task ended.
pub type TaskAnswer = Result<Answer, Fault>;

/// What a task that succeeded has to say.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// One line for people; empty where there is nothing to say.
    #[serde(default)]
    pub message: String,
    /// What a check saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<Observation>,
    /// Findings of `checksum`, or other lines of output, one per line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// What a check saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The HTTP status, for an HTTP check.
    pub status: Option<u16>,
    /// The body or the command's output, at most 256 KiB.
    pub body: String,
}

/// Whose fault a failure is: decides what can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// The program: exits, never becomes ready, a hook fails. The same again would fail again.
    Program,
    /// The package: wrong bytes, unknown key, not there.
    Package,
    /// The host: disk full, cannot fork. Another host may do.
    Host,
    /// Time ran out.
    Deadline,
    /// The task was cancelled.
    Cancelled,
    /// The link or the other side: trying again may help.
    Passing,
    /// The request makes no sense here (no such instance).
    Request,
    /// Nobody's: it was not begun, since the task that it follows failed or it was cancelled before.
    NotBegun,
}

/// Why a task failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Whose fault.
    pub blame: Blame,
    /// What went wrong, the cause named, in one line.
    pub message: String,
    /// The last lines of output or log that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

impl Fault {
    /// A fault without evidence.
    pub fn new(blame: Blame, message: impl Into<String>) -> Self {
        Fault {
            blame,
            message: message.into(),
            evidence: Vec::new(),
        }
    }

    /// The same with the lines that show it.
    #[must_use]
    pub fn with_evidence(mut self, lines: Vec<String>) -> Self {
        self.evidence = lines;
        self
    }
}
