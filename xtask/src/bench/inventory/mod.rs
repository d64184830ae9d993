//! `cargo xtask bench inventory`: many resources, asked and written; beside PostgreSQL with the same
//! ones, asked the same.

mod postgres;

use std::{collections::BTreeMap, fs};

use jiff::Timestamp;
use serde::Deserialize;

use self::postgres::Postgres;
use super::results::{Machine, Results, Row};
use crate::{Result, debian, run};

/// The resources where nobody says how many.
pub const RESOURCES: u64 = 1_000_000;
/// What the targets are for.
const FULL: u64 = 1_000_000;
/// The generator's first number.
const SEED: u64 = 0;

/// A figure, as the measuring program prints it.
#[derive(Debug, Deserialize)]
struct Figure {
    what: String,
    value: f64,
    unit: String,
}

/// What is held against a target, and the peer's question that is the same.
enum Target {
    Most(f64),
    Least(f64),
    None,
}

use Target::{Least, Most, None as Untold};

/// The rows, the unit, the target, and what the peer calls it.
const ROWS: [(&str, &str, Target, Option<&str>); 14] = [
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
    ("bulk load", "1/s", Least(20_000.0), Some("load")),
    ("resources", "resources", Untold, None),
];

/// Measures `resources` of them.
pub async fn inventory(resources: u64) -> Result {
    let machine = Machine::this()?;
    debian::ensure_any(&[&["postgresql-15"]]).await?;
    run::cargo(&[
        "build",
        "--release",
        "--package",
        "wright-inventory",
        "--example",
        "million",
    ])
    .await?;
    let work = run::data().with_file_name("wright-bench-inventory");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work)?;
    let (store, data) = (work.join("store"), work.join("resources.tsv"));
    let program = run::program("examples/million");
    let (store, file) = (store.display().to_string(), data.display().to_string());
    let arguments = [store, resources.to_string(), file];
    let told = run::output(run::command(program, &arguments)).await?;
    let mut ours = BTreeMap::new();
    for line in told.lines() {
        let figure: Figure =
            serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        println!("{}: {:.3} {}", figure.what, figure.value, figure.unit);
        ours.insert(figure.what, figure.value);
    }
    let peer = Postgres::start(&work.join("postgres")).await?;
    let asked = peer.measure(&data, resources).await;
    let (version, ended) = (peer.version().await, peer.stop().await);
    let (theirs, version) = (asked?, version?);
    ended?;
    fs::remove_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
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
