//! What those who look on at a job are told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{World, ended, soon, step};
use futures::StreamExt as _;
use wright_workflow::{JobOutline, JobState, Progress, StepState};

/// The outline that somebody has who takes in all that is told.
fn told(known: Option<JobOutline>, news: Progress) -> Option<JobOutline> {
    match (known, news) {
        (_, Progress::Whole(outline)) => Some(*outline),
        (Some(mut outline), Progress::Changed { summary, steps }) => {
            drop(outline.take(*summary, steps));
            Some(outline)
        }
        (None, _) => panic!("the outline first"),
    }
}

#[tokio::test]
async fn progress_begins_with_the_outline_and_ends_with_the_job() {
    let mut world = World::fresh().await;
    let steps = vec![step("a", &[]), step("b", &["a"])];
    let id = world.submit(steps).await;
    let a = world.expect("a").await;
    let mut news = Box::pin(world.engine.progress(id).await.unwrap());
    let mut known = told(None, soon(news.next()).await.unwrap().unwrap());
    let first = known.as_ref().unwrap();
    assert_eq!(first.steps()[0].state, StepState::Running);
    a.ok();
    world.expect("b").await.ok();
    while let Some(next) = soon(news.next()).await {
        known = told(known, next.unwrap());
    }
    let view = ended(&world.engine, id).await;
    assert_eq!(known, Some(JobOutline::of(&view)));
    assert_eq!(view.summary.state, JobState::Succeeded);
}

#[tokio::test]
async fn progress_of_a_job_that_has_ended_is_its_outline() {
    let mut world = World::fresh().await;
    let id = world.submit(vec![step("a", &[])]).await;
    world.expect("a").await.ok();
    let view = ended(&world.engine, id).await;
    let news = world.engine.progress(id).await.unwrap();
    let all: Vec<_> = soon(news.map(Result::unwrap).collect()).await;
    assert_eq!(all, [Progress::Whole(Box::new(JobOutline::of(&view)))]);
}
