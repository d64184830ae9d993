//! What the embedded engine promises beyond the conformance suite.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::{Changes, SharedStore, open};

crate::conformance_tests! { opened }

async fn opened() -> (TempDir, SharedStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = reopen(&directory).await;
    (directory, store)
}

async fn reopen(directory: &TempDir) -> SharedStore {
    open(&format!("file:{}", directory.path().display()))
        .await
        .unwrap()
}

async fn put(store: &SharedStore, key: &'static str, value: &'static str) -> Revision {
    store
        .commit(Vec::new(), vec![Operation::put(key, value)])
        .await
        .unwrap()
}

async fn everything(store: &SharedStore) -> Page {
    store.range(Range::prefix(""), 0, None).await.unwrap()
}

#[tokio::test]
async fn a_url_that_names_no_place_is_refused_with_what_would_do() {
    for (url, hint) in [
        ("etcd://a", "HOST:PORT"),
        ("file:", "`file:DIR`"),
        ("store", "`file:DIR`"),
        ("file:/dev/null/store", "Not a directory"),
    ] {
        let refused = open(url).await.unwrap_err().to_string();
        assert!(refused.contains(url) && refused.contains(hint), "{refused}");
    }
}

#[tokio::test]
async fn a_directory_that_is_open_is_refused_with_the_holders_process() {
    let (directory, store) = opened().await;
    let refused = open(&format!("file:{}", directory.path().display()))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains(&format!("process {} has it open", std::process::id())),
        "{refused}"
    );
    drop(store);
    reopen(&directory).await;
}

#[tokio::test]
async fn what_is_in_the_store_is_for_its_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("new/store");
    let _store = open(&format!("file:{}", directory.display()))
        .await
        .unwrap();
    let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn everything_is_there_after_opening_anew() {
    let (directory, store) = opened().await;
    let lease = store.lease_grant(3600).await.unwrap();
    let first = put(&store, "a", "one").await;
    let on_lease = Operation::Put {
        key: "b".into(),
        value: "x".into(),
        lease: Some(lease),
    };
    store.commit(Vec::new(), vec![on_lease]).await.unwrap();
    put(&store, "a", "two").await;
    let (then, now) = (
        store
            .range(Range::prefix(""), 0, Some(first))
            .await
            .unwrap(),
        everything(&store).await,
    );
    drop(store);

    let store = reopen(&directory).await;
    assert_eq!(everything(&store).await, now);
    assert_eq!(
        store
            .range(Range::prefix(""), 0, Some(first))
            .await
            .unwrap(),
        then
    );
    let mut watch = store.watch(Range::prefix(""), 0).await.unwrap();
    let replayed: Vec<Changes> = [watch.next().await, watch.next().await, watch.next().await]
        .into_iter()
        .map(|changes| changes.unwrap().unwrap())
        .collect();
    assert_eq!(
        replayed
            .iter()
            .map(|changes| changes[0].revision)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    store.lease_keep_alive(lease).await.unwrap();
    assert!(
        store.lease_grant(1).await.unwrap() > lease,
        "a lease's number is used once"
    );
    store.lease_revoke(lease).await.unwrap();
    assert_eq!(store.get(b"b").await.unwrap(), None);
}

#[tokio::test]
async fn a_lease_from_before_ends_after_its_whole_time() {
    let (directory, store) = opened().await;
    let lease = store.lease_grant(1).await.unwrap();
    let on_lease = Operation::Put {
        key: "a".into(),
        value: "x".into(),
        lease: Some(lease),
    };
    let revision = store.commit(Vec::new(), vec![on_lease]).await.unwrap();
    drop(store);
    let store = reopen(&directory).await;
    let opened = std::time::Instant::now();
    let mut watch = store.watch(Range::key("a"), revision).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap()[0].after, None);
    assert!(
        opened.elapsed() > std::time::Duration::from_millis(900),
        "{:?}",
        opened.elapsed()
    );
}

