//! What an inventory of many resources costs and answers, in one process with its store: one JSON line
//! for each figure.
//!
//! `cargo run --release -p wright-inventory --example million -- DIRECTORY RESOURCES [FILE]`; with a
//! file, the resources are written there as well, one `kind TAB name TAB body` a line.

#[path = "../../query/examples/million/documents.rs"]
mod documents;

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    io::{BufWriter, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use documents::{FIELDS, KINDS, Refers, body, mixed, name};
use serde_json::{Map, Value as Json, json};
use tokio::task::JoinSet;
use wright_inventory::{
    Author, Change, Content, Inventory, Write,
    catalog::{Catalog, CatalogError, Query},
};
use wright_store::SharedStore;

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Resources of one commit of the bulk load.
const BATCH: u64 = 100;
/// Tasks that load.
const LOADERS: u64 = 8;
/// Tasks that write one resource after the other.
const WRITERS: u64 = 64;
/// How long they do.
const WRITING: Duration = Duration::from_secs(10);
/// How often each question is asked.
const TIMES: u64 = 200;

fn report(what: &str, value: f64, unit: &str) {
    println!("{}", json!({ "what": what, "value": value, "unit": unit }));
}

fn resident_mib() -> f64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = pages
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0);
    pages * 4096.0 / f64::from(1 << 20)
}

async fn open(directory: &Path) -> Result<SharedStore> {
    Ok(wright_store::open(&format!("file:{}", directory.display())).await?)
}

/// A kind: its fields, what it refers to, and that serial and asset numbers are given once.
fn definition(refers: Option<Refers>) -> Json {
    let mut fields = Map::new();
    for (field, of) in FIELDS {
        fields.insert(field.to_owned(), json!({ "type": of }));
    }
    match refers {
        Some((field, to, reverse)) => {
            let reference = json!({ "type": "reference", "to": to, "reverse": reverse });
            fields.insert(field.to_owned(), reference);
        }
        None => {
            fields.insert("rack_unit".to_owned(), json!({ "type": "integer" }));
        }
    }
    json!({ "fields": fields, "unique": [["serial"], ["asset"]] })
}

fn create(kind: &str, number: u64, each: u64) -> Write {
    let content = Content::new(body(kind, number, each));
    Write::new(kind, &name(kind, number), Change::Create(content))
}

async fn load(inventory: &Inventory, each: u64) -> Result<f64> {
    let author = Author::new("bench");
    for (kind, refers) in KINDS {
        let content = Content::new(definition(refers));
        let write = Write::new("kind", kind, Change::Create(content));
        inventory.write(&[write], &author).await?;
    }
    let start = Instant::now();
    for (kind, _) in KINDS {
        let next = Arc::new(AtomicU64::new(0));
        let mut loaders = JoinSet::new();
        for _ in 0..LOADERS {
            let (inventory, author, next) = (inventory.clone(), author.clone(), next.clone());
            loaders.spawn(async move {
                loop {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    if first >= each {
                        return Result::Ok(());
                    }
                    let numbers = first..(first + BATCH).min(each);
                    let writes: Vec<_> = numbers.map(|n| create(kind, n, each)).collect();
                    inventory.write(&writes, &author).await?;
                }
            });
        }
        while let Some(done) = loaders.join_next().await {
            done??;
        }
    }
    Ok((each * KINDS.len() as u64) as f64 / start.elapsed().as_secs_f64())
}

fn export(file: &Path, each: u64) -> Result {
    let mut out = BufWriter::new(fs::File::create(file)?);
    for (kind, _) in KINDS {
        for number in 0..each {
            writeln!(
                out,
                "{kind}\t{}\t{}",
                name(kind, number),
                body(kind, number, each)
            )?;
        }
    }
    Ok(out.flush()?)
}

fn percentile(times: &mut [f64], of: usize) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    let last = times.len().saturating_sub(1);
    times
        .get((times.len() * of / 100).min(last))
        .copied()
        .unwrap_or(0.0)
}

async fn ask(what: &str, catalog: &Arc<Catalog>, mut query: impl FnMut(u64) -> Query) -> Result {
    let (mut times, mut total) = (Vec::new(), 0);
    for round in 0..TIMES {
        let query = query(round);
        let start = Instant::now();
        let answer = catalog.answer(query).await?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        total += answer.total;
    }
    report(&format!("{what}: p50"), percentile(&mut times, 50), "ms");
    report(&format!("{what}: p99"), percentile(&mut times, 99), "ms");
    report(
        &format!("{what}: rows"),
        total as f64 / TIMES as f64,
        "rows",
    );
    Ok(())
}

