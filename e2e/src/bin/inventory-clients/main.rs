//! What a running server takes and tells over its API, asked from another process: one JSON line for
//! each figure.
//!
//! `inventory-clients DIRECTORY PID`: the data directory of the server, and its process, of which
//! processor time and memory are told. It makes kinds of its own there, and leaves them.

mod client;
#[path = "../../../../crates/query/examples/million/documents.rs"]
mod documents;
mod watchers;

use std::{
    error::Error,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use client::Client;
use documents::{FIELDS, body, mixed, name};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use procfs::process::Process;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What is imported, how many, in requests of how many rows, and so many requests at a time: as
/// `wright import` does it.
const KIND: &str = "article";
const IMPORTED: u64 = 100_000;
const ROWS: u64 = 2000;
const ABREAST: usize = 4;
/// Writers of one resource after the other, and how long they write.
const WRITERS: u64 = 64;
const WRITING: Duration = Duration::from_secs(10);
/// How often a server that is still reading what it has is asked again.
const ASKED: usize = 10;

fn report(what: &str, value: f64, unit: &str) {
    println!("{}", json!({ "what": what, "value": value, "unit": unit }));
}

/// The server's process and this one.
pub struct Both {
    server: Process,
    own: Process,
}

impl Both {
    fn with(server: i32) -> Result<Self> {
        Ok(Both {
            server: Process::new(server)?,
            own: Process::myself()?,
        })
    }

    /// Processor time so far: the server's and ours.
    pub fn spent(&self) -> Result<[f64; 2]> {
        let seconds = |process: &Process| {
            let stat = process.stat()?;
            Result::Ok((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
        };
        Ok([seconds(&self.server)?, seconds(&self.own)?])
    }

    fn report_memory(&self, what: &str) -> Result {
        let resident = self.server.status()?.vmrss.ok_or("no memory")?;
        report(what, resident as f64 / 1024.0, "MiB");
        Ok(())
    }

    /// Processor time that each has used of a second, since `before`.
    pub fn report_since(&self, what: &str, before: [f64; 2], took: f64) -> Result {
        let now = self.spent()?;
        for (who, now, before) in [
            ("the server", now[0], before[0]),
            ("its clients", now[1], before[1]),
        ] {
            let used = (now - before) / took;
            report(&format!("{what}: processor time of {who}"), used, "cores");
        }
        Ok(())
    }
}

/// Waits until everything is in the server's memory.
async fn loaded(client: &Client, both: &Both) -> Result {
    let count = json!({ "count": true });
    for _ in 0..ASKED {
        match client.send_json(Method::POST, "/query", &count).await {
            Ok(_) => return both.report_memory("memory of a server with it all loaded"),
            Err(error) => eprintln!("not yet: {error}"),
        }
    }
    Err("the server does not answer".into())
}

async fn import(client: &Client, both: &Both) -> Result {
    let fields: Map<String, Value> = FIELDS
        .into_iter()
        .chain([("rack_unit", "integer")])
        .map(|(field, of)| (field.to_owned(), json!({ "type": of })))
        .collect();
    let kind = json!({ "body": { "fields": fields, "unique": [["serial"], ["asset"]] } });
    let path = format!("/resources/kind/{KIND}");
    client.send_json(Method::PUT, &path, &kind).await?;
    let row = |number: u64| {
        let (name, body) = (name(KIND, number), body(KIND, number, IMPORTED));
        json!({ "line": number + 1, "kind": KIND, "name": name, "body": body })
    };
    let request = |first: u64| {
        let rows: Vec<Value> = (first..first + ROWS).map(row).collect();
        Bytes::from(json!({ "rows": rows }).to_string())
    };
    let requests: Vec<Bytes> = (0..IMPORTED / ROWS).map(|n| request(n * ROWS)).collect();
    let (start, before) = (Instant::now(), both.spent()?);
    let created = stream::iter(requests)
        .map(|request| client.send(Method::POST, "/import", request))
        .buffer_unordered(ABREAST)
        .try_fold(0, async |sum, report| {
            Ok(sum + report["created"].as_u64().unwrap_or(0))
        });
    let created = created.await?;
    let took = start.elapsed().as_secs_f64();
    if created != IMPORTED {
        return Err(format!("{created} of {IMPORTED} were taken").into());
    }
    let what = "import by HTTP, with catalog and feed behind it";
    report(what, IMPORTED as f64 / took, "1/s");
    both.report_since(what, before, took)?;
    let count = json!({ "kind": KIND, "count": true });
    let answer = client.send_json(Method::POST, "/query", &count).await?;
    if answer["total"] != IMPORTED {
        return Err(format!("{} of {IMPORTED} are found", answer["total"]).into());
    }
    Ok(())
}

async fn write(client: &Client, both: &Both) -> Result {
    let (start, before) = (Instant::now(), both.spent()?);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = client.clone();
        writers.spawn(async move {
            let mut done = 0;
            while start.elapsed() < WRITING {
                let number = mixed(done * WRITERS + writer) % IMPORTED;
                let serial = format!("W{writer}-{done}");
                let patch = json!({ "body": { "serial": serial, "priority": done % 10 } });
                let path = format!("/resources/{KIND}/{}", name(KIND, number));
                client.send_json(Method::PATCH, &path, &patch).await?;
                done += 1;
            }
            Result::Ok(done)
        });
    }
    let mut done = 0;
    while let Some(writer) = writers.join_next().await {
        done += writer??;
    }
    let took = start.elapsed().as_secs_f64();
    let what = "durable writes by HTTP, with audit, 64 writers";
    report(what, done as f64 / took, "1/s");
    both.report_since(what, before, took)
}

#[tokio::main]
async fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, server] = arguments.as_slice() else {
        return Err("a data directory and the server's process are wanted".into());
    };
    let (client, both) = (Client::open(Path::new(data))?, Both::with(server.parse()?)?);
    loaded(&client, &both).await?;
    import(&client, &both).await?;
    write(&client, &both).await?;
    watchers::watch(&client, &both).await?;
    both.report_memory("memory of a server after all that")
}
