use std::collections::VecDeque;

use wright_store::{Change, Revision, Watch};

use crate::{InventoryError, Resource};

/// One resource changed.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceChange {
    /// The commit.
    pub revision: Revision,
    /// What it was; `None` where it is new.
    pub before: Option<Resource>,
    /// What it is; `None` where it was removed.
    pub after: Option<Resource>,
}

/// Changes of one kind's resources from a revision on.
#[derive(Debug)]
pub struct ResourceWatch {
    watch: Watch,
    waiting: VecDeque<Change>,
}

impl ResourceWatch {
    pub(crate) fn new(watch: Watch) -> Self {
        ResourceWatch {
            watch,
            waiting: VecDeque::new(),
        }
    }

    /// The next change; `None` when the store was closed.
    ///
    /// # Errors
    /// Where the watch fell behind what is kept: list again.
    pub async fn next(&mut self) -> Option<Result<ResourceChange, InventoryError>> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return Some(read(&change));
            }
            match self.watch.next().await? {
                Ok(changes) => self.waiting.extend(changes),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

fn read(change: &Change) -> Result<ResourceChange, InventoryError> {
    Ok(ResourceChange {
        revision: change.revision,
        before: change
            .before
            .as_ref()
            .map(Resource::from_entry)
            .transpose()?,
        after: change
            .after
            .as_ref()
            .map(Resource::from_entry)
            .transpose()?,
    })
}
