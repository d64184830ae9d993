//! Builds whose operations take time: how far above what is possible, how soon a server that was
//! killed goes on, and how long an explanation takes meanwhile.

use std::{collections::BTreeMap, path::Path, time::Instant};

use jiff::Timestamp;
use tokio::time::{Duration, sleep};

use super::{
    LARGE, LARGEST, SITE,
    bed::{Bed, Behaviour, Job, PATIENCE, Report},
};
use crate::{Result, bench::results::Row};

/// Steps that a server has under way at the most, in all and on one host
/// (`wright_workflow::Settings`).
const SLOTS: (f64, f64) = (8_192.0, 16.0);
/// How often an explanation is asked for.
const QUESTIONS: usize = 100;
/// The time a build has to get going.
const UNDER_WAY: Duration = Duration::from_secs(5);
/// The time between two looks at a job that runs.
const LOOK: Duration = Duration::from_secs(2);

/// How far above its lower bound a build is whose operations take their typical time.
pub async fn typical(work: &Path, runs: usize) -> Result<Vec<Row>> {
    let mut above = Vec::new();
    for _ in 0..runs {
        above.push(above_bound(work).await?);
    }
    let what = format!(
        "{} apps, typical operation times, 2000 hosts: wall over the lower bound",
        LARGE.apps
    );
    Ok(vec![Row::median(&what, "", above).at_most(1.05)])
}

/// How long nothing is done where the server is killed.
pub async fn killed(work: &Path, runs: usize) -> Result<Vec<Row>> {
    let mut again = Vec::new();
    for _ in 0..runs {
        again.push(first_step_again(work).await?);
    }
    let what = "server killed: first step done again";
    Ok(vec![Row::median(what, "s", again).at_most(1.0)])
}

/// How long an answer takes to the question why an instance does not run.
pub async fn explained(work: &Path, runs: usize) -> Result<Vec<Row>> {
    let (mut first, mut most) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let took = explain(work).await?;
        first.push(took.first);
        most.push(took.p99);
    }
    let what = format!("explain one of {} instances: ", LARGEST.instances);
    Ok(vec![
        Row::median(&(what.clone() + "p99"), "ms", most).at_most(50.0),
        Row::median(&(what + "the first answer"), "ms", first),
    ])
}

/// How long explanations took, in milliseconds.
struct Explained {
    /// Nobody had asked about the job before.
    first: f64,
    /// Of a hundred, the first among them, all but one took no longer.
    p99: f64,
}

/// Wall time over the longest chain of steps by the time each took, or over what all of them take in
/// the slots that an engine and each host have, whichever is longer.
async fn above_bound(work: &Path) -> Result<f64> {
    let bed = Bed::start(work, 2_000, Behaviour::Typical).await?;
    let site = bed.generate(&LARGE).await?;
    bed.begin(&site).await?;
    let report = ended(&bed).await?;
    bed.end().await?;
    let ratio = report.wall_ms as f64 / bound_ms(&report);
    println!(
        "typical times: {:.1} s, critical path {:.1} s, bound {:.1} s, {ratio:.3} times the bound",
        report.wall_ms as f64 / 1000.0,
        report.critical_ms as f64 / 1000.0,
        bound_ms(&report) / 1000.0
    );
    Ok(ratio)
}

fn bound_ms(report: &Report) -> f64 {
    let (mut all, mut on): (u64, BTreeMap<&str, u64>) = (0, BTreeMap::new());
    for bar in &report.timeline {
        let took = bar.to_ms.saturating_sub(bar.from_ms);
        all += took;
        *on.entry(bar.host.as_str()).or_default() += took;
    }
    let fullest = on.into_values().max().unwrap_or(0);
    let by_all = all as f64 / SLOTS.0;
    let by_host = fullest as f64 / SLOTS.1;
    (report.critical_ms as f64).max(by_all).max(by_host)
}

/// Seconds from the start of the next server process to the end of the first step.
async fn first_step_again(work: &Path) -> Result<f64> {
    let mut bed = Bed::start(work, 1_000, Behaviour::Typical).await?;
    let site = bed.generate(&SITE).await?;
    bed.begin(&site).await?;
    sleep(UNDER_WAY).await;
    let again = bed.strike().await?;
    let report = ended(&bed).await?;
    bed.end().await?;
    let first = report.timeline.iter().filter_map(|bar| {
        let ended = report.began_at + jiff::SignedDuration::from_millis(bar.to_ms.cast_signed());
        (ended > again).then(|| seconds(again, ended))
    });
    let first = first.fold(f64::INFINITY, f64::min);
    println!("killed: the first step was done again after {first:.2} s");
    Ok(first)
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// The time for one explanation while the largest site is being built, with the start of the
/// command.
async fn explain(work: &Path) -> Result<Explained> {
    let bed = Bed::start(work, 5_000, Behaviour::Typical).await?;
    let site = bed.generate(&LARGEST).await?;
    bed.begin(&site).await?;
    sleep(UNDER_WAY).await;
    let mut took = Vec::new();
    for number in 0..QUESTIONS {
        // Of the last layer: it waits until the end.
        let instance = format!("edge-{}-1", number % 4 + 1);
        let begun = Instant::now();
        bed.wright(&["site", "explain", "generated", &instance])
            .await?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    bed.end().await?;
    let first = took.first().copied().unwrap_or_default();
    took.sort_by(f64::total_cmp);
    let all_but = |rest: usize| took[QUESTIONS - 1 - rest];
    println!(
        "explain: the first {first:.0} ms; half of {QUESTIONS} {:.0} ms, nine in ten {:.0} ms, all but one {:.0} ms, the slowest {:.0} ms",
        all_but(QUESTIONS / 2),
        all_but(QUESTIONS / 10),
        all_but(1),
        all_but(0)
    );
    Ok(Explained {
        first,
        p99: all_but(1),
    })
}

/// The report once the job has ended.
async fn ended(bed: &Bed) -> Result<Report> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        sleep(LOOK).await;
        // A server that was just killed may not be there yet.
        let Ok(jobs) = bed.wright(&["job", "list", "-o", "json"]).await else {
            continue;
        };
        let jobs: Vec<Job> = serde_json::from_str(&jobs)?;
        if jobs
            .iter()
            .all(|job| !["running", "undoing"].contains(&job.state.as_str()))
        {
            return bed.report().await;
        }
    }
    Err("the job did not end".into())
}
