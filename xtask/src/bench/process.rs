//! What processes use: CPU time and memory, read from `/proc` (proc(5)).

use std::{path::Path, time::Duration};

use procfs::process::{Process, Stat, all_processes};

/// The processes whose command line or environment names a directory.
pub fn below(directory: &Path) -> Vec<Process> {
    let needle = directory.to_string_lossy();
    let own = std::process::id();
    let all = all_processes().into_iter().flatten().flatten();
    let others = all.filter(|process| u32::try_from(process.pid()).is_ok_and(|pid| pid != own));
    others.filter(|process| names(process, &needle)).collect()
}

fn names(process: &Process, needle: &str) -> bool {
    let named = |text: &str| text.contains(needle);
    process
        .cmdline()
        .is_ok_and(|words| words.iter().any(|word| named(word)))
        || process
            .environ()
            .is_ok_and(|all| all.values().any(|value| named(&value.to_string_lossy())))
}

fn time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / procfs::ticks_per_second().max(1))
}

fn of_children(stat: &Stat) -> u64 {
    u64::try_from(stat.cutime + stat.cstime).unwrap_or(0)
}

/// The CPU time, user and system, of a process and of its children that have ended.
pub fn cpu(process: &Process) -> Duration {
    process.stat().map_or(Duration::ZERO, |stat| {
        time(stat.utime + stat.stime + of_children(&stat))
    })
}

/// The CPU time, user and system, of a process alone.
pub fn own_cpu(process: &Process) -> Duration {
    process
        .stat()
        .map_or(Duration::ZERO, |stat| time(stat.utime + stat.stime))
}

/// The CPU time of a site's whole process tree over a while: everything that runs below a directory,
/// and the commands that this process has run meanwhile.
///
/// What ends without its parent waiting for it is not counted.
pub struct Meter<'a> {
    directory: &'a Path,
    before: Duration,
}

impl<'a> Meter<'a> {
    /// Begins to count.
    pub fn start(directory: &'a Path) -> Self {
        Meter {
            directory,
            before: sum(directory),
        }
    }

    /// What was used since the start.
    pub fn used(&self) -> Duration {
        sum(self.directory).saturating_sub(self.before)
    }
}

fn sum(directory: &Path) -> Duration {
    let commands = Process::myself()
        .and_then(|own| own.stat())
        .map_or(0, |stat| of_children(&stat));
    below(directory).iter().map(cpu).sum::<Duration>() + time(commands)
}

/// Memory of one process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Resident (VmRSS): pages shared with other processes count fully.
    pub resident: u64,
    /// Proportional (PSS): a page shared by n processes counts 1/n.
    pub proportional: u64,
}

/// The memory of a process.
///
/// # Errors
/// When it has ended, or is somebody else's.
pub fn memory(process: &Process) -> crate::Result<Memory> {
    let resident = process.status()?.vmrss.ok_or("a process without memory")? * 1024;
    let rollup = process.smaps_rollup()?;
    let maps = rollup.memory_map_rollup.iter();
    let proportional = maps.filter_map(|map| map.extension.map.get("Pss")).sum();
    Ok(Memory {
        resident,
        proportional,
    })
}
