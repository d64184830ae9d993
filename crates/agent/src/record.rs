//! What the agent remembers of an instance, in `state.json` and `spec.json`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wright_model::{Digest, InstanceId, InstanceSpec, InstanceStatus, LastExit, Operation, Phase};

use crate::{backoff, process::Identity};

/// What is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Desired {
    #[default]
    Stopped,
    Running,
}

/// A program that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub process: Identity,
    /// The specification it was started with.
    pub spec: Digest,
    /// The package it was started from.
    pub package: Digest,
}

/// A hook that was begun, or is about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BegunHook {
    pub operation: Operation,
    /// The package it is from.
    pub package: Digest,
    /// Under which it is run once.
    pub key: String,
    /// The process that runs it.
    #[serde(flatten)]
    pub keeper: Identity,
}

impl BegunHook {
    pub(crate) fn is_stop(&self) -> bool {
        self.operation == Operation::Stop
    }
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The user id that is the instance's own.
    pub user: Option<u32>,
    /// The packages that must stay unpacked for it.
    pub packages: BTreeSet<Digest>,
    /// The packages whose `install` is over and done here, also those it has left since: an update
    /// that is taken back does not install a second time.
    pub installed: BTreeSet<Digest>,
    pub desired: Desired,
    pub running: Option<Running>,
    /// A hook whose end is not recorded yet.
    pub hook: Option<BegunHook>,
    /// Whether the package's `uninstall` is over and done.
    pub uninstalled: bool,
    pub phase: Phase,
    pub since: Timestamp,
    pub restarts: u32,
    pub recent_restarts: Vec<Timestamp>,
    pub flapping: bool,
    pub last_exit: Option<LastExit>,
    pub last_error: String,
}

impl Record {
    pub(crate) fn new(user: Option<u32>) -> Self {
        Record {
            user,
            packages: BTreeSet::new(),
            installed: BTreeSet::new(),
            desired: Desired::Stopped,
            running: None,
            hook: None,
            uninstalled: false,
            phase: Phase::Installed,
            since: Timestamp::now(),
            restarts: 0,
            recent_restarts: Vec::new(),
            flapping: false,
            last_exit: None,
            last_error: String::new(),
        }
    }

    pub(crate) fn enter(&mut self, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            self.since = Timestamp::now();
        }
    }

    /// Counts one more start that nobody asked for.
    pub(crate) fn count_restart(&mut self, now: Timestamp) {
        self.restarts += 1;
        self.recent_restarts.push(now);
        self.flapping = backoff::is_flapping(&mut self.recent_restarts, now);
    }

    /// Forgets what an earlier run has left: the program was told to start.
    pub(crate) fn begin_anew(&mut self) {
        self.desired = Desired::Running;
        self.restarts = 0;
        self.recent_restarts.clear();
        self.flapping = false;
        self.last_error.clear();
    }

    pub(crate) fn status(&self, id: &InstanceId, configured: Option<Digest>) -> InstanceStatus {
        InstanceStatus {
            id: id.clone(),
            phase: self.phase,
            since: self.since,
            spec_digest: self.running.as_ref().map(|r| r.spec).or(configured),
            pid: self.running.as_ref().map(|r| r.process.pid),
            restarts: self.restarts,
            flapping: self.flapping,
            last_exit: self.last_exit.clone(),
            last_error: self.last_error.clone(),
        }
    }
}

/// `spec.json`: what to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Configured {
    /// The digest of the specification as it was handed out.
    pub digest: Digest,
    /// The specification without its files, which may hold secrets.
    pub spec: InstanceSpec,
    /// The files that were written, below the instance's directory.
    pub files: Vec<String>,
}
