//! What people do to jobs: pause, resume, retry and skip, with and without an engine that runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{World, open, soon, step};
use wright_store::SharedStore;
use wright_workflow::{
    Engine, JobAction, JobDelta, JobError, JobId, JobState, JobView, Settings, StepState, Verbs,
};

/// An engine that only writes down what people want, as if every server that walks jobs were dead.
fn desk(store: &SharedStore) -> Engine {
    let verbs = Verbs::new();
    Engine::new(store.clone(), verbs, Settings::default())
}

/// The job once this is so.
async fn once(engine: &Engine, id: JobId, so: impl Fn(&JobView) -> bool) -> JobView {
    let mut watch = engine.watch(id).await.unwrap();
    while let Some(delta) = soon(watch.next()).await {
        let _: JobDelta = delta.unwrap();
        let view = engine.show(id).await.unwrap();
        if so(&view) {
            return view;
        }
    }
    panic!("the job ended before that")
}

fn state(view: &JobView, step: &str) -> StepState {
    let record = view.steps.iter().find(|record| record.step.name == step);
    record.expect("the step is there").state
}

/// A job `a` ← `b` ← `c` that was paused while `a` ran and no engine did.
async fn paused(dir: &tempfile::TempDir) -> (World, JobId) {
    let mut world = World::start(open(dir).await);
    let steps = vec![step("a", &[]), step("b", &["a"]), step("c", &["b"])];
    let id = world.submit(steps).await;
    world.expect("a").await;
    let store = world.stop().await;
    desk(&store).pause(id, "lunch", "anna").await.unwrap();
    (World::start(store), id)
}

#[tokio::test]
async fn a_paused_job_ends_what_runs_and_starts_nothing_until_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut world, id) = paused(&dir).await;
    world.expect("a").await.ok();
    // The start of what is next would be in the same commit.
    let view = once(&world.engine, id, |view| {
        state(view, "a") == StepState::Succeeded
    })
    .await;
    assert_eq!(state(&view, "b"), StepState::Waiting);
    let pause = view.summary.paused.expect("it is shown");
    assert_eq!(
        (pause.actor.as_str(), pause.reason.as_str()),
        ("anna", "lunch")
    );
    world.engine.resume(id, "back", "anna").await.unwrap();
    world.expect("b").await.ok();
    world.expect("c").await.ok();
    let view = world.ended(id).await;
    assert_eq!(
        (view.summary.state, view.summary.paused),
        (JobState::Succeeded, None)
    );
    let actions: Vec<_> = view.history.iter().map(|event| event.action).collect();
    assert_eq!(actions, [JobAction::Pause, JobAction::Resume]);
}

#[tokio::test]
async fn a_paused_job_can_be_cancelled_and_is_paused_once() {
    let mut world = World::fresh().await;
    let steps = vec![step("a", &[]), step("b", &[]), step("end", &["a", "b"])];
    let id = world.submit(steps).await;
    let (a, b) = (world.call().await, world.call().await);
    world.engine.pause(id, "", "anna").await.unwrap();
    a.fail(true);
    once(&world.engine, id, |view| {
        view.steps.iter().any(|r| r.state == StepState::Backoff)
    })
    .await;
    let again = world.engine.pause(id, "", "bert").await;
    assert!(matches!(again, Err(JobError::State { .. })), "{again:?}");
    world.engine.cancel(id, "enough", "anna").await.unwrap();
    soon(b.context.cancel.cancelled()).await;
    b.fail(true);
    for _ in 0..2 {
        world.call().await.ok();
    }
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Cancelled);
    assert_eq!(view.summary.paused, None);
}

