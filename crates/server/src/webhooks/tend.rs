//! Which webhooks are delivered: what the leading server does for all of them.

use std::{collections::HashMap, sync::Arc};

use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use wright_inventory::{
    Inventory, InventoryError, Resource,
    catalog::Catalog,
    feed::{FeedError, Hub, News, Position, Subscription},
};
use wright_store::{Guard, Range, SharedStore, StoreError, Watch};

use super::{
    Courier, Hook, Pace, Records,
    deliver::{Delivery, Stopped},
    records::{KIND, REPLAYS},
};
use crate::{
    PAUSE,
    http::{
        answer::Refusal,
        feed::{Reading, selection},
    },
    rights::Rights,
};

/// Delivers the webhooks of an installation.
pub struct Webhooks {
    /// Where they stand.
    pub store: SharedStore,
    /// The same, as resources.
    pub inventory: Arc<Inventory>,
    /// All of these in memory.
    pub catalog: Arc<Catalog>,
    /// Who may read what.
    pub rights: Arc<Rights>,
    /// What they are told of.
    pub hub: Hub,
    /// How long things may take.
    pub pace: Pace,
    /// True as long as this server leads.
    pub leads: Guard,
}

/// Why they are not tended to.
#[derive(Debug, thiserror::Error)]
enum TendError {
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Webhooks {
    /// Delivers until `over`.
    pub async fn run(self, over: CancellationToken) {
        let tended = async {
            loop {
                let Err(error) = self.tend().await;
                tracing::warn!(%error, "webhooks are not delivered; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        };
        over.run_until_cancelled(tended).await;
    }

    async fn tend(&self) -> Result<std::convert::Infallible, TendError> {
        let records = Records::new(self.store.clone());
        let (hooks, revision) = self.inventory.snapshot(KIND).await?;
        let mut replays = self.store.watch(Range::prefix(REPLAYS), revision).await?;
        let subscription = Subscription {
            from: Some(Position::after(revision)),
            ..Subscription::kind(KIND)
        };
        let mut news = self.hub.watch(subscription).await?;
        let waiting = self
            .store
            .range(Range::prefix(REPLAYS), 0, Some(revision))
            .await?;
        for entry in &waiting.entries {
            records.replay(&self.leads, &asked(&entry.key)).await?;
        }
        let mut running = HashMap::new();
        for hook in hooks {
            self.begin(&mut running, hook).await;
        }
        loop {
            let name = tokio::select! {
                news = news.next() => match news? {
                    News::Change(told) => told.change.name.clone(),
                    News::Bookmark(_) => continue,
                },
                name = next_replay(&mut replays) => name?,
            };
            // What is being delivered by the old rules ends before it goes on by the new ones.
            if let Some(task) = running.remove(&name) {
                task.abort();
                let _ = task.await;
            }
            records.replay(&self.leads, &name).await?;
            match self.inventory.get(KIND, &name).await? {
                Some(hook) => self.begin(&mut running, hook).await,
                None => records.forget(&self.leads, &name).await?,
            }
        }
    }

    /// Begins to deliver a webhook, if it is active.
    async fn begin(&self, running: &mut HashMap<String, AbortOnDropHandle<()>>, hook: Resource) {
        let name = hook.name.clone();
        let clear = self
            .inventory
            .in_clear(hook)
            .map_err(|error| error.to_string());
        let hook = match clear.and_then(Hook::read) {
            Ok(hook) => hook,
            Err(error) => return tracing::warn!(webhook = name, error, "cannot be delivered"),
        };
        if !hook.active {
            return;
        }
        let courier = match Courier::new(&hook, &self.pace) {
            Ok(courier) => courier,
            Err(error) => return tracing::warn!(webhook = name, %error, "cannot be delivered"),
        };
        let kinds: Vec<&str> = hook.kinds.iter().map(String::as_str).collect();
        let user = hook.user.as_ref();
        let eyes = user.map(|user| Reading::by_user(&self.rights, user));
        let filter = match selection(&self.catalog, &kinds, &hook.filter, eyes).await {
            Ok(filter) => filter,
            Err(Refusal(error)) => {
                let error = error.detail;
                return tracing::warn!(webhook = name, error, "cannot be delivered");
            }
        };
        let delivery = Delivery {
            hub: self.hub.clone(),
            rights: self.rights.clone(),
            records: Records::new(self.store.clone()),
            leads: self.leads.clone(),
            pace: self.pace,
            wanted: Subscription {
                kinds: hook.kinds.iter().cloned().collect(),
                filter,
                from: None,
            },
            hook,
            courier,
        };
        let task = tokio::spawn(deliver(delivery));
        running.insert(name, AbortOnDropHandle::new(task));
    }
}

/// Delivers again and again what the store or the feed held up.
async fn deliver(delivery: Delivery) {
    loop {
        match delivery.run().await {
            Ok(()) | Err(Stopped::Feed(FeedError::Closed)) => return,
            // Another server leads now.
            Err(Stopped::Store(error)) if error.is_refused() => return,
            Err(error) => {
                let name = &delivery.hook.name;
                tracing::warn!(%error, webhook = name, "deliveries stopped; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The name of the next webhook that shall go back.
async fn next_replay(replays: &mut Watch) -> Result<String, StoreError> {
    loop {
        let changes = replays.next().await.ok_or(StoreError::Closed)??;
        if let Some(put) = changes.iter().find(|change| change.after.is_some()) {
            return Ok(asked(&put.key));
        }
    }
}

fn asked(key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    key.trim_start_matches(REPLAYS).to_owned()
}
