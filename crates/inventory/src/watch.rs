use std::collections::VecDeque;

use serde::de::DeserializeOwned;
use wright_store::{Change, Entry, Revision, Watch};

use crate::{InventoryError, Resource, resource};

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

/// One resource changed; what it was and is, is not read yet.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedResource {
    /// The commit.
    pub revision: Revision,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    after: Option<Entry>,
}

impl ChangedResource {
    /// Its body as what it should be; `None` where it was removed.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn body_as<T: DeserializeOwned>(&self) -> Result<Option<T>, InventoryError> {
        self.after.as_ref().map(resource::read_body).transpose()
    }
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

    /// The next change; `None` when the store was closed. A dropped call loses nothing.
    ///
    /// # Errors
    /// Where the watch fell behind what is kept: list again.
    pub async fn next(&mut self) -> Option<Result<ResourceChange, InventoryError>> {
        Some(self.next_change().await?.and_then(|change| read(&change)))
    }

    /// The same for those who need only what a resource is now, as a type of theirs.
    ///
    /// # Errors
    /// As [`ResourceWatch::next`].
    pub async fn changed(&mut self) -> Option<Result<ChangedResource, InventoryError>> {
        let change = match self.next_change().await? {
            Ok(change) => change,
            Err(error) => return Some(Err(error)),
        };
        let (kind, name) = resource::kind_and_name(&change.key);
        Some(Ok(ChangedResource {
            revision: change.revision,
            kind,
            name,
            after: change.after,
        }))
    }

    async fn next_change(&mut self) -> Option<Result<Change, InventoryError>> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return Some(Ok(change));
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
