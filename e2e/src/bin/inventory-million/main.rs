//! What an inventory of many resources costs and answers, in one process with its store: one JSON line
//! for each figure.
//!
//! `cargo run --release -p wright-e2e --bin inventory-million -- STEP DIRECTORY RESOURCES`, the steps
//! one after the other: `export` writes the resources to standard output, one `kind TAB name TAB body` a
//! line; `load` writes them into the store; `answers` prints what fixed questions are answered, `measure`
//! how quickly; `write` changes them and claims what is unique.

#[path = "../../../../crates/query/examples/million/documents.rs"]
mod documents;
mod questions;

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use documents::{FIELDS, KINDS, Refers, body, mixed, name};
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value as Json, json};
use tokio::{runtime::Builder, task::JoinSet};
use wright_inventory::{
    Author, Change, Content, Inventory, Write,
    catalog::{Catalog, CatalogError, Query},
};
use wright_store::SharedStore;

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Resources of one commit of the bulk load.
const BATCH: usize = 100;
/// Tasks that load.
const LOADERS: usize = 64;
/// Resources that are made up before the clock runs.
const CHUNK: u64 = 20_000;
/// Tasks that write one resource after the other.
const WRITERS: u64 = 64;
/// How long they do.
const WRITING: Duration = Duration::from_secs(10);

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

/// Processor time of this process so far, seconds (proc(5): user and system, hundredths).
fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let times = after_name.split(' ').skip(11).take(2);
    times
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
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

async fn load(inventory: &Inventory, each: u64) -> Result {
    let author = Author::new("bench");
    for (kind, refers) in KINDS {
        let content = Content::new(definition(refers));
        let write = Write::new("kind", kind, Change::Create(content));
        inventory.write(&[write], &author).await?;
    }
    let (mut spent, mut used) = (Duration::ZERO, 0.0);
    for (kind, _) in KINDS {
        for first in (0..each).step_by(usize::try_from(CHUNK)?) {
            let numbers = first..(first + CHUNK).min(each);
            let writes: Vec<Write> = numbers.map(|number| create(kind, number, each)).collect();
            let batches = writes.chunks(BATCH).map(<[_]>::to_vec).collect::<Vec<_>>();
            let (start, before) = (Instant::now(), processor());
            let written = stream::iter(batches).map(|batch| {
                let (inventory, author) = (inventory.clone(), author.clone());
                tokio::spawn(async move { inventory.write(&batch, &author).await.map(drop) })
            });
            let mut written = written.buffer_unordered(LOADERS);
            while let Some(done) = written.next().await {
                done??;
            }
            spent += start.elapsed();
            used += processor() - before;
        }
    }
    let all = (each * KINDS.len() as u64) as f64;
    report("bulk load", all / spent.as_secs_f64(), "1/s");
    report("bulk load: processor time of one", used / all * 1e6, "µs");
    Ok(())
}

fn export(each: u64) -> Result {
    let mut out = BufWriter::new(io::stdout().lock());
    for (kind, _) in KINDS {
        for number in 0..each {
            let (name, body) = (name(kind, number), body(kind, number, each));
            writeln!(out, "{kind}\t{name}\t{body}")?;
        }
    }
    Ok(out.flush()?)
}

/// Writers that each change one field of a resource, durably, one after the other.
async fn write(inventory: &Inventory, each: u64) -> Result {
    let (end, before) = (Instant::now() + WRITING, processor());
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
    let one = (processor() - before) / done as f64 * 1e6;
    report(
        "durable writes, 64 writers: processor time of one",
        one,
        "µs",
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

/// Everything in memory, and what follows it.
async fn opened(directory: &Path) -> Result<(Inventory, Arc<Catalog>, u64)> {
    let inventory = Inventory::new(open(directory).await?);
    let catalog = Catalog::new(inventory.clone());
    let inventory = inventory.asking(catalog.clone());
    tokio::spawn(catalog.clone().run());
    loop {
        let all = Query {
            count: true,
            ..Query::default()
        };
        match catalog.answer(all, None).await {
            // A machine that does other things as well takes longer than one waits for an answer.
            Err(CatalogError::Behind { .. }) => {}
            answer => return Ok((inventory, catalog, answer?.total)),
        }
    }
}

/// The same, measured.
async fn start(directory: &Path) -> Result<(Inventory, Arc<Catalog>)> {
    let start = Instant::now();
    let (inventory, catalog, total) = opened(directory).await?;
    report("start to first answer", start.elapsed().as_secs_f64(), "s");
    report("start to first answer: processor time", processor(), "s");
    report("resources", total as f64, "resources");
    Ok((inventory, catalog))
}

/// On threads that read from the store as those of a server's API do.
fn main() -> Result {
    let mut threads = Builder::new_multi_thread();
    let threads = threads.on_thread_start(wright_store::reads_go_first);
    threads.enable_all().build()?.block_on(run())
}

async fn run() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [step, directory, resources] = arguments.as_slice() else {
        return Err("a step, a directory and a number of resources are wanted".into());
    };
    let (directory, each) = (Path::new(directory), resources.parse::<u64>()? / 12);
    match step.as_str() {
        "export" => export(each)?,
        "load" => {
            load(&Inventory::new(open(directory).await?), each).await?;
        }
        "answers" => questions::answers(&opened(directory).await?.1, each).await?,
        "measure" => {
            let (_, catalog) = start(directory).await?;
            questions::measure(&catalog, each).await?;
            report("memory with it all loaded", resident_mib(), "MiB");
        }
        "write" => {
            let (inventory, _catalog, _) = opened(directory).await?;
            write(&inventory, each).await?;
            claim(&inventory, (each * 12 / 10).max(WRITERS)).await?;
            report("memory after the writes", resident_mib(), "MiB");
        }
        other => return Err(format!("there is no step {other:?}").into()),
    }
    Ok(())
}
