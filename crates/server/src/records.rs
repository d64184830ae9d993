//! What the control plane records, by its type: instances, hosts, sites, packages, specifications.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wright_inventory::{Inventory, InventoryError, Put};
use wright_model::{Digest, Host, InstanceId, InstanceRecord, InstanceSpec, Name};
use wright_site::{Bundle, PlannedApp};
use wright_store::{Operation, Range, Revision, SharedStore, StoreError};
use wright_workflow::JobId;

/// The kinds of the resources that the platform itself uses.
pub mod kind {
    /// [`wright_model::Host`].
    pub const HOST: &str = "host";
    /// [`wright_model::InstanceRecord`].
    pub const INSTANCE: &str = "instance";
    /// [`super::SiteRecord`].
    pub const SITE: &str = "site";
    /// [`crate::api::PackageView`].
    pub const PACKAGE: &str = "package";
}

/// A site as the inventory records it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SiteRecord {
    /// What it was last asked to be.
    pub bundle: Digest,
    /// The job that last changed it.
    pub job: Option<JobId>,
    /// Raised by every plan that is carried out.
    pub plan: u64,
    /// The apps of that plan, see [`apps`]: who needs whom, also among apps that the files no longer
    /// have.
    #[serde(default)]
    pub apps: Option<Digest>,
    /// Whether its take-down was asked for.
    #[serde(default)]
    pub going: bool,
    /// The files of its last job that succeeded: what a repair goes by, for what was asked later
    /// failed and was taken back.
    #[serde(default)]
    pub stood: Option<Digest>,
    /// The job, by its plan's number, whose end was last seen to.
    #[serde(default)]
    pub concluded: Option<(JobId, u64)>,
    /// Why what was on a dead host could not be set up elsewhere; empty where nothing was left so.
    #[serde(default)]
    pub unrepaired: String,
}

/// The name under which an instance is recorded.
pub fn instance_name(id: &InstanceId) -> String {
    format!("{}.{}", id.site, id.name)
}

/// The instance that is recorded under a name.
pub fn instance_id(name: &str) -> Option<InstanceId> {
    let (site, name) = name.split_once('.')?;
    Some(InstanceId {
        site: site.parse().ok()?,
        name: name.parse().ok()?,
    })
}

/// One instance.
pub async fn instance(
    inventory: &Inventory,
    id: &InstanceId,
) -> Result<Option<InstanceRecord>, InventoryError> {
    inventory.get_as(kind::INSTANCE, &instance_name(id)).await
}

/// One instance, and the revision that wrote its record.
pub async fn instance_with_revision(
    inventory: &Inventory,
    id: &InstanceId,
) -> Result<Option<(InstanceRecord, Revision)>, InventoryError> {
    let Some(resource) = inventory.get(kind::INSTANCE, &instance_name(id)).await? else {
        return Ok(None);
    };
    let revision = resource.revision;
    Ok(Some((resource.body_as()?, revision)))
}

/// All instances.
pub async fn instances(inventory: &Inventory) -> Result<Vec<InstanceRecord>, InventoryError> {
    inventory.list_as(kind::INSTANCE).await
}

/// All hosts.
pub async fn hosts(inventory: &Inventory) -> Result<Vec<Host>, InventoryError> {
    inventory.list_as(kind::HOST).await
}

/// One host.
pub async fn host(inventory: &Inventory, host: &Name) -> Result<Option<Host>, InventoryError> {
    inventory.get_as(kind::HOST, host.as_str()).await
}

/// One site.
pub async fn site(
    inventory: &Inventory,
    site: &Name,
) -> Result<Option<SiteRecord>, InventoryError> {
    inventory.get_as(kind::SITE, site.as_str()).await
}

/// Writes an instance's record, whatever was there.
pub fn put_instance(record: &InstanceRecord) -> Result<Vec<Operation>, InventoryError> {
    Put::new(kind::INSTANCE, &instance_name(&record.spec.id), record)?
        .label("site", record.spec.id.site.as_str())
        .label("app", record.spec.app.as_str())
        .label("host", record.spec.host.as_str())
        .operations()
}

/// Removes an instance's record.
pub fn delete_instance(id: &InstanceId) -> Vec<Operation> {
    wright_inventory::delete_operations(kind::INSTANCE, &instance_name(id))
}

fn spec_key(digest: Digest) -> String {
    format!("spec/{digest}")
}

/// How many specifications are remembered.
const REMEMBERED: usize = 16_384;

/// Specifications by their digests. They never change, so those that a plan has just made, or that a
/// step has asked for, are remembered.
pub struct Specs {
    store: SharedStore,
    remembered: Mutex<HashMap<Digest, Arc<InstanceSpec>>>,
}

