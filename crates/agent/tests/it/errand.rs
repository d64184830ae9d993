//! The child that works on packages, beside an agent that dies.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::Instant,
};

use rustix::fs::{FlockOperation, flock};

use crate::host::PATIENCE;

/// A child that is to unpack, and waits because another one holds the archive.
struct Unpacking {
    child: Child,
    asks: ChildStdin,
    archive: File,
}

fn unpacking(directory: &Path) -> Unpacking {
    let path = directory.join("archive");
    fs::write(&path, "not an archive").unwrap();
    let archive = File::open(&path).unwrap();
    flock(&archive, FlockOperation::LockExclusive).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wright-launch"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut asks = child.stdin.take().unwrap();
    let digest = "0".repeat(64);
    let unpack = format!(
        r#"{{"Do":{{"Unpack":{{"archive":"{}","to":"{}","digest":"{digest}"}}}}}}"#,
        path.display(),
        directory.join("package").display()
    );
    writeln!(asks, "{unpack}").unwrap();
    let waits = |lock: &str| {
        let mut words = lock.split_whitespace().skip(1);
        words.next() == Some("->") && words.any(|word| word == child.id().to_string())
    };
    let started = Instant::now();
    while !fs::read_to_string("/proc/locks")
        .unwrap()
        .lines()
        .any(waits)
    {
        assert!(
            started.elapsed() < PATIENCE,
            "it does not wait for its turn"
        );
        std::thread::yield_now();
    }
    Unpacking {
        child,
        asks,
        archive,
    }
}

#[test]
fn a_child_ends_with_the_agent_that_asked() {
    let directory = tempfile::tempdir().unwrap();
    let Unpacking {
        mut child,
        asks,
        archive,
    } = unpacking(directory.path());
    drop(asks);
    assert_eq!(child.wait().unwrap().code(), Some(127));
    drop(archive);
    assert!(!directory.path().join("package").exists());
}

#[test]
fn what_an_earlier_child_has_unpacked_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let Unpacking {
        mut child,
        asks,
        archive,
    } = unpacking(directory.path());
    fs::create_dir(directory.path().join("package")).unwrap();
    drop(archive);
    let mut answer = String::new();
    let mut says = child.stdout.take().unwrap();
    says.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, r#"{"Ok":[]}"#);
    assert!(child.wait().unwrap().success());
    drop(asks);
}
