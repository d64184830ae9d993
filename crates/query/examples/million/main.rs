//! What an index of a million documents of twelve kinds with thirty fields each costs and answers.
//!
//! `cargo run --release -p wright-query --example million [DOCUMENTS]`

mod documents;

use std::{
    collections::BTreeMap,
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use serde_json::Value as Json;
use wright_query::{Document, Filter, Index, Query, Schema, Sort};

use documents::{FIELDS, KINDS, Refers, body};

fn resident() -> f64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = pages
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0);
    pages * 4096.0 / f64::from(1 << 20)
}

fn schemas() -> Vec<Schema> {
    let schema = |(kind, refers): &(&str, Option<Refers>)| {
        let sort = |of: &str| match of {
            "integer" => Sort::Integer,
            "float" => Sort::Float,
            "boolean" => Sort::Boolean,
            "bytes" => Sort::Bytes,
            "time" => Sort::Time,
            "list" => Sort::Any,
            _ => Sort::Text,
        };
        let fields = FIELDS.iter().map(|(name, of)| (*name, sort(of)));
        let refers = refers.map(|(field, to, reverse)| (field, Sort::reference(to, reverse)));
        let mut schema = Schema::new(kind, fields.chain(refers));
        schema.open = true;
        schema
    };
    KINDS.iter().map(schema).collect()
}

fn percentile(mut times: Vec<Duration>, of: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * of / 100).min(times.len() - 1)]
}

