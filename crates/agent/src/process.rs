//! Processes: telling one from a later one of the same number, waiting for one that is not a
//! child, and ending everything that belongs to an instance.

use std::{fs, io, os::fd::OwnedFd, time::Duration};

use jiff::Timestamp;
use procfs::process::Process as Proc;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, test_kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::{io::unix::AsyncFd, process::Child};
use wright_model::LastExit;
use wright_protocol::{Blame, Fault};

use crate::cgroup::Group;

/// One process, never mistaken for another: process ids come again, but not with the same start
/// time in the same run of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The kernel's boot id.
    boot: String,
    pub(crate) pid: u32,
    /// In clock ticks since boot (proc_pid_stat(5), field 22).
    start: u64,
}

impl Identity {
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let stat = stat(pid).ok_or(io::ErrorKind::NotFound)?;
        Ok(Identity {
            boot: boot_id()?,
            pid,
            start: stat.starttime,
        })
    }

    /// Whether it still runs; a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot)
            && stat(self.pid).is_some_and(|s| s.starttime == self.start && !is_dead(&s))
    }

    /// Names it among all processes there ever were.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}/{}", self.boot, self.pid, self.start)
    }

    /// Whether its process group, which has its number, has no members: one system call, where to
    /// look through all processes costs as much as a check does.
    pub(crate) fn group_is_empty(&self) -> bool {
        let group = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        group.is_some_and(|group| test_kill_process_group(group) == Err(rustix::io::Errno::SRCH))
    }

    /// Whether its session, which has its number, can only be its own.
    fn owns_session(&self) -> bool {
        // The kernel gives a number to nobody else while a session of that number has members.
        boot_id().is_ok_and(|boot| boot == self.boot)
            && stat(self.pid).is_none_or(|s| s.starttime == self.start)
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

fn stat(pid: u32) -> Option<procfs::process::Stat> {
    Proc::new(i32::try_from(pid).ok()?).ok()?.stat().ok()
}

fn is_dead(stat: &procfs::process::Stat) -> bool {
    matches!(stat.state, 'Z' | 'X' | 'x')
}

/// Sends a signal to one process; it may be gone.
pub(crate) fn signal(pid: u32, number: i32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(number)) {
        let _ = kill_process(pid, signal);
    }
}

/// A process that the agent waits for: its child, or one that an earlier agent started.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) identity: Identity,
    watch: Watch,
}

#[derive(Debug)]
enum Watch {
    Child(Box<Child>),
    Adopted(AsyncFd<OwnedFd>),
}

impl Process {
    pub(crate) fn child(identity: Identity, child: Child) -> Self {
        Process {
            identity,
            watch: Watch::Child(Box::new(child)),
        }
    }

    /// Takes up a process that an earlier agent started; `None` if it has ended.
    pub(crate) fn adopt(identity: &Identity) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let fd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Looked at after the descriptor is held, so that it is this process or none.
        if !identity.is_alive() {
            return Ok(None);
        }
        Ok(Some(Process {
            identity: identity.clone(),
            watch: Watch::Adopted(watched(fd)?),
        }))
    }

    /// Waits for the end. May be dropped and called again.
    pub(crate) async fn ended(&mut self) -> LastExit {
        use std::os::unix::process::ExitStatusExt;
        let status = match &mut self.watch {
            Watch::Child(child) => child.wait().await.ok(),
            Watch::Adopted(fd) => {
                // It is readable from the end on.
                let _ = fd.readable().await;
                None
            }
        };
        LastExit {
            at: Timestamp::now(),
            code: status.and_then(|s| s.code()),
            signal: status.and_then(|s| s.signal()),
        }
    }
}

#[expect(
    deprecated,
    reason = "sound for an OwnedFd, which cannot change; the new way needs unsafe"
)]
fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

/// What belongs to one instance: the session of its program, its control group and, where it has
/// a user of its own, all of that user's processes.
pub(crate) struct Belongings<'a> {
    pub(crate) session: Option<&'a Identity>,
    pub(crate) group: Option<&'a Group>,
    pub(crate) user: Option<u32>,
    /// The keeper whose session does not count.
    pub(crate) spare: Option<&'a Identity>,
}

impl<'a> Belongings<'a> {
    /// The processes of one session.
    pub(crate) fn session(leader: &'a Identity) -> Self {
        Belongings {
            session: Some(leader),
            group: None,
            user: None,
            spare: None,
        }
    }

    /// The process ids, dead ones and this process left out.
    fn members(&self) -> Vec<u32> {
        let spare = self.spare.filter(|keeper| keeper.is_alive());
        let session = self.session.filter(|leader| leader.owns_session());
        let in_group = self.group.map(Group::members).unwrap_or_default();
        let processes = procfs::process::all_processes()
            .into_iter()
            .flatten()
            .flatten();
        processes
            .filter_map(|process| {
                let stat = process.stat().ok()?;
                let of_user = || {
                    self.user
                        .is_some_and(|user| process.uid().is_ok_and(|owner| owner == user))
                };
                let pid = u32::try_from(stat.pid).ok()?;
                let is_in = |session: &Identity| i64::from(stat.session) == i64::from(session.pid);
                let is_spared = pid == std::process::id() || spare.is_some_and(is_in);
                let belongs = session.is_some_and(is_in) || in_group.contains(&pid) || of_user();
                (belongs && !is_spared && !is_dead(&stat)).then_some(pid)
            })
            .collect()
    }

    /// Kills everything and returns when nothing is left.
    pub(crate) async fn kill(&self) -> Result<(), Fault> {
        let mut left = self.members();
        // A kill takes effect at once except for a process in an uninterruptible system call.
        for round in 0..200u64 {
            if left.is_empty() {
                return Ok(());
            }
            for pid in &left {
                signal(*pid, Signal::KILL.as_raw());
            }
            tokio::time::sleep(Duration::from_millis(1 + round.min(49))).await;
            left = self.members();
        }
        let left: Vec<_> = left.iter().map(u32::to_string).collect();
        Err(Fault::new(
            Blame::Host,
            format!("processes {} cannot be killed", left.join(", ")),
        ))
    }

    /// Kills once, without waiting: for where nobody can wait.
    pub(crate) fn kill_now(&self) {
        for pid in self.members() {
            signal(pid, Signal::KILL.as_raw());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_no_later_one() {
        let own = Identity::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(
            !Identity {
                start: own.start + 1,
                ..own.clone()
            }
            .is_alive()
        );
        assert!(
            !Identity {
                boot: "another".to_owned(),
                ..own
            }
            .is_alive()
        );
    }
}