#[tokio::test]
async fn commits_that_were_asked_for_are_made_before_the_store_closes() {
    let (directory, store) = opened().await;
    let pending: Vec<_> = (0..100)
        .map(|index: usize| {
            let put = Operation::put(format!("k{index:03}"), "x");
            let mut commit = Box::pin({
                let store = store.clone();
                async move { store.commit(Vec::new(), vec![put]).await }
            });
            // Polled once, so that it is asked for; then nobody waits for the answer.
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(commit.as_mut().poll(&mut context).is_pending());
            commit
        })
        .collect();
    drop(pending);
    drop(store);
    assert_eq!(
        everything(&reopen(&directory).await).await.entries.len(),
        100
    );
}

#[tokio::test]
async fn a_watch_ends_when_the_store_is_closed() {
    let (_directory, store) = opened().await;
    let mut watch = store.watch(Range::prefix(""), 0).await.unwrap();
    drop(store);
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn an_empty_commit_has_its_revision_also_after_opening_anew() {
    let (directory, store) = opened().await;
    assert_eq!(store.commit(Vec::new(), Vec::new()).await.unwrap(), 1);
    drop(store);
    assert_eq!(reopen(&directory).await.revision().await.unwrap(), 1);
}

#[tokio::test]
async fn compaction_makes_the_history_shorter() {
    let (directory, store) = opened().await;
    for _ in 0..10 {
        put(&store, "kept", "x").await;
        put(&store, "gone", "x").await;
    }
    let newest = store
        .commit(Vec::new(), vec![Operation::Delete("gone".into())])
        .await
        .unwrap();
    store.compact(newest).await.unwrap();
    let connection = schema::open_reader(&directory.path().join(FILE)).unwrap();
    let rows: i64 = connection
        .query_row("SELECT COUNT(*) FROM history", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);
    assert_eq!(
        check(directory.path()).unwrap(),
        Summary {
            keys: 1,
            newest,
            oldest: newest
        }
    );
}

#[tokio::test]
async fn compaction_in_many_steps_leaves_what_one_step_does() {
    let mut left = Vec::new();
    for steps in [1, 30] {
        let (directory, store) = opened().await;
        for number in 0..120_u64 {
            let key = format!("key-{}", number * 7 % 11);
            let operation = match number % 5 {
                4 => Operation::Delete(key.into()),
                _ => Operation::put(key, number.to_string()),
            };
            store.commit(Vec::new(), vec![operation]).await.unwrap();
            if steps > 1 && number % 4 == 0 && number <= 100 {
                store.compact(number).await.unwrap();
            }
        }
        store.compact(101).await.unwrap();
        let connection = schema::open_reader(&directory.path().join(FILE)).unwrap();
        let mut rows = connection
            .prepare(
                "SELECT key, revision, value IS NULL FROM history WHERE value IS NOT NULL
                 UNION ALL SELECT key, modified, value IS NULL FROM entry ORDER BY key, revision",
            )
            .unwrap();
        let row = |row: &rusqlite::Row<'_>| {
            Ok((
                row.get::<_, Vec<u8>>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, bool>(2)?,
            ))
        };
        let rows: Result<Vec<_>, _> = rows.query_map([], row).unwrap().collect();
        left.push(rows.unwrap());
    }
    assert_eq!(left[0], left[1]);
}

#[tokio::test]
async fn a_backup_taken_while_the_store_is_in_use_is_a_store() {
    let (directory, store) = opened().await;
    put(&store, "a", "one").await;
    put(&store, "a", "two").await;
    let now = everything(&store).await;
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join(FILE);
    backup(directory.path(), &file).unwrap();
    put(&store, "a", "three").await;
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        check(copy.path()).unwrap(),
        Summary {
            keys: 1,
            newest: 2,
            oldest: 0
        }
    );
    assert_eq!(everything(&reopen(&copy).await).await, now);
    let refused = backup(directory.path(), &file).unwrap_err().to_string();
    assert!(refused.contains("exists"), "{refused}");
}

