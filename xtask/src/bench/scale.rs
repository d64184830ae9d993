//! `cargo xtask bench scale`: how large a site one server carries, on simulated hosts whose
//! operations take no time, so that what is measured is the control plane's own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use procfs::process::Process;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::{
    process,
    results::{Machine, Results, Row},
};
use crate::{Result, run};

const SEED: u64 = 1;
const MIB: f64 = 1_048_576.0;
const API: &str = "127.0.0.1:7697";
const AGENTS: &str = "127.0.0.1:7698";
/// How long anything may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(600);

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
const LAYERS: usize = 10;

/// What building a site took.
struct Built {
    wall: f64,
    cpu_ms_per_instance: f64,
    memory: f64,
}

/// What connecting hosts took.
struct Connected {
    wall: f64,
    cpu: f64,
    memory: f64,
}

/// What the engine did without anything around it.
#[derive(Deserialize)]
struct EngineAlone {
    steps_per_second: f64,
    job_seconds: f64,
    steps: usize,
}

/// Measures everything `runs` times.
pub async fn scale(runs: usize) -> Result {
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
    let mut rows = Vec::new();
    rows.extend(engine(runs).await?);
    rows.extend(builds(&work, 1_000, runs, 5.0).await?);
    rows.extend(builds(&work, 5_000, runs, 8.0).await?);
    rows.extend(many(&work, 10_000, runs).await?);
    for row in &mut rows {
        row.command = format!("cargo xtask bench scale --runs {runs}");
        row.seed = SEED;
    }
    let results = Results {
        bench: "scale",
        date: Timestamp::now(),
        machine,
        peers: Vec::new(),
        rows,
    };
    results.write()?;
    println!("{}", results.text());
    Ok(())
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
        let bed = Bed::start(work, hosts).await?;
        let one = bed.build(&SITE).await?;
        println!(
            "{hosts} hosts, run {number} of {runs}: {:.2} s, {:.2} ms of server CPU per instance",
            one.wall, one.cpu_ms_per_instance
        );
        built.push(one);
        bed.end().await?;
    }
    let of = |pick: fn(&Built) -> f64| built.iter().map(pick).collect::<Vec<_>>();
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
        let bed = Bed::start(work, hosts).await?;
        println!(
            "{hosts} hosts, run {number} of {runs}: {:.2} s, {:.0} MiB",
            bed.connected.wall, bed.connected.memory
        );
        let site = bed.generate(&LARGE).await?;
        first.push(bed.plan(&site).await?);
        let baseline = site.with_file_name("baselines").join("apps-00.yaml");
        let text = fs::read_to_string(&baseline)?;
        fs::write(&baseline, text.replacen("instances: ", "instances: 1", 1))?;
        again.push(bed.plan(&site).await?);
        connected.push(bed.end().await?);
    }
    let of = |pick: fn(&Connected) -> f64| connected.iter().map(pick).collect::<Vec<_>>();
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

/// A server with simulated hosts, in a directory of its own.
struct Bed {
    data: PathBuf,
    server: Child,
    hosts: Child,
    connected: Connected,
}

impl Bed {
    async fn start(work: &Path, hosts: usize) -> Result<Self> {
        if work.exists() {
            fs::remove_dir_all(work)?;
        }
        fs::create_dir_all(work)?;
        let data = work.join("data");
        let mut command = wright(&data, &["server", "--api", API, "--agents", AGENTS]);
        let server = said(&mut command, &work.join("server.log"), "data ").await?;
        let url = format!("https://{AGENTS}");
        let count = hosts.to_string();
        let mut command = wright(
            &data,
            &[
                "simulate",
                "--hosts",
                &count,
                "--behaviour",
                "instant",
                "--server",
                &url,
            ],
        );
        let begun = Instant::now();
        let agents = said(&mut command, &work.join("hosts.log"), "are connected").await?;
        let wall = begun.elapsed().as_secs_f64();
        let process = of(&server)?;
        let connected = Connected {
            wall,
            cpu: process::cpu(&process).as_secs_f64(),
            memory: resident(&process)?,
        };
        Ok(Bed {
            data,
            server,
            hosts: agents,
            connected,
        })
    }

    /// Writes a site and pushes the package that it needs; where its file is.
    async fn generate(&self, site: &Site) -> Result<PathBuf> {
        let out = self.data.join("site");
        let shown = out.display().to_string();
        let (apps, instances) = (site.apps.to_string(), site.instances.to_string());
        let (layers, seed) = (LAYERS.to_string(), SEED.to_string());
        let words = [
            "simulate",
            "--generate",
            "--apps",
            &apps,
            "--instances",
            &instances,
            "--layers",
            &layers,
            "--seed",
            &seed,
            "--out",
            &shown,
        ];
        run::output(wright(&self.data, &words)).await?;
        let package = out.join("package").display().to_string();
        let build = ["package", "build", &package, "--out", &shown];
        run::output(wright(&self.data, &build)).await?;
        let archive = out.join("simulated-1.0.0.wpk").display().to_string();
        run::output(wright(&self.data, &["package", "push", &archive])).await?;
        Ok(out.join("site.yaml"))
    }

    async fn build(&self, site: &Site) -> Result<Built> {
        let file = self.generate(site).await?.display().to_string();
        let server = of(&self.server)?;
        let (before, begun) = (process::cpu(&server), Instant::now());
        let up = run::output(wright(&self.data, &["site", "up", &file, "--yes"]));
        timeout(PATIENCE, up).await??;
        let wall = begun.elapsed().as_secs_f64();
        let cpu = process::cpu(&server).saturating_sub(before);
        Ok(Built {
            wall,
            cpu_ms_per_instance: cpu.as_secs_f64() * 1000.0 / f64::from(site.instances),
            memory: resident(&server)?,
        })
    }

    /// How long a plan takes, with the way there and back.
    async fn plan(&self, site: &Path) -> Result<f64> {
        let file = site.display().to_string();
        let begun = Instant::now();
        run::output(wright(&self.data, &["site", "plan", &file, "-o", "json"])).await?;
        Ok(begun.elapsed().as_secs_f64())
    }

    async fn end(mut self) -> Result<Connected> {
        for child in [&mut self.hosts, &mut self.server] {
            child.kill().await?;
        }
        Ok(self.connected)
    }
}

fn wright(data: &Path, arguments: &[&str]) -> Command {
    let mut command = run::command(run::program("wright"), arguments);
    command.env("WRIGHT_DATA", data).kill_on_drop(true);
    command
}

/// Starts a command and waits until it says something.
async fn said(command: &mut Command, log: &Path, word: &str) -> Result<Child> {
    let log = File::create(log)?;
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(output).lines();
    let waited = timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await? {
            if line.contains(word) {
                return Ok::<_, std::io::Error>(true);
            }
        }
        Ok(false)
    });
    if !waited.await?? {
        return Err(format!("it ended before it said {word:?}").into());
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(child)
}

fn of(child: &Child) -> Result<Process> {
    let pid = child.id().ok_or("it has ended")?;
    Ok(Process::new(i32::try_from(pid)?)?)
}

/// Resident memory, MiB.
fn resident(process: &Process) -> Result<f64> {
    Ok(process::memory(process)?.resident as f64 / MIB)
}
