//! `cargo xtask bench site`: the shop built by `wright` and by Ansible, in turns.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    ansible::{self, Ansible, Strategy},
    results::{Machine, Results, Row, median},
    wright::{self, Bench, Idle},
};
use crate::{Result, debian, packages, run};

/// What the secrets of the peer's sites are made from. Nothing else is random.
const SEED: u64 = 1;
/// How many runs of the peer are enough: one of them takes longer than all of ours together.
const PEER_RUNS: usize = 3;
const MIB: f64 = 1_048_576.0;

/// Everything that was measured.
#[derive(Default)]
struct Measured {
    wright: Vec<wright::Build>,
    idle: Option<Idle>,
    linear: Vec<ansible::Build>,
    free: Vec<ansible::Build>,
}

/// Measures in turns, so that a machine that gets slower gets slower for all.
pub async fn site(runs: usize) -> Result {
    let machine = Machine::this()?;
    let archives = packages::prepare().await?;
    debian::ensure_any(&[&["ansible-core"], &["zstd"]]).await?;
    let work = run::data().with_file_name("wright-bench");
    let mut measured = Measured::default();
    for number in 1..=runs {
        let (build, plan) = ours(&work.join("site"), &archives, &mut measured.idle).await?;
        println!(
            "run {number} of {runs}: wright, {:.2} s",
            build.wall.as_secs_f64()
        );
        measured.wright.push(build);
        if number <= PEER_RUNS {
            measured
                .peer(&plan, &archives, &work.join("ansible"))
                .await?;
        }
    }
    fs::remove_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    let results = Results {
        bench: "site",
        date: Timestamp::now(),
        machine,
        peers: vec![Ansible::version().await?],
        rows: measured.rows(runs)?,
    };
    results.write()?;
    println!("{}", results.text());
    Ok(())
}