#[tokio::test]
async fn a_backup_that_cannot_be_made_leaves_nothing() {
    let (empty, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(matches!(
        backup(empty.path(), &target.path().join("copy")),
        Err(StoreError::Open { .. })
    ));
    assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_restored_store_has_what_its_backup_has_and_no_revision_that_somebody_may_have_seen() {
    let (directory, store) = opened().await;
    put(&store, "a", "one").await;
    put(&store, "a", "two").await;
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("backup");
    backup(directory.path(), &file).unwrap();
    let lost = put(&store, "b", "lost").await;
    let refused = restore(directory.path(), &file, true).unwrap_err();
    assert!(refused.to_string().contains("has it open"), "{refused}");
    drop(store);
    let refused = restore(directory.path(), &file, false).unwrap_err();
    assert!(refused.to_string().contains("--replace"), "{refused}");
    let (summary, kept) = restore(directory.path(), &file, true).unwrap();
    assert_eq!(check(directory.path()).unwrap(), summary);
    let store = reopen(&directory).await;
    let now = everything(&store).await;
    let values: Vec<_> = now.entries.iter().map(|entry| &entry.value[..]).collect();
    assert_eq!(values, [b"two"]);
    let watched = match store.watch(Range::prefix(""), lost).await {
        Ok(mut watch) => watch.next().await.unwrap().unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(watched, StoreError::Compacted { .. }), "{watched}");
    assert!(put(&store, "b", "new").await > lost);
    // What was replaced is kept, and can be had back.
    drop(store);
    restore(directory.path(), &kept.unwrap(), true).unwrap();
    assert_eq!(everything(&reopen(&directory).await).await.entries.len(), 2);
}

#[tokio::test]
async fn what_is_no_whole_backup_is_not_restored_and_leaves_the_store_as_it_was() {
    let (directory, store) = opened().await;
    put(&store, "a", "one").await;
    let now = everything(&store).await;
    drop(store);
    let copy = tempfile::tempdir().unwrap();
    let damaged = copy.path().join("damaged");
    backup(directory.path(), &damaged).unwrap();
    let connection = rusqlite::Connection::open(&damaged).unwrap();
    connection
        .execute("UPDATE entry SET value = x'00'", [])
        .unwrap();
    drop(connection);
    let text = copy.path().join("text");
    std::fs::write(&text, "no database").unwrap();
    for (file, named) in [
        (damaged, "differ from their checksum"),
        (text, "not a database"),
        (copy.path().join("missing"), "missing"),
    ] {
        let refused = restore(directory.path(), &file, true).unwrap_err();
        assert!(refused.to_string().contains(named), "{refused}");
    }
    let names = std::fs::read_dir(directory.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| !name.starts_with("store.")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(everything(&reopen(&directory).await).await, now);
}

#[tokio::test]
async fn a_check_finds_what_disagrees_with_the_history() {
    for (damage, named) in [
        (
            "UPDATE entry SET value = x'00' WHERE key = x'61'",
            "differ from their checksum",
        ),
        (
            "UPDATE body SET value = x'00'",
            "differ from their checksum",
        ),
        ("DELETE FROM entry WHERE key = x'61'", "the store has not"),
        (
            "UPDATE meta SET value = 1 WHERE name = 'revision'",
            "newer than the newest",
        ),
        ("UPDATE entry SET lease = 9", "a lease that does not exist"),
        (
            "UPDATE entry SET value = NULL, modified = 1 WHERE key = x'62'",
            "the store has not",
        ),
        (
            "UPDATE history SET modified = 9",
            "older than what they changed",
        ),
        ("DELETE FROM history", "without what was there before"),
        (
            "DELETE FROM touched WHERE revision = 2",
            "no commit touched",
        ),
        ("DELETE FROM body", "values that are missing"),
        ("INSERT INTO body VALUES (9, x'00')", "nobody's"),
    ] {
        let (directory, store) = opened().await;
        put(&store, "a", "one").await;
        put(&store, "b", "one").await;
        put(&store, "c", "one").await;
        put(&store, "c", "two").await;
        let long = Operation::put("long", "x".repeat(5_000));
        store.commit(Vec::new(), vec![long]).await.unwrap();
        drop(store);
        check(directory.path()).unwrap();
        let connection = schema::open_writer(&directory.path().join(FILE)).unwrap();
        connection.execute_batch(damage).unwrap();
        let found = check(directory.path()).unwrap_err().to_string();
        assert!(found.contains(named), "{damage}: {found}");
    }
}

/// A file as format 2 had it, and of format 1, which had the newest values twice: `a` was written at 1
/// and 2, `b` at 3 and removed at 4, `c` written at 5, removed at 6 and written at 7.
const FORMER: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE entry (
        key BLOB PRIMARY KEY, value BLOB NOT NULL, created INTEGER NOT NULL, modified INTEGER NOT NULL,
        version INTEGER NOT NULL, lease INTEGER) WITHOUT ROWID;
    CREATE INDEX entry_lease ON entry (lease) WHERE lease IS NOT NULL;
    CREATE TABLE history (
        key BLOB NOT NULL, revision INTEGER NOT NULL, value BLOB, created INTEGER NOT NULL,
        version INTEGER NOT NULL, lease INTEGER, PRIMARY KEY (key, revision)) WITHOUT ROWID;
    CREATE INDEX history_revision ON history (revision, key);
    CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL);
    INSERT INTO meta VALUES ('revision', 7), ('oldest', 0), ('next_lease', 1);
    INSERT INTO entry VALUES (x'61', x'32', 1, 2, 2, NULL), (x'63', x'34', 7, 7, 1, NULL);
    INSERT INTO history VALUES
        (x'61', 1, x'31', 1, 1, NULL), (x'61', 2, NEWEST_A, 1, 2, NULL),
        (x'62', 3, x'33', 3, 1, NULL), (x'62', 4, NULL, 3, 0, NULL),
        (x'63', 5, x'33', 5, 1, NULL), (x'63', 6, NULL, 5, 0, NULL), (x'63', 7, NEWEST_C, 7, 1, NULL);
";

#[tokio::test]
async fn a_store_of_a_former_format_goes_on_with_all_its_past() {
    let newest = |value: &[u8]| schema::checksum(value).to_string();
    let formats = [
        (1, "x'32'".to_owned(), "x'34'".to_owned()),
        (2, newest(b"2"), newest(b"4")),
    ];
    for (format, a, c) in formats {
        let directory = tempfile::tempdir().unwrap();
        let former = rusqlite::Connection::open(directory.path().join(FILE)).unwrap();
        let tables = FORMER.replace("NEWEST_A", &a).replace("NEWEST_C", &c);
        former.execute_batch(&tables).unwrap();
        let numbered = "INSERT INTO meta VALUES ('format', ?1)";
        former.execute(numbered, [format]).unwrap();
        drop(former);
        let store = reopen(&directory).await;
        check(directory.path()).unwrap();
        let at = async |revision| {
            let page = store.range(Range::prefix(""), 0, Some(revision)).await;
            let entries = page.unwrap().entries.into_iter();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let told = entries.map(|entry| text(&entry.key) + &text(&entry.value));
            told.collect::<Vec<_>>().join(" ")
        };
        let mut states = Vec::new();
        for revision in 0..=7 {
            states.push(at(revision).await);
        }
        let expected = ["", "a1", "a2", "a2 b3", "a2", "a2 c3", "a2", "a2 c4"];
        assert_eq!(states, expected, "format {format}");
        let mut watch = store.watch(Range::prefix(""), 0).await.unwrap();
        for revision in 1..=7 {
            let changes = watch.next().await.unwrap().unwrap();
            assert_eq!((changes.len(), changes[0].revision), (1, revision));
        }
        put(&store, "a", "three").await;
        drop(store);
        let store = reopen(&directory).await;
        check(directory.path()).unwrap();
        store.compact(8).await.unwrap();
        check(directory.path()).unwrap();
        assert_eq!(everything(&store).await.entries.len(), 2);
    }
}

#[tokio::test]
async fn a_store_of_a_newer_program_is_refused() {
    let (directory, store) = opened().await;
    drop(store);
    let connection = schema::open_writer(&directory.path().join(FILE)).unwrap();
    connection
        .execute_batch("UPDATE meta SET value = 4 WHERE name = 'format'")
        .unwrap();
    drop(connection);
    let refused = open(&format!("file:{}", directory.path().display()))
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("use a newer `wright`"), "{refused}");
}

#[tokio::test]
async fn a_write_that_fails_is_reported_and_the_next_one_is_made() {
    let (directory, store) = opened().await;
    let lease = store.lease_grant(3600).await.unwrap();
    let on_lease = Operation::Put {
        key: "a".into(),
        value: "x".into(),
        lease: Some(lease),
    };
    store.commit(Vec::new(), vec![on_lease]).await.unwrap();
    // The database itself refuses to write, as it does on a full disk.
    let breaker = rusqlite::Connection::open(directory.path().join(FILE)).unwrap();
    let refusing =
        "CREATE TRIGGER full BEFORE INSERT ON touched BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    breaker.execute_batch(refusing).unwrap();
    let (commit, revoke) = tokio::join!(
        store.commit(Vec::new(), vec![Operation::put("b", "x")]),
        store.lease_revoke(lease)
    );
    for failed in [commit.map(drop), revoke] {
        assert!(
            matches!(&failed, Err(StoreError::Engine(reason)) if reason.contains("disk full")),
            "{failed:?}"
        );
    }
    assert_eq!(store.revision().await.unwrap(), 1);
    breaker.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(put(&store, "b", "x").await, 2);
    store.lease_revoke(lease).await.unwrap();
    assert_eq!(everything(&store).await.entries.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_sees_a_commit_before_it_is_announced_waits_for_that() {
    let (directory, store) = opened().await;
    // The file is ahead of what was announced, as between a commit and its announcement.
    let ahead = rusqlite::Connection::open(directory.path().join(FILE)).unwrap();
    ahead
        .execute_batch("UPDATE meta SET value = 1 WHERE name = 'revision'")
        .unwrap();
    let read = async {
        let page = everything(&store).await;
        assert!(store.revision().await.unwrap() >= page.revision);
        store.watch(Range::prefix(""), page.revision).await.unwrap();
    };
    tokio::join!(read, put(&store, "a", "x"));
}

#[tokio::test]
async fn a_thread_whose_reads_go_first_reads_a_key_while_all_readers_are_busy() {
    let directory = tempfile::tempdir().unwrap();
    put(&reopen(&directory).await, "a", "one").await;
    // Opened anew, it has no commit in memory.
    let store = LocalStore::open(directory.path(), "file:").unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    for _ in 0..10 {
        let (readers, released) = (store.readers.clone(), released.clone());
        let slow = move |_: &Readers| {
            let _ = released.lock().map(|released| released.recv());
            Ok(())
        };
        tokio::spawn(async move { readers.read(slow).await });
    }
    tokio::task::yield_now().await;
    let found = std::thread::scope(|scope| {
        let read = scope.spawn(|| {
            reads_go_first();
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let patience = std::time::Duration::from_secs(60);
            runtime
                .enable_time()
                .build()
                .unwrap()
                .block_on(async { tokio::time::timeout(patience, store.get(b"a")).await })
        });
        read.join().unwrap()
    });
    drop(release);
    let found = found.expect("it waits for nobody").unwrap().unwrap();
    assert_eq!(&found.value[..], b"one");
}
