//! Hosts: who is there, who is lost, who is given up.
//!
//! An agent that connects makes its host *ready*; one that goes makes it *lost*; a host that stays
//! lost for `dead_after`, or whose provider says that it is gone, is *dead*: fenced through its
//! provider, so that nothing can still run there, and never used again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use wright_fleet::{Fleet, FleetEvent};
use wright_inventory::{Event, Inventory, InventoryError, Put};
use wright_model::{Host, HostState, Name};
use wright_provision::Provider;
use wright_store::SharedStore;

use crate::{
    absent::Absent,
    control::Lost,
    members::Leadership,
    records::{self, kind},
    shelf::Roll,
};

/// How often lost hosts are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// A look that comes this late says that this server itself stood still: meanwhile it could not
/// have heard of anybody.
const STOOD_STILL: Duration = Duration::from_secs(2);

/// How long an agent whose connection broke has to call another server, and all agents after a start
/// to call at all, before their hosts are lost.
const MOVING: Duration = Duration::from_secs(8);

/// Keeps the hosts' states; one server at a time does.
pub struct Hosts {
    /// Where hosts are recorded.
    pub inventory: Arc<Inventory>,
    /// Their agents.
    pub fleet: Fleet,
    /// Where they come from; `None` where they come by themselves.
    pub provider: Option<Arc<dyn Provider>>,
    /// How long a host may be lost.
    pub dead_after: Duration,
    /// Whether there is no other server that an agent could call.
    pub alone: bool,
    /// Who may call.
    pub roll: Arc<Roll>,
    /// Told of every host that was given up.
    pub lost: mpsc::UnboundedSender<Lost>,
    /// Where states are written.
    pub store: SharedStore,
    /// That this server still keeps them.
    pub leadership: Leadership,
}

