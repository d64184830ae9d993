//! The engine on a real store, its attempts answered by the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Always, World, ended, job, open, run, soon, step};
use jiff::SignedDuration;
use wright_store::{Operation, Range};
use wright_workflow::{
    Amendment, Engine, JobAction, JobDelta, JobError, JobFilter, JobState, Outcome, PlanError,
    Settings, Step, StepState, Verbs,
};

fn amendment(steps: Vec<Step>) -> Amendment {
    Amendment {
        steps,
        actor: "planner".to_owned(),
        reason: "h1 died".to_owned(),
        ..Amendment::default()
    }
}

#[tokio::test]
async fn a_job_is_walked_and_its_facts_are_committed_with_its_success() {
    let mut world = World::fresh().await;
    let id = world.submit(vec![step("a", &[]), step("b", &["a"])]).await;
    world
        .expect("a")
        .await
        .ok_with(vec![Operation::put("r/thing/a", "made")]);
    let call = world.expect("b").await;
    assert!(world.store.get(b"r/thing/a").await.unwrap().is_some());
    call.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Succeeded);
    assert_eq!(view.steps[0].output, "made");
    assert_eq!(view.context["seed"], 1);
    let fact = world.store.get(b"r/thing/a").await.unwrap().unwrap();
    let log = Range::prefix(format!("job/{id}/log/"));
    let log = world.store.range(log, 0, None).await.unwrap().entries;
    let of_commit = log.iter().find(|entry| entry.modified == fact.modified);
    let logged = String::from_utf8_lossy(&of_commit.expect("one commit").value);
    assert!(
        logged.contains(r#"["a",{"state":"succeeded""#),
        "one commit: {logged}"
    );
}

#[tokio::test]
async fn bad_plans_are_refused_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let engine = Engine::new(store.clone(), Verbs::new(), Settings::default());
    let refused = engine.submit(job(vec![step("a", &[])])).await.unwrap_err();
    assert!(
        matches!(refused, JobError::Plan(PlanError::UnknownVerb { .. })),
        "{refused}"
    );
    let refused = engine
        .submit(job(vec![step("a", &["b"]), step("b", &["a"])]))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, JobError::Plan(PlanError::Cycle(_))),
        "{refused}"
    );
    assert_eq!(
        store
            .range(Range::prefix("job"), 0, None)
            .await
            .unwrap()
            .entries,
        []
    );
}

#[tokio::test]
async fn a_subject_has_one_unfinished_job() {
    let mut world = World::fresh().await;
    let id = world.submit(vec![step("a", &[])]).await;
    match world.engine.submit(job(vec![step("a", &[])])).await {
        Err(JobError::Busy { other, .. }) => assert_eq!(other, id),
        other => panic!("{other:?}"),
    }
    world.expect("a").await.ok();
    world.ended(id).await;
    world.submit(vec![step("a", &[])]).await;
}

#[tokio::test]
async fn lists_are_newest_first_and_filtered() {
    let mut world = World::fresh().await;
    let first = world.submit(vec![step("a", &[])]).await;
    world.expect("a").await.ok();
    world.ended(first).await;
    let second = world.submit(vec![step("b", &[])]).await;
    let ids =
        |jobs: Vec<wright_workflow::JobSummary>| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
    let all = world.engine.list(0, &JobFilter::default()).await.unwrap();
    assert_eq!(ids(all), [second, first]);
    let done = JobFilter {
        unfinished: Some(false),
        ..JobFilter::default()
    };
    assert_eq!(ids(world.engine.list(5, &done).await.unwrap()), [first]);
}

#[tokio::test]
async fn a_back_off_survives_a_restart() {
    let mut world = World::fresh().await;
    let id = world.submit(vec![step("a", &[])]).await;
    world.expect("a").await.fail(true);
    world.clock.sleeper(SignedDuration::from_secs(1)).await;
    let mut world = world.restarted().await;
    world.clock.sleeper(SignedDuration::from_secs(1)).await;
    assert_eq!(
        world.engine.show(id).await.unwrap().steps[0].state,
        StepState::Backoff
    );
    world.clock.advance(SignedDuration::from_secs(1));
    let call = world.expect("a").await;
    assert_eq!(call.context.attempt, 2);
    call.ok();
    assert_eq!(world.ended(id).await.steps[0].failed_attempts, 1);
}

#[tokio::test]
async fn what_ran_when_the_engine_stopped_runs_again_under_the_same_key() {
    let mut world = World::fresh().await;
    let id = world.submit(vec![step("a", &[])]).await;
    let key = world.expect("a").await.context.effect_key();
    let mut world = world.restarted().await;
    let call = world.expect("a").await;
    assert_eq!(call.context.effect_key(), key);
    call.ok();
    assert_eq!(world.ended(id).await.summary.state, JobState::Succeeded);
}