fn timed(what: &str, rounds: usize, mut run: impl FnMut(usize) -> u64) {
    let (mut times, mut rows) = (Vec::new(), 0);
    for round in 0..rounds {
        let start = Instant::now();
        rows += black_box(run(round));
        times.push(start.elapsed());
    }
    let (half, most) = (percentile(times.clone(), 50), percentile(times, 99));
    println!(
        "{what:<58} p50 {half:>10.3?}  p99 {most:>10.3?}  {:>9} rows",
        rows / rounds as u64
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let documents: u64 = std::env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |n| n.parse())?;
    let each = documents / 12;
    let mut index = Index::default();
    schemas()
        .into_iter()
        .for_each(|schema| index.declare(schema));
    let labels = BTreeMap::from([("tier".to_owned(), "gold".to_owned())]);

    let before = resident();
    let (mut writing, mut parsing, mut revision) = (Duration::ZERO, Duration::ZERO, 0);
    index.begin_load();
    for (kind, _) in KINDS {
        for number in 0..each {
            revision += 1;
            let text = body(kind, number, each).to_string();
            let name = format!("{kind}-{number:07}");
            let start = Instant::now();
            let body: Json = serde_json::from_str(&text)?;
            parsing += start.elapsed();
            let start = Instant::now();
            index.put(
                &Document {
                    kind,
                    name: &name,
                    labels: &labels,
                    body: &body,
                },
                revision,
            );
            writing += start.elapsed();
        }
    }
    let start = Instant::now();
    index.settle();
    println!(
        "parse {parsing:.1?}, put {writing:.1?}, settle {:.1?}",
        start.elapsed()
    );
    println!("resident {:.0} MiB", resident() - before);

    let find = |filter: &str, kind: &str, limit| {
        let query = Query {
            kind: Some(kind.to_owned()),
            filter: Some(filter.to_owned()),
            limit,
            explain: true,
            ..Query::default()
        };
        let found = index.find(&query).map_err(|error| error.to_string());
        found.inspect(|found| {
            let shown = &found.rows[..found.rows.len().min(100)];
            black_box(
                index
                    .page(kind, shown, &["serial".to_owned()])
                    .map(|page| page.len())
                    .ok(),
            );
        })
    };
    let questions = [
        ("machine", r#"machine.serial == "SN00000000000000FF""#),
        (
            "machine",
            r#"machine.model == "compute" && machine.cores >= 32 && machine.status == "active" && machine.cabinet.hall.name == "hall-0000042""#,
        ),
        (
            "machine",
            r#"machine.model == "compute" && machine.cabinet.hall.model == "gpu" && size(machine.programs) < 1"#,
        ),
        (
            "machine",
            r#"machine.description.contains("legacy core") && machine.price < 1000"#,
        ),
        ("machine", r#"machine.serial.endsWith("F7")"#),
        (
            "machine",
            r#"machine.bought < timestamp("2016-01-01T00:00:00Z") && "gpu" in machine.tags"#,
        ),
        (
            "cabinet",
            r#"cabinet.machines.exists(h, h.cores > 32 && h.model == "gpu")"#,
        ),
        (
            "program",
            r#"program.machine.cabinet.hall.name == "hall-0000007""#,
        ),
        (
            "machine",
            r#"machine.price + machine.power < 2000 || !machine.monitored"#,
        ),
    ];
    for (kind, filter) in questions {
        timed(
            &format!("{kind}: {}", &filter[..filter.len().min(50)]),
            100,
            |_| find(filter, kind, 100).map_or(0, |found| found.total),
        );
        if let Ok(found) = find(filter, kind, 100) {
            for step in found.steps {
                println!(
                    "    {:<10} {:<60} estimated {:>7} rows {:>7} cost {:>9}",
                    step.operation, step.condition, step.estimated, step.rows, step.cost
                );
            }
        }
    }
    timed("all kinds, grouped by status and environment", 20, |_| {
        let group_by = vec!["status".to_owned(), "environment".to_owned()];
        let query = Query {
            group_by,
            ..Query::default()
        };
        index.find(&query).map_or(0, |found| found.total)
    });
    timed(
        "machines grouped by cabinet.hall.name and model",
        20,
        |_| {
            let group_by = vec!["cabinet.hall.name".to_owned(), "model".to_owned()];
            let query = Query {
                kind: Some("machine".to_owned()),
                group_by,
                ..Query::default()
            };
            index
                .find(&query)
                .map_or(0, |found| found.groups.len() as u64)
        },
    );
    timed("the first 100 of a kind by name", 20, |_| {
        let query = Query {
            kind: Some("machine".to_owned()),
            limit: 100,
            ..Query::default()
        };
        index.find(&query).map_or(0, |found| found.total)
    });
    timed("the first 100 of a kind by price", 20, |_| {
        let sort = vec!["-price".to_owned()];
        let query = Query {
            kind: Some("machine".to_owned()),
            limit: 100,
            sort,
            ..Query::default()
        };
        index.find(&query).map_or(0, |found| found.total)
    });
    for words in [
        "machine-0000042",
        "machine-00",
        "legacy core gpu",
        "h",
        "10.0.7",
        "team-07 backup",
        "SN00 web",
        "nothing-like-it",
        "user0001 e",
    ] {
        timed(&format!("search {words}"), 50, |_| {
            index.search(words, &[], 20).len() as u64
        });
    }

    let filter = Filter::compile(
        r#"machine.model == "compute" && machine.cores >= 4 && machine.status != "x""#,
        "machine",
        &index,
    )?;
    let one = body("machine", 4711, each);
    let document = Document {
        kind: "machine",
        name: "machine-0004711",
        labels: &labels,
        body: &one,
    };
    let start = Instant::now();
    let hits = (0..1_000_000)
        .filter(|_| black_box(&filter).matches(black_box(&document), &index))
        .count();
    println!(
        "predicate of three comparisons: {:.0} ns ({hits})",
        start.elapsed().as_secs_f64() * 1000.0
    );

    let bodies: Vec<Json> = (0..10_000)
        .map(|number| body("machine", number + 1, each))
        .collect();
    let start = Instant::now();
    for (number, body) in bodies.iter().enumerate() {
        revision += 1;
        let name = format!("machine-{:07}", number * 7 % usize::try_from(each)?);
        index.put(
            &Document {
                kind: "machine",
                name: &name,
                labels: &labels,
                body,
            },
            revision,
        );
    }
    println!(
        "update with all fields new: {:.1} µs each",
        start.elapsed().as_secs_f64() * 1e6 / 10_000.0
    );
    println!("resident {:.0} MiB", resident() - before);
    Ok(())
}
