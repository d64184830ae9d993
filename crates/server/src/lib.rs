//! The composition root: ties the rooms to one server with an HTTP API.
//!
//! The central function is [`run()`]: it opens the store, starts the job engine, the agents' service
//! and the API, makes hosts where it is asked to, and ends on SIGINT or SIGTERM. Several servers may
//! share a store (decision 7).
//!
//! # Invariants
//! - Everything a client can do, it does through the HTTP API.
//! - The server may be killed at any moment: what it had acknowledged is in the store, and what it
//!   was doing goes on when it is started again, or at once on another server.

mod absent;
mod apart;
pub mod api;
mod control;
mod development;
mod discovery;
mod duties;
mod facts;
mod hosts;
mod http;
mod installation;
mod library;
mod members;
mod oidc;
mod outward;
mod records;
mod rights;
mod routing;
mod run;
mod secrets;
mod shelf;
mod start;
mod stop;
mod sweep;
mod upkeep;
mod verbs;
mod webhooks;

pub use development::own_key;
pub use run::run;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// The wait before what the store refused is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What a server is told when it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it keeps everything.
    pub data: PathBuf,
    /// Where the HTTP API listens.
    pub api: SocketAddr,
    /// Where agents call.
    pub agents: SocketAddr,
    /// A host that is lost for this long is given up.
    pub dead_after: Duration,
    /// Hosts to make on this machine.
    pub hosts: Option<LocalHosts>,
    /// The store's URL; by default `file:` and `store` below the data directory.
    pub store: Option<String>,
    /// Where other servers and all agents reach `agents`, `host:port`; by default there.
    pub advertise: Option<String>,
    /// The file with the master key; by default `server/master.key` below the data directory.
    pub master_key: Option<PathBuf>,
}

impl Settings {
    /// A server by itself, whose store and master key are in its data directory.
    pub fn new(data: impl Into<PathBuf>, api: SocketAddr, agents: SocketAddr) -> Self {
        Settings {
            data: data.into(),
            api,
            agents,
            dead_after: Duration::from_secs(10),
            hosts: None,
            store: None,
            advertise: None,
            master_key: None,
        }
    }

    fn store_url(&self) -> String {
        let own = || format!("file:{}", self.data.join("store").display());
        self.store.clone().unwrap_or_else(own)
    }

    /// Whether other servers can be on the same store.
    fn is_shared(&self) -> bool {
        self.store_url().starts_with("etcd:")
    }

    fn master_key(&self) -> PathBuf {
        let own = || self.data.join("server/master.key");
        self.master_key.clone().unwrap_or_else(own)
    }

    fn advertised(&self) -> String {
        let own = || self.agents.to_string();
        self.advertise.clone().unwrap_or_else(own)
    }

    /// The host that is advertised, where the API is reached, too.
    fn advertised_host(&self) -> String {
        let advertised = self.advertised();
        let host = advertised.rsplit_once(':').map(|(host, _)| host.to_owned());
        host.unwrap_or(advertised)
    }

    /// Where clients reach the API.
    fn api_url(&self) -> String {
        if self.api.ip().is_unspecified() {
            format!("https://{}:{}", self.advertised_host(), self.api.port())
        } else {
            format!("https://{}", self.api)
        }
    }
}

/// Hosts on this machine.
#[derive(Debug, Clone, Copy)]
pub struct LocalHosts {
    /// How many.
    pub count: u16,
    /// The second octet of their addresses: `127.NETWORK.0.N`.
    pub network: u8,
}

/// Why a server did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct ServerError {
    what: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Names what was being done when something failed.
fn doing<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    what: impl Into<String>,
) -> impl FnOnce(E) -> ServerError {
    let what = what.into();
    move |error| ServerError {
        what,
        source: error.into(),
    }
}
