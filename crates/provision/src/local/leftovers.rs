//! Everything that runs from a host's directory, found without asking its agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use procfs::process::Process as Proc;
use serde::Deserialize;
use tokio::time::timeout;
use walkdir::WalkDir;
use wright_model::{Digest, Name};

use super::{agent::is_agent, files::HostFiles, process::Process};
use crate::ProvisionError;

/// Different for every start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// How deep control groups are looked for.
const DEPTH: usize = 10;

/// How long killed processes may take to end; longer only in an uninterruptible system call.
const DEATH: Duration = Duration::from_secs(10);

/// How often it is looked for what was started while the rest was being killed.
const ROUNDS: usize = 20;

/// The part of an instance's `state.json` that says what was started for it.
#[derive(Deserialize)]
struct State {
    running: Option<Started>,
    hook: Option<Leader>,
}

#[derive(Deserialize)]
struct Started {
    process: Leader,
}

/// The leader of a session, told from later processes of its number by the kernel's boot id and its
/// start (clock ticks since boot, proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Leader {
    boot: String,
    pid: i32,
    start: u64,
}

/// What belongs to one host.
pub(super) struct Leftovers {
    home: PathBuf,
    sessions: Vec<Leader>,
    groups: Vec<PathBuf>,
}

/// A process as far as we may look at it.
#[derive(Debug, Clone, Default)]
struct Seen {
    pid: i32,
    parent: i32,
    session: i32,
    start: u64,
    /// It is the agent, its program lies in the host's directory or its instance does.
    of_host: bool,
}

impl Leftovers {
    pub(super) fn of(files: &HostFiles) -> Self {
        let instances = fs::read_dir(files.instances())
            .into_iter()
            .flatten()
            .flatten();
        let instances: Vec<_> = instances.map(|entry| entry.path()).collect();
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let sessions = instances
            .iter()
            .flat_map(|instance| sessions(instance, boot.trim()))
            .collect();
        Leftovers {
            home: files.home().to_owned(),
            sessions,
            groups: groups(&instances),
        }
    }

    /// Kills everything and returns when nothing is left.
    pub(super) async fn kill(&self, host: &Name) -> Result<(), ProvisionError> {
        let mut stuck = Vec::new();
        for _ in 0..ROUNDS {
            let held: Vec<_> = self
                .members()
                .into_iter()
                .filter_map(|pid| Process::hold(pid).ok()?)
                .collect();
            // Looked at again now that each is held: it is still what was found, or not killed.
            let still = self.members();
            let held: Vec<_> = held
                .into_iter()
                .filter(|process| still.contains(&process.pid()))
                .collect();
            if held.is_empty() {
                return Ok(());
            }
            // The agent first: it would start its programs again.
            let (agents, programs): (Vec<_>, Vec<_>) = held
                .iter()
                .partition(|process| is_agent(process.pid(), &self.home));
            agents.into_iter().chain(programs).for_each(Process::kill);
            stuck.clear();
            for process in &held {
                if timeout(DEATH, process.ended()).await.is_err() {
                    stuck.push(process.pid());
                }
            }
        }
        Err(ProvisionError::StillRunning {
            host: host.clone(),
            pids: stuck,
        })
    }

    /// Removes the control groups, empty now.
    pub(super) fn remove_groups(&self) {
        for group in &self.groups {
            if let Err(error) = fs::remove_dir(group)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(group = %group.display(), %error, "a control group stays");
            }
        }
    }

    fn members(&self) -> BTreeSet<i32> {
        let grouped = self
            .groups
            .iter()
            .filter_map(|group| fs::read_to_string(group.join("cgroup.procs")).ok());
        let grouped = grouped.flat_map(|text| {
            text.lines()
                .filter_map(|line| line.parse().ok())
                .collect::<Vec<_>>()
        });
        let mut members = belonging(&self.processes(), &self.sessions, &grouped.collect());
        members.remove(&1);
        members.remove(&std::process::id().cast_signed());
        members
    }

    fn processes(&self) -> Vec<Seen> {
        let processes = procfs::process::all_processes()
            .into_iter()
            .flatten()
            .flatten();
        processes
            .filter_map(|process| self.look(&process))
            .collect()
    }

    /// `None` for what is dead already.
    fn look(&self, process: &Proc) -> Option<Seen> {
        let stat = process.stat().ok()?;
        if matches!(stat.state, 'Z' | 'X' | 'x') {
            return None;
        }
        let below = |path: &Path| path.starts_with(&self.home);
        let instance = || {
            process
                .environ()
                .ok()?
                .remove(std::ffi::OsStr::new("WRIGHT_HOME"))
        };
        let of_host = is_agent(stat.pid, &self.home)
            || process.exe().is_ok_and(|exe| below(&exe))
            || instance().is_some_and(|instance| below(Path::new(&instance)));
        let (pid, parent, session) = (stat.pid, stat.ppid, stat.session);
        Some(Seen {
            pid,
            parent,
            session,
            start: stat.starttime,
            of_host,
        })
    }
}

