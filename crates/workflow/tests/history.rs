//! Old jobs are forgotten: their steps first, then they themselves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{World, job, open, step};
use jiff::{SignedDuration, Timestamp};
use wright_store::{Range, SharedStore};
use wright_workflow::{Clock, JobError, JobFilter, JobId, JobSpec, JobState};

/// Hours.
const DAY: i64 = 24;

/// A world in which it is as late as the ids of jobs say.
async fn today(dir: &tempfile::TempDir) -> World {
    let world = World::start(open(dir).await);
    world
        .clock
        .advance(Timestamp::now().duration_since(Clock::now(world.clock.as_ref())));
    world
}

async fn keys(store: &SharedStore, id: JobId) -> Vec<String> {
    let range = Range::prefix(format!("job/{id}/"));
    let page = store.range(range, 0, None).await.unwrap();
    let name = |entry: &wright_store::Entry| String::from_utf8_lossy(&entry.key).into_owned();
    page.entries.iter().map(name).collect()
}

/// A job that failed now.
async fn failed(world: &mut World) -> JobId {
    let id = world.submit(vec![step("a", &[])]).await;
    world.expect("a").await.fail(false);
    world.expect("undo a").await.ok();
    world.ended(id).await;
    id
}

#[tokio::test]
async fn an_ended_job_loses_its_steps_and_later_vanishes() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = today(&dir).await;
    let id = failed(&mut world).await;
    // From now on it forgets when the test says so.
    let (engine, clock) = (world.engine.clone(), world.clock.clone());
    let store = world.stop().await;
    clock.advance(SignedDuration::from_hours(89 * DAY));
    assert_eq!(engine.forget_old().await.unwrap(), 0);
    let mut kept = Vec::new();
    engine
        .each_kept(|view| kept.push(view.context["seed"].clone()))
        .await
        .unwrap();
    assert_eq!(kept, [1], "what it refers to is in use");

    clock.advance(SignedDuration::from_hours(2 * DAY));
    assert_eq!(engine.forget_old().await.unwrap(), 1);
    assert_eq!(engine.forget_old().await.unwrap(), 0, "once");
    let view = engine.show(id).await.unwrap();
    assert!(view.summary.forgotten && view.steps.is_empty());
    assert_eq!(
        (view.summary.state, view.summary.cause.as_str()),
        (JobState::Failed, "a: it broke")
    );
    let rest = keys(&store, id).await;
    let parts = ["/plan/", "/log/", "/context/"];
    assert!(
        !rest
            .iter()
            .any(|key| parts.iter().any(|part| key.contains(part))),
        "{rest:?}"
    );
    let again = engine.retry(id, "too late", "anna").await;
    assert!(matches!(again, Err(JobError::State { .. })), "{again:?}");
    engine
        .each_kept(|_| panic!("it is not kept"))
        .await
        .unwrap();

    clock.advance(SignedDuration::from_hours(280 * DAY));
    assert_eq!(engine.forget_old().await.unwrap(), 1);
    assert!(matches!(engine.show(id).await, Err(JobError::Unknown(_))));
    assert_eq!(keys(&store, id).await, Vec::<String>::new());
    let listed = engine.list(0, &JobFilter::default()).await.unwrap();
    assert_eq!(listed, []);
}

#[tokio::test]
async fn a_job_that_has_not_ended_is_never_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = today(&dir).await;
    let id = world.submit(vec![step("a", &[])]).await;
    let call = world.expect("a").await;
    // Its attempt overruns its deadline, and is made again.
    world.clock.advance(SignedDuration::from_hours(400 * DAY));
    assert_eq!(world.engine.forget_old().await.unwrap(), 0);
    assert_eq!(world.engine.show(id).await.unwrap().steps.len(), 1);
    drop(call);
}

#[tokio::test]
async fn an_engine_forgets_by_itself_and_not_too_much_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = today(&dir).await;
    let mut last = None;
    for n in 0..130 {
        let spec = JobSpec {
            subject: format!("thing/{n}"),
            ..job(Vec::new())
        };
        last = Some(world.engine.submit(spec).await.unwrap());
    }
    world.ended(last.unwrap()).await;
    world.clock.advance(SignedDuration::from_hours(400 * DAY));
    // It was about to look in a minute; now it has, and rests for another before the last thirty.
    world.clock.sleeper(SignedDuration::from_mins(1)).await;
    world.clock.advance(SignedDuration::from_mins(1));
    world.clock.sleeper(SignedDuration::from_hours(1)).await;
    let listed = world.engine.list(0, &JobFilter::default()).await.unwrap();
    assert_eq!(listed, []);
}
