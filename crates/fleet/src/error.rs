use wright_model::Name;

/// Why agents cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server's identity cannot be used, or its socket failed.
    #[error("cannot serve agents")]
    Transport(#[from] tonic::transport::Error),
}

/// Why another server did not give an archive.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It does not answer, or refuses.
    #[error("server {server} does not answer: {}", source.message())]
    Call {
        /// Which server.
        server: String,
        /// What it or the connection says.
        source: Box<tonic::Status>,
    },
    /// What came cannot be written.
    #[error("what server {server} sent cannot be kept")]
    Disk {
        /// Which server.
        server: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A service table that not every agent answers from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotApplied {
    /// No table of this revision or a later one was published in time.
    #[error("the service table of revision {0} was not published in time")]
    Unpublished(u64),
    /// Some agents did not say in time that they have it.
    #[error(
        "the service table of revision {revision} is not yet used by {}",
        list(agents)
    )]
    Waiting {
        /// The revision that was waited for.
        revision: u64,
        /// Whose agents have not got so far.
        agents: Vec<Name>,
    },
    /// Another server did not say in time what its agents use.
    #[error(
        "server {server} did not say in time whether its agents use the service table of revision {revision}"
    )]
    Unknown {
        /// The revision that was waited for.
        revision: u64,
        /// Which server.
        server: String,
    },
}

fn list(names: &[Name]) -> String {
    names
        .iter()
        .map(Name::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
