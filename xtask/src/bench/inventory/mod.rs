//! `cargo xtask bench inventory`: many resources, asked and written; beside PostgreSQL with the same
//! ones, asked the same.

mod postgres;
mod server;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::PathBuf,
};

use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

use self::postgres::Postgres;
use super::results::{Machine, Results, Row};
use crate::{Result, debian, packages, run};

/// The resources where nobody says how many.
pub const RESOURCES: u64 = 1_000_000;
/// What the targets are for.
const FULL: u64 = 1_000_000;
/// How many say that everything works.
const SHORT: u64 = 6000;
/// The generator's first number.
const SEED: u64 = 0;

/// A figure, as the measuring program prints it.
#[derive(Debug, Deserialize)]
struct Figure {
    what: String,
    value: f64,
    unit: String,
}

/// What a question was answered.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Said {
    /// Which question.
    question: String,
    /// What it was about.
    of: String,
    /// How many there are.
    total: u64,
    /// Those that come first.
    first: Vec<String>,
}

/// What is held against a target, and the peer's question that is the same.
enum Target {
    Most(f64),
    Least(f64),
    None,
}

use Target::{Least, Most, None as Untold};

/// The rows, the unit, the target, and what the peer calls it.
const ROWS: &[(&str, &str, Target, Option<&str>)] = &[
    (
        "three predicates and one relation hop, 100 results: p50",
        "ms",
        Untold,
        Some("hop p50"),
    ),
    (
        "three predicates and one relation hop, 100 results: p99",
        "ms",
        Most(20.0),
        Some("hop p99"),
    ),
    (
        "three predicates and two relation hops, 100 results: p99",
        "ms",
        Untold,
        Some("hops p99"),
    ),
    ("one by its serial: p99", "ms", Untold, Some("serial p99")),
    (
        "count grouped by two fields over all: p50",
        "ms",
        Most(50.0),
        Some("group p50"),
    ),
    (
        "full-text search, first 20: p50",
        "ms",
        Untold,
        Some("search p50"),
    ),
    (
        "full-text search, first 20: p99",
        "ms",
        Most(50.0),
        Some("search p99"),
    ),
    ("memory with it all loaded", "MiB", Most(2048.0), None),
    ("memory after the writes", "MiB", Untold, None),
    ("start to first answer", "s", Most(15.0), None),
    (
        "durable writes with validation, uniqueness and history, 64 writers",
        "1/s",
        Least(5000.0),
        Some("writes"),
    ),
    (
        "conflicting unique claims: duplicates",
        "duplicates",
        Most(0.0),
        None,
    ),
    ("start to first answer: processor time", "s", Untold, None),
    ("bulk load: processor time of one", "µs", Untold, None),
    (
        "durable writes, 64 writers: processor time of one",
        "µs",
        Untold,
        None,
    ),
    ("bulk load", "1/s", Least(20_000.0), Some("load")),
    (
        "memory of a server with it all loaded",
        "MiB",
        Most(2048.0),
        None,
    ),
    (
        "import by HTTP, with catalog and feed behind it",
        "1/s",
        Untold,
        None,
    ),
    (
        "import by HTTP, with catalog and feed behind it: processor time of the server",
        "cores",
        Untold,
        None,
    ),
    (
        "durable writes by HTTP, with audit, 64 writers",
        "1/s",
        Untold,
        None,
    ),
    (
        "durable writes by HTTP, with audit, 64 writers: processor time of the server",
        "cores",
        Untold,
        None,
    ),
    (
        "5,000 filtered watchers, 200 writes/s: events",
        "1/s",
        Untold,
        None,
    ),
    (
        "5,000 filtered watchers, 200 writes/s: sent to received p50",
        "ms",
        Untold,
        None,
    ),
    (
        "5,000 filtered watchers, 200 writes/s: sent to received p99",
        "ms",
        Most(100.0),
        None,
    ),
    (
        "5,000 filtered watchers, 200 writes/s: processor time of the server",
        "cores",
        Untold,
        None,
    ),
    (
        "5,000 filtered watchers, 200 writes/s: processor time of its clients",
        "cores",
        Untold,
        None,
    ),
    ("memory of a server after all that", "MiB", Untold, None),
    ("resources", "resources", Untold, None),
];

/// The program that has an inventory in it, and what it works on.
struct Bench {
    work: PathBuf,
    resources: u64,
}

impl Bench {
    async fn prepare(resources: u64) -> Result<Self> {
        debian::ensure_any(&[&["postgresql-15"]]).await?;
        packages::programs().await?;
        let work = run::data().with_file_name("wright-bench-inventory");
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        fs::create_dir_all(work.join("server"))?;
        let bench = Bench { work, resources };
        let mut export = bench.step("export");
        export.stdout(File::create(bench.data())?);
        run::must(export).await?;
        Ok(bench)
    }

