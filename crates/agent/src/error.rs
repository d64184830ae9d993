use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use wright_protocol::{Blame, Fault};

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The host's directory cannot be used.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another agent uses the same directory.
    #[error("another agent runs in {}; stop it first", home.display())]
    Occupied {
        /// The host's directory.
        home: PathBuf,
    },
    /// A file of the agent does not hold what it should.
    #[error("{} cannot be used: {why}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No server was named.
    #[error("no server was named; say where one is with --server https://ADDRESS:PORT")]
    NoServer,
    /// The server's URL or the identity cannot be used.
    #[error("cannot prepare the connection to {server}")]
    Connection {
        /// The server's URL.
        server: String,
        /// What is wrong.
        source: tonic::transport::Error,
    },
    /// The route lookup cannot listen.
    #[error("cannot listen on {address} for route lookups; is another agent there?")]
    Listen {
        /// Where it should listen.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// What is on disk of an instance cannot be taken up again.
    #[error("cannot take up what ran before: {0}")]
    Resume(#[from] Fault),
}

impl AgentError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| AgentError::Io {
            doing,
            path,
            source,
        }
    }
}

/// The fault of a host that refuses to read or write, a full disk named as such.
pub(crate) fn host_fault(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Fault {
    let what = format!("cannot {doing} {}", path.display());
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Fault::new(Blame::Host, format!("disk full: {what}"))
        }
        _ => Fault::new(Blame::Host, format!("{what}: {error}")),
    }
}

/// What a failure of the package library means for the task.
pub(crate) fn package_fault(error: wright_package::Error) -> Fault {
    match error {
        wright_package::Error::Io {
            doing,
            path,
            source,
        } => host_fault(doing, &path)(source),
        other => Fault::new(Blame::Package, other.to_string()),
    }
}

/// Takes a lock that is held for a few instructions only. A panic of another holder cannot leave a
/// value half-changed, because values are replaced as a whole.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
