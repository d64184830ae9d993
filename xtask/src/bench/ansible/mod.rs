//! The peer: Ansible builds the same site from the same plan and the same archives on the same
//! addresses.

mod inventory;
mod jinja;
mod plan;
mod playbook;
mod program;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use self::inventory::{Archive, Site};
pub use self::{plan::Plan, playbook::Strategy};
use super::{
    lookup::Servers,
    process::{self, Meter},
    wright,
};
use crate::{Result, leftovers, run};

/// How long programs may take to end before they are killed.
const ENDED_WITHIN: Duration = Duration::from_secs(15);
/// How often it is looked whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One build.
#[derive(Debug)]
pub struct Build {
    /// The playbook's wall time.
    pub wall: Duration,
    /// CPU time of everything: Ansible, its modules, programs.
    pub cpu: Duration,
}

/// Ansible with everything it needs to build a site again and again.
pub struct Ansible {
    plan: Plan,
    archives: BTreeMap<String, Archive>,
    /// Answers as long as it lives.
    _servers: Servers,
    work: PathBuf,
    seed: u64,
}

impl Ansible {
    /// Serves archives and route lookups, which must be free on the hosts' addresses.
    pub async fn new(plan: &str, archives: &[PathBuf], work: &Path, seed: u64) -> Result<Self> {
        let plan: Plan =
            serde_json::from_str(plan).map_err(|error| format!("the site's plan: {error}"))?;
        let addresses: Vec<_> = plan.hosts.values().map(|host| host.address).collect();
        let (mut bytes, mut known) = (BTreeMap::new(), BTreeMap::new());
        for path in archives {
            let content = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let manifest = wright_package::read_manifest(path)?;
            let id = format!("{}@{}", manifest.name, manifest.version);
            let sha256 = Sha256::digest(&content)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            bytes.insert(id.clone(), Bytes::from(content));
            known.insert(
                id,
                Archive {
                    url: String::new(),
                    sha256,
                    manifest,
                },
            );
        }
        let servers = Servers::start(&addresses, plan.table(), bytes).await?;
        for (id, archive) in &mut known {
            archive.url = format!("{}/{id}", servers.archives);
        }
        Ok(Ansible {
            plan,
            archives: known,
            _servers: servers,
            work: work.to_path_buf(),
            seed,
        })
    }

    /// Its version and its Python's.
    pub async fn version() -> Result<String> {
        let text = run::output(run::command("ansible-playbook", ["--version"])).await?;
        let line = |mark: &str| {
            text.lines()
                .find(|line| line.contains(mark))
                .map(str::trim)
                .unwrap_or_default()
        };
        let python = line("python version")
            .split(['=', '('])
            .nth(1)
            .map(str::trim)
            .unwrap_or_default();
        Ok(format!("{}, Python {python}", line("core")))
    }

    /// Builds the site on empty hosts, sees it sell something, and removes it.
    pub async fn build(&self, strategy: Strategy) -> Result<Build> {
        self.remove().await?;
        let build = self.play_and_buy(strategy).await;
        self.remove().await?;
        build
    }

    async fn play_and_buy(&self, strategy: Strategy) -> Result<Build> {
        let build = self.play(strategy).await?;
        wright::buy(&self.front_door()?).await?;
        Ok(build)
    }

    async fn play(&self, strategy: Strategy) -> Result<Build> {
        let is_root = fs::metadata("/proc/self")
            .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let site = Site {
            plan: &self.plan,
            archives: &self.archives,
            work: &self.work,
            is_root,
            seed: self.seed,
        };
        let inventory = site.inventory()?;
        let tasks = run::root().join("bench/ansible");
        let book = playbook::playbook(strategy, &tasks, &inventory, self.plan.layers());
        fs::create_dir_all(&self.work)?;
        let (inventory_file, book_file) = (
            self.work.join("inventory.json"),
            self.work.join("playbook.json"),
        );
        fs::write(&inventory_file, serde_json::to_vec(&inventory)?)?;
        fs::write(&book_file, serde_json::to_vec(&book)?)?;
        let log = self.work.join("ansible.log");
        let mut command = run::command("ansible-playbook", ["-i"]);
        command.arg(&inventory_file).arg(&book_file);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8");
        // Ansible keeps its own files in the home directory.
        command
            .env("HOME", &self.work)
            .env("ANSIBLE_CONFIG", tasks.join("ansible.cfg"));
        let output = fs::File::create(&log)?;
        command
            .stdout(Stdio::from(output.try_clone()?))
            .stderr(Stdio::from(output));
        let meter = Meter::start(&self.work);
        let began = Instant::now();
        let status = command
            .status()
            .await
            .map_err(|error| format!("ansible-playbook: {error}"))?;
        let build = Build {
            wall: began.elapsed(),
            cpu: meter.used(),
        };
        if status.success() {
            return Ok(build);
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        let failures = said.lines().filter(|line| {
            line.contains("failed:") || line.contains("fatal:") || line.contains("ERROR")
        });
        let failures = failures
            .take(5)
            .map(|line| line.chars().take(600).collect::<String>());
        Err(format!(
            "ansible-playbook ({}): {status}\n{}",
            strategy.name(),
            failures.collect::<Vec<_>>().join("\n")
        )
        .into())
    }

    fn front_door(&self) -> Result<String> {
        let doors = self
            .plan
            .instances
            .values()
            .filter(|planned| planned.spec.app.as_str() == "nginx");
        let door = doors
            .map(|planned| (planned.spec.address, planned.spec.ports.values().next()))
            .next();
        let Some((address, Some(port))) = door else {
            return Err("no nginx with a port in the plan".into());
        };
        Ok(format!("http://{}/", SocketAddr::new(address, *port)))
    }

    /// Ends what runs and removes every file.
    async fn remove(&self) -> Result {
        signal("-TERM", &self.work).await?;
        let end = Instant::now() + ENDED_WITHIN;
        while Instant::now() < end && !process::below(&self.work).is_empty() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        signal("-KILL", &self.work).await?;
        match fs::remove_dir_all(&self.work) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", self.work.display()).into());
            }
            _ => {}
        }
        let left = leftovers::find(&self.work);
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("left behind:\n  {}", left.join("\n  ")).into())
        }
    }
}

async fn signal(signal: &str, work: &Path) -> Result {
    let pids: Vec<_> = process::below(work)
        .iter()
        .map(|process| process.pid().to_string())
        .collect();
    if !pids.is_empty() {
        // One that has just ended is no error.
        let mut kill = run::command("kill", [signal]);
        kill.args(pids).stderr(Stdio::null()).status().await?;
    }
    Ok(())
}
