//! Every step of a small graph fails, and every step happens more than once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::{ended, job, open, run, step};
use serde_json::Value;
use wright_workflow::{
    Engine, JobId, JobState, JobView, Outcome, Repeat, Settings, Step, StepContext, StepError,
    StepState, Verb, Verbs,
};

/// A world that counts.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    /// Calls for each effect key, in the order of the first.
    calls: Vec<(String, u32)>,
    /// What is there: steps whose effect happened and was not undone.
    effects: BTreeMap<String, i32>,
}

#[async_trait]
impl Verb for Counter {
    async fn run(&self, context: &StepContext, _: &Value) -> Result<Outcome, StepError> {
        let mut counts = self.0.lock().unwrap();
        let key = context.effect_key();
        if let Some(known) = counts.calls.iter_mut().find(|(known, _)| *known == key) {
            known.1 += 1;
            return Ok(Outcome::default());
        }
        counts.calls.push((key, 1));
        let effect = counts.effects.entry(context.step.clone()).or_default();
        *effect = if context.undo { 0 } else { *effect + 1 };
        Ok(Outcome::default())
    }
}

fn graph() -> Vec<Step> {
    vec![
        step("a", &[]),
        step("b", &["a"]),
        step("c", &["a"]),
        step("d", &["b", "c"]),
        step("e", &["d"]),
    ]
}

/// Walks the graph with what is injected before anything runs.
async fn walked(inject: impl FnOnce(&Engine, JobId)) -> (JobView, Counts) {
    let dir = tempfile::tempdir().unwrap();
    let counter = Counter::default();
    let verbs = Verbs::new()
        .with("do", counter.clone())
        .with("undo", counter.clone());
    let engine = Engine::new(open(&dir).await, verbs, Settings::default());
    let id = engine.submit(job(graph())).await.unwrap();
    inject(&engine, id);
    let running = run(&engine);
    let view = ended(&engine, id).await;
    drop(running);
    let counts = std::mem::take(&mut *counter.0.lock().unwrap());
    (view, counts)
}

/// The steps of these effect keys, undone ones only or done ones only.
fn steps(counts: &Counts, undo: bool) -> Vec<String> {
    let keys = counts.calls.iter().map(|(key, _)| key);
    let keys = keys.filter(|key| key.ends_with("/undo") == undo);
    keys.map(|key| key.split('/').nth(1).unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn whichever_step_fails_what_was_done_is_undone_in_reverse() {
    for broken in graph() {
        let (view, counts) = walked(|engine, id| engine.inject_error(id, &broken.name)).await;
        assert_eq!(view.summary.state, JobState::Failed);
        assert_eq!(
            view.summary.cause,
            format!("{}: injected error", broken.name)
        );
        assert!(
            counts.effects.values().all(|count| *count == 0),
            "{}: {:?}",
            broken.name,
            counts.effects
        );
        let (done, undone) = (steps(&counts, false), steps(&counts, true));
        assert!(!done.contains(&broken.name));
        let place = |name: &String| undone.iter().position(|other| other == name);
        for step in graph().iter().filter(|step| undone.contains(&step.name)) {
            for need in step.needs.iter().filter(|need| done.contains(need)) {
                assert!(
                    place(&step.name) < place(need),
                    "{} before {need}",
                    step.name
                );
            }
        }
        assert!(done.iter().all(|name| undone.contains(name)), "{undone:?}");
    }
}

#[tokio::test]
async fn whichever_step_is_repeated_its_effect_counts_once() {
    let thrice = NonZeroU32::new(3).unwrap();
    let repeat = Repeat {
        action: thrice,
        undo: thrice,
    };
    for repeated in graph() {
        let (view, counts) =
            walked(|engine, id| engine.inject_repeat(id, &repeated.name, repeat)).await;
        assert_eq!(view.summary.state, JobState::Succeeded);
        assert!(counts.effects.values().all(|count| *count == 1));
        for (key, calls) in &counts.calls {
            let name = key.split('/').nth(1).unwrap();
            assert_eq!(*calls, if name == repeated.name { 3 } else { 1 });
        }
    }
}

#[tokio::test]
async fn undos_are_repeated_too() {
    let thrice = NonZeroU32::new(3).unwrap();
    let (view, counts) = walked(|engine, id| {
        engine.inject_error(id, "e");
        let repeat = Repeat {
            action: NonZeroU32::MIN,
            undo: thrice,
        };
        engine.inject_repeat(id, "b", repeat);
    })
    .await;
    assert_eq!(view.steps[1].state, StepState::Undone);
    let undo = counts
        .calls
        .iter()
        .find(|(key, _)| key.contains("/b/") && key.ends_with("/undo"));
    assert_eq!(undo.unwrap().1, 3);
    assert!(counts.effects.values().all(|count| *count == 0));
}
