//! The embedded provider and real processes. The agents are a shell that notes its start and then
//! waits, which is all that matters to their provider.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tokio::process::{Child, Command};
use wright_model::{ByteSize, Capacity, CpuShare, Name};
use wright_pki::Authority;
use wright_provision::{
    HostWant, LOOKUP_PORT, Local, LocalSettings, MadeHost, Provider, ProvisionError, Revival,
};

/// An agent: notes its process id in the host's directory and waits, as a single process.
const AGENT: &str = "echo $$ >> starts; [ -p never ] || mkfifo never; read word < never";

struct Machine {
    scratch: TempDir,
    network: u8,
    authority: Arc<Authority>,
}

impl Machine {
    fn new(network: u8) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::open(&scratch.path().join("pki")).unwrap());
        fs::create_dir(scratch.path().join("keys")).unwrap();
        fs::write(scratch.path().join("keys/builder.pub"), "a key").unwrap();
        Machine {
            scratch,
            network,
            authority,
        }
    }

    /// The provider of a server that was just started.
    fn local(&self) -> Local {
        self.local_for("https://127.0.0.1:7401")
    }

    fn local_for(&self, server: &str) -> Local {
        let settings = LocalSettings {
            directory: self.scratch.path().join("hosts"),
            network: self.network,
            count: 8,
            server: server.to_owned(),
            authority: self.authority.clone(),
            keys: self.scratch.path().join("keys"),
        };
        let shell = ["sh", "-c", AGENT, "agent"].map(Into::into).to_vec();
        Local::new(settings).with_agent_command(shell)
    }

    fn home(&self, host: &str) -> PathBuf {
        self.scratch.path().join("hosts").join(host)
    }

    /// The process ids of every agent that was started for a host.
    fn starts(&self, host: &str) -> Vec<i32> {
        let starts = fs::read_to_string(self.home(host).join("starts")).unwrap_or_default();
        starts
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect()
    }

    /// Waits for the nth start of a host's agent.
    async fn start(&self, host: &str, nth: usize) -> i32 {
        eventually("an agent is started", || self.starts(host).len() >= nth).await;
        self.starts(host)[nth - 1]
    }
}

async fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let look = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), look).await;
    assert!(in_time.is_ok(), "in vain: {what}");
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn want(text: &str) -> HostWant {
    HostWant {
        name: name(text),
        capacity: None,
    }
}

fn command_line(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline"))
        .unwrap_or_default()
        .replace('\0', " ")
}

/// Whether a process runs; one that nobody waited for does not.
fn runs(pid: i32) -> bool {
    !command_line(pid).is_empty()
}

