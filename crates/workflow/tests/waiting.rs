//! Steps that wait for somebody's answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{World, job, open, soon, step};
use jiff::SignedDuration;
use serde_json::json;
use wright_model::Span;
use wright_store::Range;
use wright_workflow::{
    Closed, Decision, JobAction, JobError, JobId, JobSpec, JobState, Step, Verdict, WAIT, Wait,
};

/// A step that waits an hour for the on-call.
fn question(name: &str, needs: &[&str]) -> Step {
    let wait = Wait {
        what: "may the new version take traffic?".to_owned(),
        from: "on-call".to_owned(),
    };
    Step {
        verb: WAIT.to_owned(),
        input: serde_json::to_value(wait).unwrap(),
        undo: None,
        deadline: Span::from_secs(3600),
        ..step(name, needs)
    }
}

fn yes() -> Decision {
    Decision {
        verdict: Verdict::Approved,
        value: json!({ "ticket": 7 }),
    }
}

fn no() -> Decision {
    Decision {
        verdict: Verdict::Refused,
        value: json!(null),
    }
}

/// Returns once a step of the job asks.
async fn asked(world: &World, id: JobId) {
    let range = Range::prefix(format!("job/{id}/question/"));
    let mut changes = world.store.watch(range, 0).await.unwrap();
    soon(changes.next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_approved_step_succeeds_with_the_answer_and_held_no_slot() {
    let mut world = World::fresh_with(|settings| settings.global = 1).await;
    let steps = vec![
        question("ask", &[]),
        step("beside", &[]),
        step("go", &["ask"]),
    ];
    let id = world.submit(steps).await;
    world.expect("beside").await.ok();
    asked(&world, id).await;
    let shown = world.engine.show(id).await.unwrap().questions;
    assert_eq!(shown[0].wait.from, "on-call");
    assert_eq!(
        shown[0].until,
        shown[0].since + SignedDuration::from_hours(1)
    );
    world
        .engine
        .answer(id, "ask", yes(), "looks good", "anna")
        .await
        .unwrap();
    world.expect("go").await.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Succeeded);
    let output = &view.steps[0].output;
    assert_eq!(output["actor"], "anna");
    assert_eq!(output["value"]["ticket"], 7);
    assert_eq!(view.history[0].action, JobAction::Approve);
    assert_eq!(view.history[0].step.as_deref(), Some("ask"));
}

#[tokio::test]
async fn tenants_take_turns_for_the_only_slot() {
    let mut world = World::fresh_with(|settings| settings.global = 1).await;
    let flood = ["f1", "f2", "f3"].map(|name| step(name, &[]));
    world.submit(flood.into()).await;
    let first = world.call().await;
    let small = JobSpec {
        subject: "site/other".to_owned(),
        ..job(vec![question("ask", &[]), step("s1", &[])])
    };
    let small = world.engine.submit(small).await.unwrap();
    // What it asks was written after it had looked for a slot.
    asked(&world, small).await;
    first.ok();
    world.expect("s1").await.ok();
    world.call().await.ok();
    world.call().await.ok();
}

#[tokio::test]
async fn a_refused_step_fails_with_who_and_why() {
    let world = World::fresh().await;
    let id = world.submit(vec![question("ask", &[])]).await;
    asked(&world, id).await;
    let silent = world.engine.answer(id, "ask", no(), "", "anna").await;
    assert!(matches!(silent, Err(JobError::NoReason)));
    world
        .engine
        .answer(id, "ask", no(), "too risky", "anna")
        .await
        .unwrap();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Failed);
    assert_eq!(view.summary.cause, "ask: refused by anna: too risky");
    let late = world
        .engine
        .answer(id, "ask", yes(), "after all", "bert")
        .await;
    assert!(matches!(late, Err(JobError::Step { .. })), "{late:?}");
}

#[tokio::test]
async fn a_question_expires_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(open(&dir).await);
    let id = world.submit(vec![question("ask", &[])]).await;
    world.clock.sleeper(SignedDuration::from_hours(1)).await;
    world.clock.advance(SignedDuration::from_mins(40));
    let clock = world.clock.clone();
    let store = world.stop().await;
    let world = World::start_with(store, |settings| settings.clock = clock.clone());
    clock.sleeper(SignedDuration::from_mins(20)).await;
    clock.advance(SignedDuration::from_mins(20));
    let view = world.ended(id).await;
    assert_eq!(
        view.summary.cause,
        "ask: expired: no answer from on-call within 1h: may the new version take traffic?"
    );
    assert_eq!(view.questions.len(), 1, "asked once");
    assert_eq!(view.questions[0].closed, Some(Closed::Expired));
}

#[tokio::test]
async fn an_answer_given_while_no_engine_runs_counts() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(open(&dir).await);
    let id = world.submit(vec![question("ask", &[])]).await;
    asked(&world, id).await;
    let engine = world.engine.clone();
    let store = world.stop().await;
    engine
        .answer(id, "ask", yes(), "fine", "anna")
        .await
        .unwrap();
    let world = World::start(store);
    assert_eq!(world.ended(id).await.summary.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_cancelled_job_withdraws_its_question() {
    let world = World::fresh().await;
    let id = world.submit(vec![question("ask", &[])]).await;
    asked(&world, id).await;
    world.engine.cancel(id, "not today", "anna").await.unwrap();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Cancelled);
    assert_eq!(view.questions[0].closed, Some(Closed::Withdrawn));
}

#[tokio::test]
async fn a_retried_job_asks_anew() {
    let world = World::fresh().await;
    let id = world.submit(vec![question("ask", &[])]).await;
    asked(&world, id).await;
    let engine = &world.engine;
    engine.answer(id, "ask", no(), "no", "anna").await.unwrap();
    world.ended(id).await;
    engine.retry(id, "talked to anna", "bert").await.unwrap();
    let range = Range::prefix(format!("job/{id}/question/ask/2"));
    let mut changes = world.store.watch(range, 0).await.unwrap();
    soon(changes.next()).await.unwrap().unwrap();
    engine
        .answer(id, "ask", yes(), "yes", "anna")
        .await
        .unwrap();
    assert_eq!(world.ended(id).await.summary.state, JobState::Succeeded);
}
