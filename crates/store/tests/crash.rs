//! A process that writes is killed at random moments; the store is whole each time.
//!
//! SIGKILL loses what the process had not given to the kernel; it does not lose what the kernel had
//! not given to the disk, so this shows atomicity and order of acknowledgement, not the fsync.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use wright_store::{Operation, Range, SharedStore, check, open};

/// Tells the test binary, executed again, that it is the writer, and where.
const DIRECTORY: &str = "WRIGHT_STORE_CRASH_DIRECTORY";
const WRITERS: usize = 16;
/// How often it is killed in one store; `cargo xtask soak store` kills it 1,000 times, by `WRIGHT_KILLS`.
const KILLS: u64 = 20;

/// Does nothing unless it was executed by the test below.
#[test]
fn writer_process() {
    if let Ok(directory) = std::env::var(DIRECTORY) {
        tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(write_until_killed(&directory));
    }
}

/// Each writer goes on where the store says that it was. A commit writes three keys: `a/`, `b/` and
/// the writer's `last/`.
async fn write_until_killed(directory: &str) {
    say("opening");
    let store = open(&format!("file:{directory}")).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut count = last(&store, writer).await;
            loop {
                count += 1;
                let operations = vec![
                    Operation::put(format!("a/{writer:02}/{count:08}"), "x"),
                    Operation::put(format!("last/{writer:02}"), count.to_string()),
                    Operation::put(format!("b/{writer:02}/{count:08}"), "x"),
                ];
                store.commit(Vec::new(), operations).await.unwrap();
                say(&format!("ack {writer} {count}"));
            }
        });
    }
    writers.join_all().await;
}

/// One line, at once and not through the test harness.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

async fn last(store: &SharedStore, writer: usize) -> u64 {
    let entry = store
        .get(format!("last/{writer:02}").as_bytes())
        .await
        .unwrap();
    entry.map_or(0, |entry| {
        String::from_utf8_lossy(&entry.value).parse().unwrap()
    })
}

fn start(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "writer_process",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the child after so many acknowledgements; the last that each writer was given.
fn kill_after(mut child: Child, acknowledgements: u64) -> BTreeMap<usize, u64> {
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    // The harness may write on the same line.
    lines
        .by_ref()
        .find(|line| line.ends_with("opening"))
        .expect("the writer has begun");
    let mut acknowledged = BTreeMap::new();
    let mut note = |line: String| {
        if let Some((writer, count)) = line
            .strip_prefix("ack ")
            .and_then(|ack| ack.split_once(' '))
        {
            acknowledged.insert(
                writer.parse::<usize>().unwrap(),
                count.parse::<u64>().unwrap(),
            );
        }
    };
    for _ in 0..acknowledgements {
        note(lines.next().expect("the writer goes on until it is killed"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What was acknowledged before the kill and is still in the pipe counts, too. Only the very last
    // line may have been cut.
    let rest: Vec<String> = lines.collect();
    let whole = rest.len().saturating_sub(1);
    rest.into_iter().take(whole).for_each(note);
    acknowledged
}

async fn counts(store: &SharedStore, prefix: String) -> Vec<u64> {
    let page = store
        .range(Range::prefix(prefix.clone()), 0, None)
        .await
        .unwrap();
    let count = |key: &[u8]| {
        String::from_utf8_lossy(&key[prefix.len()..])
            .parse()
            .unwrap()
    };
    page.entries.iter().map(|entry| count(&entry.key)).collect()
}

/// Every acknowledged commit is there, and none is there in part. How many there are.
async fn assert_whole(directory: &Path, acknowledged: &BTreeMap<usize, u64>) -> u64 {
    let store = open(&format!("file:{}", directory.display()))
        .await
        .unwrap();
    let mut commits = 0;
    for writer in 0..WRITERS {
        let last = last(&store, writer).await;
        assert!(
            last >= acknowledged.get(&writer).copied().unwrap_or(0),
            "writer {writer}"
        );
        let all: Vec<u64> = (1..=last).collect();
        assert_eq!(counts(&store, format!("a/{writer:02}/")).await, all);
        assert_eq!(counts(&store, format!("b/{writer:02}/")).await, all);
        commits += last;
    }
    assert_eq!(store.revision().await.unwrap(), commits);
    drop(store);
    check(directory).unwrap();
    commits
}

#[tokio::test]
async fn a_killed_writer_loses_no_acknowledged_commit_and_leaves_no_half_one() {
    let kills = std::env::var("WRIGHT_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let (mut asked, mut commits) = (0, 0);
    let mut directory = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..kills {
        if round.is_multiple_of(KILLS) {
            directory = tempfile::tempdir().unwrap();
            before = commits;
        }
        // Spread over the moments of a run: while it opens, early, and under full load.
        let acknowledgements = (round * 7919) % 401 * (round % 4);
        let acknowledged = kill_after(start(directory.path()), acknowledgements);
        asked += acknowledgements;
        commits = before + assert_whole(directory.path(), &acknowledged).await;
    }
    assert!(
        commits >= asked && asked > 2000,
        "the writer hardly wrote: {commits} commits"
    );
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_has_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start(directory.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    lines
        .find(|line| line.starts_with("ack "))
        .expect("the writer writes");
    let refused = open(&format!("file:{}", directory.path().display()))
        .await
        .unwrap_err()
        .to_string();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        refused.contains(&format!("process {} has it open", child.id())),
        "{refused}"
    );
}
