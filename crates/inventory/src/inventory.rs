use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use wright_store::{Entry, Guard, Operation, Range, Revision, SharedStore};

use crate::{
    InventoryError, Put, Resource, ResourceWatch, delete_operations, keys,
    kinds::Kinds,
    referrers::{Referrers, Scan},
    resource,
    sealer::Sealer,
};

/// How many entries are read at once.
const PAGE: usize = 1000;

/// Resources and events.
#[derive(Debug, Clone)]
pub struct Inventory {
    pub(crate) store: SharedStore,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) sealer: Option<Arc<dyn Sealer>>,
    pub(crate) referrers: Arc<dyn Referrers>,
}

/// Some resources of a kind.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourcePage {
    /// By name.
    pub resources: Vec<Resource>,
    /// The revision that was read.
    pub revision: Revision,
    /// Whether there are more after the last one.
    pub more: bool,
}

impl Inventory {
    /// Over this store.
    pub fn new(store: SharedStore) -> Self {
        Inventory {
            referrers: Arc::new(Scan::new(store.clone())),
            store,
            kinds: Arc::default(),
            sealer: None,
        }
    }

    /// With what seals secret fields; without it none can be written.
    #[must_use]
    pub fn sealed_by(self, sealer: Arc<dyn Sealer>) -> Self {
        Inventory {
            sealer: Some(sealer),
            ..self
        }
    }

    /// With what knows who refers to whom; without it, kinds are read through.
    #[must_use]
    pub fn asking(self, referrers: Arc<dyn Referrers>) -> Self {
        Inventory { referrers, ..self }
    }

    /// One resource.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Option<Resource>, InventoryError> {
        let entry = self.store.get(keys::key(kind, name).as_bytes()).await?;
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
        let entry = self.store.get(keys::key(kind, name).as_bytes()).await?;
        entry.as_ref().map(resource::read_body).transpose()
    }

    /// All resources of a kind at one revision, by name.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn list(&self, kind: &str) -> Result<Vec<Resource>, InventoryError> {
        Ok(self.snapshot(kind).await?.0)
    }

    /// All resources of a kind, by name, and the revision at which they were so: [`Inventory::watch`]
    /// from there misses nothing.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn snapshot(&self, kind: &str) -> Result<(Vec<Resource>, Revision), InventoryError> {
        let mut resources = Vec::new();
        let range = keys::kind_range(kind);
        let revision = self.read(range, |entry| resources.push(Resource::from_entry(&entry)));
        let revision = revision.await?;
        Ok((resources.into_iter().collect::<Result<_, _>>()?, revision))
    }

    /// At most `limit` resources of a kind (0: all of them), by name, after the one of a name. Ask for
    /// the next page at the first one's revision.
    ///
    /// # Errors
    /// Where the store fails, or the revision is no longer kept.
    pub async fn list_page(
        &self,
        kind: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<ResourcePage, InventoryError> {
        let mut range = keys::kind_range(kind);
        if let Some(after) = after {
            range = range.after(keys::key(kind, after).as_bytes());
        }
        let page = self.store.range(range, limit, at).await?;
        let resources: Result<_, _> = page.entries.iter().map(Resource::from_entry).collect();
        Ok(ResourcePage {
            resources: resources?,
            revision: page.revision,
            more: page.more,
        })
    }

    /// The bodies of all resources of a kind, by name.
    ///
    /// # Errors
    /// Where the store fails, or a body is not a `T`.
    pub async fn list_as<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, InventoryError> {
        let named = self.list_named_as(kind).await?;
        Ok(named.into_iter().map(|(_, body)| body).collect())
    }

    /// The names and bodies of all resources of a kind, by name.
    ///
    /// # Errors
    /// Where the store fails, or a body is not a `T`.
    pub async fn list_named_as<T: DeserializeOwned>(
        &self,
        kind: &str,
    ) -> Result<Vec<(String, T)>, InventoryError> {
        let mut named = Vec::new();
        let read = |entry: Entry| {
            let body = resource::read_body(&entry);
            named.push(body.map(|body| (resource::name_in(&entry.key), body)));
        };
        self.read(keys::kind_range(kind), read).await?;
        named.into_iter().collect()
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

    /// Writes several things at once, such as resources ([`Put::operations`]) and events
    /// ([`Event::operation`](crate::Event::operation)), whatever was there.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn commit(&self, operations: Vec<Operation>) -> Result<Revision, InventoryError> {
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
        let there = Guard::Exists(keys::key(kind, name).into());
        let operations = delete_operations(kind, name);
        match self.store.commit(vec![there], operations).await {
            Err(error) if error.is_refused() => Ok(()),
            done => Ok(done.map(drop)?),
        }
    }

    /// Removes a resource if it is still what was read at `expected`.
    ///
    /// # Errors
    /// [`wright_store::StoreError::Refused`] where somebody else came first.
    pub async fn delete_read(
        &self,
        kind: &str,
        name: &str,
        expected: Revision,
    ) -> Result<Revision, InventoryError> {
        let guard = Guard::Modified(keys::key(kind, name).into(), expected);
        let operations = delete_operations(kind, name);
        Ok(self.store.commit(vec![guard], operations).await?)
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
            self.store.watch(keys::kind_range(kind), after).await?,
        ))
    }

    /// Every change of two kinds' resources after a revision, in one order; also of the kinds whose
    /// names are between those of the two.
    ///
    /// # Errors
    /// Where the store fails, or the revision is no longer kept.
    pub async fn watch_both(
        &self,
        first: &str,
        last: &str,
        after: Revision,
    ) -> Result<ResourceWatch, InventoryError> {
        let range = Range {
            start: keys::kind_range(first).start,
            end: keys::kind_range(last).end,
        };
        Ok(ResourceWatch::new(self.store.watch(range, after).await?))
    }

    /// Reads a whole range at one revision, page by page; which revision.
    pub(crate) async fn read(
        &self,
        mut range: Range,
        mut each: impl FnMut(Entry),
    ) -> Result<Revision, InventoryError> {
        let mut at = None;
        loop {
            let page = self.store.range(range.clone(), PAGE, at).await?;
            at = Some(page.revision);
            let last = page.entries.last().map(|entry| entry.key.clone());
            page.entries.into_iter().for_each(&mut each);
            let Some(last) = last.filter(|_| page.more) else {
                return Ok(page.revision);
            };
            range = range.after(&last);
        }
    }

    /// A whole range at one revision.
    pub(crate) async fn read_all(&self, range: Range) -> Result<Vec<Entry>, InventoryError> {
        let mut entries = Vec::new();
        self.read(range, |entry| entries.push(entry)).await?;
        Ok(entries)
    }
}
