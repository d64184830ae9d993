//! Members that die and freeze.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::*;
use crate::{Guard, StoreError};

const WRITERS: usize = 8;

/// Each writer counts up a key of its own under compare-and-set until it is told to stop, and
/// answers with what was acknowledged: revision and count. An unknown outcome or a refusal, which
/// can only come from a commit that was made twice, fails the test.
fn start_writers(
    store: &SharedStore,
    stop: &Arc<AtomicBool>,
) -> JoinSet<(usize, Vec<(Revision, u64)>)> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, stop) = (store.clone(), stop.clone());
        writers.spawn(async move {
            let key = format!("count/{writer}");
            let mut acknowledged: Vec<(Revision, u64)> = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let (guard, count) = match acknowledged.last() {
                    None => (Guard::Absent(key.clone().into()), 1),
                    Some((revision, count)) => {
                        (Guard::Modified(key.clone().into(), *revision), count + 1)
                    }
                };
                let put = Operation::put(key.clone(), count.to_string());
                let revision = store.commit(vec![guard], vec![put]).await.unwrap();
                acknowledged.push((revision, count));
            }
            (writer, acknowledged)
        });
    }
    writers
}

/// Every acknowledged commit is in the history exactly once, in the watches, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_commit_is_lost_or_doubled_and_no_change_skipped_while_members_die_and_freeze() {
    let (mut cluster, store) = three_members().await;
    let start = store.revision().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut watch = store.watch(Range::prefix("count/"), start).await.unwrap();
    let writers = start_writers(&store, &stop);

    let watcher = tokio::spawn(async move {
        let mut seen: BTreeMap<String, Vec<(Revision, u64)>> = BTreeMap::new();
        loop {
            for change in watch.next().await.unwrap().unwrap() {
                let key = String::from_utf8_lossy(&change.key).into_owned();
                if key == "count/end" {
                    return seen;
                }
                let value = |entry: crate::Entry| -> u64 {
                    String::from_utf8_lossy(&entry.value).parse().unwrap()
                };
                let (before, after) = (change.before.map(value), change.after.map(value).unwrap());
                let all = seen.entry(key).or_default();
                assert_eq!(before, all.last().map(|(_, count)| *count));
                all.push((change.revision, after));
            }
        }
    });

    let progress = store.clone();
    let commits = async |least: u64| {
        let from = progress.revision().await.unwrap();
        while progress.revision().await.unwrap() < from + least {
            tokio::task::yield_now().await;
        }
    };
    for round in 0..6 {
        commits(200).await;
        let member = cluster.member(round % 3);
        if round % 2 == 0 {
            member.kill().unwrap();
            commits(200).await;
            cluster.member(round % 3).restart().unwrap();
        } else {
            member.freeze().unwrap();
            commits(200).await;
            cluster.member(round % 3).thaw().unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writers.join_all().await;
    put(&store, "count/end", "x").await;
    let seen = watcher.await.unwrap();
    for (writer, acknowledged) in acknowledged {
        assert!(acknowledged.len() > 50, "writer {writer} hardly wrote");
        assert_eq!(seen[&format!("count/{writer}")], acknowledged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_member_holds_up_commits_and_watches_for_a_few_seconds_only() {
    let (cluster, store) = three_members().await;
    let mut cluster = cluster;
    let revision = put(&store, "a", "one").await;
    let mut watch = store.watch(Range::key("a"), revision).await.unwrap();
    put(&store, "a", "two").await;
    watch.next().await.unwrap().unwrap();
    // The store asks the first member first, and nothing has happened to it.
    cluster.member(0).freeze().unwrap();
    let began = Instant::now();
    let elsewhere = open(&cluster.url()).await.unwrap();
    let revision = put(&elsewhere, "a", "three").await;
    let changes = watch.next().await.unwrap().unwrap();
    assert_eq!(changes[0].revision, revision);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    cluster.member(0).thaw().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_whose_next_change_was_compacted_while_it_was_cut_off_says_so() {
    let (mut cluster, store) = one_member().await;
    let revision = put(&store, "a", "one").await;
    let mut watch = store.watch(Range::key("a"), revision).await.unwrap();
    cluster.member(0).freeze().unwrap();
    // What is behind the watch now is written and compacted before the watch has reconnected.
    let url = cluster.url();
    cluster.member(0).kill().unwrap();
    cluster.member(0).restart().unwrap();
    let other = open(&url).await.unwrap();
    put(&other, "a", "two").await;
    let removed = other
        .commit(Vec::new(), vec![Operation::Delete("a".into())])
        .await
        .unwrap();
    other.compact(removed).await.unwrap();
    // Either the watch was quick enough to see all, or it says that it was not: never a gap.
    match watch.next().await.unwrap() {
        Err(StoreError::Compacted { .. }) => {}
        Ok(changes) => {
            assert_eq!(changes[0].revision, removed - 1);
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_watch_ends_when_its_store_is_closed() {
    let (_cluster, store) = one_member().await;
    let mut watch = store.watch(Range::prefix(""), 0).await.unwrap();
    drop(store);
    assert!(watch.next().await.is_none());
}
