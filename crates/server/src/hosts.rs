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
use wright_inventory::{Event, Inventory, InventoryError};
use wright_model::{Host, HostState, Name};
use wright_provision::Provider;

use crate::records::{self, kind};

/// How often lost hosts are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// A look that comes this late says that this server itself stood still: meanwhile it could not
/// have heard of anybody.
const STOOD_STILL: Duration = Duration::from_secs(2);

/// Keeps the hosts' states.
pub struct Hosts {
    /// Where hosts are recorded.
    pub inventory: Arc<Inventory>,
    /// Their agents.
    pub fleet: Fleet,
    /// Where they come from; `None` where they come by themselves.
    pub provider: Option<Arc<dyn Provider>>,
    /// How long a host may be lost.
    pub dead_after: Duration,
    /// Told of every host that was given up.
    pub died: mpsc::UnboundedSender<Name>,
}

impl Hosts {
    /// Follows the agents' coming and going until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut events = self.fleet.subscribe();
        let mut lost: BTreeMap<Name, Instant> = BTreeMap::new();
        // What the store would not take yet.
        let mut unrecorded: BTreeMap<Name, (HostState, &str)> = BTreeMap::new();
        // Whoever does not call after a restart of this server is as good as disconnected.
        match records::hosts(&self.inventory).await {
            Ok(hosts) => {
                let alive = hosts
                    .into_iter()
                    .filter(|host| host.state != HostState::Dead);
                let away = alive.filter(|host| !self.fleet.is_connected(host.name.as_str()));
                lost.extend(away.map(|host| (host.name, Instant::now())));
            }
            Err(error) => tracing::error!(%error, "the hosts cannot be read"),
        }
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.recv() => match event {
                    Some(FleetEvent::Connected { host, .. }) => {
                        lost.remove(&host);
                        unrecorded.insert(host, (HostState::Ready, ""));
                        self.record(&mut unrecorded).await;
                    }
                    Some(FleetEvent::Disconnected { host }) => {
                        lost.insert(host.clone(), Instant::now());
                        unrecorded.insert(host, (HostState::Lost, "its agent is not connected"));
                        self.record(&mut unrecorded).await;
                    }
                    Some(_) => {}
                    None => return,
                },
                _ = look.tick() => {
                    if looked.elapsed() > STOOD_STILL {
                        let now = Instant::now();
                        lost.values_mut().for_each(|since| *since = now);
                    }
                    self.record(&mut unrecorded).await;
                    let mut over = Vec::new();
                    for (host, since) in &lost {
                        if let Some(reason) = self.given_up(host, *since).await {
                            over.push((host.clone(), reason));
                        }
                    }
                    for (host, reason) in over {
                        if self.give_up(&host, &reason).await {
                            lost.remove(&host);
                        }
                    }
                    looked = Instant::now();
                }
            }
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
        let _ = self.died.send(host.clone());
        true
    }

    /// Writes states down; what cannot be written stays for the next look.
    async fn record(&self, unrecorded: &mut BTreeMap<Name, (HostState, &str)>) {
        for (host, (state, reason)) in std::mem::take(unrecorded) {
            if !self.set(&host, state, reason).await {
                unrecorded.insert(host, (state, reason));
            }
        }
    }

    /// Whether it was written down.
    async fn set(&self, name: &Name, state: HostState, reason: &str) -> bool {
        let written = self.write(name, state, reason).await;
        if let Err(error) = &written {
            tracing::error!(host = %name, %error, "a host's state could not be recorded; trying again");
        }
        written.is_ok()
    }

    async fn write(
        &self,
        name: &Name,
        state: HostState,
        reason: &str,
    ) -> Result<(), InventoryError> {
        let Some(mut host) = self
            .inventory
            .get_as::<Host>(kind::HOST, name.as_str())
            .await?
        else {
            return Ok(());
        };
        if host.state == state || host.state == HostState::Dead {
            return Ok(());
        }
        host.state = state;
        host.since = Timestamp::now();
        reason.clone_into(&mut host.reason);
        self.inventory
            .put_as(kind::HOST, name.as_str(), &host)
            .await?;
        let word = format!("{state:?}").to_lowercase();
        let message = if reason.is_empty() {
            word.clone()
        } else {
            format!("{word}: {reason}")
        };
        self.inventory
            .record(&Event::new(
                "wright",
                &format!("host-{word}"),
                &format!("host/{name}"),
                &message,
            ))
            .await
    }
}
