//! Control groups: one for each running instance, where the machine lets the agent make them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use wright_model::Limits;

const ROOT: &str = "/sys/fs/cgroup";

/// The control group of one instance: one directory (version 2) or one for each controller
/// (version 1).
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    directories: Vec<PathBuf>,
}

/// Where the agent may make groups: below its own.
fn parents() -> Vec<(PathBuf, Version)> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = Path::new(ROOT).join("cgroup.controllers").exists();
    own.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let path = path.trim_start_matches('/');
            match controllers {
                "" if unified => Some((Path::new(ROOT).join(path), Version::Two)),
                "memory" | "cpu" | "cpu,cpuacct" if !unified => {
                    Some((Path::new(ROOT).join(controllers).join(path), Version::One))
                }
                _ => None,
            }
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group {
    /// Makes the group and sets its limits. Where the machine does not let us, it is empty.
    pub(crate) fn create(name: &str, limits: &Limits) -> Self {
        let mut group = Group::default();
        for (parent, version) in parents() {
            let directory = parent.join(name);
            let made = match fs::create_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            };
            match made.and_then(|()| limit(&directory, version, limits)) {
                Ok(()) => group.directories.push(directory),
                Err(error) => {
                    tracing::debug!(%error, directory = %directory.display(), "no limits");
                    let _ = fs::remove_dir(&directory);
                }
            }
        }
        group
    }

    /// The group that an earlier agent made, as far as it is there.
    pub(crate) fn existing(name: &str) -> Self {
        let directories = parents().into_iter().map(|(parent, _)| parent.join(name));
        Group {
            directories: directories.filter(|d| d.exists()).collect(),
        }
    }

    /// The files to which a process writes `0` to join.
    pub(crate) fn entrances(&self) -> Vec<PathBuf> {
        self.directories
            .iter()
            .map(|d| d.join("cgroup.procs"))
            .collect()
    }

    pub(crate) fn members(&self) -> Vec<u32> {
        self.entrances()
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .flat_map(|text| {
                text.lines()
                    .filter_map(|l| l.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// How many of its processes the kernel has killed because memory ran out.
    pub(crate) fn out_of_memory_kills(&self) -> u64 {
        self.directories
            .iter()
            .flat_map(|d| [d.join("memory.oom_control"), d.join("memory.events")])
            .filter_map(|file| fs::read_to_string(file).ok())
            .flat_map(|text| {
                let count = text
                    .lines()
                    .filter_map(|l| l.strip_prefix("oom_kill ")?.parse().ok());
                count.collect::<Vec<u64>>()
            })
            .sum()
    }

    /// Removes the group; it must be empty.
    pub(crate) fn remove(&self) {
        for directory in &self.directories {
            if let Err(error) = fs::remove_dir(directory)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, directory = %directory.display(), "control group stays");
            }
        }
    }
}

fn limit(directory: &Path, version: Version, limits: &Limits) -> io::Result<()> {
    let memory = limits.memory.bytes().to_string();
    let millis = u64::from(limits.cpu.millis());
    let has = |file: &str| directory.join(file).exists();
    let set = |file: &str, value: &str| fs::write(directory.join(file), value);
    match version {
        Version::One if has("memory.limit_in_bytes") => set("memory.limit_in_bytes", &memory),
        Version::One => set("cpu.shares", &(millis * 1024 / 1000).max(2).to_string()),
        Version::Two => {
            set("memory.max", &memory)?;
            // Optional: memory is what must not run away.
            if has("cpu.weight") {
                set("cpu.weight", &(millis / 10).clamp(1, 10_000).to_string())?;
            }
            Ok(())
        }
    }
}
