//! Processes, held by descriptor, so that no signal reaches a later one of the same number.

use std::{io, os::fd::OwnedFd};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

/// One process, whoever's child it is.
#[derive(Debug)]
pub(super) struct Process {
    pid: i32,
    descriptor: AsyncFd<OwnedFd>,
}

impl Process {
    /// Takes hold of a process; `None` if there is none of this number. What it is must be looked
    /// at afterwards: from here on it is this process or none.
    #[allow(
        deprecated,
        reason = "its successor is unsafe for what may lose its descriptor; an OwnedFd keeps it"
    )]
    pub(super) fn hold(pid: i32) -> io::Result<Option<Self>> {
        let Some(number) = Pid::from_raw(pid) else {
            return Ok(None);
        };
        match pidfd_open(number, PidfdFlags::NONBLOCK) {
            Ok(descriptor) => Ok(Some(Process {
                pid,
                descriptor: AsyncFd::new(descriptor)?,
            })),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for its end. Cancel-safe.
    pub(super) async fn ended(&self) {
        // The descriptor is readable from the end on (pidfd_open(2)).
        let _ = self.descriptor.readable().await;
    }

    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // It may have ended, which is as good.
        let _ = pidfd_send_signal(self.descriptor.get_ref(), signal);
    }
}
