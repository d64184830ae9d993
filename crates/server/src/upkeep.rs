//! Keeping the store bounded: old revisions, old events, old records of the audit and expired tokens are
//! forgotten.
//!
//! A resource's own history (`wright history`) is kept apart from the store's revisions: for a year.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use wright_inventory::{Inventory, InventoryError};
use wright_store::{Revision, SharedStore};

use crate::rights::Rights;

/// How often it is looked after.
const EVERY: Duration = Duration::from_secs(60);
/// Revisions that can still be watched from or read at: at two hundred writes a second, a quarter of an
/// hour.
const REVISIONS: Revision = 200_000;
/// Events that are kept.
const EVENTS: usize = 20_000;

/// How long the audit is kept: a year.
const AUDIT: SignedDuration = SignedDuration::from_hours(366 * 24);

/// How long it is kept what resources were: a year.
const HISTORY: SignedDuration = SignedDuration::from_hours(366 * 24);
/// How often the history is gone through, which reads all of it.
const HISTORY_EVERY: Duration = Duration::from_hours(24);
/// How long after the start that is done first.
const HISTORY_AFTER: Duration = Duration::from_hours(1);
/// A change of a kind that began so long ago has lost its server.
const BEGUN: SignedDuration = SignedDuration::from_hours(1);

/// Looks after the store until `shutdown`.
pub async fn run(
    store: SharedStore,
    inventory: Arc<Inventory>,
    rights: Arc<Rights>,
    shutdown: CancellationToken,
) {
    let mut due = tokio::time::interval(EVERY);
    let first = tokio::time::Instant::now() + HISTORY_AFTER;
    let mut history_due = tokio::time::interval_at(first, HISTORY_EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = history_due.tick() => {
                let before = Timestamp::now() - HISTORY;
                let trimmed = shutdown.run_until_cancelled(inventory.trim_history(before)).await;
                if let Some(Err(error)) = trimmed {
                    tracing::warn!(%error, "what resources were long ago could not be forgotten");
                }
                continue;
            }
            _ = due.tick() => {}
        }
        match inventory.take_back_begun(Timestamp::now() - BEGUN).await {
            Ok(0) => {}
            Ok(count) => {
                tracing::warn!(count, "changes of kinds were taken back: their server died")
            }
            Err(error) => tracing::warn!(%error, "changes of kinds could not be looked after"),
        }
        if let Err(error) = forget(&store, &inventory, REVISIONS).await {
            tracing::warn!(%error, "old revisions and events could not be forgotten");
        }
        let now = Timestamp::now();
        if let Err(error) = rights.audit.forget(now - AUDIT).await {
            tracing::warn!(%error, "old records of the audit could not be forgotten");
        }
        if let Err(error) = rights.tokens.forget_expired(now).await {
            tracing::warn!(%error, "expired tokens could not be forgotten");
        }
    }
}

async fn forget(
    store: &SharedStore,
    inventory: &Inventory,
    keep: Revision,
) -> Result<(), InventoryError> {
    inventory.trim_events(EVENTS).await?;
    let newest = store.revision().await?;
    if newest > keep {
        store.compact(newest - keep).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wright_store::StoreError;

    use super::*;

    #[tokio::test]
    async fn old_revisions_are_forgotten_and_the_newest_state_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = wright_store::open(&format!("file:{}", dir.path().display()))
            .await
            .unwrap();
        let inventory = Inventory::new(store.clone());
        inventory.put_as("host", "h1", "first").await.unwrap();
        let keep = 1_000;
        let writes = (0..keep + 10).map(|number| {
            let put = wright_store::Operation::put("counter", number.to_string());
            store.commit(Vec::new(), vec![put])
        });
        futures::future::try_join_all(writes).await.unwrap();
        forget(&store, &inventory, keep).await.unwrap();
        let everything = wright_store::Range::prefix("r/");
        assert!(matches!(
            store.range(everything, 0, Some(1)).await,
            Err(StoreError::Compacted { .. })
        ));
        assert_eq!(
            inventory
                .get_as::<String>("host", "h1")
                .await
                .unwrap()
                .unwrap(),
            "first"
        );
    }
}
