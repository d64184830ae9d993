//! One build of the shop by `wright`, measured.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use procfs::process::Process;
use serde::Deserialize;

use super::process::{self, Memory, Meter};
use crate::{
    Result,
    demo::{self, Dev},
    run,
};

/// The site that is built.
pub const SITE: &str = "examples/shop/site.yaml";
/// How many hosts.
pub const HOSTS: u32 = 8;
/// How often `up` is asked again when there is nothing to do.
const AGAIN: usize = 5;
/// How long the site stands before it counts as idle, and how long it is then watched.
const IDLE: Duration = Duration::from_secs(20);

/// What `wright site up -o json` reports, as far as it is used here.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    /// From the submission to the end, milliseconds.
    pub wall_ms: u64,
    /// The longest chain of steps by the time each took, milliseconds.
    pub critical_ms: u64,
    /// The first over the second.
    pub ratio: f64,
    /// The steps by verb.
    pub operations: Vec<Operations>,
}

/// The steps of one verb.
#[derive(Debug, Clone, Deserialize)]
pub struct Operations {
    /// How many.
    pub count: usize,
    /// Attempts after a step's first.
    pub retries: u64,
}

/// One cold build.
#[derive(Debug)]
pub struct Build {
    /// The whole command's wall time.
    pub wall: Duration,
    /// CPU time of everything: command, server, agents, programs.
    pub cpu: Duration,
    /// What it reported.
    pub report: Report,
    /// The wall times of the `up`s after it, which have nothing to do.
    pub again: Vec<Duration>,
}

/// What a standing site costs.
#[derive(Debug)]
pub struct Idle {
    /// The agents' memory.
    pub agents: Vec<Memory>,
    /// The agents' CPU time, in percent of a core, with that of the check commands they run.
    pub agents_cpu: Vec<f64>,
    /// The same without the commands.
    pub agents_own_cpu: Vec<f64>,
    /// The server's memory.
    pub server: Memory,
    /// The server's CPU time, in percent of a core.
    pub server_cpu: f64,
}

/// A server with its hosts and the shop's packages, and nothing built.
pub struct Bench {
    dev: Dev,
}

impl Bench {
    /// Starts it in a data directory of its own.
    pub async fn start(data: &Path, archives: &[PathBuf]) -> Result<Self> {
        fs::create_dir_all(data)?;
        demo::clean_slate(data).await?;
        // The packages are signed with the demonstration's key.
        fs::copy(run::data().join("package.key"), data.join("package.key"))?;
        let dev = Dev::start(data, HOSTS).await?;
        dev.push(archives).await?;
        Ok(Bench { dev })
    }

    /// What would be built, as JSON.
    pub async fn plan(&self) -> Result<String> {
        run::output(self.dev.wright(&["site", "plan", SITE, "-o", "json"])).await
    }

    /// Builds the site on empty hosts, sees it sell something, and asks for it again.
    pub async fn build(&self) -> Result<Build> {
        self.must_be_cold()?;
        let meter = Meter::start(&self.dev.data);
        let (wall, answer) = self.up().await?;
        let cpu = meter.used();
        let report = serde_json::from_str(&answer)
            .map_err(|error| format!("the build's report: {error}"))?;
        let mut again = Vec::new();
        for _ in 0..AGAIN {
            let (wall, answer) = self.up().await?;
            let plan: serde_json::Value = serde_json::from_str(&answer)?;
            if plan["step_count"] != 0 {
                return Err("the second `up` found something to do".into());
            }
            again.push(wall);
        }
        buy(&demo::front_door(&self.dev).await?).await?;
        Ok(Build {
            wall,
            cpu,
            report,
            again,
        })
    }

    async fn up(&self) -> Result<(Duration, String)> {
        let began = Instant::now();
        let answer = run::output(
            self.dev
                .wright(&["site", "up", SITE, "--yes", "-o", "json"]),
        )
        .await?;
        Ok((began.elapsed(), answer))
    }

    /// Watches the standing site do nothing.
    pub async fn idle(&self) -> Result<Idle> {
        tokio::time::sleep(IDLE).await;
        let (agents, server) = self.processes()?;
        let share = |used: Duration| 100.0 * used.as_secs_f64() / IDLE.as_secs_f64();
        let agents_cpu = |of: fn(&Process) -> Duration| agents.iter().map(of).collect::<Vec<_>>();
        let shares = |before: &[Duration], of: fn(&Process) -> Duration| {
            let used = agents_cpu(of)
                .into_iter()
                .zip(before)
                .map(|(now, before)| now.saturating_sub(*before));
            used.map(share).collect()
        };
        let (before, own_before) = (agents_cpu(process::cpu), agents_cpu(process::own_cpu));
        let server_before = process::cpu(&server);
        tokio::time::sleep(IDLE).await;
        Ok(Idle {
            agents_cpu: shares(&before, process::cpu),
            agents_own_cpu: shares(&own_before, process::own_cpu),
            server_cpu: share(process::cpu(&server).saturating_sub(server_before)),
            agents: agents.iter().map(process::memory).collect::<Result<_>>()?,
            server: process::memory(&server)?,
        })
    }

    /// The agents and the server, told apart by their subcommands.
    fn processes(&self) -> Result<(Vec<Process>, Process)> {
        let role = |process: &Process| {
            process
                .cmdline()
                .ok()
                .and_then(|words| words.into_iter().nth(1))
                .unwrap_or_default()
        };
        let (mut agents, mut servers) = (Vec::new(), Vec::new());
        for process in process::below(&self.dev.data) {
            match role(&process).as_str() {
                "agent" => agents.push(process),
                "dev" => servers.push(process),
                _ => {}
            }
        }
        match (agents.len(), servers.pop()) {
            (found, Some(server)) if found == HOSTS as usize => Ok((agents, server)),
            (found, _) => {
                Err(format!("{found} agents run, {HOSTS} and a server were expected").into())
            }
        }
    }

    /// Takes the site and everything else down.
    pub async fn end(self) -> Result {
        run::output(self.dev.wright(&["site", "down", "shop", "--yes"])).await?;
        self.must_be_cold()?;
        let data = self.dev.data.clone();
        let status = self.dev.stop().await?;
        if !status.success() {
            return Err(format!("`wright dev`: {status}").into());
        }
        demo::nothing_left(&data)?;
        fs::remove_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()).into())
    }

    /// Nothing is left on the hosts that would make a build quicker.
    fn must_be_cold(&self) -> Result {
        for number in 1..=HOSTS {
            for place in ["cache", "packages", "instances"] {
                let path = self
                    .dev
                    .data
                    .join("hosts")
                    .join(format!("h{number}"))
                    .join(place);
                let warm = fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some());
                if warm {
                    return Err(format!(
                        "{} is not empty: the build would not be cold",
                        path.display()
                    )
                    .into());
                }
            }
        }
        Ok(())
    }
}

/// Proves that a shop works: somebody buys something there.
pub async fn buy(door: &str) -> Result {
    run::output(run::command(
        run::program("shop-buyer"),
        ["--url", door, "--expect-no-errors"],
    ))
    .await
    .map(|_| ())
}
