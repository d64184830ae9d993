//! A whole shop of its own: real PostgreSQL, Redis and NATS, the apps, and a route lookup.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod middleware;
mod visitor;

use http::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};
pub use visitor::Visitor;

/// How long anything in a test may take to come about.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "test-password";

macro_rules! programs {
    ($($name:literal),*) => {
        [$(($name, env!(concat!("CARGO_BIN_EXE_", $name)))),*]
    };
}

/// The apps, those first that others wait for.
pub const APPS: [&str; 12] = [
    "catalog",
    "stock",
    "pricing",
    "cart",
    "user",
    "payment",
    "order",
    "search",
    "shipping",
    "recommendation",
    "notification",
    "storefront",
];

pub fn program(name: &str) -> &'static str {
    let programs = programs!(
        "catalog",
        "stock",
        "pricing",
        "cart",
        "user",
        "payment",
        "order",
        "search",
        "shipping",
        "recommendation",
        "notification",
        "storefront",
        "shop-buyer"
    );
    programs
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, path)| *path)
        .unwrap()
}

type Table = Arc<Mutex<BTreeMap<String, Vec<(String, String)>>>>;

pub struct Site {
    address: String,
    directory: TempDir,
    running: BTreeMap<String, Child>,
    table: Table,
}

/// Waits until `check` says yes.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let begun = Instant::now();
    while !check().await {
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

impl Site {
    /// Starts the middleware and the apps named; an app named twice runs as two instances.
    pub async fn start(apps: &[&str]) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let third = 1 + std::process::id() % 250;
        let address = format!("127.99.{third}.{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut site = Self {
            address,
            directory,
            running: BTreeMap::new(),
            table: Table::default(),
        };
        let initialised = site.init_postgres();
        site.start_redis();
        site.start_nats();
        site.serve_lookup().await;
        initialised.await;
        site.start_postgres().await;
        for (at, app) in apps.iter().enumerate() {
            site.start_app(app, at);
        }
        for (at, app) in apps.iter().enumerate() {
            site.healthy(app, at).await;
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn spawn(&mut self, name: &str, mut command: Command) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{name}.log")))
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        self.running.insert(name.to_owned(), child);
    }

    /// Answers as an agent does. It goes on naming instances that died, as an agent does for a while.
    async fn serve_lookup(&self) {
        let table = self.table.clone();
        let find = async move |axum::extract::Path(service): axum::extract::Path<String>| {
            let table = table.lock().unwrap();
            let endpoints: Vec<Value> = table
                .get(&service)
                .into_iter()
                .flatten()
                .map(|(instance, address)| {
                    let (address, port) = address.split_once(':').unwrap();
                    let port: u16 = port.parse().unwrap();
                    json!({ "instance": instance, "address": address, "ports": { "http": port }, "weight": 100 })
                })
                .collect();
            axum::Json(json!({ "service": service, "revision": 1, "endpoints": endpoints }))
        };
        let router = axum::Router::new().route("/services/{service}", axum::routing::get(find));
        let listener = tokio::net::TcpListener::bind(format!("{}:7070", self.address))
            .await
            .unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    fn start_app(&mut self, app: &str, at: usize) {
        let listen = format!("{}:{}", self.address, 8000 + at);
        let instance = format!("{app}-{at}");
        let mut text = format!(
            "listen = \"{listen}\"\nlookup = \"http://{}:7070/services\"\n",
            self.address
        );
        if !matches!(app, "storefront" | "search" | "pricing" | "cart") {
            text += &format!("[postgres]\nprimary = \"{}\"\n", self.postgres("shop"));
        }
        if matches!(app, "cart" | "user") {
            text += &format!(
                "[redis]\nurl = \"redis://:{PASSWORD}@{}:6379/\"\n",
                self.address
            );
        }
        if matches!(
            app,
            "catalog" | "search" | "order" | "shipping" | "recommendation" | "notification"
        ) {
            text += &format!(
                "[nats]\nurl = \"nats://{PASSWORD}@{}:4222\"\n",
                self.address
            );
        }
        if app == "shipping" {
            text += "[parameters]\nhandling-ms = 100\n";
        }
        let file = self.path(&format!("{instance}.toml"));
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(program(app));
        command.arg("--config").arg(file);
        self.spawn(&instance, command);
        self.table
            .lock()
            .unwrap()
            .entry(app.to_owned())
            .or_default()
            .push((instance, listen));
    }

    async fn healthy(&self, app: &str, at: usize) {
        let url = format!("http://{}:{}/healthz", self.address, 8000 + at);
        let begun = Instant::now();
        loop {
            let answer = Visitor::default().send(Method::GET, &url, "").await;
            if matches!(answer, Ok((StatusCode::OK, _))) {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{app} is not healthy: {answer:?}\n{}",
                self.log(&format!("{app}-{at}"))
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// `http://…` of the first instance of an app.
    pub fn url(&self, app: &str) -> String {
        format!("http://{}", self.table.lock().unwrap()[app][0].1)
    }

    /// Ends a program at once, as a crash does, and waits until it is gone.
    pub async fn kill(&mut self, name: &str) {
        let mut child = self.running.remove(name).unwrap();
        // Killing PostgreSQL outright would leave its shared memory to the next start; this is its
        // own way to stop without saying good-bye.
        signal(
            &child,
            if name == "postgres" {
                Signal::QUIT
            } else {
                Signal::KILL
            },
        );
        child.wait().await.unwrap();
    }

    /// Asks a program to end, and gives its exit code.
    pub async fn terminate(&mut self, name: &str) -> Option<i32> {
        let mut child = self.running.remove(name).unwrap();
        signal(&child, Signal::TERM);
        child.wait().await.unwrap().code()
    }

    /// Runs `shop-buyer` and gives what it printed.
    pub fn buyer(&self, more: &[&str]) -> impl Future<Output = Value> + use<> {
        let mut command = Command::new(program("shop-buyer"));
        command
            .arg("--url")
            .arg(self.url("storefront"))
            .args(more)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        async move {
            let output = command.output().await.unwrap();
            let complaints = String::from_utf8_lossy(&output.stderr);
            serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| panic!("{error}: {complaints}"))
        }
    }

    pub async fn available(&self, sku: &str) -> i64 {
        let url = format!("{}/stock/{sku}", self.url("stock"));
        Visitor::default().json(Method::GET, &url, "").await["available"]
            .as_i64()
            .unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut postgres) = self.running.remove("postgres") {
            // Its children end by themselves when it does so properly.
            signal(&postgres, Signal::QUIT);
            let begun = Instant::now();
            while matches!(postgres.try_wait(), Ok(None))
                && begun.elapsed() < Duration::from_secs(5)
            {
                std::thread::yield_now();
            }
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    if let Some(id) = id {
        kill_process(id, signal).unwrap();
    }
}
