//! What an index of a million documents of twelve kinds with thirty fields each costs and answers.
//!
//! `cargo run --release -p wright-query --example million [DOCUMENTS]`

use std::{
    collections::BTreeMap,
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};
use wright_query::{Document, Filter, Index, Query, Schema, Sort};

const KINDS: [&str; 12] = [
    "host",
    "instance",
    "rack",
    "room",
    "address",
    "device",
    "interface",
    "disk",
    "package",
    "service",
    "cable",
    "contract",
];

fn resident() -> f64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = pages
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0);
    pages * 4096.0 / f64::from(1 << 20)
}

/// Spreads numbers (SplitMix64).
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn body(kind: &str, number: u64, each: u64) -> Json {
    let chance = |salt: u64, of: u64| mixed(number * 64 + salt) % of;
    let words = [
        "edge", "core", "backup", "web", "batch", "cache", "legacy", "gpu", "lab", "spare",
    ];
    let of = |salt, among: &[&'static str]| {
        among[usize::try_from(chance(salt, among.len() as u64)).unwrap_or(0)]
    };
    let word = |salt| of(salt, &words);
    let mut body = json!({
        "model": of(1, &["compute", "storage", "network", "gpu"]),
        "serial": format!("SN{:012X}", mixed(number)),
        "asset": format!("A-{number:08}"),
        "address": format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255),
        "mac": format!("02:00:{:02x}:{:02x}:{:02x}:{:02x}", number >> 24 & 255, number >> 16 & 255, number >> 8 & 255, number & 255),
        "status": of(2, &["active", "active", "active", "planned", "broken", "retired"]),
        "environment": of(3, &["production", "staging", "test"]),
        "team": format!("team-{:02}", chance(4, 60)),
        "owner": format!("user{:04}", chance(5, 2000)),
        "site": format!("site-{}", chance(6, 12)),
        "cores": 4 << chance(7, 5),
        "memory": (8u64 << 30) << chance(8, 6),
        "units": 1 + chance(9, 4),
        "weight": chance(10, 4000) as f64 / 100.0,
        "power": 100 + chance(11, 900),
        "price": chance(12, 1_000_000),
        "bought": format!("20{}-{:02}-{:02}T00:00:00Z", 15 + chance(13, 11), 1 + chance(14, 12), 1 + chance(15, 28)),
        "seen": format!("2026-11-{:02}T{:02}:{:02}:{:02}Z", 1 + chance(16, 20), chance(17, 24), chance(18, 60), chance(19, 60)),
        "virtual": chance(20, 5) == 0,
        "monitored": chance(21, 20) != 0,
        "firmware": format!("{}.{}.{}", chance(22, 4), chance(23, 10), chance(24, 20)),
        "os": of(25, &["debian-12", "debian-13", "rocky-9", "none"]),
        "kernel": format!("6.{}.{}", chance(26, 12), chance(27, 60)),
        "vendor": format!("vendor {}", chance(28, 25)),
        "contract": format!("C{:05}", chance(29, 5000)),
        "tags": [word(30), word(31)],
        "description": format!("{} {} for {} in {}", word(32), word(33), word(34), word(35)),
        "priority": chance(36, 10),
        "position": chance(37, 42),
    });
    let refers = match kind {
        "instance" => Some(("host", format!("host-{:07}", chance(40, each)))),
        "host" => Some(("rack", format!("rack-{:07}", chance(40, each / 20)))),
        "rack" => Some(("room", format!("room-{:07}", chance(40, 500.min(each))))),
        _ => None,
    };
    body["parent"] = json!(number / 7);
    if let Some((field, name)) = refers {
        body[field] = name.into();
    }
    body
}

fn schemas() -> Vec<Schema> {
    let fields = || {
        vec![
            ("serial", Sort::Text),
            ("memory", Sort::Bytes),
            ("bought", Sort::Time),
            ("seen", Sort::Time),
        ]
    };
    let schema = |kind: &&str| {
        let mut fields = fields();
        match *kind {
            "instance" => fields.push(("host", Sort::reference("host", "instances"))),
            "host" => fields.push(("rack", Sort::reference("rack", "hosts"))),
            "rack" => fields.push(("room", Sort::reference("room", "racks"))),
            _ => {}
        }
        let mut schema = Schema::new(kind, fields);
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
    for kind in KINDS {
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
        ("host", r#"host.serial == "SN0000000000FF""#),
        (
            "host",
            r#"host.model == "compute" && host.cores >= 32 && host.status == "active" && host.rack.room.name == "room-0000042""#,
        ),
        (
            "host",
            r#"host.model == "compute" && host.rack.room.model == "gpu" && size(host.instances) < 1"#,
        ),
        (
            "host",
            r#"host.description.contains("legacy core") && host.price < 1000"#,
        ),
        ("host", r#"host.serial.endsWith("F7")"#),
        (
            "host",
            r#"host.bought < timestamp("2016-01-01T00:00:00Z") && "gpu" in host.tags"#,
        ),
        (
            "rack",
            r#"rack.hosts.exists(h, h.cores > 32 && h.model == "gpu")"#,
        ),
        (
            "instance",
            r#"instance.host.rack.room.name == "room-0000007""#,
        ),
        (
            "host",
            r#"host.price + host.power < 2000 || !host.monitored"#,
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
    timed("hosts grouped by rack.room.name and model", 20, |_| {
        let group_by = vec!["rack.room.name".to_owned(), "model".to_owned()];
        let query = Query {
            kind: Some("host".to_owned()),
            group_by,
            ..Query::default()
        };
        index
            .find(&query)
            .map_or(0, |found| found.groups.len() as u64)
    });
    timed("the first 100 of a kind by name", 20, |_| {
        let query = Query {
            kind: Some("host".to_owned()),
            limit: 100,
            ..Query::default()
        };
        index.find(&query).map_or(0, |found| found.total)
    });
    timed("the first 100 of a kind by price", 20, |_| {
        let sort = vec!["-price".to_owned()];
        let query = Query {
            kind: Some("host".to_owned()),
            limit: 100,
            sort,
            ..Query::default()
        };
        index.find(&query).map_or(0, |found| found.total)
    });
    for words in [
        "host-0000042",
        "host-00",
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
        r#"host.model == "compute" && host.cores >= 4 && host.status != "x""#,
        "host",
        &index,
    )?;
    let one = body("host", 4711, each);
    let document = Document {
        kind: "host",
        name: "host-0004711",
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
        .map(|number| body("host", number + 1, each))
        .collect();
    let start = Instant::now();
    for (number, body) in bodies.iter().enumerate() {
        revision += 1;
        let name = format!("host-{:07}", number * 7 % usize::try_from(each)?);
        index.put(
            &Document {
                kind: "host",
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
