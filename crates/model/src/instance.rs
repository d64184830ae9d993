use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, CpuShare, Digest, Name, NameError, PackageId, Span};

/// Which instance: its site and its name there, such as `shop/catalog-2`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId {
    /// The site.
    pub site: Name,
    /// `{app}-{ordinal}`, ordinals from 1.
    pub name: Name,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.site, self.name)
    }
}

impl FromStr for InstanceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (site, name) = text.split_once('/').unwrap_or((text, ""));
        Ok(InstanceId {
            site: site.parse()?,
            name: name.parse()?,
        })
    }
}

impl TryFrom<String> for InstanceId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> String {
        id.to_string()
    }
}

/// Everything an agent must know to run one instance. Immutable; addressed by its digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Which instance.
    pub id: InstanceId,
    /// The app it is an instance of.
    pub app: Name,
    /// What it runs.
    pub package: PackageId,
    /// The host it runs on.
    pub host: Name,
    /// Where it listens.
    pub address: IpAddr,
    /// Its ports by name.
    pub ports: BTreeMap<Name, u16>,
    /// What it may use.
    pub limits: Limits,
    /// Configuration files, rendered; may hold tokens (see [`crate::token`]).
    pub files: Vec<ConfigFile>,
    /// Environment variables; may hold tokens.
    pub env: BTreeMap<String, String>,
    /// Whether it keeps data that must not be lost: its data directory survives updates, and it is
    /// not moved away from data that was once served.
    pub store: bool,
    /// When it counts as ready.
    pub ready: Probe,
    /// How long after the start it may take to become ready.
    pub ready_within: Span,
}

impl InstanceSpec {
    /// The specification's address: equal specifications have equal digests.
    pub fn digest(&self) -> Digest {
        // All map keys are text, so JSON cannot fail; an empty digest would only cause needless work.
        Digest::of_json(self).unwrap_or_else(|_| Digest::of(b""))
    }
}

/// What an instance may use; enforced where the host can (cgroups).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processors reserved; a weight, not a cap.
    pub cpu: CpuShare,
    /// Memory reserved, and the cap.
    pub memory: ByteSize,
}

/// A rendered configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// Below the instance's directory, such as `etc/catalog.toml`; never climbs out.
    pub path: String,
    /// What is in it.
    pub content: String,
}

/// How to ask a program whether it is ready, and how often once it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// What is asked.
    pub check: CheckKind,
    /// How often, once it was ready.
    pub every: Span,
    /// How long one try may take.
    pub timeout: Span,
}

/// A named check of an instance, made after it is ready (`verify` of a baseline).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What is asked.
    pub check: CheckKind,
    /// How long it may take, retries included.
    pub within: Span,
}

/// One question to an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// An HTTP request to one of its ports.
    Http(HttpCheck),
    /// A TCP connection to the port of this name is accepted.
    Tcp(Name),
    /// A command, run as the instance's user with its environment, exits 0.
    Command(Vec<String>),
    /// The package's `monitor` operation exits 0.
    Monitor,
}

/// An HTTP request and what its answer must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// The name of the port.
    pub port: Name,
    /// Path and query.
    pub path: String,
    /// The method; `GET` unless said.
    pub method: String,
    /// Request headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Request body.
    #[serde(default)]
    pub body: Option<String>,
    /// What the answer must be.
    #[serde(default)]
    pub expect: Expectation,
}

/// What an HTTP answer must be. Empty: any status below 400.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Expectation {
    /// The exact status.
    #[serde(default)]
    pub status: Option<u16>,
    /// A CEL expression over `body`, the parsed JSON answer, that must be true.
    #[serde(default)]
    pub json: Option<String>,
    /// A text that the body must contain.
    #[serde(default)]
    pub contains: Option<String>,
}

/// An instance as the inventory records it (kind `instance`): what the control plane has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// The specification it was last set up with.
    pub spec: InstanceSpec,
    /// The digest of `spec`.
    pub spec_digest: Digest,
    /// The job step that wrote this record last.
    pub written_by: String,
    /// The furthest it was brought.
    pub traffic: Traffic,
}

/// Whether others are sent to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Traffic {
    /// Installed or being changed: nobody is sent there.
    Off,
    /// Nobody new is sent there; what runs may finish.
    Draining,
    /// It was ready and verified: others are sent there while it is healthy.
    On,
}

/// What an agent sees of one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Which instance.
    pub id: InstanceId,
    /// What it is doing.
    pub phase: Phase,
    /// When `phase` last changed.
    pub since: Timestamp,
    /// The digest of the specification it runs or was last configured with.
    pub spec_digest: Option<Digest>,
    /// The process id of the program while it runs.
    pub pid: Option<u32>,
    /// How often the agent started it again since it was last told to start it.
    pub restarts: u32,
    /// Whether it restarts so often that somebody should look (3 times in 10 minutes).
    pub flapping: bool,
    /// How it ended last.
    pub last_exit: Option<LastExit>,
    /// The last thing that went wrong, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_error: String,
}

impl InstanceStatus {
    /// An instance that has been in this phase since then; nothing else is known of it.
    #[must_use]
    pub fn new(id: InstanceId, phase: Phase, since: Timestamp) -> Self {
        InstanceStatus {
            id,
            phase,
            since,
            spec_digest: None,
            pid: None,
            restarts: 0,
            flapping: false,
            last_exit: None,
            last_error: String::new(),
        }
    }
}

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its files are there; it was never started.
    Installed,
    /// It runs; it has not been ready since it was started.
    Starting,
    /// It runs and its last check was good.
    Ready,
    /// It runs; it was ready, but its last checks were bad.
    Unready,
    /// It ended by itself; it is started again when its back-off is over.
    Backoff,
    /// It was told to stop.
    Stopped,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// When.
    pub at: Timestamp,
    /// The exit code, if it exited by itself and the agent was there to see it.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
}

impl fmt::Display for LastExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exited with code {code}"),
            (None, Some(signal)) => write!(f, "ended by signal {signal}"),
            (None, None) => f.write_str("ended while the agent was away"),
        }
    }
}
