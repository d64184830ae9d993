use serde::{Serialize, de::DeserializeOwned};
use wright_store::{Entry, Guard, Range, Revision, SharedStore};

use crate::{
    Event, EventWatch, InventoryError, Past, Put, Resource, ResourceWatch, delete_operations,
    error::shape, event, resource,
};

/// How many entries are read at once.
const PAGE: usize = 1000;

/// Resources and events.
#[derive(Debug, Clone)]
pub struct Inventory {
    store: SharedStore,
}

impl Inventory {
    /// Over this store.
    pub fn new(store: SharedStore) -> Self {
        Inventory { store }
    }

    /// One resource.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Option<Resource>, InventoryError> {
        let entry = self.store.get(resource::key(kind, name).as_bytes()).await?;
        entry.as_ref().map(Resource::from_entry).transpose()
    }

    /// One resource's body.
    ///
    /// # Errors
    /// Where the store fails, or the body is not a `T`.
    pub async fn get_as<T: DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<T>, InventoryError> {
        self.get(kind, name)
            .await?
            .map(Resource::body_as)
            .transpose()
    }

    /// All resources of a kind at one revision, by name.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn list(&self, kind: &str) -> Result<Vec<Resource>, InventoryError> {
        let entries = self.read_all(resource::kind_range(kind)).await?;
        entries.iter().map(Resource::from_entry).collect()
    }

    /// The bodies of all resources of a kind, by name.
    ///
    /// # Errors
    /// Where the store fails, or a body is not a `T`.
    pub async fn list_as<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, InventoryError> {
        self.list(kind)
            .await?
            .into_iter()
            .map(Resource::body_as)
            .collect()
    }

    /// The names and bodies of all resources of a kind, by name.
    ///
    /// # Errors
    /// Where the store fails, or a body is not a `T`.
    pub async fn list_named_as<T: DeserializeOwned>(
        &self,
        kind: &str,
    ) -> Result<Vec<(String, T)>, InventoryError> {
        let named = |resource: Resource| Ok((resource.name.clone(), resource.body_as()?));
        self.list(kind).await?.into_iter().map(named).collect()
    }

    /// Writes a resource, whatever was there.
    ///
    /// # Errors
    /// Where the store fails, or the name cannot be part of a key.
    pub async fn put_as<T: Serialize + ?Sized>(
        &self,
        kind: &str,
        name: &str,
        body: &T,
    ) -> Result<Revision, InventoryError> {
        let operations = Put::new(kind, name, body)?.operations()?;
        Ok(self.store.commit(Vec::new(), operations).await?)
    }

    /// Writes a resource if it is still what was read at `expected`; 0: if it does not exist.
    ///
    /// # Errors
    /// [`wright_store::StoreError::Refused`] where somebody else came first.
    pub async fn replace(&self, put: Put, expected: Revision) -> Result<Revision, InventoryError> {
        let key = put.key();
        let guard = match expected {
            0 => Guard::Absent(key.into()),
            revision => Guard::Modified(key.into(), revision),
        };
        Ok(self.store.commit(vec![guard], put.operations()?).await?)
    }

    /// Removes a resource, if it is there.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn delete(&self, kind: &str, name: &str) -> Result<(), InventoryError> {
        if self.get(kind, name).await?.is_some() {
            self.store
                .commit(Vec::new(), delete_operations(kind, name))
                .await?;
        }
        Ok(())
    }

    /// What a resource was, oldest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn history(&self, kind: &str, name: &str) -> Result<Vec<Past>, InventoryError> {
        let entries = self.read_all(resource::history_range(kind, name)).await?;
        let read = |entry: &Entry| {
            serde_json::from_slice(&entry.value)
                .map_err(shape(format!("the history of {kind}/{name}")))
        };
        entries.iter().map(read).collect()
    }

    /// Every change of a kind's resources after a revision.
    ///
    /// # Errors
    /// Where the store fails, or the revision is no longer kept.
    pub async fn watch(
        &self,
        kind: &str,
        after: Revision,
    ) -> Result<ResourceWatch, InventoryError> {
        Ok(ResourceWatch::new(
            self.store.watch(resource::kind_range(kind), after).await?,
        ))
    }

    /// Records an event.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn record(&self, event: &Event) -> Result<(), InventoryError> {
        self.store
            .commit(Vec::new(), vec![event.operation()?])
            .await?;
        Ok(())
    }

    /// The newest events, the oldest of them first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn newest_events(&self, limit: usize) -> Result<Vec<Event>, InventoryError> {
        let entries = self.read_all(event::range()).await?;
        let first = entries.len().saturating_sub(limit);
        entries[first..]
            .iter()
            .map(|entry| Event::read(&entry.value))
            .collect()
    }

    /// Events from now on.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn watch_events(&self) -> Result<EventWatch, InventoryError> {
        let now = self.store.revision().await?;
        Ok(EventWatch::new(
            self.store.watch(event::range(), now).await?,
        ))
    }

    /// Forgets all but the newest `keep` events.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn trim_events(&self, keep: usize) -> Result<(), InventoryError> {
        let entries = self.read_all(event::range()).await?;
        let Some(first) = entries
            .len()
            .checked_sub(keep)
            .and_then(|gone| entries.get(gone))
        else {
            return Ok(());
        };
        let gone = Range {
            start: event::range().start,
            end: Some(first.key.clone()),
        };
        self.store
            .commit(Vec::new(), vec![wright_store::Operation::DeleteRange(gone)])
            .await?;
        Ok(())
    }

    /// A whole range at one revision.
    async fn read_all(&self, mut range: Range) -> Result<Vec<Entry>, InventoryError> {
        let mut entries = Vec::new();
        let mut at = None;
        loop {
            let page = self.store.range(range.clone(), PAGE, at).await?;
            at = Some(page.revision);
            entries.extend(page.entries);
            let Some(last) = entries.last().filter(|_| page.more) else {
                return Ok(entries);
            };
            range.start = [&last.key[..], b"\0"].concat().into();
        }
    }
}
