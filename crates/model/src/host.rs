use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, CpuShare, Name};

/// What a host can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Processors.
    pub cpu: CpuShare,
    /// Memory.
    pub memory: ByteSize,
}

/// A host as the inventory knows it (kind `host`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Unique within the installation.
    pub name: Name,
    /// Where its programs listen.
    pub address: IpAddr,
    /// The provider that made it.
    pub provider: Name,
    /// What it can carry.
    pub capacity: Capacity,
    /// Where it is in its life.
    pub state: HostState,
    /// When `state` last changed.
    pub since: Timestamp,
    /// Why it is in that state, in one line; empty when there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Where a host is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// Made by its provider; its agent has not called yet.
    Joining,
    /// Its agent is connected.
    Ready,
    /// Its agent has not been heard of for a short time; it may come back.
    Lost,
    /// Given up: what ran there must run elsewhere. Never comes back under this name.
    Dead,
}

impl HostState {
    /// Whether instances may be placed there.
    pub fn takes_instances(self) -> bool {
        matches!(self, HostState::Ready | HostState::Lost)
    }
}
