//! When a server is asked to end.

use tokio::signal::unix;

/// SIGINT, SIGTERM and, unless whoever started us had it ignored as `nohup` does, SIGHUP: the
/// terminal is gone, and with it whoever could end us.
pub struct Stop {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: Option<unix::Signal>,
    asked: bool,
}

impl Stop {
    /// Listens from now on.
    pub fn new() -> std::io::Result<Self> {
        Ok(Stop {
            interrupt: unix::signal(unix::SignalKind::interrupt())?,
            terminate: unix::signal(unix::SignalKind::terminate())?,
            hangup: match ignores_hangup() {
                true => None,
                false => Some(unix::signal(unix::SignalKind::hangup())?),
            },
            asked: false,
        })
    }

    /// Returns when somebody asks.
    pub async fn asked(&mut self) {
        self.again().await;
        self.asked = true;
    }

    /// Returns when somebody has asked, also before.
    pub async fn wait(&mut self) {
        if !self.asked {
            self.asked().await;
        }
    }

    /// Returns when somebody asks once more.
    pub async fn again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    }
}

/// Whether this process was started with SIGHUP ignored (proc(5), `SigIgn`: bit 0 is signal 1).
fn ignores_hangup() -> bool {
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    status.is_ok_and(|status| status.sigign & 1 == 1)
}
