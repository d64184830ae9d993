//! Attempts that are begun while the ones that they follow run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::{World, soon, step};
use jiff::SignedDuration;
use wright_model::Span;
use wright_store::Operation;
use wright_workflow::{JobId, JobState, Step, StepState};

/// A step on a host whose verb follows others of its sort there.
fn on_host(name: &str, needs: &[&str]) -> Step {
    Step {
        target: Some("h1".to_owned()),
        ..step(name, needs)
    }
}

fn line() -> Vec<Step> {
    vec![on_host("a", &[]), on_host("b", &["a"])]
}

/// Returns when the job's second step waits.
async fn waits_again(world: &World, id: JobId) {
    let mut watch = world.engine.watch(id).await.unwrap();
    while world.engine.show(id).await.unwrap().steps[1].state != StepState::Waiting {
        soon(watch.next()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_follower_is_told_what_it_follows_and_counts_once_that_has_succeeded() {
    let mut world = World::fresh().await;
    let id = world.submit(line()).await;
    let (first, second) = (world.expect("a").await, world.expect("b").await);
    assert!(first.context.before.is_none());
    let before = second.context.before.clone().unwrap();
    assert_eq!(before.effect_key(), first.context.effect_key());
    assert_eq!(second.context.takes, Duration::from_secs(30));
    assert!(second.context.deadline >= first.context.deadline + second.context.takes);
    // Answered before its turn: the later fact is that of the step that comes later.
    second.ok_with(vec![Operation::put("r/thing", "second")]);
    let view = world.engine.show(id).await.unwrap();
    assert_eq!(view.steps[1].state, StepState::Running);
    first.ok_with(vec![Operation::put("r/thing", "first")]);
    assert!(soon(before.succeeded()).await);
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Succeeded);
    let fact = world.store.get(b"r/thing").await.unwrap().unwrap();
    assert_eq!(fact.value, "second");
}

#[tokio::test]
async fn an_attempt_that_was_not_begun_because_the_one_before_failed_is_made_again() {
    let mut world = World::fresh().await;
    let id = world.submit(line()).await;
    let (first, second) = (world.expect("a").await, world.expect("b").await);
    let before = second.context.before.clone().unwrap();
    first.fail(true);
    assert!(!soon(before.succeeded()).await);
    second.not_begun();
    waits_again(&world, id).await;
    world.clock.sleeper(SignedDuration::from_secs(1)).await;
    world.clock.advance(SignedDuration::from_secs(1));
    let (first, second) = (world.expect("a").await, world.expect("b").await);
    assert_eq!((first.context.attempt, second.context.attempt), (2, 1));
    first.ok();
    second.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Succeeded);
    assert_eq!(
        (view.steps[1].attempts, view.steps[1].failed_attempts),
        (1, 0)
    );
}

#[tokio::test]
async fn what_was_begun_although_the_one_before_failed_is_done_anew_under_another_key() {
    let mut world = World::fresh().await;
    let id = world.submit(line()).await;
    let (first, second) = (world.expect("a").await, world.expect("b").await);
    second.ok_with(vec![Operation::put("r/thing", "too early")]);
    first.fail(true);
    waits_again(&world, id).await;
    world.clock.sleeper(SignedDuration::from_secs(1)).await;
    world.clock.advance(SignedDuration::from_secs(1));
    let (first, second) = (world.expect("a").await, world.expect("b").await);
    assert_eq!(second.context.attempt, 2);
    first.ok();
    second.ok();
    world.ended(id).await;
    assert_eq!(world.store.get(b"r/thing").await.unwrap(), None);
}

#[tokio::test]
async fn a_followers_deadline_counts_from_its_turn() {
    let mut world = World::fresh().await;
    let mut steps = line();
    steps[0].deadline = Span::from_secs(600);
    let id = world.submit(steps).await;
    let (first, second) = (world.expect("a").await, world.expect("b").await);
    world.clock.advance(SignedDuration::from_secs(500));
    first.ok();
    second.ok();
    let view = world.ended(id).await;
    assert_eq!(view.steps[1].failed_attempts, 0);
    assert_eq!(view.summary.state, JobState::Succeeded);
}

#[tokio::test]
async fn another_engine_goes_on_with_a_follower_and_what_it_follows_under_their_keys() {
    let mut world = World::fresh().await;
    let id = world.submit(line()).await;
    let keys = [
        world.expect("a").await.context.effect_key(),
        world.expect("b").await.context.effect_key(),
    ];
    let mut world = world.restarted().await;
    let (first, second) = (world.expect("a").await, world.expect("b").await);
    assert_eq!(
        [first.context.effect_key(), second.context.effect_key()],
        keys
    );
    assert!(second.context.before.is_some());
    first.ok();
    second.ok();
    assert_eq!(world.ended(id).await.summary.state, JobState::Succeeded);
}
