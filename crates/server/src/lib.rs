//! The composition root: ties the rooms to one server with an HTTP API.
//!
//! The central function is [`run`]: it opens the store, starts the job engine, the agents' service
//! and the API, makes hosts where it is asked to, and ends on SIGINT or SIGTERM.
//!
//! # Invariants
//! - Everything a client can do, it does through the HTTP API.
//! - The server may be killed at any moment: what it had acknowledged is in the store, and what it
//!   was doing goes on when it is started again.

pub mod api;
mod control;
mod development;
pub use development::own_key;
mod hosts;
mod http;
mod library;
mod records;
mod routing;
mod secrets;
mod shelf;
mod upkeep;
mod verbs;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{net::TcpListener, signal::unix, sync::mpsc};
use tokio_util::sync::CancellationToken;
use wright_fleet::{Fleet, FleetSettings};
use wright_inventory::Inventory;
use wright_pki::Authority;
use wright_workflow::Engine;

use crate::{control::Control, http::Rooms, library::Library, secrets::Vault, verbs::Hands};

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

/// The rooms of a running server.
struct Server {
    rooms: Arc<Rooms>,
    shutdown: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
}

/// Serves until SIGINT, SIGTERM or the end of its terminal; with local hosts, takes them down then.
/// `say` is given the few lines that people should see.
///
/// # Errors
/// Where the data directory, the store, a port or the hosts cannot be had.
pub async fn run(settings: Settings, say: impl Fn(&str)) -> Result<(), ServerError> {
    let mut stop = Stop::new().map_err(doing("listening for signals"))?;
    let mut server = start(&settings).await?;
    say(&format!("API        https://{}", settings.api));
    say(&format!("agents     https://{}", settings.agents));
    say(&format!("data       {}", settings.data.display()));
    if let Some(local) = settings.hosts {
        tokio::select! {
            ready = development::hosts_ready(&server.rooms, local.count) => {
                let ready = ready.map_err(doing("making hosts"))?;
                say(&format!("{ready} hosts are ready"));
            }
            () = stop.asked() => {}
        }
    }
    stop.wait().await;
    if settings.hosts.is_some() {
        say("taking everything down (again: at once)");
        tokio::select! {
            () = development::take_down(&server.rooms) => {}
            () = stop.again() => {}
        }
        development::destroy_hosts(&server.rooms).await;
    }
    server.shutdown.cancel();
    while server.tasks.join_next().await.is_some() {}
    Ok(())
}

/// SIGINT, SIGTERM and, unless whoever started us had it ignored as `nohup` does, SIGHUP: the
/// terminal is gone, and with it whoever could end us.
struct Stop {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: Option<unix::Signal>,
    asked: bool,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Stop {
            interrupt: unix::signal(unix::SignalKind::interrupt())?,
            terminate: unix::signal(unix::SignalKind::terminate())?,
            hangup: match ignores_hangup() {
                true => None,
                false => Some(unix::signal(unix::SignalKind::hangup())?),
            },
            asked: false,
        })
    }

    async fn asked(&mut self) {
        self.again().await;
        self.asked = true;
    }

    /// Returns when somebody has asked, also before.
    async fn wait(&mut self) {
        if !self.asked {
            self.asked().await;
        }
    }

    async fn again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    }
}

/// Whether this process was started with SIGHUP ignored (proc(5), `SigIgn`: bit 0 is signal 1).
fn ignores_hangup() -> bool {
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    status.is_ok_and(|status| status.sigign & 1 == 1)
}

