use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::testing::step;
use crate::{
    Amendment, JobSpec, Outcome, Retry, Settings, Step, StepContext, StepError, StepState, Verb,
    Verbs,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Fails the first time it is asked for in each job, for good; does it after that.
struct Second;

#[async_trait]
impl Verb for Second {
    async fn run(&self, context: &StepContext, _: &Value) -> Result<Outcome, StepError> {
        if context.attempt > 1 || context.undo {
            return Ok(Outcome::default());
        }
        Err(StepError {
            message: "not yet".to_owned(),
            retry: false,
            evidence: Vec::new(),
        })
    }
}

/// Never ends by itself.
struct Held;

#[async_trait]
impl Verb for Held {
    async fn run(&self, _: &StepContext, _: &Value) -> Result<Outcome, StepError> {
        std::future::pending().await
    }
}

async fn engine(dir: &tempfile::TempDir) -> Engine {
    let store = wright_store::open(&format!("file:{}", dir.path().display())).await;
    let verbs = Verbs::new()
        .with("do", Second)
        .with("undo", Second)
        .with("hold", Held);
    Engine::new(store.unwrap(), verbs, Settings::default())
}

fn job(steps: Vec<Step>) -> JobSpec {
    JobSpec {
        subject: "test".to_owned(),
        steps,
        ..JobSpec::default()
    }
}

fn once(name: &str) -> Step {
    Step {
        retry: Retry {
            attempts: 1,
            ..Retry::default()
        },
        ..step(name, &[])
    }
}

/// Waits until the outline says so, as the store tells of it.
async fn until(outline: &SharedOutline, says: impl Fn(&JobOutline) -> bool) {
    let told = async {
        while !says(&*outline.read().await) {
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await;
    told.expect("the outline follows its job");
}

/// Waits until the outline is that of the job as the store has it.
async fn until_same(outline: &SharedOutline, engine: &Engine, id: JobId) {
    let same = async {
        while *outline.read().await != JobOutline::of(&engine.show(id).await.unwrap()) {
            tokio::task::yield_now().await;
        }
    };
    let same = tokio::time::timeout(PATIENCE, same).await;
    same.expect("the outline follows its job");
}

fn state(outline: &JobOutline) -> Option<StepState> {
    outline.steps().first().map(|step| step.state)
}

#[tokio::test]
async fn an_outline_follows_its_job_through_its_end_and_a_retry() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&dir).await;
    let id = engine.submit(job(vec![once("a")])).await.unwrap();
    let outline = engine.outline(id).await.unwrap();
    assert_eq!(state(&*outline.read().await), Some(StepState::Waiting));
    let over = CancellationToken::new();
    let running = tokio::spawn({
        let (engine, over) = (engine.clone(), over.clone());
        async move { engine.run(over).await }
    });
    until(&outline, |now| now.summary().state.is_final()).await;
    until_same(&outline, &engine, id).await;
    engine.retry(id, "mended", "anna").await.unwrap();
    until(&outline, |now| state(now) == Some(StepState::Succeeded)).await;
    let again = engine.outline(id).await.unwrap();
    assert!(Arc::ptr_eq(&outline, &again), "read once for all who ask");
    over.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_plan_that_is_replaced_replaces_the_outline() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&dir).await;
    let id = engine.submit(job(vec![once("a")])).await.unwrap();
    let outline = engine.outline(id).await.unwrap();
    let amendment = Amendment {
        steps: vec![once("b"), step("c", &["b"])],
        ..Amendment::default()
    };
    engine.amend(id, 1, amendment).await.unwrap();
    until(&outline, |now| now.summary().plan == 2).await;
    until_same(&outline, &engine, id).await;
    assert_eq!(outline.read().await.steps().len(), 3);
}

#[tokio::test]
async fn an_outline_that_nobody_asks_for_is_dropped_and_read_anew_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&dir).await;
    let id = engine.submit(job(vec![once("a")])).await.unwrap();
    let first = engine.outline(id).await.unwrap();
    let kept = |engine: &Engine| engine.shared.outlines.all().get(&id).cloned();
    let asked = kept(&engine).expect("it is kept").asked.clone();
    asked.set(Instant::now().checked_sub(UNASKED).unwrap());
    // Something happens, and the keeper looks at the time.
    engine.pause(id, "lunch", "anna").await.unwrap();
    let gone = async {
        while kept(&engine).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    engine.resume(id, "back", "anna").await.unwrap();
    let next = engine.outline(id).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &next));
    assert_eq!(next.read().await.summary().paused, None);
}

