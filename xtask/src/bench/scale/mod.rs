//! `cargo xtask bench scale`: how large a site one server carries, on simulated hosts whose
//! operations take no time, so that what is measured is the control plane's own.

mod bed;
mod realistic;

use std::{fs, path::Path};

use jiff::Timestamp;
use serde::Deserialize;

use self::bed::{Bed, Behaviour};
use super::results::{Machine, Results, Row};
use crate::{Result, run};

const SEED: u64 = 1;

/// A site to generate.
struct Site {
    apps: usize,
    instances: u32,
}

const SITE: Site = Site {
    apps: 500,
    instances: 5_000,
};
const LARGE: Site = Site {
    apps: 2_000,
    instances: 20_000,
};
const LARGEST: Site = Site {
    apps: 5_000,
    instances: 50_000,
};
const LAYERS: usize = 10;

/// What the engine did without anything around it.
#[derive(Deserialize)]
struct EngineAlone {
    steps_per_second: f64,
    job_seconds: f64,
    steps: usize,
}

/// What is measured one after the other, each in a few minutes.
const PARTS: [&str; 7] = [
    "engine",
    "hosts-1000",
    "hosts-5000",
    "agents",
    "typical",
    "killed",
    "explain",
];

/// Measures everything `runs` times, or one part of it, which is shown and not written down.
pub async fn scale(runs: usize, only: Option<&str>) -> Result {
    if let Some(part) = only.filter(|part| !PARTS.contains(part)) {
        let parts = PARTS.join(", ");
        return Err(format!("there is no part {part:?}; there are: {parts}").into());
    }
    let machine = Machine::this()?;
    run::cargo(&["build", "--release", "-p", "wright-cli"]).await?;
    run::cargo(&[
        "build",
        "--release",
        "-p",
        "wright-workflow",
        "--example",
        "steps",
    ])
    .await?;
    let work = run::target().join("scale");
    let mut results = Results {
        bench: "scale",
        date: Timestamp::now(),
        machine,
        peers: Vec::new(),
        rows: Vec::new(),
    };
    for part in PARTS {
        if only.is_some_and(|only| only != part) {
            continue;
        }
        let rows = measure(part, &work, runs).await?;
        results.rows.extend(rows);
        if only.is_none() {
            // What was measured is not lost where a later part fails.
            keep(&mut results, runs)?;
        }
    }
    println!("{}", results.text());
    Ok(())
}

async fn measure(part: &str, work: &Path, runs: usize) -> Result<Vec<Row>> {
    match part {
        "engine" => engine(runs).await,
        "hosts-1000" => builds(work, 1_000, runs, 5.0).await,
        "hosts-5000" => builds(work, 5_000, runs, 8.0).await,
        "agents" => many(work, 10_000, runs).await,
        "typical" => realistic::typical(work, runs).await,
        "killed" => realistic::killed(work, runs).await,
        _ => realistic::explained(work, runs).await,
    }
}

/// Writes down what there is.
fn keep(results: &mut Results, runs: usize) -> Result {
    for row in &mut results.rows {
        row.command = format!("cargo xtask bench scale --runs {runs}");
        row.seed = SEED;
    }
    results.date = Timestamp::now();
    results.write()
}

async fn engine(runs: usize) -> Result<Vec<Row>> {
    let (mut rate, mut job) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let program = run::target().join("release/examples/steps");
        let text = run::output(run::command(program, [""; 0])).await?;
        let alone: EngineAlone = serde_json::from_str(&text)?;
        rate.push(alone.steps_per_second);
        job.push(alone.job_seconds * 10_000.0 / alone.steps as f64);
    }
    Ok(vec![
        Row::median("engine alone, durable steps", "steps/s", rate).at_least(5_000.0),
        Row::median("engine alone, a job of 10,000 steps", "s", job).at_most(5.0),
    ])
}

/// Hosts connected, the site built on them.
async fn builds(work: &Path, hosts: usize, runs: usize, most: f64) -> Result<Vec<Row>> {
    let mut built = Vec::new();
    for number in 1..=runs {
        let bed = Bed::start(work, hosts, Behaviour::Instant).await?;
        let one = bed.build(&SITE).await?;
        println!(
            "{hosts} hosts, run {number} of {runs}: {:.2} s, {:.2} ms of server CPU per instance",
            one.wall, one.cpu_ms_per_instance
        );
        built.push(one);
        bed.end().await?;
    }
    let of = |pick: fn(&bed::Built) -> f64| built.iter().map(pick).collect::<Vec<_>>();
    let what = |measure: &str| {
        format!(
            "{} apps, {} instances, {hosts} hosts, {LAYERS} layers: {measure}",
            SITE.apps, SITE.instances
        )
    };
    Ok(vec![
        Row::median(&what("wall"), "s", of(|one| one.wall)).at_most(most),
        Row::median(
            &what("server CPU per instance"),
            "ms",
            of(|one| one.cpu_ms_per_instance),
        )
        .at_most(0.3),
        Row::median(&what("server memory"), "MiB", of(|one| one.memory)),
    ])
}

/// Very many hosts connected, and a large site planned on them.
async fn many(work: &Path, hosts: usize, runs: usize) -> Result<Vec<Row>> {
    let (mut connected, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=runs {
        let bed = Bed::start(work, hosts, Behaviour::Instant).await?;
        println!(
            "{hosts} hosts, run {number} of {runs}: {:.2} s, {:.0} MiB",
            bed.connected.wall, bed.connected.memory
        );
        let site = bed.generate(&LARGE).await?;
        first.push(bed.plan(&site).await?);
        let baseline = site.with_file_name("baselines").join("apps-00.yaml");
        let text = fs::read_to_string(&baseline)?;
        fs::write(&baseline, text.replacen("/healthz", "/health", 1))?;
        again.push(bed.plan(&site).await?);
        connected.push(bed.end().await?);
    }
    let of = |pick: fn(&bed::Connected) -> f64| connected.iter().map(pick).collect::<Vec<_>>();
    let what = |measure: &str| format!("{hosts} agents connected and ready: {measure}");
    let plan = format!("plan of {} apps on {hosts} hosts", LARGE.apps);
    Ok(vec![
        Row::median(&what("wall"), "s", of(|one| one.wall)).at_most(15.0),
        Row::median(&what("server CPU"), "s", of(|one| one.cpu)),
        Row::median(&what("server memory"), "MiB", of(|one| one.memory)).at_most(512.0),
        Row::median(&plan, "s", first).at_most(2.0),
        Row::median(&format!("{plan}, again after one change"), "s", again).at_most(0.2),
    ])
}