#[tokio::test]
async fn an_attempt_that_overruns_its_deadline_is_cancelled_dropped_and_made_again() {
    let mut world = World::fresh().await;
    let id = world.submit(vec![step("a", &[])]).await;
    let deaf = world.expect("a").await;
    world.clock.sleeper(SignedDuration::from_secs(30)).await;
    world.clock.advance(SignedDuration::from_secs(30));
    soon(deaf.context.cancel.cancelled()).await;
    world.clock.sleeper(SignedDuration::from_secs(5)).await;
    world.clock.advance(SignedDuration::from_secs(5));
    world.clock.sleeper(SignedDuration::from_secs(1)).await;
    let message = world.engine.show(id).await.unwrap().steps[0]
        .error
        .clone()
        .unwrap()
        .message;
    assert_eq!(message, "deadline of 30s passed while do was running");
    world.clock.advance(SignedDuration::from_secs(1));
    world.expect("a").await.ok();
    assert_eq!(world.ended(id).await.summary.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_cancelled_job_tells_its_attempts_and_undoes_them() {
    let mut world = World::fresh().await;
    let id = world.submit(vec![step("a", &[]), step("b", &["a"])]).await;
    let call = world.expect("a").await;
    world
        .engine
        .cancel(id, "changed my mind", "me")
        .await
        .unwrap();
    soon(call.context.cancel.cancelled()).await;
    call.fail(true);
    world.expect("undo a").await.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Cancelled);
    assert_eq!(view.summary.cause, "cancelled by me: changed my mind");
    assert_eq!(view.steps[1].state, StepState::Skipped);
    assert!(matches!(
        world.engine.cancel(id, "again", "me").await,
        Err(JobError::State { .. })
    ));
}

#[tokio::test]
async fn a_failed_job_is_retried_by_an_operator_with_new_effect_keys() {
    let mut world = World::fresh().await;
    let id = world.submit(vec![step("a", &[]), step("b", &["a"])]).await;
    world.expect("a").await.ok();
    world.expect("b").await.fail(false);
    world.expect("undo b").await.ok();
    world.expect("undo a").await.ok();
    let view = world.ended(id).await;
    assert_eq!(
        (view.summary.state, view.summary.cause.as_str()),
        (JobState::Failed, "b: it broke")
    );
    assert_eq!(
        world
            .engine
            .retry(id, "the disk was full", "me")
            .await
            .unwrap(),
        2
    );
    for name in ["a", "b"] {
        let call = world.expect(name).await;
        assert_eq!(call.context.attempt, 2);
        call.ok();
    }
    let view = world.ended(id).await;
    assert_eq!(
        (view.summary.state, view.summary.cause.as_str()),
        (JobState::Succeeded, "")
    );
    assert_eq!(
        (view.history[0].action, view.history[0].reason.as_str()),
        (JobAction::Retry, "the disk was full")
    );
}

#[tokio::test]
async fn a_new_plan_replaces_the_old_one_under_its_number() {
    let mut world = World::fresh().await;
    let old = vec![
        step("a", &[]),
        step("on-h1", &["a"]),
        step("end", &["on-h1"]),
    ];
    let id = world.submit(old).await;
    world.expect("a").await.ok();
    let dead = world.expect("on-h1").await;
    let new = vec![
        step("a", &[]),
        step("on-h2", &["a"]),
        step("end", &["on-h2"]),
    ];
    let mut amendment = amendment(new.clone());
    amendment.abandon_scopes = vec!["s".to_owned()];
    assert_eq!(
        world.engine.amend(id, 1, amendment.clone()).await.unwrap(),
        2
    );
    let stale = world.engine.amend(id, 1, amendment).await;
    assert!(
        matches!(stale, Err(JobError::PlanMoved { found: 2, .. })),
        "{stale:?}"
    );
    soon(dead.context.cancel.cancelled()).await;
    world.expect("on-h2").await.ok();
    world.expect("end").await.ok();
    dead.fail(true);
    let view = world.ended(id).await;
    assert_eq!(
        (view.summary.state, view.summary.plan),
        (JobState::Succeeded, 2)
    );
    let states: Vec<_> = view
        .steps
        .iter()
        .map(|r| (r.step.name.as_str(), r.state, r.dropped))
        .collect();
    let done = StepState::Succeeded;
    assert_eq!(
        states,
        [
            ("a", done, false),
            ("on-h2", done, false),
            ("end", done, false),
            ("on-h1", StepState::Skipped, true)
        ]
    );
}

#[tokio::test]
async fn a_watch_shows_the_whole_job_first_and_then_what_changes() {
    let mut world = World::fresh().await;
    let id = world.submit(vec![step("a", &[]), step("b", &[])]).await;
    let (a, b) = (world.call().await, world.call().await);
    let mut watch = world.engine.watch(id).await.unwrap();
    let Some(Ok(JobDelta::Whole(view))) = soon(watch.next()).await else {
        panic!("the whole view first")
    };
    assert!(
        view.steps
            .iter()
            .all(|record| record.state == StepState::Running)
    );
    let name = a.name().to_owned();
    a.ok();
    let Some(Ok(JobDelta::Changed { steps, .. })) = soon(watch.next()).await else {
        panic!("a change next")
    };
    let changed: Vec<_> = steps
        .iter()
        .map(|change| (change.name.as_str(), change.status.state))
        .collect();
    assert_eq!(changed, [(name.as_str(), StepState::Succeeded)]);
    b.ok();
    let mut last = None;
    while let Some(delta) = soon(watch.next()).await {
        last = Some(delta.unwrap());
    }
    let Some(JobDelta::Changed { summary, .. }) = last else {
        panic!("changes until the end")
    };
    assert_eq!(summary.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_verb_that_panics_fails_its_step() {
    let dir = tempfile::tempdir().unwrap();
    let verbs = Verbs::new().with("do", Always(|| panic!("a defect")));
    let engine = Engine::new(open(&dir).await, verbs, Settings::default());
    let _running = run(&engine);
    let id = engine
        .submit(job(vec![Step {
            undo: None,
            ..step("a", &[])
        }]))
        .await
        .unwrap();
    assert_eq!(ended(&engine, id).await.summary.state, JobState::Failed);
}

#[tokio::test]
async fn a_predecessors_commits_are_refused_after_the_take_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let mut old = World::start(store.clone());
    let id = old
        .engine
        .submit(job(vec![step("a", &[]), step("b", &["a"])]))
        .await
        .unwrap();
    let stale = old.expect("a").await;
    let mut new = World::start(store.clone());
    let fresh = new.expect("a").await;
    assert!(stale.context.fence < fresh.context.fence);
    stale.ok_with(vec![Operation::put("r/by-the-old", "1")]);
    fresh.ok_with(vec![Operation::put("r/by-the-new", "1")]);
    new.expect("b").await.ok();
    let view = new.ended(id).await;
    assert_eq!(
        (view.summary.state, view.steps[0].attempts),
        (JobState::Succeeded, 1)
    );
    assert!(store.get(b"r/by-the-old").await.unwrap().is_none());
    assert!(store.get(b"r/by-the-new").await.unwrap().is_some());
    assert!(
        old.calls.try_recv().is_err(),
        "the predecessor starts nothing more"
    );
}

#[tokio::test]
async fn engines_of_other_names_wait_until_the_owner_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let mut one = World::start_with(store.clone(), |settings| settings.name = "one".to_owned());
    let id = one
        .engine
        .submit(job(vec![step("a", &[]), step("b", &["a"])]))
        .await
        .unwrap();
    let first = one.expect("a").await;
    let mut two = World::start_with(store.clone(), |settings| settings.name = "two".to_owned());
    first.ok();
    one.expect("b").await;
    assert!(two.calls.try_recv().is_err());
    one.stop().await;
    two.expect("b").await.ok();
    assert_eq!(two.ended(id).await.summary.state, JobState::Succeeded);
}

#[tokio::test]
async fn ten_thousand_steps_are_one_job() {
    let dir = tempfile::tempdir().unwrap();
    let verbs = Verbs::new()
        .with("do", Always(|| Ok(Outcome::default())))
        .with("undo", Always(|| Ok(Outcome::default())));
    let engine = Engine::new(open(&dir).await, verbs, Settings::default());
    let _running = run(&engine);
    let steps = (0..10_000).map(|i: usize| {
        let needs = if i < 100 {
            Vec::new()
        } else {
            vec![format!("s{}", i - 100)]
        };
        step(
            &format!("s{i}"),
            &needs.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    });
    let begin = std::time::Instant::now();
    let id = engine.submit(job(steps.collect())).await.unwrap();
    let submitted = begin.elapsed();
    let mut state = engine.show(id).await.unwrap().summary.state;
    let mut watch = engine.watch(id).await.unwrap();
    while let Some(delta) = soon(watch.next()).await {
        if let JobDelta::Changed { summary, .. } = delta.unwrap() {
            state = summary.state;
        }
    }
    println!("submitted in {submitted:?}, done in {:?}", begin.elapsed());
    assert_eq!(state, JobState::Succeeded);
}

#[tokio::test]
async fn a_plan_replaced_before_anybody_walks_it_is_not_the_one_that_is_walked() {
    let dir = tempfile::tempdir().unwrap();
    let verbs = Verbs::new()
        .with("do", Always(|| Ok(Outcome::default())))
        .with("undo", Always(|| Ok(Outcome::default())));
    let engine = Engine::new(open(&dir).await, verbs, Settings::default());
    let id = engine.submit(job(vec![step("old", &[])])).await.unwrap();
    let new = amendment(vec![step("new", &[])]);
    engine.amend(id, 1, new).await.unwrap();
    let _running = run(&engine);
    let view = ended(&engine, id).await;
    let states: Vec<_> = view
        .steps
        .iter()
        .map(|record| (record.step.name.as_str(), record.state))
        .collect();
    assert_eq!(
        states,
        [("new", StepState::Succeeded), ("old", StepState::Skipped)]
    );
}