fn kill_9(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// A program that waits, as tokio's child, which is waited for in the background.
fn program(program: &Path, directory: &Path, set: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(program);
    command
        .arg("1000")
        .current_dir(directory)
        .stdin(Stdio::null())
        .process_group(0);
    set(&mut command);
    command.spawn().unwrap()
}

fn id(child: &Child) -> i32 {
    child.id().unwrap().cast_signed()
}

#[tokio::test]
async fn a_made_host_has_an_agent_with_identity_and_keys() {
    let machine = Machine::new(101);
    let local = machine.local();
    let capacity = Capacity {
        cpu: CpuShare::from_millis(500),
        memory: ByteSize::from_bytes(1 << 28),
    };
    let wanted = HostWant {
        name: name("h3"),
        capacity: Some(capacity),
    };
    let host = local.create(&wanted).await.unwrap();
    let expected = MadeHost {
        name: name("h3"),
        address: "127.101.0.3".parse().unwrap(),
        capacity,
    };
    assert_eq!(host, expected);
    let words = command_line(machine.start("h3", 1).await);
    let home = machine.home("h3");
    let options = format!(
        "--home {} --name h3 --address 127.101.0.3 --server https://127.0.0.1:7401",
        home.display()
    );
    assert!(words.contains(&options), "{words}");
    let key = fs::metadata(home.join("agent/agent.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::read_to_string(home.join("agent/keys/builder.pub")).unwrap(),
        "a key"
    );
    assert_eq!(local.list().await.unwrap(), [host]);
    local.destroy(&name("h3")).await.unwrap();
}

#[tokio::test]
async fn making_a_host_twice_starts_one_agent() {
    let machine = Machine::new(102);
    let local = machine.local();
    local.create(&want("h1")).await.unwrap();
    let agent = machine.start("h1", 1).await;
    local.create(&want("h1")).await.unwrap();
    local.create(&want("h2")).await.unwrap();
    machine.start("h2", 1).await;
    assert_eq!(machine.starts("h1"), [agent]);
    for host in ["h1", "h2"] {
        local.destroy(&name(host)).await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_that_is_killed_is_started_again() {
    let machine = Machine::new(103);
    let local = machine.local();
    local.create(&want("h1")).await.unwrap();
    kill_9(machine.start("h1", 1).await);
    let second = machine.start("h1", 2).await;
    assert!(runs(second));
    local.destroy(&name("h1")).await.unwrap();
    assert!(machine.starts("h1").is_empty());
}

#[tokio::test]
async fn an_agent_outlives_its_server_and_is_taken_over_by_the_next() {
    let machine = Machine::new(104);
    let local = machine.local();
    local.create(&want("h1")).await.unwrap();
    let agent = machine.start("h1", 1).await;
    drop(local);
    let local = machine.local();
    local.create(&want("h1")).await.unwrap();
    assert!(runs(agent));
    // Taken over means looked after, too; a second agent would have been noted before the third.
    kill_9(agent);
    machine.start("h1", 2).await;
    assert_eq!(machine.starts("h1").len(), 2);
    local.destroy(&name("h1")).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_calls_another_server_is_replaced() {
    let machine = Machine::new(105);
    let local = machine.local();
    local.create(&want("h1")).await.unwrap();
    let old = machine.start("h1", 1).await;
    drop(local);
    let local = machine.local_for("https://127.0.0.1:9999");
    local.create(&want("h1")).await.unwrap();
    let new = machine.start("h1", 2).await;
    assert!(!runs(old));
    assert!(command_line(new).contains("--server https://127.0.0.1:9999"));
    local.destroy(&name("h1")).await.unwrap();
}

#[tokio::test]
async fn a_killed_host_has_no_process_left_and_never_comes_back() {
    let machine = Machine::new(106);
    let local = machine.local();
    local.create(&want("h1")).await.unwrap();
    local.create(&want("h2")).await.unwrap();
    let agent = machine.start("h1", 1).await;
    let spared = machine.start("h2", 1).await;
    let instance = machine.home("h1").join("instances/shop.web-1");
    fs::create_dir_all(&instance).unwrap();
    // One that is known by its environment, one by the file it runs, and a bystander that is only
    // in the directory, as a person's shell could be.
    let sleep = Path::new("/bin/sleep");
    let by_environment = program(sleep, &instance, |command| {
        command.env("WRIGHT_HOME", &instance);
    });
    let copy = machine.home("h1").join("copy-of-sleep");
    fs::copy(sleep, &copy).unwrap();
    let by_file = program(&copy, machine.scratch.path(), |_| {});
    let mut bystander = program(sleep, &instance, |_| {});
    local.kill(&name("h1")).await.unwrap();
    for pid in [agent, id(&by_environment), id(&by_file)] {
        assert!(!runs(pid), "{pid}");
    }
    assert!(runs(id(&bystander)) && runs(spared));
    bystander.kill().await.unwrap();

    assert!(local.is_gone(&name("h1")).await && !local.is_gone(&name("h2")).await);
    assert!(matches!(
        local.create(&want("h1")).await,
        Err(ProvisionError::Dead(_))
    ));
    assert_eq!(local.revive(&name("h1")).await.unwrap(), Revival::Gone);
    let alive: Vec<_> = local
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|host| host.name)
        .collect();
    assert_eq!(alive, [name("h2")]);
    // The next server knows, too.
    drop(local);
    let local = machine.local();
    assert!(matches!(
        local.create(&want("h1")).await,
        Err(ProvisionError::Dead(_))
    ));
    assert_eq!(machine.starts("h1"), [agent]);
    for host in ["h1", "h2"] {
        local.destroy(&name(host)).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_the_agent_recorded_is_killed_with_its_host() {
    let machine = Machine::new(107);
    let local = machine.local();
    local.create(&want("h1")).await.unwrap();
    machine.start("h1", 1).await;
    // A program in a session of its own, as agents start them, known by the record alone.
    let mut leader = Command::new("setsid");
    leader
        .args(["sh", "-c", "sleep 1000 & wait"])
        .stdin(Stdio::null());
    let leader = id(&leader.spawn().unwrap());
    let stat = || {
        procfs::process::Process::new(leader)
            .unwrap()
            .stat()
            .unwrap()
    };
    eventually("it leads a session", || stat().session == leader).await;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let state = format!(
        r#"{{ "running": {{ "process": {{ "boot": "{}", "pid": {leader}, "start": {} }} }} }}"#,
        boot.trim(),
        stat().starttime
    );
    let instance = machine.home("h1").join("instances/shop.db-1");
    fs::create_dir_all(&instance).unwrap();
    fs::write(instance.join("state.json"), state).unwrap();
    local.kill(&name("h1")).await.unwrap();
    assert!(!runs(leader));
    local.destroy(&name("h1")).await.unwrap();
}

#[tokio::test]
async fn a_destroyed_host_leaves_nothing_and_its_name_is_free_again() {
    let machine = Machine::new(108);
    let local = machine.local();
    local.create(&want("h1")).await.unwrap();
    let agent = machine.start("h1", 1).await;
    let package = machine.home("h1").join("packages/digest");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join("program"), "").unwrap();
    fs::set_permissions(&package, Permissions::from_mode(0o555)).unwrap();
    local.kill(&name("h1")).await.unwrap();
    local.destroy(&name("h1")).await.unwrap();
    assert!(!runs(agent));
    assert_eq!(
        fs::read_dir(machine.scratch.path().join("hosts"))
            .unwrap()
            .count(),
        0
    );
    local.destroy(&name("h1")).await.unwrap();

    local.create(&want("h1")).await.unwrap();
    assert_ne!(machine.start("h1", 1).await, agent);
    local.destroy(&name("h1")).await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named_before_an_agent_is_started() {
    let machine = Machine::new(109);
    let _other = TcpListener::bind(("127.109.0.1", LOOKUP_PORT)).unwrap();
    let refused = machine.local().create(&want("h1")).await.unwrap_err();
    assert!(
        refused.to_string().contains("127.109.0.1:7070 is in use"),
        "{refused}"
    );
    assert!(machine.starts("h1").is_empty());
}

#[tokio::test]
async fn only_h1_to_h250_can_be_made() {
    let machine = Machine::new(110);
    let local = machine.local();
    for bad in ["h0", "h01", "h251", "h-1", "x1", "h1x", "h99999"] {
        let Ok(bad) = bad.parse() else { continue };
        let refused = local
            .create(&HostWant {
                name: bad,
                capacity: None,
            })
            .await;
        assert!(
            matches!(refused, Err(ProvisionError::BadName { .. })),
            "{refused:?}"
        );
    }
    let offer = local.describe(&want("h250")).unwrap();
    assert_eq!(offer.address.to_string(), "127.110.0.250");
    assert_eq!(offer.capacity.cpu, CpuShare::from_millis(4000));
    assert!(offer.capacity.memory.bytes() >= 1 << 30);
}

#[tokio::test]
async fn an_agent_that_cannot_be_started_is_an_error_not_a_silence() {
    let machine = Machine::new(111);
    let local = machine
        .local()
        .with_agent_command(vec!["/does/not/exist".into()]);
    let refused = local.create(&want("h1")).await.unwrap_err();
    assert!(matches!(refused, ProvisionError::Spawn { .. }), "{refused}");
}
