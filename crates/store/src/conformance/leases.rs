use super::*;
use crate::LeaseId;

async fn put_on(store: &SharedStore, key: &str, lease: LeaseId) -> Result<Revision, StoreError> {
    let put = Operation::Put {
        key: bytes(key),
        value: bytes("x"),
        lease: Some(lease),
    };
    store.commit(Vec::new(), vec![put]).await
}

fn assert_ended(outcome: Outcome, lease: LeaseId) {
    assert!(
        matches!(outcome, Err(StoreError::NoLease(ended)) if ended == lease),
        "{outcome:?}"
    );
}

/// Only those on it, and not those of other leases.
pub async fn the_keys_of_a_revoked_lease_vanish_in_one_commit(store: SharedStore) -> Outcome {
    let (lease, other) = (
        store.lease_grant(3600).await?,
        store.lease_grant(3600).await?,
    );
    put_on(&store, "lease/a", lease).await?;
    put_on(&store, "lease/b", lease).await?;
    put(&store, "lease/c", "x").await?;
    let before = put_on(&store, "lease/d", other).await?;
    assert_eq!(
        store.get(b"lease/a").await?.and_then(|entry| entry.lease),
        Some(lease)
    );
    let mut watch = store.watch(Range::prefix("lease/"), before).await?;
    store.lease_revoke(lease).await?;
    let gone = next(&mut watch).await?;
    let wanted =
        ["lease/a", "lease/b"].map(|key| (before + 1, key.to_owned(), Some("x".to_owned()), None));
    assert_eq!(short(&gone), wanted);
    assert_eq!(
        keys(&store, Range::prefix("lease/"), None).await?,
        ["lease/c", "lease/d"]
    );
    assert_ended(store.lease_revoke(lease).await, lease);
    store.lease_revoke(other).await
}

/// After its time; one that is kept alive stays.
pub async fn a_lease_that_is_not_kept_alive_ends(store: SharedStore) -> Outcome {
    let (short_lived, kept) = (store.lease_grant(1).await?, store.lease_grant(3600).await?);
    put_on(&store, "ttl/kept", kept).await?;
    let before = put_on(&store, "ttl/short", short_lived).await?;
    let mut watch = store.watch(Range::prefix("ttl/"), before).await?;
    store.lease_keep_alive(short_lived).await?;
    store.lease_keep_alive(kept).await?;
    let gone = short(&next(&mut watch).await?);
    assert_eq!(
        gone,
        [(
            before + 1,
            "ttl/short".to_owned(),
            Some("x".to_owned()),
            None
        )]
    );
    assert_ended(store.lease_keep_alive(short_lived).await, short_lived);
    assert_eq!(
        keys(&store, Range::prefix("ttl/"), None).await?,
        ["ttl/kept"]
    );
    store.lease_revoke(kept).await
}

/// The last put of a key says on which lease it is.
pub async fn a_key_put_without_its_lease_outlives_it(store: SharedStore) -> Outcome {
    let lease = store.lease_grant(3600).await?;
    put_on(&store, "detach/a", lease).await?;
    let before = put(&store, "detach/a", "x").await?;
    store.lease_revoke(lease).await?;
    assert_eq!(
        store.get(b"detach/a").await?.map(|entry| entry.lease),
        Some(None)
    );
    assert_eq!(
        store.revision().await?,
        before,
        "a lease without keys ends without a commit"
    );
    Ok(())
}

/// Nor is anything else of such a commit written.
pub async fn a_lease_that_ended_takes_no_keys(store: SharedStore) -> Outcome {
    let lease = store.lease_grant(3600).await?;
    store.lease_revoke(lease).await?;
    let before = store.revision().await?;
    let late = Operation::Put {
        key: bytes("late/b"),
        value: bytes("x"),
        lease: Some(lease),
    };
    let refused = store
        .commit(Vec::new(), vec![Operation::put("late/a", "x"), late])
        .await;
    assert_ended(refused.map(drop), lease);
    assert!(keys(&store, Range::prefix("late/"), None).await?.is_empty());
    assert_eq!(store.revision().await?, before);
    Ok(())
}
