//! Programs that end, agents that come and go.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use wright_model::{ByteSize, LastExit, Phase, Span};
use wright_protocol::{Blame, Task};

use crate::host::{RUN, STAYS, TestHost, id, is_alive, is_root, is_running, is_up, spec};

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_killed_program_is_started_again() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    host.bring_up(&spec(&package, is_up())).await;
    let pid = host.pid();
    kill(pid);
    host.until(|status| status.phase == Phase::Backoff).await;
    let status = host.until(is_running).await;
    assert_eq!(status.restarts, 1);
    assert_eq!(status.last_exit.unwrap().signal, Some(9));
    assert!(
        status.last_error.starts_with("ended by signal 9"),
        "{}",
        status.last_error
    );
    assert!(status.pid.is_some_and(|new| new != pid));
}

#[tokio::test]
async fn programs_survive_their_agent_and_are_adopted() {
    let mut host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    host.bring_up(&spec(&package, is_up())).await;
    let before = host.status();
    host.leave();
    assert!(is_alive(before.pid.unwrap()));
    host.come_back().await;
    host.until(|status| status.phase == Phase::Ready).await;
    assert_eq!(host.status(), before);
    kill(before.pid.unwrap());
    let status = host
        .until(|status| status.restarts == 1 && is_running(status))
        .await;
    assert!(status.pid != before.pid);
    host.stop().await.unwrap();
}

#[tokio::test]
async fn an_adopted_program_can_be_stopped() {
    let mut host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    host.bring_up(&spec(&package, is_up())).await;
    let pid = host.pid();
    host.leave();
    host.come_back().await;
    host.stop().await.unwrap();
    assert!(!is_alive(pid));
    assert_eq!(host.status().phase, Phase::Stopped);
}

#[tokio::test]
async fn what_ended_while_nobody_was_there_is_started_again() {
    let mut host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    host.bring_up(&spec(&package, is_up())).await;
    let pid = host.pid();
    host.leave();
    kill(pid);
    host.come_back().await;
    let status = host.until(is_running).await;
    assert_eq!(status.restarts, 1);
    let LastExit { code, signal, .. } = status.last_exit.unwrap();
    assert_eq!((code, signal), (None, None));
}

#[tokio::test]
async fn a_program_that_exits_at_once_is_not_waited_for() {
    let host = TestHost::new().await;
    let package = host.package(
        "1.0.0",
        RUN,
        &[("bin/demo", "echo cannot open the index; exit 3")],
    );
    let spec = spec(&package, is_up());
    host.install(&spec).await.unwrap();
    host.configure(&spec).await.unwrap();
    host.start().await.unwrap();
    let fault = host.await_ready().await.unwrap_err();
    assert_eq!(fault.blame, Blame::Program);
    assert!(
        fault.message.starts_with("shop/demo-1 exited with code 3"),
        "{}",
        fault.message
    );
    assert!(fault.message.ends_with("(3 times)"), "{}", fault.message);
    assert!(
        fault
            .evidence
            .iter()
            .all(|line| line == "cannot open the index")
    );
    assert!(!fault.evidence.is_empty());
    host.stop().await.unwrap();
    assert_eq!(host.status().phase, Phase::Stopped);
}

#[tokio::test]
async fn stopping_ends_what_the_program_has_started_too() {
    let host = TestHost::new().await;
    let manifest = "run = [\"bin/demo\"]\n[operations.stop]\ntimeout = \"300ms\"";
    let stubborn = "trap '' TERM\nsleep 1000 & echo $! > \"$WRIGHT_DATA/child\"\n\
                    touch \"$WRIGHT_RUN/up\"\nwhile :; do sleep 1000; done";
    let package = host.package("1.0.0", manifest, &[("bin/demo", stubborn)]);
    host.bring_up(&spec(&package, is_up())).await;
    let child = fs::read_to_string(host.dirs().data.join("child")).unwrap();
    let (pid, child) = (host.pid(), child.trim().parse().unwrap());
    assert!(is_alive(pid) && is_alive(child));
    host.stop().await.unwrap();
    assert!(!is_alive(pid) && !is_alive(child));
}

