use std::{ffi::OsString, net::IpAddr, path::PathBuf};

use wright_model::{ByteSize, Name};

use crate::Layout;

/// How an agent is set up. What it is allowed to trust lies in its directory: its identity as
/// `agent/ca.pem`, `agent/agent.pem` and `agent/agent.key`, the keys that sign packages below
/// `agent/keys/`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The host's directory; everything the agent makes is below it.
    pub home: PathBuf,
    /// The host's name.
    pub name: Name,
    /// Where the host's programs and the route lookup listen.
    pub address: IpAddr,
    /// The servers' URLs, `https://…`; their certificates must be for `wright-server`. One at a time
    /// is called, and the next when it fails; servers tell agents of each other.
    pub servers: Vec<String>,
    /// The first user id for instances, where the agent is root; 100000 unless said. Agents on one
    /// machine need ranges of their own.
    pub uid_base: Option<u32>,
    /// The port of the route lookup.
    pub lookup_port: u16,
    /// When logs of instances are rotated.
    pub log: LogLimits,
    /// What runs [`launch`](crate::launch()): a program and its arguments.
    pub launcher: Vec<OsString>,
}

/// When the log of an instance is rotated, and how much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// The size at which `output.log` becomes `output.log.1`.
    pub size: ByteSize,
    /// How many rotated files are kept.
    pub keep: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        LogLimits {
            size: ByteSize::from_bytes(10 << 20),
            keep: 3,
        }
    }
}

impl Settings {
    /// Settings with the usual server, ports and limits.
    pub fn new(home: impl Into<PathBuf>, name: Name, address: IpAddr) -> Self {
        Settings {
            home: home.into(),
            name,
            address,
            servers: vec!["https://127.0.0.1:7401".to_owned()],
            uid_base: None,
            lookup_port: 7070,
            log: LogLimits::default(),
            launcher: vec!["/proc/self/exe".into(), "launch".into()],
        }
    }

    /// The same with other servers.
    #[must_use]
    pub fn with_servers(mut self, servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.servers = servers.into_iter().map(Into::into).collect();
        self
    }

    /// Where things lie below `home`.
    pub fn layout(&self) -> Layout {
        Layout::new(&self.home)
    }
}
