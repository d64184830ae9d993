//! Watchers under a server that is killed again and again: nothing is missed, nothing is heard twice.

// A helper may fail a test in the same way as the test does.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use wright_e2e::{Running, built};

/// How long anything that must come to be may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// Kills of the server; more with `WRIGHT_KILLS`.
const KILLS: usize = 8;
const WATCHERS: usize = 6;
/// Resources that are written again and again.
const WRITTEN: usize = 20;

/// A server by itself.
struct Bed {
    directory: tempfile::TempDir,
    address: Ipv4Addr,
    server: Option<Running>,
}

impl Bed {
    fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("wright-e2e-")
            .tempdir()
            .unwrap();
        let [low, high, ..] = std::process::id().to_le_bytes();
        let mut bed = Bed {
            directory,
            address: Ipv4Addr::new(127, 100 + (high & 0x0f), low.max(1), 1),
            server: None,
        };
        bed.start();
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&mut self) {
        let mut command = self.command(&["server"]);
        command.args(["--api", &format!("{}:7400", self.address)]);
        command.args(["--agents", &format!("{}:7401", self.address)]);
        self.server = Some(Running::start(
            &mut command,
            &self.path("server.log"),
            "data ",
        ));
    }

    /// SIGKILL, and another one.
    fn kill(&mut self) {
        self.server.take();
        self.start();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(built("wright"));
        command
            .env("WRIGHT_DATA", self.path("data"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Starts a watcher whose changes go to a file, a line of JSON each.
    fn watch(&self, number: usize, more: &[&str]) -> Watching {
        let file = self.path(&format!("watcher-{number}"));
        let mut command = self.command(&["watch", "supplier", "-o", "json"]);
        command.args(more);
        let out = File::create(&file).unwrap();
        let err = File::create(file.with_extension("err")).unwrap();
        let child = command.stdout(out).stderr(err).spawn().unwrap();
        Watching { file, child }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    fn eventually(&self, what: &str, mut test: impl FnMut() -> bool) {
        let started = Instant::now();
        while !test() {
            assert!(started.elapsed() < PATIENCE, "{what}: {}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

struct Watching {
    file: PathBuf,
    child: Child,
}

impl Watching {
    fn changes(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.file).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// How much it was told so far, in bytes.
    fn heard(&self) -> u64 {
        fs::metadata(&self.file).unwrap().len()
    }

    fn has_ended(&self) -> bool {
        let text = fs::read(&self.file).unwrap();
        let last = text.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
        let last: Option<Value> = last.and_then(|line| serde_json::from_slice(line).ok());
        last.is_some_and(|change| change["name"] == "end")
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Imports the next state of all resources, whether the server is there or not.
fn write(bed: &Path, data: &Path, round: u32) {
    let file = bed.join("round.jsonl");
    let mut text = String::new();
    for number in 0..WRITTEN {
        let _ = writeln!(
            text,
            "{{\"name\":\"s{number}\",\"body\":{{\"title\":\"{round}\"}}}}"
        );
    }
    fs::write(&file, text).unwrap();
    import(data, &file);
}

fn import(data: &Path, file: &Path) -> bool {
    let mut command = Command::new(built("wright"));
    command
        .env("WRIGHT_DATA", data)
        .args(["import", "--kind", "supplier"])
        .arg(file);
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().unwrap().success()
}

/// Positions grow, and what each resource was is what it had been left as.
fn check(changes: &[Value], what: &str) {
    let mut left: HashMap<&str, &Value> = HashMap::new();
    let mut last = (0, 0);
    for change in changes {
        let position = change["position"].as_str().unwrap();
        let (revision, nth) = position.split_once('.').unwrap_or((position, "4294967295"));
        let position: (u64, u32) = (revision.parse().unwrap(), nth.parse().unwrap());
        assert!(position > last, "{what}: {position:?} after {last:?}");
        last = position;
        let name = change["name"].as_str().unwrap();
        let before = left.get(name).copied().unwrap_or(&Value::Null);
        assert_eq!(
            &change["before"]["revision"], &before["revision"],
            "{what}: a gap before {change}"
        );
        left.insert(name, &change["after"]);
    }
}

#[test]
fn watchers_of_a_server_that_is_killed_again_and_again_miss_nothing_and_hear_nothing_twice() {
    let kills = std::env::var("WRIGHT_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok());
    let kills: usize = kills.unwrap_or(KILLS);
    let mut bed = Bed::new();
    let watchers: Vec<Watching> = (0..WATCHERS)
        .map(|number| bed.watch(number, &["--from", "1"]))
        .collect();
    let (directory, data) = (bed.directory.path().to_owned(), bed.path("data"));
    let (stop, rounds) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let round = rounds.fetch_add(1, Ordering::Relaxed);
                write(&directory, &data, round);
            }
        });
        for _ in 0..kills {
            let before: Vec<u64> = watchers.iter().map(Watching::heard).collect();
            bed.eventually("all watchers go on", || {
                watchers
                    .iter()
                    .zip(&before)
                    .all(|(watcher, before)| watcher.heard() > *before)
            });
            bed.kill();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let end = bed.path("end.jsonl");
    fs::write(&end, "{\"name\":\"end\",\"body\":{}}\n").unwrap();
    assert!(import(&data, &end), "{}", bed.log());
    bed.eventually("all watchers come to the end", || {
        watchers.iter().all(Watching::has_ended)
    });
    let all: Vec<Vec<Value>> = watchers.iter().map(Watching::changes).collect();
    for (number, changes) in all.iter().enumerate() {
        check(changes, &format!("watcher {number}"));
        assert_eq!(changes, &all[0], "watcher {number} heard something else");
    }
    println!(
        "{kills} kills, {} changes to each of {WATCHERS} watchers",
        all[0].len()
    );
}