#[tokio::test]
async fn what_is_not_there_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&dir).await;
    let id = JobId(uuid::Uuid::nil());
    let asked = engine.outline(id).await;
    assert!(matches!(asked, Err(JobError::Unknown(_))), "{asked:?}");
    assert!(engine.shared.outlines.all().is_empty());
}

#[tokio::test]
async fn a_job_that_is_walked_here_is_had_from_its_driver() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&dir).await;
    let over = CancellationToken::new();
    let running = tokio::spawn({
        let (engine, over) = (engine.clone(), over.clone());
        async move { engine.run(over).await }
    });
    let hold = Step {
        verb: "hold".to_owned(),
        ..once("a")
    };
    let id = engine
        .submit(job(vec![hold.clone(), step("b", &["a"])]))
        .await
        .unwrap();
    let walked = async {
        loop {
            match engine.shared.walked.ask(id).await {
                Some((outline, _)) if state(&outline) == Some(StepState::Running) => break outline,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, walked).await.unwrap();
    assert_eq!(told, JobOutline::of(&engine.show(id).await.unwrap()));
    // What somebody else writes is in the next one, though its driver may not have read it yet.
    engine.pause(id, "lunch", "anna").await.unwrap();
    let outline = engine.outline(id).await.unwrap();
    until(&outline, |now| now.summary().paused.is_some()).await;
    let amendment = Amendment {
        steps: vec![step("c", &[]), hold],
        ..Amendment::default()
    };
    engine.amend(id, 1, amendment).await.unwrap();
    until(&outline, |now| now.summary().plan == 2).await;
    until_same(&outline, &engine, id).await;
    over.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_job_that_was_just_submitted_is_not_read_for_its_outline() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&dir).await;
    let id = engine
        .submit(job(vec![once("a"), once("b")]))
        .await
        .unwrap();
    let (fresh, _) = engine.shared.fresh_outline(id).unwrap();
    assert_eq!(fresh, JobOutline::of(&engine.show(id).await.unwrap()));
    // Once it is walked, or another is submitted, it is asked for elsewhere.
    drop(engine.shared.take_fresh(id));
    assert_eq!(engine.shared.fresh_outline(id), None);
}

#[tokio::test]
async fn a_job_that_ended_here_is_shown_as_the_store_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&dir).await;
    let over = CancellationToken::new();
    let running = tokio::spawn({
        let (engine, over) = (engine.clone(), over.clone());
        async move { engine.run(over).await }
    });
    let id = engine
        .submit(job(vec![once("a"), once("b")]))
        .await
        .unwrap();
    let handed_over = async {
        while !engine.shared.ended.has(id) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, handed_over).await.unwrap();
    let shown = engine.show(id).await.unwrap();
    assert!(!engine.shared.ended.has(id));
    assert_eq!(shown, engine.show(id).await.unwrap());
    // What ended and was begun again is read.
    engine.retry(id, "mended", "anna").await.unwrap();
    until(&engine.outline(id).await.unwrap(), |now| {
        state(now) == Some(StepState::Succeeded)
    })
    .await;
    let state = engine.show(id).await.unwrap().steps[0].state;
    assert_eq!(state, StepState::Succeeded);
    over.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_engine_has_taken_up_what_was_left_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&dir).await;
    let hold = Step {
        verb: "hold".to_owned(),
        ..once("a")
    };
    let id = engine.submit(job(vec![hold])).await.unwrap();
    assert!(futures::poll!(std::pin::pin!(engine.taken_up())).is_pending());
    let over = CancellationToken::new();
    let running = tokio::spawn({
        let (engine, over) = (engine.clone(), over.clone());
        async move { engine.run(over).await }
    });
    let taken_up = tokio::time::timeout(PATIENCE, engine.taken_up()).await;
    taken_up.expect("it says so");
    assert!(engine.shared.walked.ask(id).await.is_some());
    over.cancel();
    running.await.unwrap().unwrap();
}