/// One build by `wright`, with the plan it followed; the first time also what it costs when it stands.
async fn ours(
    data: &Path,
    archives: &[PathBuf],
    idle: &mut Option<Idle>,
) -> Result<(wright::Build, String)> {
    let bench = Bench::start(data, archives).await?;
    let plan = bench.plan().await?;
    let build = bench.build().await?;
    if idle.is_none() {
        *idle = Some(bench.idle().await?);
    }
    bench.end().await?;
    Ok((build, plan))
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

impl Measured {
    /// The same site by Ansible, once with each strategy.
    async fn peer(&mut self, plan: &str, archives: &[PathBuf], work: &Path) -> Result {
        // It takes the hosts' lookup ports, which are free while no agent runs.
        let peer = Ansible::new(plan, archives, work, SEED).await?;
        for (strategy, builds) in [
            (Strategy::Linear, &mut self.linear),
            (Strategy::Free, &mut self.free),
        ] {
            let build = peer.build(strategy).await?;
            println!(
                "Ansible, {}, {:.2} s",
                strategy.name(),
                build.wall.as_secs_f64()
            );
            builds.push(build);
        }
        Ok(())
    }

    fn rows(&self, runs: usize) -> Result<Vec<Row>> {
        let mut rows = self.builds();
        rows.extend(self.beside());
        let idle = self.idle.as_ref().ok_or("no idle site was measured")?;
        rows.extend(cost(idle));
        let binary = fs::metadata(run::program("wright"))?.len();
        rows.push(Row::single(
            "the `wright` binary",
            "MiB",
            binary as f64 / MIB,
        ));
        for row in &mut rows {
            row.command = format!("cargo xtask bench site --runs {runs}");
            row.seed = SEED;
        }
        Ok(rows)
    }

    fn ours(&self, of: impl Fn(&wright::Build) -> f64) -> Vec<f64> {
        self.wright.iter().map(of).collect()
    }

    fn builds(&self) -> Vec<Row> {
        let again = self
            .wright
            .iter()
            .flat_map(|build| &build.again)
            .map(|wall| wall.as_secs_f64() * 1000.0);
        let steps = self.ours(|build| {
            build
                .report
                .operations
                .iter()
                .map(|of| of.count)
                .sum::<usize>() as f64
        });
        let retries = self.ours(|build| {
            build
                .report
                .operations
                .iter()
                .map(|of| of.retries)
                .sum::<u64>() as f64
        });
        let command_ratio = self.ours(|build| {
            build.wall.as_secs_f64() * 1000.0 / build.report.critical_ms.max(1) as f64
        });
        vec![
            Row::median(
                "cold build, wall time over critical path",
                "×",
                self.ours(|build| build.report.ratio),
            )
            .at_most(1.15),
            Row::median(
                "cold build, the command's wall time over critical path",
                "×",
                command_ratio,
            ),
            Row::median(
                "cold build, critical path",
                "s",
                self.ours(|build| build.report.critical_ms as f64 / 1000.0),
            ),
            Row::median(
                "cold build, the job's wall time",
                "s",
                self.ours(|build| build.report.wall_ms as f64 / 1000.0),
            ),
            Row::median("cold build, steps", "steps", steps),
            Row::median("cold build, retries", "retries", retries),
            Row::median("second `up`, nothing to do", "ms", again.collect()).at_most(200.0),
        ]
    }

    fn beside(&self) -> Vec<Row> {
        let walls = |builds: &[ansible::Build]| {
            builds
                .iter()
                .map(|build| build.wall.as_secs_f64())
                .collect::<Vec<_>>()
        };
        let cpus = |builds: &[ansible::Build]| {
            builds
                .iter()
                .map(|build| build.cpu.as_secs_f64())
                .collect::<Vec<_>>()
        };
        let wall = self.ours(|build| build.wall.as_secs_f64());
        let cpu = self.ours(|build| build.cpu.as_secs_f64());
        let of_wright = median(&wall);
        let (linear, free) = (walls(&self.linear), walls(&self.free));
        let better = median(&linear).min(median(&free));
        let names = ["Ansible, linear", "Ansible, free"];
        let [beside_linear, beside_free] = names;
        vec![
            Row::median("cold build, the command's wall time", "s", wall.clone())
                .at_most(20.0)
                .beside(beside_linear, linear.clone()),
            Row::median("cold build, the command's wall time", "s", wall)
                .at_most(20.0)
                .beside(beside_free, free.clone()),
            Row::median("cold build, CPU time", "s", cpu.clone())
                .beside(beside_linear, cpus(&self.linear)),
            Row::median("cold build, CPU time", "s", cpu).beside(beside_free, cpus(&self.free)),
            Row::single(
                "times faster than Ansible, linear",
                "×",
                median(&linear) / of_wright,
            ),
            Row::single(
                "times faster than Ansible, free",
                "×",
                median(&free) / of_wright,
            ),
            Row::single(
                "times faster than the better Ansible",
                "×",
                better / of_wright,
            )
            .at_least(3.0),
        ]
    }
}

fn cost(idle: &Idle) -> Vec<Row> {
    let resident: Vec<_> = idle
        .agents
        .iter()
        .map(|memory| memory.resident as f64 / MIB)
        .collect();
    let proportional: Vec<_> = idle
        .agents
        .iter()
        .map(|memory| memory.proportional as f64 / MIB)
        .collect();
    vec![
        Row::single(
            "idle agent, resident memory, largest of 8",
            "MiB",
            largest(resident.iter().copied()),
        )
        .at_most(15.0),
        Row::median("idle agent, resident memory, median of 8", "MiB", resident),
        Row::single(
            "idle agent, proportional memory (PSS), largest of 8",
            "MiB",
            largest(proportional.iter().copied()),
        ),
        Row::single(
            "idle agent, CPU, largest of 8",
            "% of a core",
            largest(idle.agents_cpu.iter().copied()),
        )
        .at_most(0.5),
        Row::median(
            "idle agent, CPU, median of 8",
            "% of a core",
            idle.agents_cpu.clone(),
        ),
        Row::single(
            "idle agent, CPU without check commands, largest of 8",
            "% of a core",
            largest(idle.agents_own_cpu.iter().copied()),
        ),
        Row::single(
            "idle server, resident memory",
            "MiB",
            idle.server.resident as f64 / MIB,
        ),
        Row::single("idle server, CPU", "% of a core", idle.server_cpu),
    ]
}