#[tokio::test]
async fn a_paused_job_waits_where_a_step_failed_and_the_step_can_be_retried() {
    let dir = tempfile::tempdir().unwrap();
    let (mut world, id) = paused(&dir).await;
    world.expect("a").await.fail(false);
    let view = once(&world.engine, id, |view| {
        state(view, "a") == StepState::Failed
    })
    .await;
    assert_eq!(view.summary.state, JobState::Running);
    let nothing = world.engine.retry_step(id, "a", " ", "anna").await;
    assert!(matches!(nothing, Err(JobError::NoReason)), "{nothing:?}");
    let not_failed = world.engine.retry_step(id, "b", "why not", "anna").await;
    assert!(matches!(not_failed, Err(JobError::Step { .. })));
    world
        .engine
        .retry_step(id, "a", "disk was full", "anna")
        .await
        .unwrap();
    world.engine.resume(id, "", "anna").await.unwrap();
    let call = world.expect("a").await;
    assert_eq!(call.context.attempt, 2);
    call.ok();
    world.expect("b").await.ok();
    world.expect("c").await.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Succeeded);
    let told = &view.history[1];
    assert_eq!(
        (told.action, told.step.as_deref(), told.reason.as_str()),
        (JobAction::Retry, Some("a"), "disk was full")
    );
}

#[tokio::test]
async fn an_order_given_while_no_engine_runs_is_obeyed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (mut world, id) = paused(&dir).await;
    world.expect("a").await.fail(false);
    once(&world.engine, id, |view| {
        state(view, "a") == StepState::Failed
    })
    .await;
    let store = world.stop().await;
    let desk = desk(&store);
    desk.skip(id, "a", "done by hand", "anna").await.unwrap();
    desk.resume(id, "", "anna").await.unwrap();
    let mut world = World::start(store);
    world.expect("b").await.ok();
    world.expect("c").await.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Succeeded);
    let waived = &view.steps[0];
    assert_eq!(waived.state, StepState::Skipped);
    assert_eq!(waived.waived.as_ref().unwrap().reason, "done by hand");
}

#[tokio::test]
async fn skipping_a_failed_step_begins_an_ended_job_again_without_it() {
    let mut world = World::fresh().await;
    let steps = vec![step("a", &[]), step("b", &["a"]), step("c", &["b"])];
    let id = world.submit(steps).await;
    world.expect("a").await.ok();
    world.expect("b").await.fail(false);
    world.expect("undo b").await.ok();
    world.expect("undo a").await.ok();
    assert_eq!(world.ended(id).await.summary.state, JobState::Failed);
    let unknown = world.engine.skip(id, "z", "why", "anna").await;
    assert!(matches!(unknown, Err(JobError::Step { .. })));
    world
        .engine
        .skip(id, "b", "the old one will do", "anna")
        .await
        .unwrap();
    let a = world.expect("a").await;
    // It needs what is waived, and so what that needs, which was undone.
    let view = world.engine.show(id).await.unwrap();
    assert_eq!(state(&view, "c"), StepState::Waiting);
    a.ok();
    world.expect("c").await.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Succeeded);
    assert_eq!(state(&view, "b"), StepState::Skipped);
    let again = world.engine.skip(id, "b", "twice", "anna").await;
    assert!(matches!(again, Err(JobError::Step { .. })));
}

#[tokio::test]
async fn a_stuck_step_is_skipped_once_a_person_has_looked() {
    let mut world = World::fresh().await;
    let steps = vec![step("a", &[]), step("b", &["a"])];
    let id = world.submit(steps).await;
    world.expect("a").await.ok();
    world.expect("b").await.fail(false);
    world.expect("undo b").await.fail(false);
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Stuck);
    world
        .engine
        .skip(id, "b", "cleaned up by hand", "anna")
        .await
        .unwrap();
    assert_eq!(world.ended(id).await.summary.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_job_that_succeeded_is_taken_back_and_says_what_stays() {
    let mut world = World::fresh().await;
    let mut lasting = step("b", &["a"]);
    lasting.undo = None;
    let steps = vec![step("a", &[]), lasting, step("c", &["b"])];
    let id = world.submit(steps).await;
    for name in ["a", "b", "c"] {
        world.expect(name).await.ok();
    }
    world.ended(id).await;
    world
        .engine
        .undo(id, "the wrong one", "anna")
        .await
        .unwrap();
    world.expect("undo c").await.ok();
    let undoing = world.expect("undo a").await;
    let mut world = world.restarted().await;
    drop(undoing);
    world.expect("undo a").await.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Cancelled);
    let cause = "taken back by anna: the wrong one; stays, for it has no undo: b";
    assert_eq!(view.summary.cause, cause);
}