    /// The resources, as a file.
    fn data(&self) -> PathBuf {
        self.work.join("resources.tsv")
    }

    /// The data directory of a server that has them.
    fn server(&self) -> PathBuf {
        self.work.join("server")
    }

    fn step(&self, step: &str) -> tokio::process::Command {
        let store = self.server().join("store").display().to_string();
        let arguments = [step.to_owned(), store, self.resources.to_string()];
        run::command(run::program("inventory-million"), arguments)
    }

    /// What a step says.
    async fn told<T: DeserializeOwned>(&self, step: &str) -> Result<Vec<T>> {
        let told = run::output(self.step(step)).await?;
        let line = |line: &str| {
            serde_json::from_str(line).map_err(|error| format!("{step}: {line}: {error}").into())
        };
        told.lines().map(line).collect()
    }

    async fn figures(&self, step: &str, into: &mut BTreeMap<String, f64>) -> Result {
        note(self.told(step).await?, into);
        Ok(())
    }

    /// That PostgreSQL, which has the same resources, answers the same.
    async fn compare(&self, peer: &Postgres) -> Result {
        for ours in self.told::<Said>("answers").await? {
            let theirs = peer.answer(&ours.question, &ours.of).await?;
            if theirs != ours {
                return Err(
                    format!("the answers differ: {ours:?}, and PostgreSQL: {theirs:?}").into(),
                );
            }
        }
        Ok(())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.work) {
            eprintln!("{}: {error}", self.work.display());
        }
    }
}

fn note(figures: Vec<Figure>, into: &mut BTreeMap<String, f64>) {
    for figure in figures {
        println!("{}: {:.3} {}", figure.what, figure.value, figure.unit);
        into.insert(figure.what, figure.value);
    }
}

/// A few resources, in a minute: answers are those of PostgreSQL, and what is unique is given once.
pub async fn check() -> Result {
    let bench = Bench::prepare(SHORT).await?;
    let mut figures = BTreeMap::new();
    bench.figures("load", &mut figures).await?;
    let peer = Postgres::start(&bench.work.join("postgres")).await?;
    let loaded = peer.load(&bench.data(), SHORT).await;
    let compared = match loaded {
        Ok(_) => bench.compare(&peer).await,
        Err(error) => Err(error),
    };
    peer.stop().await?;
    compared?;
    // It fails where a number was given twice.
    bench.figures("write", &mut figures).await
}

/// Measures `resources` of them.
pub async fn inventory(resources: u64) -> Result {
    let machine = Machine::this()?;
    let bench = Bench::prepare(resources).await?;
    let mut ours = BTreeMap::new();
    for step in ["load", "measure"] {
        bench.figures(step, &mut ours).await?;
    }
    let peer = Postgres::start(&bench.work.join("postgres")).await?;
    let asked = async {
        let load = peer.load(&bench.data(), resources).await?;
        bench.compare(&peer).await?;
        let mut theirs = peer.measure(resources).await?;
        theirs.insert("load".to_owned(), load);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((theirs, peer.version().await?))
    };
    let asked = asked.await;
    peer.stop().await?;
    let (theirs, version) = asked?;
    bench.figures("write", &mut ours).await?;
    note(server::asked(&bench.server()).await?, &mut ours);
    drop(bench);
    let results = Results {
        bench: "inventory",
        date: Timestamp::now(),
        machine,
        peers: vec![version.clone()],
        rows: rows(resources, &ours, &theirs, &version),
    };
    // A short run says that everything works, not how fast it is.
    if resources >= FULL {
        results.write()?;
    }
    println!("{}", results.text());
    Ok(())
}

fn rows(
    resources: u64,
    ours: &BTreeMap<String, f64>,
    theirs: &BTreeMap<String, f64>,
    version: &str,
) -> Vec<Row> {
    let row = |(what, unit, target, peer): &(&str, &'static str, Target, Option<&str>)| {
        let mut row = Row::single(what, unit, *ours.get(*what)?);
        row = match target {
            Most(bound) => row.at_most(*bound),
            Least(bound) => row.at_least(*bound),
            Untold => row,
        };
        if let Some(value) = peer.and_then(|peer| theirs.get(peer)) {
            row = row.beside(version, vec![*value]);
        }
        row.command = format!("cargo xtask bench inventory --resources {resources}");
        row.seed = SEED;
        Some(row)
    };
    ROWS.iter().filter_map(row).collect()
}
