//! A commit is made once, however often it is asked for.

use super::{
    proxy::{Mode, Proxy},
    *,
};
use crate::{Guard, StoreError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_made_once_and_has_its_revision() {
    let cluster = EtcdCluster::start(1, &[]).unwrap();
    let proxy = Proxy::start(&cluster.url()).await.unwrap();
    let store = open(&proxy.url).await.unwrap();
    let mut revision = put(&store, "a", "0").await;
    for count in 1..50 {
        proxy.mode.send_replace(Mode::LoseAnswer);
        // It would be false for a second copy.
        let guard = Guard::Modified("a".into(), revision);
        let once = Operation::put("a", count.to_string());
        let made = store.commit(vec![guard], vec![once]).await.unwrap();
        assert_eq!(made, revision + 1);
        revision = made;
    }
    assert_eq!(store.get(b"a").await.unwrap().unwrap().version, 50);
}

/// The commit is kept back on its way; a copy is refused, and then the guard becomes true again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_comes_after_the_refusal_has_no_effect() {
    let cluster = EtcdCluster::start(1, &[]).unwrap();
    let mut proxy = Proxy::start(&cluster.url()).await.unwrap();
    let (store, other) = (
        open(&proxy.url).await.unwrap(),
        open(&cluster.url()).await.unwrap(),
    );
    put(&store, "a", "x").await;
    proxy.mode.send_replace(Mode::KeepBack);
    let late = vec![Operation::put("late", "x")];
    let refused = store.commit(vec![Guard::Absent("a".into())], late).await;
    assert!(
        matches!(refused, Err(StoreError::Refused { .. })),
        "{refused:?}"
    );
    let kept_back = proxy.kept_back.recv().await.unwrap();

    other
        .commit(Vec::new(), vec![Operation::Delete("a".into())])
        .await
        .unwrap();
    let before = other.revision().await.unwrap();
    // etcd answers with the engine's own key, which is what kept the copy from its effect.
    kept_back.send_until(b"wright/c/").await.unwrap();
    assert_eq!(other.get(b"late").await.unwrap(), None);
    assert_eq!(other.revision().await.unwrap(), before);
}

#[tokio::test]
async fn a_session_that_ended_is_replaced() {
    let (cluster, store) = one_member().await;
    put(&store, "a", "x").await;
    let leases = cluster.etcdctl(&["lease", "list"]).unwrap();
    let lease = leases.lines().last().unwrap();
    cluster.etcdctl(&["lease", "revoke", lease]).unwrap();
    put(&store, "a", "y").await;
    assert_eq!(store.get(b"a").await.unwrap().unwrap().version, 2);
}
