//! A server, simulated hosts and what is done with them.

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

use super::{LAYERS, SEED, Site};
use crate::{Result, bench::process, run};

const MIB: f64 = 1_048_576.0;
const API: &str = "127.0.0.1:7697";
const AGENTS: &str = "127.0.0.1:7698";
/// How long anything may take before the bench gives up.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// How simulated hosts behave.
#[derive(Debug, Clone, Copy)]
pub enum Behaviour {
    /// Nothing takes any time.
    Instant,
    /// What small services take.
    Typical,
}

impl Behaviour {
    fn word(self) -> &'static str {
        match self {
            Behaviour::Instant => "instant",
            Behaviour::Typical => "typical",
        }
    }
}

/// What is read of a job's report.
#[derive(Debug, Deserialize)]
pub struct Report {
    pub began_at: Timestamp,
    pub wall_ms: u64,
    /// The longest chain of steps by the time each took.
    pub critical_ms: u64,
    pub timeline: Vec<Bar>,
}

/// A step of a report. Milliseconds since the job's submission.
#[derive(Debug, Deserialize)]
pub struct Bar {
    pub host: String,
    pub from_ms: u64,
    pub to_ms: u64,
}

/// What is read of a job.
#[derive(Debug, Deserialize)]
pub struct Job {
    pub state: String,
}

/// What building a site took.
pub struct Built {
    pub wall: f64,
    pub cpu_ms_per_instance: f64,
    pub memory: f64,
}

/// What connecting hosts took.
pub struct Connected {
    pub wall: f64,
    pub cpu: f64,
    pub memory: f64,
}

/// A server with simulated hosts, in a directory of its own.
pub struct Bed {
    data: PathBuf,
    server: Child,
    hosts: Child,
    pub connected: Connected,
}

impl Bed {
    pub async fn start(work: &Path, hosts: usize, behaviour: Behaviour) -> Result<Self> {
        if work.exists() {
            fs::remove_dir_all(work)?;
        }
        fs::create_dir_all(work)?;
        let data = work.join("data");
        let server = serve(&data).await?;
        let url = format!("https://{AGENTS}");
        let count = hosts.to_string();
        let mut command = wright(
            &data,
            &[
                "simulate",
                "--hosts",
                &count,
                "--behaviour",
                behaviour.word(),
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
    pub async fn generate(&self, site: &Site) -> Result<PathBuf> {
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

    pub async fn build(&self, site: &Site) -> Result<Built> {
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

    /// How long a plan takes, with the way there and back, as people are shown it.
    pub async fn plan(&self, site: &Path) -> Result<f64> {
        let file = site.display().to_string();
        let begun = Instant::now();
        run::output(wright(&self.data, &["site", "plan", &file])).await?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Has a site built and does not wait for it.
    pub async fn begin(&self, site: &Path) -> Result {
        let file = site.display().to_string();
        self.wright(&["site", "up", &file, "--yes", "--detach"])
            .await
            .map(drop)
    }

    /// Kills the server and starts it again; when it was started.
    pub async fn strike(&mut self) -> Result<Timestamp> {
        self.server.kill().await?;
        let again = Timestamp::now();
        self.server = serve(&self.data).await?;
        Ok(again)
    }

    /// The report of the generated site's last job.
    pub async fn report(&self) -> Result<Report> {
        let text = self
            .wright(&["site", "report", "generated", "-o", "json"])
            .await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What a command says.
    pub async fn wright(&self, words: &[&str]) -> Result<String> {
        timeout(PATIENCE, run::output(wright(&self.data, words))).await?
    }

    pub async fn end(mut self) -> Result<Connected> {
        for child in [&mut self.hosts, &mut self.server] {
            child.kill().await?;
        }
        Ok(self.connected)
    }
}

/// Starts the server.
async fn serve(data: &Path) -> Result<Child> {
    let mut command = wright(data, &["server", "--api", API, "--agents", AGENTS]);
    said(&mut command, &data.with_extension("server.log"), "data ").await
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
