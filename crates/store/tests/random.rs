//! Random operations on each engine and on the model: all answer the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod model;

use bytes::Bytes;
use model::{Answer, Model};
use proptest::prelude::*;
use wright_store::{
    Guard, LeaseId, Operation, Range, Revision, SharedStore, StoreError, conformance::EtcdCluster,
    open,
};

/// Leases are numbered by their grants; numbers up to this are used whether granted or not.
const LEASES: u64 = 3;
/// A lease that no engine ever grants.
const NO_LEASE: LeaseId = LeaseId(i64::MAX as u64 - 1);

#[derive(Debug, Clone)]
enum Action {
    /// Commits that are asked for one after the other.
    Commit(Vec<Guard>, Vec<Operation>),
    /// A page of so many keys, at a share (of 255) of the revisions so far.
    Read(Range, usize, Option<u8>),
    Compact(u8),
    Grant,
    Revoke(LeaseId),
    Reopen,
    /// A watch of a range from a share of the revisions, read to the newest.
    Watch(Range, u8),
}

/// Few keys, so that operations meet: nothing, `a` to `c` and the like, and the highest byte.
fn key() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0xff)], 0..3)
        .prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(0..2_u8, 0..2).prop_map(Bytes::from)
}

fn lease() -> impl Strategy<Value = LeaseId> {
    (1..=LEASES).prop_map(LeaseId)
}

fn range() -> impl Strategy<Value = Range> {
    prop_oneof![
        key().prop_map(Range::prefix),
        key().prop_map(Range::key),
        (key(), proptest::option::of(key())).prop_map(|(start, end)| Range { start, end }),
    ]
}

