//! How many durable steps the engine makes on the embedded store: one job of 10,000 steps in ten
//! layers, each step's effect nothing. Prints one line of JSON, for `cargo xtask bench scale`.

use std::time::Instant;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wright_model::Span;
use wright_workflow::{
    Engine, JobSpec, JobState, Outcome, Retry, Settings, Step, StepContext, StepError, Verb, Verbs,
};

const LAYERS: usize = 10;
const WIDTH: usize = 1_000;

struct Nothing;

#[async_trait::async_trait]
impl Verb for Nothing {
    async fn run(&self, _: &StepContext, _: &Value) -> Result<Outcome, StepError> {
        Ok(Outcome::default())
    }
}

fn step(layer: usize, number: usize) -> Step {
    let name = |layer: usize, number: usize| format!("nothing/{layer}-{number}");
    // Three needs each, as an app has in the mean.
    let needs = (0..3).map(|n| (number * 7 + n * 311) % WIDTH);
    let needs = if layer == 0 {
        Vec::new()
    } else {
        needs.map(|need| name(layer - 1, need)).collect()
    };
    Step {
        name: name(layer, number),
        verb: "nothing".to_owned(),
        input: json!({ "number": number }),
        needs,
        scope: name(layer, number),
        target: Some(format!("h{number}")),
        layer: layer as u32,
        deadline: Span::from_secs(60),
        retry: Retry::default(),
        undo: None,
        expected_ms: 1,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let store = wright_store::open(&format!("file:{}", directory.path().display())).await?;
    let verbs = Verbs::new().with("nothing", Nothing);
    let engine = Engine::new(store, verbs, Settings::default());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        async move { engine.run(shutdown).await }
    });
    let spec = JobSpec {
        kind: "nothing".to_owned(),
        subject: "bench/steps".to_owned(),
        title: "a job that does nothing".to_owned(),
        actor: "bench".to_owned(),
        tenant: None,
        context: Value::Null,
        steps: (0..LAYERS * WIDTH)
            .map(|n| step(n / WIDTH, n % WIDTH))
            .collect(),
    };
    let begun = Instant::now();
    let job = engine.submit(spec).await?;
    let mut watch = engine.watch(job).await?;
    while watch.next().await.transpose()?.is_some() {}
    let seconds = begun.elapsed().as_secs_f64();
    let state = engine.show(job).await?.summary.state;
    if state != JobState::Succeeded {
        return Err(format!("the job ended {state:?}").into());
    }
    shutdown.cancel();
    running.await??;
    let steps = LAYERS * WIDTH;
    let line = json!({
        "steps": steps,
        "job_seconds": seconds,
        "steps_per_second": steps as f64 / seconds,
    });
    println!("{line}");
    Ok(())
}
