//! Engines beside each other on one store, each on its caller's lease.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Asked, Call, ended, job, open, soon, step};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wright_store::{LeaseId, Operation, SharedStore};
use wright_workflow::{Engine, JobSpec, JobState, Settings, Verbs};

/// An engine on a lease that ends when the test says so.
struct Beside {
    engine: Engine,
    lease: LeaseId,
    calls: mpsc::UnboundedReceiver<Call>,
    _over: tokio_util::sync::DropGuard,
}

impl Beside {
    async fn start(store: &SharedStore, name: &str) -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let verbs = Verbs::new()
            .with("do", Asked(sender.clone()))
            .with("undo", Asked(sender));
        let settings = Settings {
            name: name.to_owned(),
            shared: true,
            ..Settings::default()
        };
        let engine = Engine::new(store.clone(), verbs, settings);
        let lease = store.lease_grant(3_600).await.unwrap();
        let over = CancellationToken::new();
        tokio::spawn({
            let (engine, over) = (engine.clone(), over.clone());
            async move { engine.run_on(lease, over).await }
        });
        Beside {
            engine,
            lease,
            calls,
            _over: over.drop_guard(),
        }
    }

    async fn call(&mut self) -> Call {
        soon(self.calls.recv()).await.unwrap()
    }
}

#[tokio::test]
async fn a_job_goes_on_elsewhere_as_soon_as_its_engines_lease_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let mut one = Beside::start(&store, "one").await;
    let steps = vec![step("a", &[]), step("b", &["a"])];
    let id = one.engine.submit(job(steps)).await.unwrap();
    let stale = one.call().await;
    let mut other = Beside::start(&store, "other").await;
    store.lease_revoke(one.lease).await.unwrap();
    let fresh = other.call().await;
    assert_eq!(stale.context.effect_key(), fresh.context.effect_key());
    assert_eq!((stale.context.fence, fresh.context.fence), (1, 2));
    // What the first, which does not know yet, wants recorded is refused.
    stale.ok_with(vec![Operation::put("r/by-the-old", "1")]);
    fresh.ok();
    other.call().await.ok();
    let view = ended(&other.engine, id).await;
    assert_eq!(view.summary.state, JobState::Succeeded);
    assert!(store.get(b"r/by-the-old").await.unwrap().is_none());
}

#[tokio::test]
async fn jobs_are_divided_among_engines() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let mut one = Beside::start(&store, "one").await;
    let mut other = Beside::start(&store, "other").await;
    let mut held = [Vec::new(), Vec::new()];
    for number in 0..6 {
        let spec = JobSpec {
            subject: format!("site/{number}"),
            ..job(vec![step("a", &[])])
        };
        one.engine.submit(spec).await.unwrap();
        tokio::select! {
            call = one.call() => held[0].push(call),
            call = other.call() => held[1].push(call),
        }
    }
    let [one, other] = held.map(|calls| calls.len());
    assert!(one >= 2 && other >= 2, "{one} and {other}");
}