async fn start(settings: &Settings) -> Result<Server, ServerError> {
    let data = &settings.data;
    let own = data.join("server");
    std::fs::create_dir_all(&own).map_err(doing(format!("making {}", own.display())))?;
    let api = bind(settings.api).await?;
    let agents = bind(settings.agents).await?;

    let store = wright_store::open(&format!("file:{}", data.join("store").display()))
        .await
        .map_err(doing("opening the store"))?;
    let inventory = Arc::new(Inventory::new(store.clone()));
    let authority = Arc::new(
        Authority::open(&own.join("pki")).map_err(doing("opening the certificate authority"))?,
    );
    let keys = own.join("keys");
    development::trust_own_key(data, &keys).map_err(doing("making the package key"))?;
    let library = Arc::new(
        Library::open(&own.join("packages"), &keys, inventory.clone())
            .map_err(doing("opening the package store"))?,
    );
    let vault = Arc::new(
        Vault::open(store.clone(), &own.join("master.key")).map_err(doing("opening the vault"))?,
    );
    let roll = Arc::new(shelf::Roll::new(inventory.clone()));
    let fleet = Fleet::new(
        roll.clone(),
        shelf::archives(library.clone()),
        FleetSettings::default(),
    );
    let specs = Arc::new(records::Specs::new(store.clone()));
    let hands = Arc::new(Hands {
        specs: specs.clone(),
        store: store.clone(),
        inventory: inventory.clone(),
        fleet: fleet.clone(),
        vault: vault.clone(),
    });
    let engine = Engine::new(
        store.clone(),
        verbs::all(&hands),
        wright_workflow::Settings::default(),
    );
    let provider = settings
        .hosts
        .map(|local| development::provider(settings, local, &authority, &keys));
    let control = Arc::new(Control::new(
        store.clone(),
        inventory.clone(),
        library.clone(),
        vault,
        engine.clone(),
        fleet.clone(),
        specs,
    ));
    let rooms = Arc::new(Rooms {
        store: store.clone(),
        inventory: inventory.clone(),
        engine: engine.clone(),
        fleet: fleet.clone(),
        library,
        control: control.clone(),
        provider: provider.clone(),
    });

    let shutdown = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    let (died, deaths) = mpsc::unbounded_channel();
    let hosts = hosts::Hosts {
        inventory: inventory.clone(),
        fleet: fleet.clone(),
        provider,
        dead_after: settings.dead_after,
        roll,
        died,
    };
    let routing = routing::Routing {
        inventory,
        fleet: fleet.clone(),
    };
    let names = ["wright-server".to_owned(), "localhost".to_owned()];
    let identity = authority
        .issue_server(&names, &[settings.agents.ip()])
        .map_err(doing("issuing the server's certificate"))?;
    tasks.spawn(hosts.run(shutdown.clone()));
    tasks.spawn(upkeep::run(
        store.clone(),
        rooms.inventory.clone(),
        shutdown.clone(),
    ));
    tasks.spawn(routing.run(shutdown.clone()));
    tasks.spawn(control.run(deaths, shutdown.clone()));
    tasks.spawn(run_engine(engine, shutdown.clone()));
    tasks.spawn(run_fleet(fleet, agents, identity, shutdown.clone()));
    tasks.spawn(serve_api(
        api,
        &authority,
        settings,
        rooms.clone(),
        shutdown.clone(),
    )?);

    let url = format!("https://{}", settings.api);
    http::auth::keep_client_file(&store, data, &url, authority.certificate())
        .await
        .map_err(doing("writing client.json"))?;
    if let Some(local) = settings.hosts {
        development::make_hosts(&rooms, local.count)
            .await
            .map_err(doing("making hosts"))?;
    }
    Ok(Server {
        rooms,
        shutdown,
        tasks,
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address)
        .await
        .map_err(doing(format!("listening on {address}")))
}

async fn run_engine(engine: Engine, shutdown: CancellationToken) {
    // A disk that is full now may have room again: no job waits for somebody to start us anew.
    while let Err(error) = engine.run(shutdown.clone()).await {
        if shutdown.is_cancelled() {
            return;
        }
        tracing::error!(%error, "the job engine ended; it is started again");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn run_fleet(
    fleet: Fleet,
    listener: TcpListener,
    identity: wright_pki::Identity,
    shutdown: CancellationToken,
) {
    if let Err(error) = wright_fleet::serve(listener, identity, fleet, shutdown).await {
        tracing::error!(%error, "the agents' service ended");
    }
}

fn serve_api(
    listener: TcpListener,
    authority: &Authority,
    settings: &Settings,
    rooms: Arc<Rooms>,
    shutdown: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + use<>, ServerError> {
    let names = ["localhost".to_owned()];
    let identity = authority
        .issue_server(&names, &[settings.api.ip()])
        .map_err(doing("issuing the API's certificate"))?;
    let tls = http::tls::config(&identity).map_err(doing("preparing TLS"))?;
    Ok(http::tls::serve(
        listener,
        Arc::new(tls),
        http::router(rooms),
        shutdown,
    ))
}
