//! A store is moved to a cluster, and back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use wright_store::{
    Entry, MAX_VALUE, Operation, Range, SharedStore, conformance::EtcdCluster, copy, open,
};

async fn state(store: &SharedStore) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    let pair = |entry: Entry| (entry.key, entry.value);
    let page = store.range(Range::prefix(""), 0, None).await.unwrap();
    page.entries.into_iter().map(pair).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_to_a_cluster_and_back_without_its_leases() {
    let cluster = EtcdCluster::start(1, &[]).unwrap();
    let (here, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = |directory: &tempfile::TempDir| format!("file:{}", directory.path().display());
    let store = open(&url(&here)).await.unwrap();
    let mut puts: Vec<_> = (0..1001)
        .map(|n| Operation::put(format!("{n:04}"), "x"))
        .collect();
    puts.push(Operation::put("large/1", vec![1; MAX_VALUE]));
    puts.push(Operation::put("large/2", vec![2; MAX_VALUE]));
    puts.push(Operation::put("", "the empty key"));
    store.commit(Vec::new(), puts).await.unwrap();
    let before = state(&store).await;
    let lease = store.lease_grant(3600).await.unwrap();
    let leased = Operation::Put {
        key: "leased".into(),
        value: "x".into(),
        lease: Some(lease),
    };
    let revision = store.commit(Vec::new(), vec![leased]).await.unwrap();
    drop(store);

    let there = copy(&url(&here), &cluster.url()).await.unwrap();
    assert_eq!(
        (there.keys, there.leased, there.revision),
        (1004, 1, revision)
    );
    assert_eq!(state(&open(&cluster.url()).await.unwrap()).await, before);
    let again = copy(&cluster.url(), &url(&back)).await.unwrap();
    assert_eq!((again.keys, again.digest), (there.keys, there.digest));
    assert_eq!(state(&open(&url(&back)).await.unwrap()).await, before);
}

#[tokio::test]
async fn only_an_empty_store_or_an_interrupted_copy_is_written_over() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = |directory: &tempfile::TempDir| format!("file:{}", directory.path().display());
    let source = open(&url(&from)).await.unwrap();
    source
        .commit(Vec::new(), vec![Operation::put("a", "x")])
        .await
        .unwrap();
    let used = copy(&url(&from), &url(&to)).await.unwrap_err().to_string();
    assert!(used.contains("has it open"), "{used}");
    drop(source);

    let target = open(&url(&to)).await.unwrap();
    let rest = vec![Operation::put("rest", "x")];
    target.commit(Vec::new(), rest).await.unwrap();
    drop(target);
    let refused = copy(&url(&from), &url(&to)).await.unwrap_err().to_string();
    assert!(refused.contains("not empty"), "{refused}");

    let target = open(&url(&to)).await.unwrap();
    let mark = vec![Operation::put("copy/unfinished", "")];
    target.commit(Vec::new(), mark).await.unwrap();
    drop(target);
    assert_eq!(copy(&url(&from), &url(&to)).await.unwrap().keys, 1);
    let target = open(&url(&to)).await.unwrap();
    assert_eq!(state(&target).await, [("a".into(), "x".into())]);
}
