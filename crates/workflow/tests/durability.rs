//! Engines that die at every step boundary, and processes that are killed: the job ends as if
//! nothing had happened, and every effect happens once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::{ended, job, open, run, soon, step};
use serde_json::Value;
use tokio::sync::mpsc;
use wright_model::Span;
use wright_workflow::{
    Engine, JobFilter, JobSpec, JobState, JobView, Outcome, Retry, Settings, Step, StepContext,
    StepError, StepState, Verb, Verbs,
};

/// The directory in which a child process walks the job.
const CHILD: &str = "WRIGHT_WORKFLOW_TEST_CHILD";

/// A world that records each effect under its key, once, in a file.
#[derive(Clone)]
struct Journal {
    path: PathBuf,
    lock: Arc<Mutex<()>>,
}

impl Journal {
    fn new(dir: &Path) -> Self {
        Journal {
            path: dir.join("journal"),
            lock: Arc::default(),
        }
    }

    fn keys(&self) -> Vec<String> {
        std::fs::read_to_string(&self.path)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Whether the effect is new.
    fn record(&self, key: &str) -> bool {
        let _one_at_a_time = self.lock.lock().unwrap();
        if self.keys().iter().any(|known| known == key) {
            return false;
        }
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .unwrap();
        // One write: a process killed between a key and its newline would leave half a record.
        file.write_all(format!("{key}\n").as_bytes()).unwrap();
        file.sync_data().unwrap();
        true
    }
}

/// Acts on the journal: `flaky-…` fails its first attempt, `broken-…` all of them.
struct Act {
    journal: Journal,
    /// Told before each effect (`false`) and after each new one (`true`); where the answer is
    /// `true`, the attempt hangs as if its process had died.
    boundary: Box<dyn Fn(bool) -> bool + Send + Sync>,
}

#[async_trait]
impl Verb for Act {
    async fn run(&self, context: &StepContext, _: &Value) -> Result<Outcome, StepError> {
        if (self.boundary)(false) {
            std::future::pending::<()>().await;
        }
        if self.journal.record(&context.effect_key()) && (self.boundary)(true) {
            std::future::pending::<()>().await;
        }
        let flaky = context.step.starts_with("flaky") && context.attempt == 1;
        if !context.undo && (flaky || context.step.starts_with("broken")) {
            return Err(common::broken(flaky));
        }
        Ok(Outcome::default())
    }
}

fn engine(store: wright_store::SharedStore, act: impl Fn() -> Act) -> Engine {
    let verbs = Verbs::new().with("do", act()).with("undo", act());
    Engine::new(store, verbs, Settings::default())
}

/// Four scopes of steps that need each other; in one a step fails for good.
fn plan() -> JobSpec {
    let mut steps = Vec::new();
    for scope in 0..4 {
        for n in 0..8_usize {
            let kind = match (scope, n) {
                (2, 6) => "broken",
                _ if n % 3 == 1 => "flaky",
                _ => "plain",
            };
            let mut needs = Vec::new();
            if n > 0 {
                needs.push(name_of(&steps, scope, n - 1 - n / 4));
            }
            if scope > 0 && n == 2 {
                needs.push(name_of(&steps, scope - 1, 3));
            }
            let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
            let mut step = step(&format!("{kind}-{scope}-{n}"), &needs);
            step.scope = format!("scope{scope}");
            step.retry = Retry {
                attempts: 3,
                first: Span::from_millis(2),
                cap: Span::from_millis(5),
            };
            steps.push(step);
        }
    }
    job(steps)
}

fn name_of(steps: &[Step], scope: usize, n: usize) -> String {
    steps[scope * 8 + n].name.clone()
}

/// What must be the same however often the engine died.
fn essence(view: &JobView) -> (JobState, String, BTreeMap<String, (StepState, u32, u32)>) {
    let step = |r: &wright_workflow::StepRecord| {
        (r.step.name.clone(), (r.state, r.attempts, r.undo_attempts))
    };
    (
        view.summary.state,
        view.summary.cause.clone(),
        view.steps.iter().map(step).collect(),
    )
}

/// The journal's keys without the job's id, sorted: equal means each effect once.
fn effects(journal: &Journal) -> Vec<String> {
    let tail = |key: &String| key.split_once('/').expect("job/step/attempt").1.to_owned();
    let mut keys: Vec<String> = journal.keys().iter().map(tail).collect();
    keys.sort();
    keys
}

async fn undisturbed() -> (JobView, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::new(dir.path());
    let engine = engine(open(&dir).await, || Act {
        journal: journal.clone(),
        boundary: Box::new(|_| false),
    });
    let _running = run(&engine);
    let id = engine.submit(plan()).await.unwrap();
    (ended(&engine, id).await, effects(&journal))
}

/// Lets engine after engine die at its first boundary of one sort until the job ends.
async fn dies_at_every_boundary(after: bool) {
    let (calm, calm_effects) = undisturbed().await;
    assert_eq!(calm.summary.state, JobState::Failed);
    let dir = tempfile::tempdir().unwrap();
    let (store, journal) = (open(&dir).await, Journal::new(dir.path()));
    let mut deaths = 0;
    let mut id = None;
    let view = loop {
        let (died, mut death) = mpsc::unbounded_channel();
        let journal_now = journal.clone();
        // Dying before an effect each time would never get anywhere: one effect passes per life.
        let passes = Arc::new(Mutex::new(if after { 0 } else { 1 }));
        let engine = engine(store.clone(), || {
            let (died, passes) = (died.clone(), passes.clone());
            let boundary = move |done: bool| {
                let mut passes = passes.lock().unwrap();
                if done != after || *passes > 0 {
                    *passes -= i32::from(done == after);
                    return false;
                }
                let _ = died.send(());
                true
            };
            Act {
                journal: journal_now.clone(),
                boundary: Box::new(boundary),
            }
        });
        let running = run(&engine);
        let job = match id {
            Some(job) => job,
            None => engine.submit(plan()).await.unwrap(),
        };
        id = Some(job);
        tokio::select! {
            _ = death.recv() => deaths += 1,
            view = ended(&engine, job) => break view,
        }
        drop(running);
    };
    assert!(deaths >= calm_effects.len() / 4, "{deaths} deaths");
    assert_eq!(essence(&view), essence(&calm));
    assert_eq!(effects(&journal), calm_effects);
}

#[tokio::test]
async fn an_engine_that_dies_after_each_effect_ends_the_job_with_each_effect_once() {
    dies_at_every_boundary(true).await;
}

#[tokio::test]
async fn an_engine_that_dies_before_each_effect_ends_the_job_with_each_effect_once() {
    dies_at_every_boundary(false).await;
}

/// Not a test by itself: what the killed process runs.
#[tokio::test]
async fn child_process() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let dir = PathBuf::from(dir);
    let store = wright_store::open(&format!("file:{}", dir.join("store").display()))
        .await
        .unwrap();
    let journal = Journal::new(&dir);
    let engine = engine(store, || {
        let boundary = |_: bool| {
            // A line of its own, whatever the test harness printed before; the parent counts them.
            println!("\nboundary");
            false
        };
        Act {
            journal: journal.clone(),
            boundary: Box::new(boundary),
        }
    });
    let _running = run(&engine);
    let known = engine.list(1, &JobFilter::default()).await.unwrap();
    let id = match known.first() {
        Some(job) => job.id,
        None => engine.submit(plan()).await.unwrap(),
    };
    let view = ended(&engine, id).await;
    std::fs::write(dir.join("ended"), serde_json::to_vec(&view).unwrap()).unwrap();
}

