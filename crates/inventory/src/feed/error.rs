use wright_store::{Revision, StoreError};

use crate::InventoryError;

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
    /// One commit concerns so many resources, through what they refer to, that it is not told what
    /// became of each.
    #[error(
        "commit {revision} may concern more than {most} resources through what they refer to, which is not told one by one: list the resources again and watch from the revision of that list"
    )]
    Wide {
        /// The commit.
        revision: Revision,
        /// How many there may be.
        most: usize,
    },
    /// What a commit made of references is not in memory yet.
    #[error("what a commit means is not known yet: {0}")]
    Unseen(String),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// The server ends.
    #[error("the feed ended, for the server does")]
    Closed,
}

impl FeedError {
    /// Whether there is no going on: what was missed must be listed.
    pub fn is_gap(&self) -> bool {
        matches!(self, FeedError::Expired { .. } | FeedError::Wide { .. })
    }
}

impl From<InventoryError> for FeedError {
    fn from(error: InventoryError) -> Self {
        match error {
            InventoryError::Store(error) => error.into(),
            other => FeedError::Unseen(other.to_string()),
        }
    }
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