#[tokio::test]
async fn a_program_can_say_itself_how_it_is_stopped() {
    let host = TestHost::new().await;
    let manifest = "run = [\"bin/demo\"]\n[operations.stop]\ncommand = [\"sh\", \"-c\", \"touch {data}/bye\"]\ntimeout = \"5s\"";
    let waits =
        "touch \"$WRIGHT_RUN/up\"; while [ ! -e \"$WRIGHT_DATA/bye\" ]; do sleep 0.05; done";
    let package = host.package("1.0.0", manifest, &[("bin/demo", waits)]);
    host.bring_up(&spec(&package, is_up())).await;
    host.stop().await.unwrap();
    assert_eq!(host.status().last_exit.unwrap().code, Some(0));
}

#[tokio::test]
async fn a_cancelled_hook_leaves_no_process() {
    let host = TestHost::new().await;
    let manifest = "run = [\"bin/demo\"]\n[operations.install]\ncommand = [\"hooks/install\"]";
    let pid_file = host.scratch.path().join("pid");
    fs::write(&pid_file, "").unwrap();
    fs::set_permissions(
        &pid_file,
        std::os::unix::fs::PermissionsExt::from_mode(0o666),
    )
    .unwrap();
    let hook = format!(
        "echo $$ > {}; echo begun; exec sleep 1000",
        pid_file.display()
    );
    let package = host.package("1.0.0", manifest, &[STAYS, ("hooks/install", &hook)]);
    let order = wright_agent::Order {
        key: "a".to_owned(),
        task: Task::Install {
            spec: Box::new(spec(&package, is_up())),
        },
        deadline: None,
        fence: None,
        after: None,
    };
    let (output, mut lines) = tokio::sync::mpsc::channel(4);
    let executor = host.executor().clone();
    let task = tokio::spawn(async move { executor.execute(order, output).await });
    let line = lines.recv().await.unwrap();
    assert_eq!(line, b"begun\n");
    let pid = fs::read_to_string(&pid_file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(is_alive(pid));
    host.executor().cancel("a");
    let fault = task.await.unwrap().unwrap_err();
    assert_eq!(fault.blame, Blame::Cancelled);
    let gone = async {
        while is_alive(pid) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::host::PATIENCE, gone)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_program_that_eats_its_memory_is_named() {
    if !is_root() || !std::path::Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() {
        return;
    }
    let host = TestHost::new().await;
    let package = host.package("1.0.0", "run = [\"tail\", \"/dev/zero\"]", &[]);
    let mut spec = spec(&package, is_up());
    spec.limits.memory = ByteSize::from_bytes(16 << 20);
    host.install(&spec).await.unwrap();
    host.configure(&spec).await.unwrap();
    host.start().await.unwrap();
    let status = host.until(|status| status.phase == Phase::Backoff).await;
    assert!(
        status.last_error.contains("more than its 16MiB of memory"),
        "{}",
        status.last_error
    );
    host.uninstall().await.unwrap();
}

#[tokio::test]
async fn a_program_that_fails_its_checks_becomes_unready_and_ready_again() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    let mut spec = spec(&package, is_up());
    spec.ready.every = Span::from_millis(20);
    host.bring_up(&spec).await;
    let up = host.dirs().run.join("up");
    fs::remove_file(&up).unwrap();
    let status = host.until(|status| status.phase == Phase::Unready).await;
    assert!(
        status.last_error.contains("exited with code 1"),
        "{}",
        status.last_error
    );
    fs::write(&up, "").unwrap();
    let status = host.until(|status| status.phase == Phase::Ready).await;
    assert_eq!(status.restarts, 0);
    assert_eq!(status.id, id());
}
