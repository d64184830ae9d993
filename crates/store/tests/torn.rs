//! The last write of a commit is cut at a byte: power was lost. The store opens all the same, and the
//! commit is there as a whole or not at all; those before it are there.
//!
//! A test takes the offsets around each boundary of the log and a part of those between;
//! `WRIGHT_EVERY_OFFSET` (`cargo xtask soak store`) takes every one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{fs, path::Path};

use tempfile::TempDir;
use wright_store::{Operation, Range, SharedStore, check, open};

const LOG: &str = "store.db-wal";
/// The log's header, and what it has before each page of 4,096 bytes (SQLite's file format, section
/// 4, "The Write-Ahead Log").
const LOG_HEADER: usize = 32;
const FRAME: usize = 24 + 4096;
const COMMITS: u64 = 5;
/// Between boundaries, one of so many offsets.
const STRIDE: usize = 211;

/// In memory where there is such a place: a disk would only be slow here.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

async fn opened(directory: &Path) -> SharedStore {
    open(&format!("file:{}", directory.display()))
        .await
        .unwrap()
}

/// Two keys that only ever change together, the second over several pages.
async fn write(store: &SharedStore, number: u64) {
    let operations = vec![
        Operation::put("first".to_owned(), number.to_string()),
        Operation::put(
            "second".to_owned(),
            format!("{number}/{}", "x".repeat(9_000)),
        ),
    ];
    store.commit(Vec::new(), operations).await.unwrap();
}

/// The number of the last commit that is there, which is there as a whole.
async fn last(directory: &Path) -> u64 {
    let store = opened(directory).await;
    let page = store.range(Range::prefix(""), 0, None).await.unwrap();
    let values: Vec<String> = page
        .entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
        .collect();
    let number = values[0].parse().unwrap();
    let (second, rest) = values[1].split_once('/').unwrap();
    assert_eq!(
        (second.parse::<u64>().unwrap(), rest.len()),
        (number, 9_000)
    );
    assert_eq!(store.revision().await.unwrap(), number);
    drop(store);
    check(directory).unwrap();
    number
}

fn offsets(before: usize, after: usize) -> Vec<usize> {
    let every = std::env::var_os("WRIGHT_EVERY_OFFSET").is_some();
    let near = |offset: &usize| {
        let within = (offset - LOG_HEADER) % FRAME;
        within <= 26 || within >= FRAME - 2 || within.is_multiple_of(STRIDE)
    };
    (before..=after)
        .filter(|offset| every || near(offset))
        .collect()
}

#[tokio::test]
async fn a_commit_that_was_cut_at_any_byte_is_there_as_a_whole_or_not_at_all() {
    let original = directory();
    let store = opened(original.path()).await;
    for number in 1..COMMITS {
        write(&store, number).await;
    }
    let before = fs::metadata(original.path().join(LOG)).unwrap().len();
    write(&store, COMMITS).await;
    let database = fs::read(original.path().join("store.db")).unwrap();
    let log = fs::read(original.path().join(LOG)).unwrap();
    let before = usize::try_from(before).unwrap();
    assert!(
        log.len() > before + 3 * FRAME,
        "the commit is several pages"
    );

    let place = directory();
    for cut in offsets(before, log.len()) {
        // What was not written is missing, or is whatever was on the disk before.
        for rest in [0, log.len() - cut] {
            let torn = place.path().join(format!("{cut}-{rest}"));
            fs::create_dir(&torn).unwrap();
            fs::write(torn.join("store.db"), &database).unwrap();
            let mut bytes = log[..cut].to_vec();
            bytes.extend(std::iter::repeat_n(0xa5, rest));
            fs::write(torn.join(LOG), bytes).unwrap();
            let whole = cut == log.len();
            let expected = if whole { COMMITS } else { COMMITS - 1 };
            assert_eq!(
                last(&torn).await,
                expected,
                "cut at {cut}, then {rest} bytes"
            );
            fs::remove_dir_all(&torn).unwrap();
        }
    }
}
