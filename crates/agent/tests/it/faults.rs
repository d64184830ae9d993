//! What can go wrong on a host ends with one named cause and leaves nothing half-made.

use std::{fs, process::Command};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wright_model::{Check, CheckKind, Expectation, HttpCheck, Phase, Span};
use wright_protocol::{Blame, Task};

use crate::host::{RUN, STAYS, TestHost, file, id, is_root, is_up, names, spec};

#[tokio::test]
async fn wrong_bytes_are_refused() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    let on_shelf = host.shelf().join(package.digest.to_string());
    let mut bytes = fs::read(&on_shelf).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&on_shelf, &bytes).unwrap();
    let fault = host
        .act(Task::Fetch {
            package: package.clone(),
        })
        .await
        .unwrap_err();
    assert_eq!(fault.blame, Blame::Package);
    let got = wright_model::Digest::of(&bytes).to_string();
    for part in ["demo@1.0.0", &package.digest.to_string(), &got] {
        assert!(fault.message.contains(part), "{}", fault.message);
    }
    assert!(names(&host.layout().cache()).is_empty());
}

#[tokio::test]
async fn a_package_signed_by_a_stranger_is_refused() {
    let mut host = TestHost::new().await;
    host.key = wright_package::PrivateKey::generate();
    let package = host.package("1.0.0", RUN, &[STAYS]);
    let fault = host.act(Task::Fetch { package }).await.unwrap_err();
    assert_eq!(fault.blame, Blame::Package);
    assert!(
        fault.message.contains(&host.key.public().id().to_string()),
        "{}",
        fault.message
    );
    assert!(names(&host.layout().cache()).is_empty());
}

#[tokio::test]
async fn a_missing_package_is_named() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    fs::remove_file(host.shelf().join(package.digest.to_string())).unwrap();
    let fault = host.install(&spec(&package, is_up())).await.unwrap_err();
    assert_eq!(fault.blame, Blame::Package);
    assert!(host.executor().statuses().is_empty());
    assert!(names(&host.layout().instances()).is_empty());
}

#[tokio::test]
async fn a_missing_program_is_named_and_nothing_runs() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", "run = [\"no-such-program\"]", &[]);
    let spec = spec(&package, is_up());
    host.install(&spec).await.unwrap();
    host.configure(&spec).await.unwrap();
    let fault = host.start().await.unwrap_err();
    assert_eq!(fault.blame, Blame::Program);
    assert!(
        fault.message.contains("no program `no-such-program`"),
        "{}",
        fault.message
    );
    let status = host.status();
    assert_eq!((status.phase, status.pid), (Phase::Stopped, None));
    assert_eq!(status.last_error, fault.message);
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_is_named() {
    let host = TestHost::new().await;
    let source = tempfile::tempdir().unwrap();
    let manifest = "name = \"demo\"\nversion = \"1.0.0\"\nrun = [\"bin/demo\"]\n";
    fs::write(source.path().join("package.toml"), manifest).unwrap();
    fs::create_dir(source.path().join("bin")).unwrap();
    let program = source.path().join("bin/demo");
    fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(
        &program,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let spec = spec(&host.shelve(source.path()), is_up());
    host.install(&spec).await.unwrap();
    host.configure(&spec).await.unwrap();
    let fault = host.start().await.unwrap_err();
    assert_eq!(fault.blame, Blame::Program);
    assert!(fault.message.contains("cannot run"), "{}", fault.message);
    assert_eq!(host.status().phase, Phase::Stopped);
}

/// Answers every request on a port of its own with 503.
async fn unhealthy() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 20\r\n\r\npostgres not reached";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn healthz() -> HttpCheck {
    HttpCheck {
        port: "http".parse().unwrap(),
        path: "/healthz".to_owned(),
        method: "GET".to_owned(),
        headers: [].into(),
        body: None,
        expect: Expectation::default(),
    }
}