/// Runs the child until it has come to `boundaries`, then kills it; `None` lets it end. Whether it
/// was killed.
fn child(dir: &Path, boundaries: Option<usize>) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_process", "--exact", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    for line in lines {
        seen += usize::from(line.unwrap() == "boundary");
        if boundaries.is_some_and(|boundaries| seen >= boundaries) {
            // On Unix this is SIGKILL.
            child.kill().unwrap();
            break;
        }
    }
    let status = child.wait().unwrap();
    let killed = status.signal() == Some(9);
    assert!(killed || status.success(), "{status}");
    killed
}

#[tokio::test]
async fn a_process_killed_twenty_times_ends_the_job_with_each_effect_once() {
    let (calm, calm_effects) = undisturbed().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let work = tokio::task::spawn_blocking(move || {
        let mut kills = 0;
        // After four to seven boundaries each; the last child is left alone.
        while kills < 20 && child(&path, Some(4 + (kills * 7) % 4)) {
            kills += 1;
        }
        if kills == 20 {
            child(&path, None);
        }
        kills
    });
    assert_eq!(
        soon(work).await.unwrap(),
        20,
        "the job outlives twenty kills"
    );
    let view: JobView =
        serde_json::from_slice(&std::fs::read(dir.path().join("ended")).unwrap()).unwrap();
    assert_eq!(essence(&view), essence(&calm));
    assert_eq!(effects(&Journal::new(dir.path())), calm_effects);
}
