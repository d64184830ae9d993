//! What etcd bounds.

use super::*;
use crate::{Guard, MAX_OPERATIONS, MAX_VALUE, StoreError};

#[tokio::test]
async fn a_cluster_that_takes_too_few_operations_is_refused_with_what_would_do() {
    let cluster = EtcdCluster::start(1, &["--max-txn-ops=128"]).unwrap();
    let refused = open(&cluster.url()).await.unwrap_err().to_string();
    assert!(refused.contains("--max-txn-ops=4096"), "{refused}");
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_refused_with_the_reason() {
    let refused = open("etcd://127.0.0.1:1").await.unwrap_err().to_string();
    assert!(
        refused.contains("etcd://127.0.0.1:1") && refused.contains("refused"),
        "{refused}"
    );
}

#[tokio::test]
async fn the_largest_commits_of_every_sort_are_taken() {
    let (_cluster, store) = one_member().await;
    let half = MAX_OPERATIONS / 2;
    let key = |n: usize| format!("{n:04}/x");
    let puts: Vec<_> = (0..half).map(|n| Operation::put(key(n), "x")).collect();
    let guards = (0..half).map(|n| Guard::Absent(key(n).into())).collect();
    let first = store.commit(guards, puts.clone()).await.unwrap();
    let ranges = (0..half).map(|n| Operation::DeleteRange(Range::prefix(format!("{n:04}"))));
    let both = ranges.chain(puts).collect();
    assert_eq!(store.commit(Vec::new(), both).await.unwrap(), first + 1);
    let page = everything(&store).await;
    assert_eq!(page.entries.len(), half);
    assert!(page.entries.iter().all(|entry| entry.version == 2));
}

#[tokio::test]
async fn a_commit_of_more_bytes_than_etcd_takes_says_which_option_to_raise() {
    let (_cluster, store) = one_member().await;
    let before = store.revision().await.unwrap();
    for values in [2, 4] {
        let large = (0..values).map(|n| Operation::put(n.to_string(), vec![0; MAX_VALUE]));
        let refused = store.commit(Vec::new(), large.collect()).await.unwrap_err();
        assert!(
            matches!(&refused, StoreError::Engine(text) if text.contains("--max-request-bytes")),
            "{refused}"
        );
    }
    assert_eq!(store.revision().await.unwrap(), before);
}

#[tokio::test]
async fn a_range_of_more_keys_than_one_answer_has_is_one_state() {
    let (_cluster, store) = one_member().await;
    let (mut expected, mut revision) = (Vec::new(), 0);
    for part in 0..3 {
        let keys: Vec<_> = (0..1000).map(|n| format!("{part}/{n:04}")).collect();
        let puts = keys
            .iter()
            .map(|key| Operation::put(key.clone(), "x"))
            .collect();
        revision = store.commit(Vec::new(), puts).await.unwrap();
        expected.extend(keys);
    }
    let page = everything(&store).await;
    let found: Vec<_> = page.entries.iter().map(|entry| &entry.key[..]).collect();
    assert_eq!(
        found,
        expected.iter().map(String::as_bytes).collect::<Vec<_>>()
    );
    assert_eq!((page.revision, page.more), (revision, false));
    let page = store
        .range(Range::prefix(""), 2500, Some(revision))
        .await
        .unwrap();
    assert_eq!((page.entries.len(), page.more), (2500, true));
}

#[tokio::test]
async fn a_full_database_says_what_to_do_and_goes_on_after_it() {
    let cluster = EtcdCluster::start(1, &["--quota-backend-bytes=16777216"]).unwrap();
    let store = open(&cluster.url()).await.unwrap();
    let mut written = 0;
    let full = loop {
        let value = Operation::put("large", vec![0; MAX_VALUE]);
        match store.commit(Vec::new(), vec![value]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 64, "the quota was not enforced");
    };
    let text = full.to_string();
    assert!(
        text.contains("etcdctl defrag") && text.contains("alarm disarm"),
        "{text}"
    );
    // What is there can be read, and watched, meanwhile.
    let page = everything(&store).await;
    assert_eq!(page.entries[0].version, written);
    store.compact(page.revision).await.unwrap();
    cluster.etcdctl(&["defrag"]).unwrap();
    cluster.etcdctl(&["alarm", "disarm"]).unwrap();
    assert_eq!(put(&store, "small", "x").await, page.revision + 1);
}
