//! The way of an instance from install to uninstall.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use wright_model::{Operation, Phase};
use wright_protocol::{Blame, Task};

use crate::host::{RUN, STAYS, TestHost, file, id, is_alive, is_root, is_up, names, spec};

const COUNTING: &str = "run = [\"bin/demo\"]\n[operations.install]\ncommand = [\"hooks/install\"]";
const COUNT: (&str, &str) = ("hooks/install", "echo once >> \"$WRIGHT_DATA/count\"");

fn count(host: &TestHost) -> usize {
    fs::read_to_string(host.dirs().data.join("count"))
        .unwrap()
        .lines()
        .count()
}

fn holders(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holders(&path, text));
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(text) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

#[tokio::test]
async fn an_instance_comes_up_and_goes_without_a_trace() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    let spec = spec(&package, is_up());
    host.act(Task::Fetch { package }).await.unwrap();
    host.bring_up(&spec).await;
    let status = host.status();
    assert_eq!((status.phase, status.restarts), (Phase::Ready, 0));
    assert_eq!(status.spec_digest, Some(spec.digest()));
    let pid = host.pid();
    if is_root() {
        let user = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
        assert_eq!(
            Some(user),
            host.settings.uid_base,
            "it runs as a user of its own"
        );
    }
    host.stop().await.unwrap();
    assert!(!is_alive(pid));
    assert_eq!(host.status().phase, Phase::Stopped);
    host.uninstall().await.unwrap();
    assert!(host.executor().statuses().is_empty());
    let layout = host.layout();
    for directory in [layout.instances(), layout.packages(), layout.cache()] {
        assert!(names(&directory).is_empty(), "{}", directory.display());
    }
    host.uninstall().await.unwrap();
}

#[tokio::test]
async fn configuration_is_for_the_program_alone() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    let mut spec = spec(&package, is_up());
    spec.files = vec![
        file(
            "etc/demo.toml",
            "password = \"hunter2\"\ndata = \"@wright{path:data}\"",
        ),
        file("etc/conf.d/more.toml", "x"),
    ];
    host.bring_up(&spec).await;
    let path = host.dirs().etc.join("demo.toml");
    let content = fs::read_to_string(&path).unwrap();
    let data = host.dirs().data.display().to_string();
    assert_eq!(
        content,
        format!("password = \"hunter2\"\ndata = \"{data}\"")
    );
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(holders(&host.settings.home, "hunter2"), ["demo.toml"]);

    spec.files.remove(1);
    host.configure(&spec).await.unwrap();
    assert!(
        !host.dirs().etc.join("conf.d/more.toml").exists(),
        "a file no longer asked for is gone"
    );
}

#[tokio::test]
async fn a_file_that_climbs_out_is_refused_and_the_old_configuration_stays() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    let mut spec = spec(&package, is_up());
    spec.files = vec![file("etc/demo.toml", "old")];
    host.install(&spec).await.unwrap();
    host.configure(&spec).await.unwrap();
    spec.files = vec![file("etc/demo.toml", "new"), file("../escaped", "x")];
    let fault = host.configure(&spec).await.unwrap_err();
    assert_eq!(fault.blame, Blame::Request);
    assert_eq!(
        fs::read_to_string(host.dirs().etc.join("demo.toml")).unwrap(),
        "old"
    );
    assert_eq!(names(&host.dirs().etc), ["demo.toml"]);
}

#[tokio::test]
async fn a_hook_is_run_once_whatever_is_asked() {
    let mut host = TestHost::new().await;
    let package = host.package("1.0.0", COUNTING, &[STAYS, COUNT]);
    let spec = spec(&package, is_up());
    let install = Task::Install {
        spec: Box::new(spec.clone()),
    };
    let (first, second) = tokio::join!(
        host.act_as("a", install.clone()),
        host.act_as("a", install.clone())
    );
    assert_eq!(
        first.unwrap(),
        second.unwrap(),
        "whoever comes later waits for the same work"
    );
    host.act_as("a", install.clone()).await.unwrap();
    host.act_as("b", install.clone()).await.unwrap();
    host.leave();
    host.come_back().await;
    host.act_as("a", install.clone()).await.unwrap();
    host.act_as("c", install).await.unwrap();
    assert_eq!(count(&host), 1);
}

#[tokio::test]
async fn a_task_that_was_interrupted_is_done_again() {
    let mut host = TestHost::new().await;
    let package = host.package("1.0.0", COUNTING, &[STAYS, COUNT]);
    host.leave();
    let mut journal = fs::read_to_string(host.layout().journal()).unwrap();
    journal.push_str("{\"begun\":\"a\"}\n{\"ended\":\"a\",\"ans");
    fs::write(host.layout().journal(), journal).unwrap();
    host.come_back().await;
    let install = Task::Install {
        spec: Box::new(spec(&package, is_up())),
    };
    host.act_as("a", install).await.unwrap();
    assert_eq!(count(&host), 1);
}

