use wright_store::{Revision, StoreError};

/// Why a watch ends.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// What came after the watcher's position is no longer kept.
    #[error(
        "the feed after revision {asked} is no longer kept (the oldest kept is {oldest}): list the resources again and watch from the revision of that list"
    )]
    Expired {
        /// Where the watcher was.
        asked: Revision,
        /// The oldest revision that can be watched from.
        oldest: Revision,
    },
    /// A position that nobody has been told yet.
    #[error("revision {asked} has not happened yet; the newest is {newest}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// The server ends.
    #[error("the feed ended, for the server does")]
    Closed,
}

impl From<StoreError> for FeedError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Compacted { asked, oldest } => FeedError::Expired { asked, oldest },
            StoreError::Future { asked, newest } => FeedError::Future { asked, newest },
            StoreError::Closed => FeedError::Closed,
            other => FeedError::Store(other),
        }
    }
}
