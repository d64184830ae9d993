//! The values of the HTTP API that are not nouns of a lower room.

mod access;
mod drift;
mod inventory;

pub use access::*;
pub use drift::*;
pub use inventory::*;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wright_inventory::{exchange::Row, feed::Position};
use wright_model::{Capacity, Digest, Host, InstanceRecord, InstanceStatus, Name, PackageId};
use wright_site::{Bundle, PlanSummary};
use wright_workflow::{Decision, JobId};

/// `client.json`: how a command line finds and trusts a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientContext {
    /// `https://ADDRESS:PORT`.
    pub url: String,
    /// Where to ask when that one does not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// The bearer token.
    pub token: String,
    /// The certificate authority, PEM.
    pub ca: String,
}

/// `POST /sites`: build or change a site.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpRequest {
    /// The site's files.
    pub bundle: Bundle,
    /// The plan that was shown; refused where the plan would now be another one.
    #[serde(default)]
    pub plan: Option<Digest>,
}

/// The answer to `POST /sites` and `POST /sites/{site}/down`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpAnswer {
    /// The job; `None` where nothing is to be done.
    pub job: Option<JobId>,
    /// What it does; its steps are the job's.
    pub plan: PlanSummary,
}

/// A host with what its agent says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostView {
    /// The host.
    #[serde(flatten)]
    pub host: Host,
    /// Whether its agent is connected now.
    pub connected: bool,
    /// Instances recorded there.
    pub instances: usize,
    /// Resident memory of the agent, bytes.
    pub agent_resident_bytes: u64,
    /// Processor time of the agent since it started, milliseconds.
    pub agent_cpu_ms: u64,
}

/// `POST /hosts`: hosts that no provider of this server makes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewHosts {
    /// Where they come from, such as `simulated`.
    pub provider: Name,
    /// Each of them.
    pub hosts: Vec<NewHost>,
}

/// A host that is to be known.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewHost {
    /// Its name.
    pub name: Name,
    /// Where its programs listen.
    pub address: std::net::IpAddr,
    /// What it can carry.
    pub capacity: Capacity,
}

/// The answer to `POST /hosts`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HostsAdded {
    /// Hosts that are known now and were not before.
    pub added: usize,
    /// Hosts that were known already and stay as they are.
    pub known: usize,
}

/// A package in the package store (kind `package`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PackageView {
    /// Name, version, digest.
    #[serde(flatten)]
    pub id: PackageId,
    /// From the manifest.
    pub description: String,
    /// From the manifest.
    pub platform: String,
    /// Size of the archive, bytes.
    pub size: u64,
    /// The id of the key that signed it.
    pub key_id: String,
    /// When it was pushed.
    pub pushed_at: Timestamp,
}

/// An instance: what is recorded, and what its agent sees.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceView {
    /// What the control plane has done.
    pub record: InstanceRecord,
    /// What the agent sees; `None` where it has not said yet.
    pub status: Option<InstanceStatus>,
}

/// The answer to an operation on an instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OperationAnswer {
    /// One line.
    pub message: String,
    /// Findings, one per line.
    #[serde(default)]
    pub lines: Vec<String>,
}

/// Why somebody interferes with a job, and with which of its steps.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// For the audit trail. Retrying, skipping and answering need one.
    #[serde(default)]
    pub reason: String,
    /// The step to skip, or to retry in place of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// `POST /jobs/{job}/answer`: what somebody decided that a step waits for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepAnswer {
    /// The step.
    pub step: String,
    /// `approved` or `refused`, and what comes with it.
    #[serde(flatten)]
    pub decision: Decision,
    /// Why.
    pub reason: String,
}

pub use crate::webhooks::{DeadLetter, Failing, Letter};

/// A webhook, and how far it has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WebhookView {
    /// Its name.
    pub name: String,
    /// Where it is posted to.
    pub url: String,
    /// Of which kinds; none: of all.
    pub kinds: Vec<String>,
    /// Whether it is wanted now.
    pub active: bool,
    /// Everything up to here was delivered or is dead.
    pub position: Position,
    /// What its receiver does not take now.
    pub failing: Option<Failing>,
    /// Letters that were given up.
    pub dead: usize,
}

/// `POST /webhooks/{name}/replay`: from a position, or a dead letter.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// Everything after this once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Position>,
    /// The dead letter of this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<String>,
}

/// `POST /import`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// The resources, with their lines.
    pub rows: Vec<Row>,
    /// Why, for the history.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// `GET /health`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// The program's version.
    pub version: String,
    /// Hosts whose agents are connected.
    pub hosts_connected: usize,
    /// Hosts that are known and not given up.
    pub hosts: usize,
    /// Resident memory of the server process, bytes.
    pub resident_bytes: u64,
}
