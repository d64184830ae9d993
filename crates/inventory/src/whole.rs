//! Reading resources as people see them: of the platform's, both parts in one.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::de::DeserializeOwned;
use wright_store::{Entry, Range, Revision, StoreError};

use crate::{
    Inventory, InventoryError, Resource, ResourcePage, keys,
    kind::{is_discovered, is_platform},
    record::Record,
    resource::{self, name_in},
};

/// How many resources are read at once, of those that are named.
const ABREAST: usize = 16;

/// Reading.
impl Inventory {
    /// One resource, with what people say of it where it is the platform's.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn resource(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<Resource>, InventoryError> {
        let mut found = self.stored(kind, name).await?;
        self.derive(kind, found.as_mut_slice()).await;
        Ok(found)
    }

    /// Computes what resources of a kind have computed. What is stored under a kind that is broken is
    /// read all the same.
    async fn derive(&self, kind: &str, resources: &mut [Resource]) {
        if resources.is_empty() {
            return;
        }
        if let Ok(Some(kind)) = self.kind(kind).await {
            let bodies = resources.iter_mut().map(|resource| &mut resource.body);
            bodies.for_each(|body| kind.derive(body));
        }
    }

    /// As [`Inventory::resource`], with what is computed as it was when it was written.
    pub(crate) async fn stored(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<Resource>, InventoryError> {
        if !is_platform(kind) {
            return self.get(kind, name).await;
        }
        let (own, platform) = self.parts(kind, name, true, false).await?;
        if own.is_none() && platform.is_none() {
            return Ok(None);
        }
        let record = |entry: Option<Entry>| entry.as_ref().map(Record::read).transpose();
        Ok(Some(resource::whole(
            kind,
            name,
            record(own)?,
            record(platform)?,
            self.discovered(kind, name).await?,
        )))
    }

    /// What agents discovered about a resource.
    pub(crate) async fn discovered(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<Record>, InventoryError> {
        if !is_discovered(kind) {
            return Ok(None);
        }
        let key = keys::discovered_key(kind, name);
        let entry = self.store.get(key.as_bytes()).await?;
        entry.as_ref().map(Record::read).transpose()
    }

    /// What agents discovered about a resource, as what it should be: see
    /// [`discovery_operations`](crate::discovery_operations).
    ///
    /// # Errors
    /// Where the store fails, or it is something else.
    pub async fn discovery<T: DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<T>, InventoryError> {
        let key = keys::discovered_key(kind, name);
        let entry = self.store.get(key.as_bytes()).await?;
        entry.as_ref().map(resource::read_body).transpose()
    }

    /// What agents discovered about the resources of a page, laid over them.
    async fn discover(&self, kind: &str, page: &mut ResourcePage) -> Result<(), InventoryError> {
        let (Some(first), Some(last)) = (page.resources.first(), page.resources.last()) else {
            return Ok(());
        };
        let range = Range {
            start: keys::discovered_key(kind, &first.name).into(),
            end: Some((keys::discovered_key(kind, &last.name) + "\0").into()),
        };
        let found = self.store.range(range, 0, Some(page.revision)).await?;
        let mut found = found.entries.iter().peekable();
        for resource in &mut page.resources {
            while found
                .next_if(|entry| name_in(&entry.key) < resource.name)
                .is_some()
            {}
            if let Some(entry) = found.next_if(|entry| name_in(&entry.key) == resource.name) {
                resource.add(Record::read(entry)?);
            }
        }
        Ok(())
    }

    /// At most `limit` resources of a kind (0: all of them), by name, after the one of a name, as
    /// [`Inventory::resource`]. Ask for the next page at the first one's revision.
    ///
    /// # Errors
    /// Where the store fails, or the revision is no longer kept.
    pub async fn resources(
        &self,
        kind: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<ResourcePage, InventoryError> {
        let mut page = self.stored_page(kind, after, limit, at).await?;
        self.derive(kind, &mut page.resources).await;
        Ok(page)
    }

    async fn stored_page(
        &self,
        kind: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<ResourcePage, InventoryError> {
        let mut page = self.list_page(kind, after, limit, at).await?;
        if !is_platform(kind) {
            return Ok(page);
        }
        if is_discovered(kind) {
            self.discover(kind, &mut page).await?;
        }
        let mut range = keys::written_range(kind);
        if let Some(after) = after {
            range = range.after(keys::own_key(kind, after).as_bytes());
        }
        let own = self.store.range(range, limit, Some(page.revision)).await?;
        let mut merged = Vec::with_capacity(page.resources.len());
        let mut platform = page.resources.into_iter().peekable();
        for entry in &own.entries {
            let (name, record) = (name_in(&entry.key), Record::read(entry)?);
            merged.extend(std::iter::from_fn(|| {
                platform.next_if(|one| one.name < name)
            }));
            match platform.next_if(|one| one.name == name) {
                Some(found) => merged.push(found.with(record)),
                None => merged.push(resource::whole(kind, &name, Some(record), None, None)),
            }
        }
        merged.extend(platform);
        page.more |= own.more;
        if limit > 0 && merged.len() > limit {
            merged.truncate(limit);
            page.more = true;
        }
        page.resources = merged;
        Ok(page)
    }

    /// Resources of a kind by their names, as they were at a revision; without those that were not there.
    ///
    /// # Errors
    /// Where the store fails, or the revision is no longer kept.
    pub async fn resources_at(
        &self,
        kind: &str,
        names: &[String],
        at: Revision,
    ) -> Result<Vec<Resource>, InventoryError> {
        let read = names.iter().map(|name| self.resource_at(kind, name, at));
        let read: Vec<_> = stream::iter(read.collect::<Vec<_>>())
            .buffered(ABREAST)
            .try_collect()
            .await?;
        let mut read: Vec<Resource> = read.into_iter().flatten().collect();
        self.derive(kind, &mut read).await;
        Ok(read)
    }

    async fn resource_at(
        &self,
        kind: &str,
        name: &str,
        at: Revision,
    ) -> Result<Option<Resource>, InventoryError> {
        let whole = self.entry_at(keys::key(kind, name), at).await?;
        if !is_platform(kind) {
            return whole.as_ref().map(Resource::from_entry).transpose();
        }
        let own = self.entry_at(keys::own_key(kind, name), at).await?;
        if own.is_none() && whole.is_none() {
            return Ok(None);
        }
        let record = |entry: Option<Entry>| entry.as_ref().map(Record::read).transpose();
        let (own, platform) = (record(own)?, record(whole)?);
        let discovered = match is_discovered(kind) {
            true => self.entry_at(keys::discovered_key(kind, name), at).await?,
            false => None,
        };
        let discovered = record(discovered)?;
        Ok(Some(resource::whole(kind, name, own, platform, discovered)))
    }

    async fn entry_at(&self, key: String, at: Revision) -> Result<Option<Entry>, StoreError> {
        let page = self.store.range(Range::key(key), 1, Some(at)).await?;
        Ok(page.entries.into_iter().next())
    }

    /// What people write of a kind's resources, for one who follows it: the range of the store's keys.
    pub fn written(kind: &str) -> Range {
        keys::written_range(kind)
    }

    /// Everything that resources are, for one who follows all of them: the range of the store's keys.
    pub fn everything() -> Range {
        keys::everything()
    }
}