/// Which processes belong to a host: the ones seen to be its own, the members of its sessions and
/// control groups, and all descendants of these.
fn belonging(seen: &[Seen], sessions: &[Leader], grouped: &BTreeSet<i32>) -> BTreeSet<i32> {
    let by_pid: BTreeMap<_, _> = seen.iter().map(|process| (process.pid, process)).collect();
    // While a session has members its number is given to nobody else; with its leader gone, they
    // are still the session's.
    let is_theirs = |leader: &&Leader| {
        by_pid
            .get(&leader.pid)
            .is_none_or(|seen| seen.start == leader.start)
    };
    let sessions: BTreeSet<_> = sessions
        .iter()
        .filter(is_theirs)
        .map(|leader| leader.pid)
        .collect();
    let own = |process: &&Seen| {
        process.of_host || sessions.contains(&process.session) || grouped.contains(&process.pid)
    };
    let mut members: BTreeSet<_> = seen.iter().filter(own).map(|process| process.pid).collect();
    loop {
        let before = members.len();
        let children = seen
            .iter()
            .filter(|process| members.contains(&process.parent));
        let children: Vec<_> = children.map(|process| process.pid).collect();
        members.extend(children);
        if members.len() == before {
            return members;
        }
    }
}

/// The sessions that were started for an instance since the machine was.
fn sessions(instance: &Path, boot: &str) -> Vec<Leader> {
    let state = fs::read(instance.join("state.json")).unwrap_or_default();
    // Where it cannot be read, control groups, environment and programs still tell.
    let state = serde_json::from_slice(&state).unwrap_or(State {
        running: None,
        hook: None,
    });
    let leaders = state
        .running
        .map(|running| running.process)
        .into_iter()
        .chain(state.hook);
    leaders.filter(|leader| leader.boot == boot).collect()
}

/// The control groups of instances: agents name them `wright-{site}.{name}-{digest}`, with the
/// first digits of the digest of the instance's directory, below whichever group they run in.
fn groups(instances: &[PathBuf]) -> Vec<PathBuf> {
    let name = |instance: &PathBuf| {
        let place = Digest::of(instance.as_os_str().as_encoded_bytes()).short();
        Some(format!(
            "wright-{}-{place}",
            instance.file_name()?.to_str()?
        ))
    };
    let names: BTreeSet<_> = instances.iter().filter_map(name).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let directories = WalkDir::new(CONTROL_GROUPS)
        .max_depth(DEPTH)
        .into_iter()
        .flatten();
    let directories = directories.filter(|entry| entry.file_type().is_dir());
    let ours = directories.filter(|entry| {
        entry
            .file_name()
            .to_str()
            .is_some_and(|name| names.contains(name))
    });
    ours.map(walkdir::DirEntry::into_path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(pid: i32, start: u64) -> Leader {
        Leader {
            boot: "b".to_owned(),
            pid,
            start,
        }
    }

    fn seen(pid: i32, parent: i32, session: i32) -> Seen {
        Seen {
            pid,
            parent,
            session,
            start: 1000,
            of_host: false,
        }
    }

    #[test]
    fn what_belongs_is_seen_by_place_session_group_and_descent() {
        let processes = [
            Seen {
                of_host: true,
                ..seen(10, 1, 10)
            },
            seen(11, 10, 11),
            seen(12, 11, 12),
            seen(20, 1, 20),
            seen(21, 1, 20),
            seen(30, 1, 30),
            seen(99, 1, 99),
        ];
        let members = belonging(&processes, &[leader(20, 1000)], &BTreeSet::from([30]));
        assert_eq!(members, BTreeSet::from([10, 11, 12, 20, 21, 30]));
    }

    #[test]
    fn a_later_process_of_a_leaders_number_is_spared() {
        let reused = leader(20, 7);
        let members = belonging(
            &[seen(20, 1, 20), seen(21, 20, 20)],
            &[reused],
            &BTreeSet::new(),
        );
        assert!(members.is_empty());
    }

    #[test]
    fn a_session_outlives_its_leader() {
        let gone = leader(20, 1000);
        let members = belonging(&[seen(21, 1, 20)], &[gone], &BTreeSet::new());
        assert_eq!(members, BTreeSet::from([21]));
    }

    #[test]
    fn an_agents_state_names_its_sessions_of_this_boot() {
        let scratch = tempfile::tempdir().unwrap();
        let state = r#"{ "user": null, "hook": { "boot": "earlier", "pid": 9, "start": 10 },
            "running": { "process": { "boot": "b", "pid": 7, "start": 8 }, "spec": "-" } }"#;
        fs::write(scratch.path().join("state.json"), state).unwrap();
        assert_eq!(sessions(scratch.path(), "b"), [leader(7, 8)]);
    }
}
