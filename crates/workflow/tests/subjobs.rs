//! Steps that are jobs of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{World, job, open, soon, step};
use wright_store::Operation;
use wright_workflow::{
    Graph, JOB, JobFilter, JobId, JobParent, JobState, Step, StepState, SubJob, Undo,
};

/// A step that is the job of these steps.
fn sub_job(name: &str, needs: &[&str], graph: Graph) -> Step {
    let sub = SubJob {
        kind: "part".to_owned(),
        subject: format!("part/{name}"),
        title: format!("part {name}"),
        context: serde_json::Value::Null,
        graph,
    };
    Step {
        verb: JOB.to_owned(),
        input: serde_json::to_value(sub).unwrap(),
        undo: Some(Undo {
            verb: JOB.to_owned(),
            input: serde_json::Value::Null,
        }),
        ..step(name, needs)
    }
}

fn part(steps: Vec<Step>) -> Vec<Step> {
    vec![
        sub_job("sub", &[], Graph::Steps(steps)),
        step("after", &["sub"]),
    ]
}

async fn children(world: &World, id: JobId) -> Vec<wright_workflow::JobSummary> {
    world.engine.show(id).await.unwrap().children
}

#[tokio::test]
async fn a_step_is_another_job_and_both_show_it() {
    let dir = tempfile::tempdir().unwrap();
    // One slot: the parent holds none while it waits.
    let mut world = World::start_with(open(&dir).await, |settings| settings.global = 1);
    let steps = part(vec![step("x", &[]), step("y", &["x"])]);
    let id = world.submit(steps).await;
    world.expect("x").await.ok();
    let child = children(&world, id).await.remove(0);
    assert_eq!(child.state, JobState::Running);
    let parent = JobParent {
        job: id,
        step: "sub".to_owned(),
    };
    assert_eq!(child.parent, Some(parent));
    assert_eq!(
        (child.actor.as_str(), child.tenant.as_str()),
        ("tester", "site/shop")
    );
    world.expect("y").await.ok();
    world.expect("after").await.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Succeeded);
    assert_eq!(view.steps[0].output["job"], child.id.to_string());
    assert_eq!(view.children[0].state, JobState::Succeeded);
}

#[tokio::test]
async fn its_steps_may_be_in_the_store() {
    let mut world = World::fresh().await;
    let puts = [("1", step("x", &[])), ("2", step("y", &["x"]))].map(|(n, step)| {
        let steps = serde_json::to_vec(&vec![step]).unwrap();
        Operation::put(format!("graphs/part/{n}"), steps)
    });
    world.store.commit(Vec::new(), puts.into()).await.unwrap();
    let steps = vec![sub_job("sub", &[], Graph::At("graphs/part/".to_owned()))];
    let id = world.submit(steps).await;
    world.expect("x").await.ok();
    world.expect("y").await.ok();
    assert_eq!(world.ended(id).await.summary.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_graph_within_a_graph_is_checked_before_anything_runs() {
    let world = World::fresh().await;
    let nested = vec![sub_job("inner", &[], Graph::Steps(vec![step("x", &["y"])]))];
    let refused = world.engine.submit(job(part(nested))).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the plan is refused: step sub: the input of the verb job is wrong: step inner: the input of \
         the verb job is wrong: step x needs y, which is not in the plan"
    );
    let mut silent = step("ask", &[]);
    silent.verb = wright_workflow::WAIT.to_owned();
    let refused = world.engine.submit(job(vec![silent])).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_job_that_fails_fails_its_step_with_its_cause() {
    let mut world = World::fresh().await;
    let id = world.submit(part(vec![step("x", &[])])).await;
    world.expect("x").await.fail(false);
    world.expect("undo x").await.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Failed);
    let child = view.children[0].id;
    let cause = format!("sub: job {child} (part sub) is failed: x: it broke");
    assert_eq!(view.summary.cause, cause);
    assert_eq!(view.steps[0].attempts, 1);
}

#[tokio::test]
async fn a_job_is_submitted_once_whoever_dies() {
    let mut world = World::fresh().await;
    let id = world.submit(part(vec![step("x", &[])])).await;
    world.expect("x").await;
    let mut world = world.restarted().await;
    world.expect("x").await.ok();
    world.expect("after").await.ok();
    assert_eq!(world.ended(id).await.summary.state, JobState::Succeeded);
    let all = world.engine.list(0, &JobFilter::default()).await.unwrap();
    assert_eq!(all.len(), 2);
}

#[tokio::test]
async fn a_cancelled_parent_cancels_it() {
    let mut world = World::fresh().await;
    let id = world
        .submit(part(vec![step("x", &[]), step("y", &["x"])]))
        .await;
    let call = world.expect("x").await;
    world.engine.cancel(id, "not today", "anna").await.unwrap();
    soon(call.context.cancel.cancelled()).await;
    call.fail(true);
    world.expect("undo x").await.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Cancelled);
    assert_eq!(view.summary.cause, "cancelled by anna: not today");
    assert_eq!(view.children[0].state, JobState::Cancelled);
}

#[tokio::test]
async fn the_undo_of_its_step_takes_it_back_in_reverse_order() {
    let mut world = World::fresh().await;
    let id = world
        .submit(part(vec![step("x", &[]), step("y", &["x"])]))
        .await;
    world.expect("x").await.ok();
    world.expect("y").await.ok();
    world.expect("after").await.fail(false);
    world.expect("undo after").await.ok();
    world.expect("undo y").await.ok();
    world.expect("undo x").await;
    // The undo is done again by the next engine, and finds the child half taken back.
    let mut world = world.restarted().await;
    world.expect("undo x").await.ok();
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Failed);
    assert_eq!(view.steps[0].state, StepState::Undone);
    assert_eq!(view.children[0].state, JobState::Cancelled);
}

#[tokio::test]
async fn a_child_that_cannot_be_taken_back_leaves_its_parent_stuck() {
    let mut world = World::fresh().await;
    let id = world.submit(part(vec![step("x", &[])])).await;
    world.expect("x").await.ok();
    world.expect("after").await.fail(false);
    world.expect("undo after").await.ok();
    world.expect("undo x").await.fail(false);
    let view = world.ended(id).await;
    assert_eq!(view.summary.state, JobState::Stuck);
    assert!(
        view.summary.cause.contains("a person must look"),
        "{}",
        view.summary.cause
    );
}