#[tokio::test]
async fn a_program_that_never_becomes_healthy_is_given_up_with_what_its_check_said() {
    let host = TestHost::new().await;
    let package = host.package("1.0.0", RUN, &[STAYS]);
    let port = unhealthy().await;
    let mut spec = spec(&package, CheckKind::Http(healthz()));
    spec.ports = [("http".parse().unwrap(), port)].into();
    spec.ready_within = Span::from_millis(300);
    host.install(&spec).await.unwrap();
    host.configure(&spec).await.unwrap();
    host.start().await.unwrap();
    let fault = host.await_ready().await.unwrap_err();
    assert_eq!(fault.blame, Blame::Deadline);
    let expected = format!(
        "shop/demo-1 was not ready 0.3 s after its start: GET http://127.0.0.1:{port}/healthz answered 503: \
         postgres not reached: a status below 400 was expected"
    );
    assert_eq!(fault.message, expected);
    assert!(
        fault.evidence[0].ends_with("started"),
        "{:?}",
        fault.evidence
    );

    let check = Check {
        check: CheckKind::Http(healthz()),
        within: Span::from_millis(100),
    };
    let answer = host
        .act(Task::Check {
            instance: id(),
            check,
        })
        .await
        .unwrap();
    let seen = answer.observation.unwrap();
    assert_eq!(
        (seen.status, seen.body.as_str()),
        (Some(503), "postgres not reached")
    );
}

#[tokio::test]
async fn a_task_that_takes_too_long_is_ended() {
    let host = TestHost::new().await;
    let manifest = "run = [\"bin/demo\"]\n[operations.install]\ncommand = [\"sleep\", \"1000\"]\ntimeout = \"100ms\"";
    let package = host.package("1.0.0", manifest, &[STAYS]);
    let fault = host.install(&spec(&package, is_up())).await.unwrap_err();
    assert_eq!(fault.blame, Blame::Deadline);
    assert_eq!(
        fault.message,
        "install of demo@1.0.0 took longer than 100ms"
    );
    assert!(names(&host.layout().instances()).is_empty());
}

/// A file system of one megabyte; unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: std::path::PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs"];
        let mounted = is_root()
            && Command::new("mount")
                .args(options)
                .arg(&at)
                .status()
                .is_ok_and(|s| s.success());
        mounted.then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_takes_nothing_half() {
    let scratch = tempfile::tempdir().unwrap();
    fs::set_permissions(
        scratch.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let Some(disk) = SmallDisk::mount(scratch.path().join("disk")) else {
        return;
    };
    let host = TestHost::in_directory(scratch, disk.0.clone()).await;
    let noise: Vec<u8> = (0..65_536u64)
        .flat_map(|n| *wright_model::Digest::of(&n.to_le_bytes()).as_bytes())
        .collect();
    let text: String = noise.iter().map(|byte| format!("{byte:02x}")).collect();
    let large = host.package("1.0.0", RUN, &[STAYS, ("data/noise", &text)]);
    let fault = host.act(Task::Fetch { package: large }).await.unwrap_err();
    assert_eq!(fault.blame, Blame::Host);
    assert!(
        fault.message.starts_with("disk full: cannot write"),
        "{}",
        fault.message
    );
    assert!(names(&host.layout().cache()).is_empty());

    let small = host.package("1.0.1", RUN, &[STAYS]);
    let mut spec = spec(&small, is_up());
    spec.files = vec![file("etc/demo.toml", "old")];
    host.bring_up(&spec).await;
    spec.files = vec![file("etc/demo.toml", "new"), file("etc/large", &text)];
    let fault = host.configure(&spec).await.unwrap_err();
    assert_eq!(fault.blame, Blame::Host);
    assert!(fault.message.starts_with("disk full"), "{}", fault.message);
    assert_eq!(
        fs::read_to_string(host.dirs().etc.join("demo.toml")).unwrap(),
        "old"
    );
    assert_eq!(names(&host.dirs().etc), ["demo.toml"]);
    host.uninstall().await.unwrap();
}
