//! The rooms of a server, and how they are tied together.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use wright_fleet::{Fleet, FleetSettings};
use wright_inventory::{
    Inventory,
    catalog::Catalog,
    feed::{self, Hub},
};
use wright_pki::Authority;
use wright_store::SharedStore;
use wright_workflow::Engine;

use crate::{
    ServerError, Settings,
    apart::{Ended, apart},
    control::{Control, Drafts},
    development, doing,
    duties::Duties,
    facts::Findings,
    http::{self, Rooms},
    installation::{Installation, ServerId},
    library::Library,
    members::{self, Member, Membership, Planning, Roster},
    oidc::Oidc,
    records,
    rights::Rights,
    routing,
    shelf::{Roll, Shelf},
    verbs::{self, Hands},
};

/// How long the lease of one of several servers runs without a sign of life, seconds: so long the
/// jobs of a frozen one wait.
const SHARED_LEASE: u32 = 3;
/// The same of a server by itself, which nobody waits for: a disk that is slow for a while does not
/// end its term.
const OWN_LEASE: u32 = 15;
/// What jobs do not need begins this long after the start at the latest.
const TAKING_UP: Duration = Duration::from_secs(1);
/// Threads that answer requests.
const API_THREADS: usize = 2;

/// The rooms of a running server.
pub struct Server {
    /// The rooms.
    pub rooms: Arc<Rooms>,
    /// Ends it.
    pub shutdown: CancellationToken,
    /// What runs until then.
    pub tasks: JoinSet<()>,
    _id: ServerId,
}

/// Opens the store and starts everything.
///
/// # Errors
/// Where the data directory, the store, a port or the hosts cannot be had.
pub async fn start(settings: &Settings) -> Result<Server, ServerError> {
    let data = &settings.data;
    let own = data.join("server");
    std::fs::create_dir_all(&own).map_err(doing(format!("making {}", own.display())))?;
    let held = ServerId::hold(&own).map_err(doing("reading this server's id"))?;
    let id = held.id.clone();
    let shared = settings.is_shared();
    if shared && settings.agents.ip().is_unspecified() && settings.advertise.is_none() {
        return Err(doing("joining other servers")(
            "--agents listens everywhere; say with --advertise HOST:PORT where others reach it",
        ));
    }
    let api = bind(settings.api).await?;
    let agents = bind(settings.agents).await?;

    let store = wright_store::open(&settings.store_url())
        .await
        .map_err(doing("opening the store"))?;
    tracing::debug!("the store is open");
    let keys = own.join("keys");
    development::trust_own_key(data, &keys).map_err(doing("making the package key"))?;
    let installation = Installation::open(&store, &own, &settings.master_key())
        .await
        .map_err(doing("opening the installation"))?;
    let authority = installation.authority.clone();
    let (terms, term) = watch::channel(None);
    let planning = Planning::new(store.clone(), term);
    let (feed, reader) = Hub::open(store.clone(), feed::Settings::default())
        .await
        .map_err(doing("opening the feed"))?;
    let (rooms, roll) = rooms(settings, &store, installation, &id, planning, feed).await?;
    let member = Member {
        id: id.clone(),
        agents: settings.advertised(),
        api: settings.api_url(),
        since: Timestamp::now(),
    };
    let membership = Membership {
        store: store.clone(),
        own: member,
        lease_seconds: if shared { SHARED_LEASE } else { OWN_LEASE },
    };

    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let ends = shutdown.clone();
    tasks.spawn(async move {
        ends.run_until_cancelled(reader.run()).await;
    });
    let (jobs, catalog, ends) = (
        rooms.engine.clone(),
        rooms.catalog.clone(),
        shutdown.clone(),
    );
    tasks.spawn(async move {
        after_jobs(&jobs).await;
        ends.run_until_cancelled(catalog.run()).await;
    });
    let roster: Arc<watch::Sender<Roster>> = Arc::default();
    let identity = authority
        .issue_server(&["localhost".to_owned()], &[settings.agents.ip()])
        .map_err(doing("issuing the server's certificate"))?;
    tasks.spawn(run_fleet(
        rooms.engine.clone(),
        rooms.fleet.clone(),
        agents,
        identity,
        shutdown.clone(),
    ));
    if shared {
        let identity = authority
            .issue_peer()
            .map_err(doing("issuing the server's certificate for servers"))?;
        tasks.spawn(members::follow(
            store.clone(),
            rooms.fleet.clone(),
            id,
            identity,
            roster.clone(),
            shutdown.clone(),
        ));
        let shelf = rooms.shelf.clone();
        tasks.spawn(shelf.run(rooms.inventory.clone(), shutdown.clone()));
        let fleet = rooms.fleet.clone();
        tasks.spawn(roll.clone().run(fleet, shutdown.clone()));
    }
    tasks.spawn(members::watch_members(
        store.clone(),
        roster.clone(),
        shutdown.clone(),
    ));
    tasks.spawn(rooms.rights.clone().follow(shutdown.clone()));
    let routing = routing::Routing {
        inventory: rooms.inventory.clone(),
        fleet: rooms.fleet.clone(),
    };
    let (jobs, ends) = (rooms.engine.clone(), shutdown.clone());
    tasks.spawn(async move {
        after_jobs(&jobs).await;
        routing.run(ends).await;
    });
    let findings = Findings {
        inventory: rooms.inventory.clone(),
        fleet: rooms.fleet.clone(),
        store: store.clone(),
    };
    tasks.spawn(findings.run(shutdown.clone()));
    let duties = Arc::new(Duties {
        rooms: rooms.clone(),
        roll,
        roster: roster.clone(),
        dead_after: settings.dead_after,
        alone: !shared,
    });
    let ends = shutdown.clone();
    tasks.spawn(async move {
        let work = |term| duties.clone().fulfil(term);
        membership.run(work, terms, ends).await;
    });
    let ended = serve_api(api, &authority, settings, rooms.clone(), shutdown.clone())?;
    tasks.spawn(ended.wait());
    let client = http::auth::ClientFile {
        tokens: rooms.rights.tokens.clone(),
        data: data.clone(),
        url: settings.api_url(),
        ca: authority.certificate().to_owned(),
    };
    client
        .write(&[])
        .await
        .map_err(doing("writing client.json"))?;
    tasks.spawn(client.keep(roster.subscribe(), shutdown.clone()));
    if let Some(local) = settings.hosts {
        development::make_hosts(&rooms, local.count)
            .await
            .map_err(doing("making hosts"))?;
    }
    Ok(Server {
        rooms,
        shutdown,
        tasks,
        _id: held,
    })
}

