//! What agents find out about their hosts is kept beside the hosts' records (decision 17).
//!
//! Every server keeps what its own agents say. An agent tells the digest of what it knows when it
//! connects; what is recorded already is neither sent nor written again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wright_fleet::{Fleet, FleetEvent};
use wright_inventory::{Author, Inventory, InventoryError, discovery_operations, resource_key};
use wright_model::{Digest, Facts, Name};
use wright_store::{Guard, SharedStore, StoreError};

use crate::{PAUSE, records::kind};

/// How long what agents say is gathered before any of it is seen to: after a start thousands of them connect
/// at once, and jobs that go on then are waited for.
const GATHERED: Duration = Duration::from_secs(1);
/// Hosts that are seen to in one commit.
const TOGETHER: usize = 256;
/// The field that has the facts, and who owns it.
const FIELD: &str = "facts";
const AGENT: &str = "agent";

/// What hosts' agents have said and nobody has seen to yet.
type Said = BTreeMap<Name, (Digest, Option<Bytes>)>;

/// Facts as they are recorded.
#[derive(Debug, Serialize)]
struct Recorded {
    /// The agent's own, for one of another version may write the same facts otherwise.
    digest: Digest,
    #[serde(flatten)]
    facts: Facts,
}

/// Keeps the facts that agents tell this server.
pub struct Findings {
    /// Where they are read.
    pub inventory: Arc<Inventory>,
    /// The agents.
    pub fleet: Fleet,
    /// Where they are written.
    pub store: SharedStore,
}

impl Findings {
    /// Follows what agents say until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&self) {
        let mut events = self.fleet.subscribe();
        let (mut said, mut due) = (Said::new(), Instant::now());
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    None => return,
                    Some(FleetEvent::Facts { host, digest, body }) => {
                        if said.is_empty() {
                            due = Instant::now() + GATHERED;
                        }
                        said.insert(host, (digest, body));
                    }
                    Some(_) => {}
                },
                () = sleep_until(due), if !said.is_empty() => {
                    if let Err(error) = self.take_all(&mut said).await {
                        tracing::error!(%error, "facts of hosts could not be recorded; trying again");
                        due = Instant::now() + PAUSE;
                    }
                }
            }
        }
    }

    async fn take_all(&self, said: &mut Said) -> Result<(), InventoryError> {
        while !said.is_empty() {
            let some = said.iter().take(TOGETHER);
            let some: Said = some.map(|(host, it)| (host.clone(), it.clone())).collect();
            self.take(&some).await?;
            some.keys().for_each(|host| drop(said.remove(host)));
        }
        Ok(())
    }

    /// Records what is new, and asks for what is and was not sent.
    async fn take(&self, said: &Said) -> Result<(), InventoryError> {
        let known = try_join_all(said.keys().map(|host| self.recorded(host))).await?;
        let mut new = Vec::new();
        for ((host, (digest, body)), known) in said.iter().zip(known) {
            match body {
                _ if known == Some(*digest) => {}
                None => self.fleet.ask_facts(host),
                Some(body) => match read(*digest, body) {
                    Ok(recorded) => new.push((host, recorded)),
                    Err(reason) => tracing::warn!(%host, reason, "its agent tells no facts"),
                },
            }
        }
        self.write(new).await
    }

    /// The digest of the facts that are recorded of a host.
    async fn recorded(&self, host: &Name) -> Result<Option<Digest>, InventoryError> {
        #[derive(Deserialize)]
        struct Body {
            facts: Known,
        }
        #[derive(Deserialize)]
        struct Known {
            digest: Digest,
        }
        let body = self.inventory.discovery::<Body>(kind::HOST, host.as_str());
        Ok(body.await?.map(|body| body.facts.digest))
    }

    /// Writes in one commit; a host that is known no longer is left out.
    async fn write(&self, mut new: Vec<(&Name, Recorded)>) -> Result<(), InventoryError> {
        let by = Author {
            through: "agent".to_owned(),
            ..Author::new(AGENT)
        };
        while !new.is_empty() {
            let key = |host: &Name| resource_key(kind::HOST, host.as_str());
            let guards = new.iter().map(|(host, _)| Guard::Exists(key(host).into()));
            let guards = guards.collect();
            let mut operations = Vec::with_capacity(new.len() * 2);
            for (host, facts) in &new {
                let name = host.as_str();
                operations.extend(discovery_operations(kind::HOST, name, FIELD, facts, &by)?);
            }
            match self.store.commit(guards, operations).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Refused {
                    guard: Guard::Exists(gone),
                    ..
                }) => {
                    new.retain(|(host, _)| gone != key(host).as_bytes());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The facts that an agent sent, if they are what it says.
fn read(digest: Digest, body: &Bytes) -> Result<Recorded, String> {
    if Digest::of(body) != digest {
        return Err("their digest is another".to_owned());
    }
    let facts = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(Recorded { digest, facts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::gates::tests::bed::Bed;

    async fn findings() -> (Bed, Findings) {
        let bed = Bed::start().await;
        let findings = Findings {
            inventory: bed.rooms.inventory.clone(),
            fleet: bed.rooms.fleet.clone(),
            store: bed.rooms.store.clone(),
        };
        (bed, findings)
    }

    fn told(hosts: &[&str], kernel: &str) -> Said {
        let facts = Facts {
            kernel: kernel.to_owned(),
            ..Facts::default()
        };
        let body = serde_json::to_vec(&facts).unwrap();
        let told = (Digest::of(&body), Some(Bytes::from(body)));
        hosts
            .iter()
            .map(|host| (host.parse().unwrap(), told.clone()))
            .collect()
    }

    async fn kernel(bed: &Bed, host: &str) -> serde_json::Value {
        let host = bed
            .rooms
            .inventory
            .resource(kind::HOST, host)
            .await
            .unwrap();
        host.map(|host| host.body["facts"]["kernel"].clone())
            .unwrap_or_default()
    }

    #[tokio::test]
    async fn what_is_recorded_already_is_not_written_again_and_of_no_host_that_is_not_known() {
        let (bed, findings) = findings().await;
        let inventory = &bed.rooms.inventory;
        inventory
            .put_as(kind::HOST, "h1", &serde_json::json!({}))
            .await
            .unwrap();
        findings.take(&told(&["gone", "h1"], "6.1")).await.unwrap();
        assert_eq!(kernel(&bed, "h1").await, "6.1");
        assert!(
            inventory
                .resource(kind::HOST, "gone")
                .await
                .unwrap()
                .is_none()
        );
        let written = bed.rooms.store.revision().await.unwrap();
        findings.take(&told(&["h1"], "6.1")).await.unwrap();
        assert_eq!(bed.rooms.store.revision().await.unwrap(), written);
        findings.take(&told(&["h1"], "6.2")).await.unwrap();
        assert_eq!(kernel(&bed, "h1").await, "6.2");
    }

    #[tokio::test]
    async fn facts_that_are_not_those_of_their_digest_are_not_recorded() {
        let (bed, findings) = findings().await;
        let inventory = &bed.rooms.inventory;
        inventory
            .put_as(kind::HOST, "h1", &serde_json::json!({}))
            .await
            .unwrap();
        let mut said = told(&["h1"], "6.1");
        for (digest, _) in said.values_mut() {
            *digest = Digest::of(b"another");
        }
        findings.take(&said).await.unwrap();
        assert!(kernel(&bed, "h1").await.is_null());
    }
}
