//! The test bed: one `wright dev` in a directory of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::built;

/// How long anything that must come to be may take.
const PATIENCE: Duration = Duration::from_secs(60);

static NETWORKS: AtomicU8 = AtomicU8::new(80);

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

pub struct Bed {
    pub directory: tempfile::TempDir,
    network: u8,
    hosts: u32,
    server: Option<Child>,
    user: Option<(u32, u32)>,
}

impl Bed {
    /// A server with this many hosts, and the package `program` in versions 1.0.0 and 2.0.0.
    pub fn start(hosts: u32) -> Self {
        Self::start_as(hosts, None)
    }

    /// The same, as another user.
    pub fn start_as(hosts: u32, user: Option<(u32, u32)>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("wright-e2e-")
            .tempdir()
            .unwrap();
        // Programs run as users of their own and append to files here.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let network = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let mut bed = Bed {
            directory,
            network,
            hosts,
            server: None,
            user,
        };
        bed.start_server();
        bed.push_program("1.0.0");
        bed.push_program("2.0.0");
        bed
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Where the programs and hooks record what they do.
    pub fn effects(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("effects")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn port(&self, offset: u16) -> u16 {
        20_000 + u16::from(self.network) * 10 + offset
    }

    /// The command, with the bed's data directory. It heeds the end of its terminal also where whoever runs
    /// the tests does not, as under `nohup`: that would be passed on.
    pub fn command(&self) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new("env");
        command
            .arg("--default-signal=HUP")
            .arg(built("wright"))
            .env("WRIGHT_DATA", self.data())
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts the server and waits until its hosts are there.
    pub fn start_server(&mut self) {
        let mut command = self.command();
        command.args([
            "dev",
            "--hosts",
            &self.hosts.to_string(),
            "--network",
            &self.network.to_string(),
        ]);
        command.args(["--api", &format!("127.0.0.1:{}", self.port(0))]);
        command.args([
            "--agents",
            &format!("127.0.0.1:{}", self.port(1)),
            "--dead-after",
            "5s",
        ]);
        let log = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.directory.path().join("server.log"));
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("hosts are ready"));
        assert!(ready, "the server ended early: {}", self.log());
        std::thread::spawn(move || lines.for_each(drop));
        self.server = Some(child);
    }

    /// The server's own log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("server.log")).unwrap_or_default()
    }

    /// `kill -9` of the server alone.
    pub fn kill_server(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Ctrl-C, and its end.
    pub fn stop_server(&mut self) {
        self.end_server("INT");
    }

    /// The server's terminal is closed, and its end.
    pub fn hang_up(&mut self) {
        self.end_server("HUP");
    }

    fn end_server(&mut self, with: &str) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        signal(server.id(), with);
        let mut ended = None;
        self.eventually("the server has ended", |_| {
            ended = server.try_wait().unwrap();
            ended.is_some()
        });
        let status = ended.unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Runs `wright` to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command().args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended {
            ok: output.status.success(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Runs `wright`, which must succeed.
    pub fn must(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert!(
            ended.ok,
            "wright {arguments:?} failed: {}\n{}\nserver: {}",
            ended.err,
            ended.out,
            self.log()
        );
        ended.out
    }

    /// Runs `wright … -o json`, which must succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let out = self.must(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// Starts `wright` and lets it run.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command()
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn push_program(&self, version: &str) {
        self.push(
            "program",
            version,
            "#!/bin/sh\nset -eu\necho \"$WRIGHT_INSTANCE install\" >> EFFECTS\n",
        );
    }

    /// Builds and pushes a package whose program is `e2e-program` and whose install hook is this.
    pub fn push(&self, name: &str, version: &str, hook: &str) {
        let package = self
            .directory
            .path()
            .join(format!("package-{name}-{version}"));
        fs::create_dir_all(package.join("hooks")).unwrap();
        let effects = self.directory.path().join("effects");
        let uninstall = "#!/bin/sh\necho \"$WRIGHT_INSTANCE uninstall\" >> EFFECTS\n";
        for (file, hook) in [("install.sh", hook), ("uninstall.sh", uninstall)] {
            let file = package.join("hooks").join(file);
            let hook = hook.replace("EFFECTS", &effects.display().to_string());
            fs::write(&file, hook).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let manifest = format!(
            "name = \"{name}\"\nversion = \"{version}\"\nrun = [\"bin/e2e-program\", \"{{etc}}/program.conf\"]\n\
             [operations.install]\ncommand = [\"hooks/install.sh\"]\n\
             [operations.uninstall]\ncommand = [\"hooks/uninstall.sh\"]\n"
        );
        fs::write(package.join("package.toml"), manifest).unwrap();
        if !effects.exists() {
            fs::write(&effects, "").unwrap();
            fs::set_permissions(&effects, fs::Permissions::from_mode(0o666)).unwrap();
        }
        let add = format!("bin/e2e-program={}", built("e2e-program").display());
        let dist = self.directory.path().join("dist").display().to_string();
        self.must(&[
            "package",
            "build",
            &package.display().to_string(),
            "--add",
            &add,
            "--out",
            &dist,
        ]);
        self.must(&["package", "push", &format!("{dist}/{name}-{version}.wpk")]);
    }

    /// Writes a site's files; gives the path of `site.yaml`.
    pub fn write(&self, site: &crate::Site) -> String {
        site.write(&self.directory.path().join("site"))
            .unwrap()
            .display()
            .to_string()
    }

    /// `up --yes`.
    pub fn up(&self, site: &crate::Site) -> Ended {
        let file = self.write(site);
        self.run(&["site", "up", &file, "--yes"])
    }

    /// All instances of the inventory by name.
    pub fn instances(&self) -> Vec<Value> {
        self.json(&["instance", "list"]).as_array().unwrap().clone()
    }

    /// The site's final state: which instance runs which version on which ports, and is served.
    pub fn final_state(&self) -> BTreeMap<String, String> {
        let describe = |instance: &Value| {
            let spec = &instance["record"]["spec"];
            let state = format!(
                "{} {} {}",
                spec["package"]["version"], instance["record"]["traffic"], spec["ports"]
            );
            (spec["id"].as_str().unwrap_or_default().to_owned(), state)
        };
        self.instances().iter().map(describe).collect()
    }

    /// The instance of this name.
    pub fn instance(&self, name: &str) -> Value {
        let id = format!("test/{name}");
        let found = self
            .instances()
            .into_iter()
            .find(|instance| instance["record"]["spec"]["id"] == id.as_str());
        found.unwrap_or_else(|| panic!("no instance {name}"))
    }

    /// Waits for something to become true.
    pub fn eventually(&self, what: &str, mut test: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !test(self) {
            assert!(
                started.elapsed() < PATIENCE,
                "{what}: not in {PATIENCE:?}; server: {}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// The process id of a host's agent.
    pub fn agent_pid(&self, host: &str) -> u32 {
        self.find_agent(host)
            .unwrap_or_else(|| panic!("no agent of {host}"))
    }

    /// The same, where it runs.
    pub fn find_agent(&self, host: &str) -> Option<u32> {
        let home = self.data().join("hosts").join(host).display().to_string();
        let mut found = processes_of(&home).into_iter();
        found
            .find(|(_, line)| line.contains(" agent "))
            .map(|(pid, _)| pid)
    }

    /// The process id of the server.
    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    /// Programs that run on any host: their command lines.
    pub fn programs(&self) -> Vec<(u32, String)> {
        let data = self.data().display().to_string();
        processes_of(&data)
            .into_iter()
            .filter(|(_, line)| line.contains("e2e-program"))
            .collect()
    }

    /// Ends it all and looks for what is left.
    pub fn finish(mut self) {
        self.stop_server();
        let left = processes_of(&self.data().display().to_string());
        assert!(left.is_empty(), "left behind: {left:?}");
        let hosts = fs::read_dir(self.data().join("hosts"))
            .map(|entries| entries.count())
            .unwrap_or(0);
        assert_eq!(hosts, 0, "host directories are left behind");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        for _ in 0..20 {
            let left = processes_of(&self.data().display().to_string());
            if left.is_empty() {
                break;
            }
            left.iter().for_each(|(pid, _)| signal(*pid, "KILL"));
        }
    }
}

/// Sends a signal by its name.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Processes (zombies excepted) whose command line or environment has this text.
pub fn processes_of(text: &str) -> Vec<(u32, String)> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let read = |what: &str| {
            let bytes =
                fs::read(Path::new("/proc").join(pid.to_string()).join(what)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let line = read("cmdline");
        if pid != own && !line.is_empty() && (line.contains(text) || read("environ").contains(text))
        {
            found.push((pid, line));
        }
    }
    found
}