/// Makes the rooms; nothing runs yet.
async fn rooms(
    settings: &Settings,
    store: &SharedStore,
    installation: Installation,
    id: &str,
    planning: Planning,
    feed: Hub,
) -> Result<(Arc<Rooms>, Arc<Roll>), ServerError> {
    let own = settings.data.join("server");
    let sealer = installation.vault.clone();
    let inventory = Inventory::new(store.clone()).sealed_by(sealer);
    let catalog = Catalog::new(inventory.clone());
    let inventory = Arc::new(inventory.asking(catalog.clone()));
    let library = Arc::new(
        Library::open(
            &own.join("packages"),
            installation.trust.clone(),
            inventory.clone(),
        )
        .map_err(doing("opening the package store"))?,
    );
    let roll = Arc::new(Roll::new(inventory.clone()));
    let shelf = Arc::new(Shelf::new(library.clone()));
    let fleet = Fleet::new(roll.clone(), shelf.clone(), FleetSettings::default());
    shelf.connect(&fleet);
    let specs = Arc::new(records::Specs::new(store.clone()));
    let hands = Arc::new(Hands {
        specs: specs.clone(),
        store: store.clone(),
        inventory: inventory.clone(),
        fleet: fleet.clone(),
        vault: installation.vault.clone(),
    });
    let engine = Engine::new(
        store.clone(),
        verbs::all(&hands),
        wright_workflow::Settings {
            name: id.to_owned(),
            shared: settings.is_shared(),
            ..wright_workflow::Settings::default()
        },
    );
    let provider = settings.hosts.map(|local| {
        let keys = own.join("keys");
        development::provider(settings, local, &installation.authority, &keys)
    });
    let control = Arc::new(Control {
        store: store.clone(),
        inventory: inventory.clone(),
        library: library.clone(),
        vault: installation.vault,
        engine: engine.clone(),
        fleet: fleet.clone(),
        specs,
        planning,
        drafts: Drafts::default(),
    });
    let rights = Rights::open(store, inventory.clone(), engine.clone())
        .await
        .map_err(doing("reading who may do what"))?;
    let rooms = Rooms {
        store: store.clone(),
        rights: Arc::new(rights),
        oidc: Oidc::default(),
        url: settings.api_url(),
        inventory,
        catalog,
        feed,
        engine,
        fleet,
        library,
        shelf,
        control,
        provider,
    };
    Ok((Arc::new(rooms), roll))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| {
            let error = match error.kind() {
                io::ErrorKind::AddrInUse => io::Error::new(
                    error.kind(),
                    format!("{error}\n  help: another server may run there: end it, or choose other ports with --api and --agents"),
                ),
                _ => error,
            };
            doing(format!("listening on {address}"))(error)
        })
}

/// Returns when the jobs that this server goes on with are read, or after a while. On two processors
/// the agents' handshakes, the service table and the catalog made that take three times as long, and
/// until then none of them is any use to a job.
async fn after_jobs(jobs: &Engine) {
    let _ = tokio::time::timeout(TAKING_UP, jobs.taken_up()).await;
}

async fn run_fleet(
    jobs: Engine,
    fleet: Fleet,
    listener: TcpListener,
    identity: wright_pki::Identity,
    shutdown: CancellationToken,
) {
    // Who calls meanwhile waits in the socket's queue.
    after_jobs(&jobs).await;
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
) -> Result<Ended, ServerError> {
    let mut names = vec!["localhost".to_owned()];
    let mut addresses = vec![settings.api.ip()];
    let host = settings.advertised_host();
    match host.trim_matches(['[', ']']).parse() {
        Ok(address) => addresses.push(address),
        Err(_) => names.push(host),
    }
    let identity = authority
        .issue_server(&names, &addresses)
        .map_err(doing("issuing the API's certificate"))?;
    let tls = http::tls::config(&identity).map_err(doing("preparing TLS"))?;
    let listener = listener
        .into_std()
        .map_err(doing("handing the API's port over"))?;
    let serve = move || async move {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let router = http::router(rooms);
                http::tls::serve(listener, Arc::new(tls), router, shutdown).await;
            }
            Err(error) => tracing::error!(%error, "the API cannot be served"),
        }
    };
    apart("api", API_THREADS, serve).map_err(doing("starting the API's threads"))
}