async fn questions(catalog: &Arc<Catalog>, each: u64) -> Result {
    let hall = |round: u64| name("hall", mixed(round) % documents::targets("hall", each));
    let of = |kind: &str, filter: String| Query {
        kind: Some(kind.to_owned()),
        filter: Some(filter),
        select: vec!["serial".to_owned(), "cabinet.hall.name".to_owned()],
        limit: 100,
        ..Query::default()
    };
    ask("three predicates and one relation hop, 100 results", catalog, |round| {
        let model = ["compute", "storage", "network", "gpu"][usize::try_from(round % 4).unwrap_or(0)];
        let site = round % 12;
        of("machine", format!(
            r#"machine.model == "{model}" && machine.cores >= 16 && machine.status == "active" && machine.cabinet.site == "site-{site}""#
        ))
    })
    .await?;
    ask("three predicates and two relation hops, 100 results", catalog, |round| {
        let hall = hall(round);
        of("machine", format!(
            r#"machine.model == "compute" && machine.cores >= 16 && machine.cabinet.hall.name == "{hall}" && size(machine.programs) < 4"#
        ))
    })
    .await?;
    ask("one by its serial", catalog, |round| {
        let one = body("machine", mixed(round) % each, each);
        of("machine", format!("machine.serial == {}", one["serial"]))
    })
    .await?;
    ask("count grouped by two fields over all", catalog, |_| Query {
        group_by: vec!["status".to_owned(), "environment".to_owned()],
        ..Query::default()
    })
    .await?;
    let words = [
        "machine-00",
        "legacy core",
        "team-07 backup",
        "gpu",
        "10.0.7",
        "user0001 edge",
        "SN00",
        "c00042",
        "vendor lab",
        "b",
    ];
    let mut times = Vec::new();
    for round in 0..TIMES {
        let text = words[usize::try_from(round).unwrap_or(0) % words.len()].to_owned();
        let start = Instant::now();
        catalog.search(text, Vec::new(), 20).await?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    report(
        "full-text search, first 20: p50",
        percentile(&mut times, 50),
        "ms",
    );
    report(
        "full-text search, first 20: p99",
        percentile(&mut times, 99),
        "ms",
    );
    Ok(())
}

/// Writers that each change one field of a resource, durably, one after the other.
async fn write(inventory: &Inventory, each: u64) -> Result {
    let end = Instant::now() + WRITING;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let inventory = inventory.clone();
        writers.spawn(async move {
            let (author, mut done) = (Author::new("bench"), 0u64);
            while Instant::now() < end {
                let number = mixed(done * WRITERS + writer) % each;
                let serial = format!("W{writer}-{done}");
                let patch = json!({ "body": { "serial": serial, "priority": done % 10 } });
                let change = Change::Merge { patch };
                let write = Write::new("machine", &name("machine", number), change);
                inventory.write(&[write], &author).await?;
                done += 1;
            }
            Result::Ok(done)
        });
    }
    let mut done = 0;
    while let Some(writer) = writers.join_next().await {
        done += writer??;
    }
    let rate = done as f64 / WRITING.as_secs_f64();
    report(
        "durable writes with validation, uniqueness and history, 64 writers",
        rate,
        "1/s",
    );
    Ok(())
}

/// Writers that all claim the same numbers: each must be given once.
async fn claim(inventory: &Inventory, claims: u64) -> Result {
    let serials = (claims / WRITERS).max(1);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let inventory = inventory.clone();
        writers.spawn(async move {
            let (author, mut given) = (Author::new("bench"), Vec::new());
            for serial in 0..serials {
                let content = Content::new(json!({ "serial": format!("claimed-{serial}") }));
                let name = format!("claim-{writer}-{serial}");
                let write = Write::new("offer", &name, Change::Create(content));
                if inventory.write(&[write], &author).await.is_ok() {
                    given.push(serial);
                }
            }
            given
        });
    }
    let mut given = Vec::new();
    while let Some(writer) = writers.join_next().await {
        given.extend(writer?);
    }
    let distinct = given.iter().collect::<BTreeSet<_>>().len();
    if distinct as u64 != serials {
        return Err(format!("{distinct} of {serials} numbers were given").into());
    }
    report(
        "conflicting unique claims: duplicates",
        (given.len() - distinct) as f64,
        "duplicates",
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("a directory is wanted")?;
    let directory = Path::new(&directory);
    let each = arguments
        .next()
        .ok_or("a number of resources is wanted")?
        .parse::<u64>()?
        / 12;
    if let Some(file) = arguments.next() {
        export(Path::new(&file), each)?;
    }
    let store = open(directory).await?;
    let rate = load(&Inventory::new(store.clone()), each).await?;
    report("bulk load", rate, "1/s");
    drop(store);

    let start = Instant::now();
    let inventory = Inventory::new(open(directory).await?);
    let catalog = Catalog::new(inventory.clone());
    let inventory = inventory.asking(catalog.clone());
    tokio::spawn(catalog.clone().run());
    let answer = loop {
        let all = Query {
            count: true,
            ..Query::default()
        };
        match catalog.answer(all).await {
            // A machine that does other things as well takes longer than one waits for an answer.
            Err(CatalogError::Behind { .. }) => {}
            answer => break answer?,
        }
    };
    report("start to first answer", start.elapsed().as_secs_f64(), "s");
    report("resources", answer.total as f64, "resources");
    questions(&catalog, each).await?;
    report("memory with it all loaded", resident_mib(), "MiB");
    write(&inventory, each).await?;
    claim(&inventory, (each * 12 / 10).max(WRITERS)).await?;
    report("memory after the writes", resident_mib(), "MiB");
    Ok(())
}