#[tokio::test]
async fn a_failure_is_recorded_too() {
    let mut host = TestHost::new().await;
    let key = "job/install/1";
    let package = host.package(
        "1.0.0",
        COUNTING,
        &[
            STAYS,
            ("hooks/install", "echo no space for the index; exit 4"),
        ],
    );
    let install = Task::Install {
        spec: Box::new(spec(&package, is_up())),
    };
    let fault = host.act_as(key, install.clone()).await.unwrap_err();
    assert_eq!(fault.message, "install of demo@1.0.0 exited with code 4");
    assert_eq!(fault.evidence, ["no space for the index"]);
    assert!(
        names(&host.layout().instances()).is_empty(),
        "nothing half-made is left"
    );
    assert!(names(&host.layout().packages()).is_empty());
    host.leave();
    host.come_back().await;
    assert_eq!(host.act_as(key, install).await.unwrap_err(), fault);
}

#[tokio::test]
async fn an_update_is_side_by_side_until_it_is_started() {
    let host = TestHost::new().await;
    let old = host.package("1.0.0", RUN, &[STAYS]);
    let new = host.package("1.1.0", RUN, &[STAYS]);
    let mut spec = spec(&old, is_up());
    host.bring_up(&spec).await;
    let before = host.pid();
    spec.package = new.clone();
    host.install(&spec).await.unwrap();
    assert!(host.layout().package(&old.digest).exists());
    host.configure(&spec).await.unwrap();
    assert_eq!(host.pid(), before, "what runs goes on");
    assert!(
        host.layout().package(&old.digest).exists(),
        "what runs keeps its files"
    );
    host.start().await.unwrap();
    host.await_ready().await.unwrap();
    assert!(host.pid() != before && !is_alive(before));
    assert_eq!(host.status().spec_digest, Some(spec.digest()));
    assert_eq!(names(&host.layout().packages()), [new.digest.to_string()]);
}

#[tokio::test]
async fn starting_what_runs_changes_nothing() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    host.bring_up(&spec(&package, is_up())).await;
    let pid = host.pid();
    host.start().await.unwrap();
    assert_eq!(host.pid(), pid);
    let restart = Task::Operate {
        instance: id(),
        operation: Operation::Restart,
    };
    host.act(restart).await.unwrap();
    assert!(host.pid() != pid && !is_alive(pid));
}

#[tokio::test]
async fn a_changed_byte_is_found_and_named() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    host.bring_up(&spec(&package, is_up())).await;
    let checksum = || Task::Operate {
        instance: id(),
        operation: Operation::Checksum,
    };
    assert!(host.act(checksum()).await.unwrap().lines.is_empty());
    let program = host.layout().package(&package.digest).join("bin/demo");
    let text = fs::read_to_string(&program)
        .unwrap()
        .replace("1000", "1001");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&program, text).unwrap();
    let answer = host.act(checksum()).await.unwrap();
    assert_eq!(answer.lines.len(), 1);
    assert!(answer.lines[0].contains("bin/demo"), "{:?}", answer.lines);
}

#[tokio::test]
async fn diskclear_removes_what_can_be_spared() {
    let host = TestHost::new().await;
    let manifest = "run = [\"bin/demo\"]\n[operations.diskclear]\npaths = [\"tmp\"]";
    let package = host.package("1.0.0", manifest, &[STAYS]);
    host.bring_up(&spec(&package, is_up())).await;
    let dirs = host.dirs();
    fs::create_dir_all(dirs.home.join("tmp/deep")).unwrap();
    fs::write(dirs.log.join("output.log.1"), "old").unwrap();
    fs::write(dirs.data.join("keep"), "data").unwrap();
    let task = Task::Operate {
        instance: id(),
        operation: Operation::Diskclear,
    };
    host.act(task).await.unwrap();
    assert!(names(&dirs.home.join("tmp")).is_empty());
    assert_eq!(names(&dirs.log), ["output.log"]);
    assert!(dirs.data.join("keep").exists());
}

#[tokio::test]
async fn clear_leaves_an_empty_host() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    host.bring_up(&spec(&package, is_up())).await;
    let pid = host.pid();
    host.act(Task::Clear).await.unwrap();
    assert!(!is_alive(pid));
    let layout = host.layout();
    for directory in [layout.instances(), layout.packages(), layout.cache()] {
        assert!(names(&directory).is_empty(), "{}", directory.display());
    }
}

#[tokio::test]
async fn an_update_that_is_taken_back_does_not_install_again() {
    let host = TestHost::new().await;
    let old = host.package("1.0.0", COUNTING, &[STAYS, COUNT]);
    let new = host.package("1.1.0", COUNTING, &[STAYS, COUNT]);
    let mut spec = spec(&old, is_up());
    host.bring_up(&spec).await;
    spec.package = new;
    host.bring_up(&spec).await;
    // The package is no longer here, and no step of a plan brings it: it was here before.
    assert!(host.stop().await.is_ok());
    spec.package = old.clone();
    host.configure(&spec).await.unwrap();
    host.start().await.unwrap();
    host.await_ready().await.unwrap();
    assert_eq!(count(&host), 2, "each package's hook once");
    assert_eq!(names(&host.layout().packages()), [old.digest.to_string()]);
}

#[tokio::test]
async fn what_was_left_of_a_package_that_was_being_removed_is_removed() {
    let mut host = TestHost::new().await;
    host.leave();
    let left = host.layout().packages().join("0123.gone");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("package.toml"), "").unwrap();
    host.come_back().await;
    assert!(names(&host.layout().packages()).is_empty());
}
