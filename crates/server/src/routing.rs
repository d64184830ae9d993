//! The service table: computed from what is recorded and what agents see, published to every agent.
//!
//! Instances and hosts are watched, so that a change costs what has changed. A table goes to every
//! agent, which costs the more the larger the site is: how often that may be follows from what the
//! last one cost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wright_fleet::{Fleet, FleetEvent};
use wright_inventory::{ChangedResource, Inventory, InventoryError};
use wright_model::{Host, HostState, InstanceId, InstanceRecord, InstanceStatus, Name};
use wright_route::Table;

use crate::records::{self, kind};

/// Tables may take this part of the time: after one that took a millisecond, nine pass.
const PART: u32 = 10;
/// What a server surely sends in a second, encryption included, bytes.
const BYTES_A_SECOND: f64 = 400e6;
/// What a table costs for each agent, however small it is: a message there, and what its next heartbeat
/// says of it, seconds.
const EACH: f64 = 60e-6;
/// No table is kept back for longer, whatever it costs.
const LONGEST: Duration = Duration::from_secs(2);

/// Keeps the agents' tables true.
pub struct Routing {
    /// Where instances are recorded.
    pub inventory: Arc<Inventory>,
    /// The agents.
    pub fleet: Fleet,
}

impl Routing {
    /// Publishes a table after every change of an instance, its health or its host.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            let why = tokio::select! {
                () = shutdown.cancelled() => return,
                kept = self.keep() => kept,
            };
            if let Err(error) = why {
                tracing::error!(%error, "the service table cannot be kept; trying again");
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(crate::PAUSE) => {}
                }
            }
        }
    }

    /// Follows what changes, until a watch falls behind or fails.
    async fn keep(&self) -> Result<(), InventoryError> {
        let mut health = self.fleet.subscribe();
        let (instances, revision) = self.inventory.snapshot(kind::INSTANCE).await?;
        let mut picture = Picture {
            fleet: self.fleet.clone(),
            records: BTreeMap::new(),
            statuses: BTreeMap::new(),
            dead: BTreeSet::new(),
            revision,
        };
        for resource in instances {
            picture.record(resource.body_as()?);
        }
        for resource in self.inventory.list(kind::HOST).await? {
            picture.host(resource.body_as()?);
        }
        // One watch, so that a table has everything up to its revision. Hosts were read later: what
        // changed meanwhile comes a second time and changes nothing.
        let mut changes = self
            .inventory
            .watch_both(kind::HOST, kind::INSTANCE, revision)
            .await?;
        let (mut due, mut changed) = (Instant::now(), true);
        loop {
            tokio::select! {
                change = changes.changed() => match change {
                    Some(change) => changed |= picture.resource_changed(&change?)?,
                    None => return Ok(()),
                },
                event = health.recv() => match event {
                    Some(event) => changed |= picture.health_changed(&event),
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(due), if changed => {
                    let begun = Instant::now();
                    changed = false;
                    let sent = self.fleet.publish(&picture.table());
                    let sending = match sent {
                        0 => 0.0,
                        bytes => {
                            bytes as f64 / BYTES_A_SECOND + self.fleet.connected_here() as f64 * EACH
                        }
                    };
                    let cost = begun.elapsed().as_secs_f64() + sending;
                    let pause = Duration::from_secs_f64(cost).saturating_mul(PART - 1);
                    due = Instant::now() + pause.min(LONGEST);
                }
            }
        }
    }
}

/// What tables are computed from, kept up to date.
struct Picture {
    fleet: Fleet,
    records: BTreeMap<InstanceId, InstanceRecord>,
    /// Of each recorded instance, what its host says.
    statuses: BTreeMap<InstanceId, InstanceStatus>,
    dead: BTreeSet<Name>,
    /// The newest revision that is in it.
    revision: u64,
}

impl Picture {
    fn table(&self) -> Table {
        let records = self.records.values();
        Table::from_instances(records, &self.statuses, &self.dead, self.revision)
    }

    fn record(&mut self, record: InstanceRecord) {
        let id = record.spec.id.clone();
        self.records.insert(id.clone(), record);
        self.look(&id);
    }

    /// Asks what is seen of an instance where it is recorded to be: while it moves, another host may
    /// still have it.
    fn look(&mut self, id: &InstanceId) -> bool {
        let Some(record) = self.records.get(id) else {
            return self.statuses.remove(id).is_some();
        };
        let seen = self.fleet.status_on(record.spec.host.as_str(), id);
        let phase = |status: Option<&InstanceStatus>| status.map(|status| status.phase);
        let known = phase(self.statuses.get(id));
        let changed = known != phase(seen.as_ref());
        match seen {
            Some(seen) => drop(self.statuses.insert(id.clone(), seen)),
            None => drop(self.statuses.remove(id)),
        }
        changed
    }

    fn host(&mut self, host: Host) -> bool {
        match host.state {
            HostState::Dead => self.dead.insert(host.name),
            _ => self.dead.remove(&host.name),
        }
    }

    fn resource_changed(&mut self, change: &ChangedResource) -> Result<bool, InventoryError> {
        self.revision = self.revision.max(change.revision);
        match change.kind.as_str() {
            kind::HOST => Ok(change.body_as()?.is_some_and(|host| self.host(host))),
            kind::INSTANCE => {
                match change.body_as()? {
                    Some(record) => self.record(record),
                    None => {
                        let gone = records::instance_id(&change.name);
                        gone.into_iter().for_each(|id| {
                            self.records.remove(&id);
                            self.statuses.remove(&id);
                        });
                    }
                }
                // Also where it serves the same: whoever waits for the revision is to know it.
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn health_changed(&mut self, event: &FleetEvent) -> bool {
        match event {
            FleetEvent::Status(status) => self.look(&status.id),
            FleetEvent::Removed(id) => self.look(id),
            _ => false,
        }
    }
}
