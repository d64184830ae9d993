//! What the engine's tests share: a world of verbs, plans, and a clock that the test moves.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wright_model::Span;
use wright_store::{Operation, SharedStore};
use wright_workflow::{
    Clock, Engine, JobDelta, JobError, JobId, JobSpec, JobView, Outcome, Retry, Settings, Step,
    StepContext, StepError, Undo, Verb, Verbs,
};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// Fails the test where an event does not come.
pub async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event)
        .await
        .expect("the event comes")
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
    sleepers: watch::Sender<BTreeMap<Timestamp, usize>>,
}

impl ManualClock {
    pub fn new() -> Arc<Self> {
        let now = watch::Sender::new(Timestamp::UNIX_EPOCH);
        Arc::new(ManualClock {
            now,
            sleepers: watch::Sender::new(BTreeMap::new()),
        })
    }

    pub fn advance(&self, span: SignedDuration) {
        self.now.send_modify(|now| *now += span);
    }

    /// Waits until somebody sleeps for exactly this long from now.
    pub async fn sleeper(&self, span: SignedDuration) {
        let at = self.now() + span;
        let mut sleepers = self.sleepers.subscribe();
        let seen = sleepers.wait_for(|all| all.contains_key(&at));
        soon(seen).await.expect("the clock lives");
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let mut now = self.now.subscribe();
        self.sleepers
            .send_modify(|all| *all.entry(at).or_default() += 1);
        Box::pin(async move {
            if now.wait_for(|now| *now >= at).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

/// An attempt that asks the test what to do.
#[derive(Debug)]
pub struct Call {
    pub context: StepContext,
    answer: oneshot::Sender<Result<Outcome, StepError>>,
}

impl Call {
    pub fn name(&self) -> &str {
        &self.context.step
    }

    pub fn ok(self) {
        let _ = self.answer.send(Ok(Outcome::default()));
    }

    pub fn ok_with(self, writes: Vec<Operation>) {
        let _ = self.answer.send(Ok(Outcome {
            output: json!("made"),
            writes,
        }));
    }

    /// Says that its effect was not begun, since what it follows failed.
    pub fn not_begun(self) {
        let _ = self.answer.send(Err(self.context.not_begun()));
    }

    pub fn fail(self, retry: bool) {
        let _ = self.answer.send(Err(broken(retry)));
    }
}

pub fn broken(retry: bool) -> StepError {
    StepError {
        message: "it broke".to_owned(),
        retry,
        evidence: Vec::new(),
    }
}

/// A verb whose attempts the test answers one by one.
pub struct Asked(pub mpsc::UnboundedSender<Call>);

#[async_trait]
impl Verb for Asked {
    async fn run(&self, context: &StepContext, _: &Value) -> Result<Outcome, StepError> {
        let (answer, answered) = oneshot::channel();
        let call = Call {
            context: context.clone(),
            answer,
        };
        if self.0.send(call).is_err() {
            std::future::pending::<()>().await;
        }
        match answered.await {
            Ok(result) => result,
            Err(_) => std::future::pending().await,
        }
    }

    fn follows(&self, before: &str) -> bool {
        before == "do"
    }
}

/// A verb that does the same every time.
pub struct Always(pub fn() -> Result<Outcome, StepError>);

#[async_trait]
impl Verb for Always {
    async fn run(&self, _: &StepContext, _: &Value) -> Result<Outcome, StepError> {
        (self.0)()
    }
}

/// Runs an engine until the answer is dropped.
pub fn run(engine: &Engine) -> AbortOnDrop {
    let engine = engine.clone();
    AbortOnDrop(tokio::spawn(async move {
        engine.run(CancellationToken::new()).await
    }))
}

/// A task that ends with its handle.
pub struct AbortOnDrop(pub JoinHandle<Result<(), JobError>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A running engine whose attempts the test answers.
pub struct World {
    pub engine: Engine,
    pub store: SharedStore,
    pub clock: Arc<ManualClock>,
    pub calls: mpsc::UnboundedReceiver<Call>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), JobError>>,
    /// Where the store is, if it is this world's own: removed with it.
    dir: Option<tempfile::TempDir>,
}

impl World {
    /// An engine on a new store.
    pub async fn fresh() -> World {
        World::fresh_with(|_| {}).await
    }

    pub async fn fresh_with(change: impl FnOnce(&mut Settings)) -> World {
        let dir = tempfile::tempdir().expect("a directory");
        let mut world = World::start_with(open(&dir).await, change);
        world.dir = Some(dir);
        world
    }

    pub fn start(store: SharedStore) -> World {
        World::start_with(store, |_| {})
    }

    pub fn start_with(store: SharedStore, change: impl FnOnce(&mut Settings)) -> World {
        let (sender, calls) = mpsc::unbounded_channel();
        let verbs = Verbs::new()
            .with("do", Asked(sender.clone()))
            .with("undo", Asked(sender));
        let clock = ManualClock::new();
        let mut settings = Settings {
            clock: clock.clone(),
            ..Settings::default()
        };
        change(&mut settings);
        let engine = Engine::new(store.clone(), verbs, settings);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn({
            let (engine, shutdown) = (engine.clone(), shutdown.clone());
            async move { engine.run(shutdown).await }
        });
        World {
            engine,
            store,
            clock,
            calls,
            shutdown,
            running,
            dir: None,
        }
    }

    /// Ends the engine and begins another on the same store.
    pub async fn restarted(mut self) -> World {
        let dir = self.dir.take();
        let mut world = World::start(self.stop().await);
        world.dir = dir;
        world
    }

    pub async fn submit(&self, steps: Vec<Step>) -> JobId {
        let submitted = self.engine.submit(job(steps)).await;
        submitted.expect("a good plan")
    }

    pub async fn call(&mut self) -> Call {
        soon(self.calls.recv()).await.expect("the engine lives")
    }

    /// The next attempt, which must be this step's.
    pub async fn expect(&mut self, name: &str) -> Call {
        let call = self.call().await;
        let undo = if call.context.undo { "undo " } else { "" };
        assert_eq!(format!("{undo}{}", call.name()), name);
        call
    }

    pub async fn stop(self) -> SharedStore {
        self.shutdown.cancel();
        soon(self.running)
            .await
            .expect("no panic")
            .expect("the engine ends well");
        self.store
    }

    pub async fn ended(&self, job: JobId) -> JobView {
        ended(&self.engine, job).await
    }
}

/// The job once it has ended.
pub async fn ended(engine: &Engine, job: JobId) -> JobView {
    let mut watch = engine.watch(job).await.expect("the job is there");
    while let Some(delta) = soon(watch.next()).await {
        let _: JobDelta = delta.expect("the store answers");
    }
    engine.show(job).await.expect("the job is there")
}

pub async fn open(dir: &tempfile::TempDir) -> SharedStore {
    wright_store::open(&format!("file:{}", dir.path().display()))
        .await
        .expect("the store opens")
}

pub fn step(name: &str, needs: &[&str]) -> Step {
    Step {
        name: name.to_owned(),
        verb: "do".to_owned(),
        input: Value::Null,
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        scope: "s".to_owned(),
        target: None,
        layer: 0,
        deadline: Span::from_secs(30),
        retry: Retry::default(),
        undo: Some(Undo {
            verb: "undo".to_owned(),
            input: Value::Null,
        }),
        expected_ms: 10,
    }
}

pub fn job(steps: Vec<Step>) -> JobSpec {
    JobSpec {
        kind: "test".to_owned(),
        subject: "site/shop".to_owned(),
        title: "A test".to_owned(),
        actor: "tester".to_owned(),
        tenant: None,
        context: json!({ "seed": 1 }),
        steps,
    }
}
