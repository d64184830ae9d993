use wright_model::Name;

/// Why agents cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server's identity cannot be used, or its socket failed.
    #[error("cannot serve agents")]
    Transport(#[from] tonic::transport::Error),
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
}

fn list(names: &[Name]) -> String {
    names
        .iter()
        .map(Name::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
