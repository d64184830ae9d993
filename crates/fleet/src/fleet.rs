use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use wright_model::{InstanceId, InstanceStatus, Name, Phase};
use wright_protocol::{
    Blame, Fault,
    wire::{self, to_agent::Message},
};

use crate::{
    archive::Archives,
    event::{FleetEvent, Subscribers, Subscription},
    peer::Peer,
    seat::{Seat, Session},
    table::Published,
};

/// Which hosts there are.
#[async_trait]
pub trait Roster: Send + Sync {
    /// Whether this host exists and was not given up.
    async fn is_known(&self, host: &Name) -> bool;
}

/// What can be tuned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetSettings {
    /// How often an agent says that it is alive; after three times this long without a word its
    /// session is closed.
    pub heartbeat: Duration,
}

impl Default for FleetSettings {
    fn default() -> Self {
        FleetSettings {
            heartbeat: Duration::from_secs(5),
        }
    }
}

/// All agents, as the server sees them. A handle: clones are the same fleet.
#[derive(Clone)]
pub struct Fleet(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) roster: Arc<dyn Roster>,
    pub(crate) archives: Arc<dyn Archives>,
    pub(crate) settings: FleetSettings,
    /// The newest service table.
    pub(crate) table: watch::Sender<Option<Arc<Published>>>,
    /// Marked as changed whenever what [`Fleet::wait_applied`] looks at may have changed.
    pub(crate) progress: watch::Sender<()>,
    /// How many wait for agents to use a table.
    pub(crate) waiting: AtomicUsize,
    /// Where agents may call, as they are told.
    pub(crate) servers: watch::Sender<Arc<[String]>>,
    /// The other servers, by id.
    pub(crate) peers: Mutex<BTreeMap<String, Peer>>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) seats: BTreeMap<Name, Seat>,
    pub(crate) subscribers: Subscribers,
    /// Servers that follow this one's sessions, by number.
    pub(crate) relays: BTreeMap<u64, mpsc::UnboundedSender<wire::PeerNews>>,
    last_number: u64,
}

impl State {
    /// A number that nothing else in this fleet has.
    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn seat(&mut self, host: &Name) -> &mut Seat {
        match self.seats.entry(host.clone()) {
            Entry::Occupied(seat) => seat.into_mut(),
            Entry::Vacant(place) => place.insert(Seat::default()),
        }
    }
}

/// An agent that is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView {
    /// Its host.
    pub host: Name,
    /// The version of its program.
    pub version: String,
    /// Different for every start of the agent process.
    pub boot_id: String,
    /// Since when it is connected.
    pub since: Timestamp,
    /// The revision of the service table that it answers lookups from.
    pub table_revision: u64,
    /// Its resident memory in bytes; 0 before its first heartbeat.
    pub resident_bytes: u64,
    /// Its processor time since it started, in milliseconds.
    pub cpu_ms: u64,
}

impl Fleet {
    /// A fleet without agents; [`crate::serve`] lets them in.
    pub fn new(
        roster: Arc<dyn Roster>,
        archives: Arc<dyn Archives>,
        settings: FleetSettings,
    ) -> Self {
        Fleet(Arc::new(Shared {
            roster,
            archives,
            settings,
            table: watch::Sender::new(None),
            progress: watch::Sender::new(()),
            waiting: AtomicUsize::new(0),
            servers: watch::Sender::new(Arc::default()),
            peers: Mutex::default(),
            state: Mutex::default(),
        }))
    }

    /// Every event from now on.
    pub fn subscribe(&self) -> Subscription {
        self.0.state().subscribers.subscribe()
    }

    /// Tells agents, now and whenever one connects, where they may call (URLs).
    pub fn set_servers(&self, urls: Vec<String>) {
        self.0.servers.send_if_modified(|known| {
            let changed = **known != *urls;
            if changed {
                *known = urls.into();
            }
            changed
        });
    }