fn guard() -> impl Strategy<Value = Guard> {
    prop_oneof![
        key().prop_map(Guard::Absent),
        key().prop_map(Guard::Exists),
        (key(), 0..8_u64).prop_map(|(key, revision)| Guard::Modified(key, revision)),
        (key(), 0..3_u64).prop_map(|(key, version)| Guard::Version(key, version)),
        (key(), value()).prop_map(|(key, value)| Guard::Value(key, value)),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let lease = prop_oneof![3 => Just(None), 1 => lease().prop_map(Some)];
    prop_oneof![
        4 => (key(), value(), lease).prop_map(|(key, value, lease)| Operation::Put { key, value, lease }),
        2 => key().prop_map(Operation::Delete),
        1 => range().prop_map(Operation::DeleteRange),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let guards = prop_oneof![
        3 => Just(Vec::new()),
        1 => proptest::collection::vec(guard(), 1..3),
    ];
    prop_oneof![
        10 => (guards, proptest::collection::vec(operation(), 0..5)).prop_map(|(g, o)| Action::Commit(g, o)),
        4 => (range(), 0..4_usize, any::<Option<u8>>()).prop_map(|(r, limit, at)| Action::Read(r, limit, at)),
        3 => (range(), any::<u8>()).prop_map(|(range, after)| Action::Watch(range, after)),
        1 => any::<u8>().prop_map(Action::Compact),
        1 => Just(Action::Grant),
        1 => lease().prop_map(Action::Revoke),
        1 => Just(Action::Reopen),
    ]
}

/// Puts the engine's leases and revisions where the action has numbers.
fn name(operation: Operation, leases: &[LeaseId]) -> Operation {
    match operation {
        Operation::Put { key, value, lease } => Operation::Put {
            key,
            value,
            lease: lease.map(|number| granted(leases, number)),
        },
        other => other,
    }
}

fn granted(leases: &[LeaseId], number: LeaseId) -> LeaseId {
    let index = usize::try_from(number.0).unwrap() - 1;
    leases.get(index).copied().unwrap_or(NO_LEASE)
}

fn named(guard: Guard, model: &Model) -> Guard {
    match guard {
        Guard::Modified(key, 0) => Guard::Modified(key, 0),
        Guard::Modified(key, number) => Guard::Modified(key, model.revision(number)),
        other => other,
    }
}

async fn act(store: &SharedStore, model: &mut Model, leases: &mut Vec<LeaseId>, action: Action) {
    match action {
        Action::Commit(guards, operations) => {
            let guards: Vec<_> = guards
                .into_iter()
                .map(|guard| named(guard, model))
                .collect();
            let operations = operations
                .into_iter()
                .map(|operation| name(operation, leases));
            let operations: Vec<_> = operations.collect();
            let wanted = model.commit(&guards, &operations);
            let answer = match store.commit(guards, operations).await {
                Ok(revision) => Answer::Done(revision),
                Err(StoreError::Refused { guard, .. }) => Answer::Refused(guard),
                Err(StoreError::NoLease(lease)) => Answer::NoLease(lease),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(answer, wanted);
        }
        Action::Read(range, limit, at) => {
            let at = at.map(|at| model.share(at));
            let page = match store.range(range.clone(), limit, at).await {
                Ok(page) => page,
                Err(StoreError::Compacted { asked, oldest }) => {
                    assert_eq!((Some(asked), oldest), (at, model.oldest));
                    assert!(asked < oldest);
                    return;
                }
                Err(error) => panic!("{error}"),
            };
            let mut wanted = model.range(&range, at.unwrap_or(model.newest()));
            assert_eq!(page.more, limit != 0 && wanted.len() > limit);
            wanted.truncate(if limit == 0 { usize::MAX } else { limit });
            assert_eq!(page.entries, wanted);
        }
        Action::Watch(range, after) => watched(store, model, range, model.share(after)).await,
        Action::Compact(before) => {
            let before = model.share(before);
            store.compact(before).await.unwrap();
            model.oldest = model.oldest.max(before);
        }
        Action::Grant => {
            leases.push(store.lease_grant(3600).await.unwrap());
            model.leases.extend(leases.last());
        }
        Action::Revoke(number) => {
            let lease = granted(leases, number);
            assert_eq!(store.lease_revoke(lease).await.is_ok(), model.revoke(lease))
        }
        Action::Reopen => unreachable!("done by the caller"),
    }
}

/// A watch says what the model says, commit by commit.
async fn watched(store: &SharedStore, model: &Model, range: Range, after: Revision) {
    let wanted = model.changes(&range, after);
    let mut watch = match store.watch(range, after).await {
        Ok(watch) => watch,
        Err(StoreError::Compacted { .. }) => return assert!(after < model.oldest),
        Err(error) => panic!("{error}"),
    };
    for changes in wanted {
        match watch.next().await.unwrap() {
            Ok(found) => assert_eq!(found, changes),
            // An engine may say so only now.
            Err(StoreError::Compacted { .. }) => return assert!(after < model.oldest),
            Err(error) => panic!("{error}"),
        }
    }
}

/// An engine's store by its URL, also after it was closed and opened again; `check` is called while
/// nobody has it open.
async fn run(actions: Vec<Action>, url: &str, check: impl Fn(&Model)) {
    let mut store = open(url).await.unwrap();
    let (mut model, mut leases) = (Model::new(store.revision().await.unwrap()), Vec::new());
    for action in actions {
        if let Action::Reopen = action {
            drop(store);
            check(&model);
            store = open(url).await.unwrap();
        } else {
            act(&store, &mut model, &mut leases, action).await;
        }
        assert_eq!(store.revision().await.unwrap(), model.newest());
    }
    watched(&store, &model, Range::prefix(""), model.oldest).await;
    drop(store);
    check(&model);
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    proptest::collection::vec(action(), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_embedded_engine_answers_as_the_model_does(actions in actions()) {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file:{}", directory.path().display());
        let check = |model: &Model| {
            let summary = wright_store::check(directory.path()).unwrap();
            assert_eq!((summary.newest, summary.oldest), (model.newest(), model.oldest));
        };
        tokio::runtime::Runtime::new().unwrap().block_on(run(actions, &url, check));
    }
}

/// Each case has a prefix of its own in one cluster.
#[test]
fn the_etcd_engine_answers_as_the_model_does() {
    let cluster = EtcdCluster::start(1, &[]).unwrap();
    let cases = std::sync::atomic::AtomicU32::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let answered = runner.run(&actions(), |actions| {
        let case = cases.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let url = format!("{}?prefix=case{case}/", cluster.url());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(run(actions, &url, |_| ()));
        Ok(())
    });
    answered.unwrap();
}