impl Specs {
    /// Those of this store.
    pub fn new(store: SharedStore) -> Self {
        Specs {
            store,
            remembered: Mutex::default(),
        }
    }

    /// Held for a few instructions.
    fn remembered(&self) -> MutexGuard<'_, HashMap<Digest, Arc<InstanceSpec>>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, digest: Digest, spec: Arc<InstanceSpec>) {
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(digest, spec);
    }

    /// One of them.
    pub async fn get(&self, digest: Digest) -> Result<Option<Arc<InstanceSpec>>, StoreError> {
        let known = self.remembered().get(&digest).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let Some(entry) = self.store.get(spec_key(digest).as_bytes()).await? else {
            return Ok(None);
        };
        let spec: InstanceSpec = serde_json::from_slice(&entry.value)
            .map_err(|error| StoreError::Engine(format!("spec/{digest}: {error}")))?;
        let spec = Arc::new(spec);
        self.remember(digest, spec.clone());
        Ok(Some(spec))
    }

    /// Puts specifications where verbs find them.
    pub async fn put<'a>(
        &self,
        specs: impl Iterator<Item = &'a InstanceSpec>,
    ) -> Result<(), StoreError> {
        let (mut operations, mut kept) = (Vec::new(), Vec::new());
        for spec in specs {
            let value =
                serde_json::to_vec(spec).map_err(|error| StoreError::Engine(error.to_string()))?;
            // The digest is that of these very bytes.
            let digest = Digest::of(&value);
            operations.push(Operation::put(spec_key(digest), value));
            kept.push((digest, Arc::new(spec.clone())));
        }
        for chunk in operations.chunks(wright_store::MAX_OPERATIONS) {
            self.store.commit(Vec::new(), chunk.to_vec()).await?;
        }
        for (digest, spec) in kept {
            self.remember(digest, spec);
        }
        Ok(())
    }
}

/// The longest piece of what is kept in pieces.
const PIECE: usize = 512 << 10;

/// Keeps what may be larger than a value of the store: in pieces, under their digest. Each is a commit,
/// since all of them together may be larger than one.
async fn put_whole<T: Serialize>(
    store: &SharedStore,
    kind: &str,
    whole: &T,
) -> Result<Digest, StoreError> {
    let whole = serde_json::to_vec(whole).map_err(|error| StoreError::Engine(error.to_string()))?;
    let digest = Digest::of(&whole);
    for (number, piece) in whole.chunks(PIECE).enumerate() {
        let key = format!("{kind}/{digest}/{number:04}");
        let put = Operation::put(key, piece.to_vec());
        store.commit(Vec::new(), vec![put]).await?;
    }
    Ok(digest)
}

async fn whole<T: DeserializeOwned>(
    store: &SharedStore,
    kind: &str,
    digest: Digest,
) -> Result<T, StoreError> {
    let range = Range::prefix(format!("{kind}/{digest}/"));
    let page = store.range(range, 0, None).await?;
    let pieces = page.entries.iter().flat_map(|entry| entry.value.to_vec());
    serde_json::from_slice(&pieces.collect::<Vec<u8>>())
        .map_err(|error| StoreError::Engine(format!("{kind}/{digest}: {error}")))
}

/// Keeps a site's files under their digest.
pub async fn put_bundle(store: &SharedStore, bundle: &Bundle) -> Result<Digest, StoreError> {
    put_whole(store, "bundle", bundle).await
}

/// A site's files by their digest.
pub async fn bundle(store: &SharedStore, digest: Digest) -> Result<Bundle, StoreError> {
    whole(store, "bundle", digest).await
}

/// Keeps a plan's apps under their digest: those of a large site are more than a value may hold.
pub async fn put_apps(
    store: &SharedStore,
    apps: &BTreeMap<Name, PlannedApp>,
) -> Result<Digest, StoreError> {
    put_whole(store, "apps", apps).await
}

/// The apps of a site's last plan.
pub async fn apps(
    store: &SharedStore,
    site: Option<&SiteRecord>,
) -> Result<BTreeMap<Name, PlannedApp>, StoreError> {
    match site.and_then(|site| site.apps) {
        Some(digest) => whole(store, "apps", digest).await,
        None => Ok(BTreeMap::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_larger_than_a_value_of_the_store_is_kept_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file:{}", dir.path().display());
        let store = wright_store::open(&url).await.unwrap();
        let apps: Vec<String> = (0..5_000).map(|n| format!("{n:0400}")).collect();
        let digest = put_whole(&store, "apps", &apps).await.unwrap();
        let read: Vec<String> = whole(&store, "apps", digest).await.unwrap();
        assert_eq!(read, apps);
    }
}