    /// The agents that are connected, by host; also those that are connected to other servers.
    pub fn agents(&self) -> Vec<AgentView> {
        let state = self.0.state();
        let sessions = state
            .seats
            .iter()
            .filter_map(|(host, seat)| Some((host, seat.session.as_ref()?)));
        sessions.map(|(host, session)| session.view(host)).collect()
    }

    /// How many agents are connected to this server.
    pub fn connected_here(&self) -> usize {
        let state = self.0.state();
        let sessions = state
            .seats
            .values()
            .filter_map(|seat| seat.session.as_ref());
        sessions.filter(|session| session.is_here()).count()
    }

    /// Whether a host's agent is connected, to whichever server.
    pub fn is_connected(&self, host: &str) -> bool {
        self.0
            .state()
            .seats
            .get(host)
            .is_some_and(|seat| seat.session.is_some())
    }

    /// Has a host's agent tell its facts again, if it is connected to this server.
    pub fn ask_facts(&self, host: &Name) {
        let state = self.0.state();
        let session = state.seats.get(host).and_then(|seat| seat.session.as_ref());
        if let Some(session) = session.filter(|session| session.is_here()) {
            session.order(Message::FactsWanted(wire::FactsWanted {}));
        }
    }

    /// The instances that a host's agent last said it has; nothing where it never said any.
    pub fn instances_on(&self, host: &str) -> Option<Vec<InstanceId>> {
        let state = self.0.state();
        let seat = state.seats.get(host)?;
        Some(seat.statuses.keys().cloned().collect())
    }

    /// The last thing heard of every instance, also of those whose agent is away now.
    ///
    /// While an instance moves, two hosts may have it: then the one counts whose agent is
    /// connected, then the one that is further up, then the one that changed last.
    pub fn statuses(&self) -> BTreeMap<InstanceId, InstanceStatus> {
        let state = self.0.state();
        let mut best: BTreeMap<InstanceId, (Standing, &InstanceStatus)> = BTreeMap::new();
        for seat in state.seats.values() {
            for (id, status) in &seat.statuses {
                let standing = (seat.session.is_some(), height(status.phase), status.since);
                let known = best.entry(id.clone()).or_insert((standing, status));
                if known.0 < standing {
                    *known = (standing, status);
                }
            }
        }
        best.into_iter()
            .map(|(id, (_, status))| (id, status.clone()))
            .collect()
    }

    /// The last thing heard of an instance from one host.
    pub fn status_on(&self, host: &str, instance: &InstanceId) -> Option<InstanceStatus> {
        self.0
            .state()
            .seats
            .get(host)?
            .statuses
            .get(instance)
            .cloned()
    }

    /// Forgets a host that was given up: ends its session, fails what waits for it as the host's
    /// fault and removes its instances. Take it off the [`Roster`] first.
    pub fn forget(&self, host: &Name) {
        let mut state = self.0.state();
        let Some(seat) = state.seats.remove(host) else {
            return;
        };
        let fault = Fault::new(Blame::Host, format!("host {host} was given up"));
        let connected = seat.session.is_some();
        if seat.session.as_ref().is_some_and(Session::is_here) {
            state.tell_relays(host, None);
        }
        let removed = seat.close(&fault);
        if connected {
            state.subscribers.tell(&FleetEvent::Disconnected {
                host: host.clone(),
                with_server: false,
            });
        }
        for instance in removed {
            state.subscribers.tell(&FleetEvent::Removed(instance));
        }
        drop(state);
        self.0.progress.send_replace(());
    }
}

/// How much a host's word about an instance counts against another's.
type Standing = (bool, u8, Timestamp);

fn height(phase: Phase) -> u8 {
    match phase {
        Phase::Installed => 0,
        Phase::Stopped => 1,
        Phase::Backoff => 2,
        Phase::Starting => 3,
        Phase::Unready => 4,
        Phase::Ready => 5,
    }
}

impl Shared {
    /// The lock is held for a few instructions, never across an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Shared::state`].
    pub(crate) fn known_peers(&self) -> MutexGuard<'_, BTreeMap<String, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
