//! The service table: computed from what is recorded and what agents see, published to every agent.

use std::{collections::BTreeSet, sync::Arc};

use tokio_util::sync::CancellationToken;
use wright_fleet::{Fleet, FleetEvent};
use wright_inventory::{Inventory, InventoryError};
use wright_model::HostState;
use wright_route::Table;
use wright_store::SharedStore;

use crate::records::{self, kind};

/// Keeps the agents' tables true.
pub struct Routing {
    /// Where the revision comes from.
    pub store: SharedStore,
    /// Where instances are recorded.
    pub inventory: Arc<Inventory>,
    /// The agents.
    pub fleet: Fleet,
}

impl Routing {
    /// Publishes a table after every change of an instance, its health or its host.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut health = self.fleet.subscribe();
        loop {
            let watched = async {
                let after = self.store.revision().await.map_err(InventoryError::from)?;
                let instances = self.inventory.watch(kind::INSTANCE, after).await?;
                let hosts = self.inventory.watch(kind::HOST, after).await?;
                Ok::<_, InventoryError>((instances, hosts))
            };
            let (mut instances, mut hosts) = match watched.await {
                Ok(watches) => watches,
                Err(error) => {
                    tracing::error!(%error, "the service table cannot be kept; trying again");
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(crate::PAUSE) => continue,
                    }
                }
            };
            loop {
                if let Err(error) = self.publish().await {
                    tracing::error!(%error, "the service table could not be made");
                }
                let again = tokio::select! {
                    () = shutdown.cancelled() => return,
                    change = instances.next() => matches!(change, Some(Ok(_))),
                    change = hosts.next() => matches!(change, Some(Ok(_))),
                    () = changed_health(&mut health) => true,
                };
                if !again {
                    break;
                }
            }
        }
    }

    async fn publish(&self) -> Result<(), InventoryError> {
        let revision = self.store.revision().await?;
        let records = records::instances(&self.inventory).await?;
        let dead: BTreeSet<_> = records::hosts(&self.inventory)
            .await?
            .into_iter()
            .filter(|host| host.state == HostState::Dead)
            .map(|host| host.name)
            .collect();
        let table = Table::from_instances(&records, &self.fleet.statuses(), &dead, revision);
        self.fleet.publish(&table);
        Ok(())
    }
}

/// Returns when an instance's status changed or an agent came.
async fn changed_health(events: &mut wright_fleet::Subscription) {
    loop {
        match events.recv().await {
            Some(FleetEvent::Status(_) | FleetEvent::Removed(_) | FleetEvent::Connected { .. }) => {
                return;
            }
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}
