//! Many simulated agents in one process, until they are told to end.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use wright_agent::{AgentError, Server, ServerIdentity, Sessions, Tables, Tasks};
use wright_model::Name;
use wright_pki::{Authority, PkiError};
use wright_protocol::wire;

use crate::{Chance, Fate, Profile, SimulatedHost};

/// Agents that open their connection at the same time: more would only wait for each other, and
/// some of them too long.
const OPENING: usize = 64;
/// How long one may take to be welcomed before the next has its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hosts' names; the servers must know them.
    pub hosts: Vec<Name>,
    /// The servers' URLs, `https://…`; each host calls one of them, and the next when it fails.
    pub servers: Vec<String>,
    /// How the hosts behave.
    pub profile: Profile,
    /// Where everything random comes from.
    pub seed: u64,
}

/// How far a simulation is.
#[derive(Debug, Default)]
pub struct Progress {
    welcomed: AtomicUsize,
    sessions: AtomicU64,
    dead: AtomicUsize,
    never_welcomed: AtomicUsize,
}

impl Progress {
    /// Hosts that a server has welcomed at least once.
    pub fn welcomed(&self) -> usize {
        self.welcomed.load(Ordering::Relaxed)
    }

    /// Sessions that were opened, those after a break included.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Hosts that a server has welcomed, or never will because they died before.
    pub fn settled(&self) -> usize {
        self.welcomed() + self.never_welcomed.load(Ordering::Relaxed)
    }

    /// Hosts that have died.
    pub fn dead(&self) -> usize {
        self.dead.load(Ordering::Relaxed)
    }
}

/// Why hosts cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// An identity cannot be issued.
    #[error("the identity of {host} cannot be issued")]
    Identity {
        /// Whose.
        host: Name,
        /// What is wrong.
        source: PkiError,
    },
    /// A connection cannot be prepared.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// There is no server to call.
    #[error("no server was named")]
    NoServer,
    /// A part of the work broke off.
    #[error("the work broke off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// One address for each of `count` hosts, in 10.0.0.0/8 (RFC 1918): nothing ever listens there.
pub fn addresses(count: u32) -> impl Iterator<Item = Ipv4Addr> {
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 1));
    (0..count).map(move |number| Ipv4Addr::from(first + number))
}

/// Keeps all hosts connected, as far as their fates let them, until `shutdown`. What their tasks did
/// is forgotten then.
///
/// # Errors
/// Where an identity cannot be issued or a connection cannot be prepared. A server that is away is
/// no error: its agents call again.
pub async fn run(
    settings: Settings,
    authority: Arc<Authority>,
    progress: Arc<Progress>,
    shutdown: CancellationToken,
) -> Result<(), SimulationError> {
    if settings.servers.is_empty() {
        return Err(SimulationError::NoServer);
    }
    let profile = Arc::new(settings.profile);
    let opening = Arc::new(Semaphore::new(OPENING));
    let chance = Chance::new(settings.seed);
    let mut agents = JoinSet::new();
    let servers: Arc<[String]> = settings.servers.into();
    for name in settings.hosts {
        let fate = Fate::of(name.as_str(), &profile, chance);
        let agent = Agent {
            tasks: Tasks::in_memory(Arc::new(SimulatedHost::new(
                name.clone(),
                profile.clone(),
                chance,
            ))),
            held: Arc::new(Held::new(progress.clone())),
            name,
            servers: servers.clone(),
            fate,
            chance,
            opening: opening.clone(),
            progress: progress.clone(),
        };
        agents.spawn(
            shutdown
                .clone()
                .run_until_cancelled_owned(agent.live(authority.clone())),
        );
    }
    while let Some(ended) = agents.join_next().await {
        if let Some(lived) = ended? {
            lived?;
        }
    }
    Ok(())
}

/// The service table, of which a simulated host keeps the revision only: nobody looks anything up.
struct Held {
    revision: AtomicU64,
    sessions: AtomicU64,
    welcome: tokio::sync::Notify,
    progress: Arc<Progress>,
}

impl Held {
    fn new(progress: Arc<Progress>) -> Self {
        Held {
            revision: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            welcome: tokio::sync::Notify::new(),
            progress,
        }
    }
}

impl Tables for Held {
    fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    fn replace(&self, table: &wire::Table) -> bool {
        self.revision.store(table.revision, Ordering::Relaxed);
        true
    }

    fn welcomed(&self) {
        self.progress.sessions.fetch_add(1, Ordering::Relaxed);
        if self.sessions.fetch_add(1, Ordering::Relaxed) == 0 {
            self.progress.welcomed.fetch_add(1, Ordering::Relaxed);
        }
        self.welcome.notify_one();
    }
}

struct Agent {
    name: Name,
    servers: Arc<[String]>,
    tasks: Tasks<SimulatedHost>,
    held: Arc<Held>,
    fate: Fate,
    chance: Chance,
    opening: Arc<Semaphore>,
    progress: Arc<Progress>,
}

impl Agent {
    /// Calls, works, and suffers its fate.
    async fn live(self, authority: Arc<Authority>) -> Result<(), SimulationError> {
        let mut turn = self.opening.clone().acquire_owned().await.ok();
        let identity = self.identity(authority).await?;
        for nth in 0.. {
            let server = Server::at(&self.servers, &identity)?;
            let tables: Arc<dyn Tables> = self.held.clone();
            let sessions = Sessions::new(server, self.tasks.clone(), tables);
            let opened = async {
                let _ = tokio::time::timeout(PATIENCE, self.held.welcome.notified()).await;
                drop(turn.take());
                std::future::pending::<()>().await
            };
            let outage = self.fate.outage(nth, self.name.as_str(), self.chance);
            let holds = async {
                match outage {
                    Some((holds, _)) => tokio::time::sleep(holds).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                never = sessions.keep() => match never {},
                () = opened => {}
                () = holds => {}
            }
            drop(sessions);
            match outage {
                Some((_, Duration::MAX)) => {
                    self.progress.dead.fetch_add(1, Ordering::Relaxed);
                    if self.held.sessions.load(Ordering::Relaxed) == 0 {
                        let never = &self.progress.never_welcomed;
                        never.fetch_add(1, Ordering::Relaxed);
                    }
                    return Ok(());
                }
                Some((_, gone)) => tokio::time::sleep(gone).await,
                None => {}
            }
        }
        Ok(())
    }

    async fn identity(&self, authority: Arc<Authority>) -> Result<ServerIdentity, SimulationError> {
        let host = self.name.clone();
        let issued = tokio::task::spawn_blocking(move || {
            authority
                .issue_agent(&host)
                .map_err(|source| SimulationError::Identity { host, source })
        });
        let identity = issued.await??;
        Ok(ServerIdentity {
            ca: identity.ca.into(),
            certificate: identity.certificate.into(),
            key: identity.key.into(),
        })
    }
}
