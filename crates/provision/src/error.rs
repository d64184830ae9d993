use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use wright_model::Name;
use wright_pki::PkiError;

/// Why a provider could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The provider has no host of this name to give.
    #[error("host {name} cannot be made: {expected}")]
    BadName {
        /// The name asked for.
        name: Name,
        /// What names it has.
        expected: String,
    },
    /// The host was killed. It must be destroyed before its name is used again.
    #[error("host {0} is dead; destroy it before its name is used again")]
    Dead(Name),
    /// Somebody else listens where the host's route lookup has to.
    #[error(
        "{address}:{port} is in use; is another installation running? stop it, or use another \
         network"
    )]
    AddressInUse {
        /// The host's address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// This machine does not let us listen on the host's address.
    #[error("cannot listen on {address}")]
    Address {
        /// The host's address.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory cannot be used.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The agent could not be started.
    #[error("cannot start the agent of {host}")]
    Spawn {
        /// Whose.
        host: Name,
        /// What the system said.
        source: io::Error,
    },
    /// The agent's identity could not be made.
    #[error("cannot give {host} an identity")]
    Identity {
        /// Whose.
        host: Name,
        /// What is wrong.
        source: PkiError,
    },
    /// Processes did not end although they were killed.
    #[error("of {host}, processes {pids:?} cannot be killed")]
    StillRunning {
        /// Whose.
        host: Name,
        /// Which.
        pids: Vec<i32>,
    },
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

impl ProvisionError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| ProvisionError::Io {
            doing,
            path,
            source,
        }
    }
}
