//! Servers on an etcd cluster, and hosts with real agents.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use wright_e2e::{Running, Site, built, processes_of, signal};
use wright_inventory::Inventory;
use wright_model::{Capacity, Host, HostState, Name};
use wright_pki::{Authority, Identity};
use wright_store::{SharedStore, conformance::EtcdCluster};

/// How long anything that must come to be may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// One server.
pub struct Server {
    pub data: PathBuf,
    pub address: Ipv4Addr,
    pub running: Option<Running>,
}

impl Server {
    pub fn id(&self) -> String {
        fs::read_to_string(self.data.join("server/id")).unwrap()
    }

    pub fn agents(&self) -> String {
        format!("https://{}:7401", self.address)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }

    /// Whether it has a package's archive.
    pub fn has_an_archive(&self) -> bool {
        let files = fs::read_dir(self.data.join("server/packages")).unwrap();
        files
            .flatten()
            .any(|file| file.file_name().to_string_lossy().ends_with(".wpk"))
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
}

/// Beds of one process that do not get in each other's way.
const BEDS: u8 = 8;

static NUMBERS: AtomicU8 = AtomicU8::new(0);

pub struct Bed {
    number: u8,
    pub directory: tempfile::TempDir,
    pub etcd: EtcdCluster,
    pub servers: Vec<Server>,
    agents: Vec<Running>,
    runtime: tokio::runtime::Runtime,
}

impl Bed {
    /// Three etcd members, and nothing else yet.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("wright-e2e-")
            .tempdir()
            .unwrap();
        // Programs run as users of their own and append to files here.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let effects = directory.path().join("effects");
        fs::write(&effects, "").unwrap();
        fs::set_permissions(&effects, fs::Permissions::from_mode(0o666)).unwrap();
        Bed {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            directory,
            etcd: EtcdCluster::start(3, &[]).unwrap(),
            servers: Vec::new(),
            agents: Vec::new(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    /// Three servers with this many hosts, and the test's package.
    pub fn with_hosts(hosts: u8) -> Self {
        let mut bed = Bed::new();
        let url = bed.etcd.url();
        for number in 0..3 {
            bed.add_server(number, Some(&url));
        }
        bed.push_program();
        let store = bed.store(&url);
        bed.make_known(&store, hosts);
        bed.start_agents(hosts);
        bed
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub fn store(&self, url: &str) -> SharedStore {
        self.block_on(wright_store::open(url)).unwrap()
    }

    /// An address on the loopback that no other test of this machine has.
    fn address(&self, last: u8) -> Ipv4Addr {
        let [low, high, ..] = std::process::id().to_le_bytes();
        let bed = 30 + (high & 0x07) * BEDS + self.number % BEDS;
        Ipv4Addr::new(127, bed, low.max(1), last)
    }

    /// Starts a server for the first time; the first one's master key is every server's.
    pub fn add_server(&mut self, number: u8, store: Option<&str>) {
        let data = self.directory.path().join(format!("server-{number}"));
        let address = self.address(number + 1);
        self.servers.push(Server {
            data,
            address,
            running: None,
        });
        self.start_server(number.into(), store);
    }

    pub fn start_server(&mut self, number: usize, store: Option<&str>) {
        let server = &self.servers[number];
        let mut command = Command::new(built("wright"));
        command.arg("server").arg("--data").arg(&server.data);
        command.args(["--api", &format!("{}:7400", server.address)]);
        command.args(["--agents", &format!("{}:7401", server.address)]);
        command
            .arg("--master-key")
            .arg(self.directory.path().join("master.key"));
        command.args(["--dead-after", "30s"]);
        if let Some(store) = store {
            command.args(["--store", store]);
        }
        let log = server.data.with_extension("log");
        let running = Running::start(&mut command, &log, "data ");
        self.servers[number].running = Some(running);
    }

    /// Makes hosts known.
    pub fn make_known(&self, store: &SharedStore, count: u8) {
        let inventory = Inventory::new(store.clone());
        for number in 1..=count {
            let name: Name = format!("h{number}").parse().unwrap();
            let host = Host {
                name: name.clone(),
                address: self.address(100 + number).into(),
                provider: "test".parse().unwrap(),
                capacity: Capacity {
                    cpu: 4.0.try_into().unwrap(),
                    memory: "4GiB".parse().unwrap(),
                },
                state: HostState::Joining,
                since: "2026-01-01T00:00:00Z".parse().unwrap(),
                reason: String::new(),
            };
            self.block_on(inventory.put_as("host", name.as_str(), &host))
                .unwrap();
        }
    }

    /// Starts the hosts' agents, which know the servers that there are.
    pub fn start_agents(&mut self, count: u8) {
        let authority = Authority::load(&self.servers[0].data.join("server/pki")).unwrap();
        for number in 1..=count {
            let name: Name = format!("h{number}").parse().unwrap();
            let home = self.directory.path().join("hosts").join(name.as_str());
            let agent = home.join("agent");
            let identity = authority.issue_agent(&name).unwrap();
            identity.write(&agent, Identity::AGENT).unwrap();
            fs::create_dir_all(agent.join("keys")).unwrap();
            for key in fs::read_dir(self.servers[0].data.join("server/keys")).unwrap() {
                let key = key.unwrap();
                fs::copy(key.path(), agent.join("keys").join(key.file_name())).unwrap();
            }
            let agent = self.start_agent(number);
            self.agents.push(agent);
        }
        self.eventually("all hosts are ready", |bed| {
            let hosts = bed.json(0, &["host", "list"]);
            let hosts = hosts.as_array().unwrap();
            hosts.len() == usize::from(count) && hosts.iter().all(|host| host["state"] == "ready")
        });
    }

    fn start_agent(&self, number: u8) -> Running {
        let name = format!("h{number}");
        let home = self.directory.path().join("hosts").join(&name);
        let users = 1_900_000_000 + (u32::from(self.number) * 100 + u32::from(number)) * 1_000;
        let mut command = Command::new(built("wright"));
        command.arg("agent").arg("--home").arg(&home);
        command.args(["--name", &name]);
        command.args(["--address", &self.address(100 + number).to_string()]);
        command.args(["--uid-base", &users.to_string()]);
        for server in &self.servers {
            command.args(["--server", &server.agents()]);
        }
        let log = self.directory.path().join(format!("{name}.log"));
        Running::start(&mut command, &log, "")
    }

    /// SIGKILL, and another one.
    pub fn kill_agent(&mut self, number: u8) {
        let place = usize::from(number) - 1;
        drop(self.agents.remove(place));
        let agent = self.start_agent(number);
        self.agents.insert(place, agent);
    }

    /// How many programs run on all hosts.
    pub fn programs(&self) -> usize {
        let hosts = self.directory.path().join("hosts").display().to_string();
        let processes = processes_of(&hosts);
        let programs = processes
            .iter()
            .filter(|(_, line)| line.contains("e2e-program"));
        programs.count()
    }

    /// Builds and pushes `program@1.0.0`, whose install hook records that it ran.
    pub fn push_program(&self) {
        let at = |name: &str| self.directory.path().join(name).display().to_string();
        let package = self.directory.path().join("package");
        fs::create_dir_all(package.join("hooks")).unwrap();
        let hook = package.join("hooks/install.sh");
        let script = format!(
            "#!/bin/sh\nset -eu\necho \"$WRIGHT_INSTANCE install\" >> {}\nsleep 0.3\n",
            at("effects")
        );
        fs::write(&hook, script).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        let manifest = "name = \"program\"\nversion = \"1.0.0\"\n\
             run = [\"bin/e2e-program\", \"{etc}/program.conf\"]\n\
             [operations.install]\ncommand = [\"hooks/install.sh\"]\n";
        fs::write(package.join("package.toml"), manifest).unwrap();
        let add = format!("bin/e2e-program={}", built("e2e-program").display());
        let (package, dist) = (package.display().to_string(), at("dist"));
        self.must(
            0,
            &["package", "build", &package, "--add", &add, "--out", &dist],
        );
        self.must(
            0,
            &["package", "push", &format!("{dist}/program-1.0.0.wpk")],
        );
    }

    /// Runs `wright` as a client of a server.
    pub fn must(&self, server: usize, arguments: &[&str]) -> String {
        let output = Command::new(built("wright"))
            .env("WRIGHT_DATA", &self.servers[server].data)
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (out, err) = (text(output.stdout), text(output.stderr));
        let log = || self.servers[server].log();
        assert!(
            output.status.success(),
            "{arguments:?}: {err}\n{out}\n{}",
            log()
        );
        out
    }

    pub fn json(&self, server: usize, arguments: &[&str]) -> Value {
        let out = self.must(server, &[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// Writes a site's files; gives the path of `site.yaml`.
    pub fn write(&self, site: &Site) -> String {
        let file = site.write(&self.directory.path().join("site")).unwrap();
        file.display().to_string()
    }

    /// A line that makes a program record that it was started.
    pub fn record(&self) -> String {
        format!("record {}", self.directory.path().join("effects").display())
    }

    /// What hooks and programs did: `INSTANCE install`, `INSTANCE run`; sorted.
    pub fn effects(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("effects")).unwrap();
        let word = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let mut effects: Vec<String> = text.lines().map(word).collect();
        effects.sort();
        effects
    }

    /// How many servers a host's agent was told of.
    pub fn knows(&self, host: u8) -> usize {
        let file = self
            .directory
            .path()
            .join(format!("hosts/h{host}/agent/servers"));
        fs::read_to_string(file).unwrap_or_default().lines().count()
    }

    /// What was done so far does not count.
    pub fn forget_effects(&self) {
        fs::write(self.directory.path().join("effects"), "").unwrap();
    }

    /// Waits for something to become true.
    pub fn eventually(&self, what: &str, mut test: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !test(self) {
            let logs = || -> Vec<String> { self.servers.iter().map(Server::log).collect() };
            assert!(
                started.elapsed() < PATIENCE,
                "{what}: {}",
                logs().join("\n---\n")
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.agents.clear();
        self.servers.clear();
        let directory = self.directory.path().join("hosts").display().to_string();
        for _ in 0..20 {
            let left = processes_of(&directory);
            if left.is_empty() {
                break;
            }
            left.iter().for_each(|(pid, _)| signal(*pid, "KILL"));
        }
    }
}