impl Hosts {
    /// Follows the agents' coming and going until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut events = self.fleet.subscribe();
        let mut absent = Absent::default();
        // What the store would not take yet.
        let mut unrecorded: BTreeMap<Name, (HostState, &str)> = BTreeMap::new();
        // Whoever does not call after a restart of this server is as good as disconnected; and what
        // happened while no server kept the states was not written down.
        match records::hosts(&self.inventory).await {
            Ok(hosts) => {
                for host in hosts
                    .into_iter()
                    .filter(|host| host.state != HostState::Dead)
                {
                    if self.fleet.is_connected(host.name.as_str()) {
                        unrecorded.insert(host.name, (HostState::Ready, ""));
                    } else {
                        let recorded = host.state != HostState::Ready;
                        absent.left(host.name, true, recorded, Instant::now());
                    }
                }
            }
            Err(error) => tracing::error!(%error, "the hosts cannot be read"),
        }
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.recv() => {
                    let Some(first) = event else { return };
                    let mut next = Some(first);
                    // All that have come and gone meanwhile are written together.
                    while let Some(event) = next {
                        self.note(event, &mut absent, &mut unrecorded);
                        next = events.try_recv();
                    }
                    self.record(&mut unrecorded).await;
                }
                _ = look.tick() => {
                    // Who is connected to a server that cannot be reached may be well.
                    if looked.elapsed() > STOOD_STILL || !self.fleet.sees_all_peers() {
                        absent.begin_anew(Instant::now());
                    }
                    for host in absent.take_unrecorded(MOVING, Instant::now()) {
                        unrecorded.insert(host, (HostState::Lost, NOT_CONNECTED));
                    }
                    self.record(&mut unrecorded).await;
                    let mut over = Vec::new();
                    for (host, since) in absent.iter() {
                        if let Some(reason) = self.given_up(host, since).await {
                            over.push((host.clone(), reason));
                        }
                    }
                    for (host, reason) in over {
                        if self.give_up(&host, &reason).await {
                            absent.forget(&host);
                        }
                    }
                    looked = Instant::now();
                }
            }
        }
    }

    /// What an event says of a host.
    fn note(
        &self,
        event: FleetEvent,
        absent: &mut Absent,
        unrecorded: &mut BTreeMap<Name, (HostState, &str)>,
    ) {
        match event {
            FleetEvent::Connected { host, .. } => {
                absent.came(&host, Instant::now());
                unrecorded.insert(host, (HostState::Ready, ""));
            }
            FleetEvent::Disconnected { host, with_server } => {
                // Where there are other servers, it is on its way to one.
                let recorded = self.alone;
                if recorded {
                    unrecorded.insert(host.clone(), (HostState::Lost, NOT_CONNECTED));
                }
                absent.left(host, with_server, recorded, Instant::now());
            }
            _ => {}
        }
    }

    /// Why a lost host should be given up now.
    async fn given_up(&self, host: &Name, since: Instant) -> Option<String> {
        if let Some(provider) = &self.provider
            && provider.is_gone(host).await
        {
            return Some(format!(
                "its provider {} says that it is gone",
                provider.name()
            ));
        }
        let away = since.elapsed();
        (away >= self.dead_after).then(|| {
            format!(
                "its agent has not been connected for {:.0} s",
                away.as_secs_f64()
            )
        })
    }

    /// Fences a host and has what was there moved. A host that cannot be fenced is not given up:
    /// its programs may run on, and would run twice.
    async fn give_up(&self, host: &Name, reason: &str) -> bool {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.kill(host).await
        {
            tracing::error!(%host, %error, "a lost host could not be fenced; trying again");
            return false;
        }
        if !self.set(host, HostState::Dead, reason).await {
            return false;
        }
        let _ = self.lost.send(Lost::Host(host.clone()));
        true
    }

    /// Writes states down; what cannot be written stays for the next look.
    async fn record(&self, unrecorded: &mut BTreeMap<Name, (HostState, &str)>) {
        while !unrecorded.is_empty() {
            let some: Vec<(Name, HostState, &str)> = unrecorded
                .iter()
                .take(TOGETHER)
                .map(|(host, (state, reason))| (host.clone(), *state, *reason))
                .collect();
            if let Err(error) = self.write(&some).await {
                return tracing::error!(%error, "states of hosts could not be recorded; trying again");
            }
            for (host, ..) in some {
                unrecorded.remove(&host);
            }
        }
    }

    /// Whether it was written down.
    async fn set(&self, name: &Name, state: HostState, reason: &str) -> bool {
        let written = self.write(&[(name.clone(), state, reason)]).await;
        if let Err(error) = &written {
            tracing::error!(host = %name, %error, "a host's state could not be recorded; trying again");
        }
        written.is_ok()
    }

    /// Writes states in one commit, each with its event. What a host is already is not written.
    async fn write(&self, states: &[(Name, HostState, &str)]) -> Result<(), InventoryError> {
        let known = states
            .iter()
            .map(|(name, ..)| self.inventory.get_as::<Host>(kind::HOST, name.as_str()));
        let known = futures::future::try_join_all(known).await?;
        let mut operations = Vec::new();
        for (host, (name, state, reason)) in known.into_iter().zip(states) {
            let changes = |host: &Host| host.state != *state && host.state != HostState::Dead;
            let Some(mut host) = host.filter(changes) else {
                continue;
            };
            host.state = *state;
            host.since = Timestamp::now();
            (*reason).clone_into(&mut host.reason);
            operations.extend(Put::new(kind::HOST, name.as_str(), &host)?.operations()?);
            operations.push(told(name, *state, reason).operation()?);
        }
        if !operations.is_empty() {
            let guards = vec![self.leadership.guard.clone()];
            self.store.commit(guards, operations).await?;
        }
        for (name, ..) in states.iter().filter(|of| of.1 == HostState::Dead) {
            self.roll.strike(name);
        }
        Ok(())
    }
}

const NOT_CONNECTED: &str = "its agent is not connected";

/// Hosts whose states go into one commit.
const TOGETHER: usize = 256;

fn told(name: &Name, state: HostState, reason: &str) -> Event {
    let word = format!("{state:?}").to_lowercase();
    let message = if reason.is_empty() {
        word.clone()
    } else {
        format!("{word}: {reason}")
    };
    Event::new(
        "wright",
        &format!("host-{word}"),
        &format!("host/{name}"),
        &message,
    )
}
