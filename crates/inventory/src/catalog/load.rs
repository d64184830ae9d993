//! Reading everything at once, two threads, each a kind at a time; then what a change made of one.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::{runtime::Handle, task};
use wright_query::{Document, Index};
use wright_store::{Change, Entry, Range, Revision};

use super::schema;
use crate::{
    Inventory, InventoryError, Resource, keys,
    kind::{Kind, is_platform},
    record::Record,
    resource::{self, name_in},
};

/// How many entries are read at once.
const PAGE: usize = 2000;
/// How many threads parse.
const THREADS: usize = 2;

/// What was read.
#[derive(Default)]
pub(super) struct Loaded {
    pub index: Index,
    /// Of the platform's resources, the keys of all that others say of them.
    pub beside: HashSet<Bytes>,
}

/// All resources as they were at a revision.
pub(super) async fn load(inventory: &Inventory, at: Revision) -> Result<Loaded, InventoryError> {
    let kinds = inventory.all_kinds().await?;
    let schemas: Vec<_> = kinds.iter().map(|kind| schema::of(kind)).collect();
    let names = names(inventory, at).await?;
    let waiting: Arc<Mutex<VecDeque<String>>> = Arc::new(Mutex::new(names.into_iter().collect()));
    let work = || {
        let (inventory, waiting, schemas) = (inventory.clone(), waiting.clone(), schemas.clone());
        let here = Handle::current();
        task::spawn_blocking(move || {
            let mut part = Loaded::default();
            let declare = |schema| part.index.declare(schema);
            schemas.into_iter().for_each(declare);
            part.index.begin_load();
            let next = || {
                waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop_front()
            };
            while let Some(kind) = next() {
                here.block_on(load_kind(&inventory, &kind, at, &mut part))?;
            }
            part.index.settle();
            Ok::<_, InventoryError>(part)
        })
    };
    let parts = futures::future::join_all((0..THREADS).map(|_| work())).await;
    let mut whole = Loaded::default();
    schemas
        .iter()
        .for_each(|schema| whole.index.declare(schema.clone()));
    for part in parts {
        let part = part.map_err(|_| InventoryError::Store(wright_store::StoreError::Closed))??;
        whole.index.absorb(part.index);
        whole.beside.extend(part.beside);
    }
    whole.index.advance(at);
    Ok(whole)
}

/// The kinds that have resources.
async fn names(inventory: &Inventory, at: Revision) -> Result<BTreeSet<String>, InventoryError> {
    let mut names = BTreeSet::new();
    let mut range = keys::everything();
    loop {
        let page = inventory.store.range(range.clone(), 1, Some(at)).await?;
        let Some(entry) = page.entries.first() else {
            return Ok(names);
        };
        let key = String::from_utf8_lossy(&entry.key).into_owned();
        let Some((before, rest)) = key.split_once('/') else {
            return Ok(names);
        };
        let kind = rest.split('/').next().unwrap_or_default();
        names.insert(kind.to_owned());
        // `0` is what follows `/`.
        range.start = format!("{before}/{kind}0").into();
    }
}

async fn load_kind(
    inventory: &Inventory,
    kind: &str,
    at: Revision,
    Loaded { index, beside }: &mut Loaded,
) -> Result<(), InventoryError> {
    // One that is broken is found by what is stored.
    let definition = inventory.kind(kind).await.ok().flatten();
    let put = |index: &mut Index, resource| put(index, definition.as_deref(), resource);
    let (mut own, mut discovered) = (HashMap::new(), HashMap::new());
    if is_platform(kind) {
        pages(inventory, keys::written_range(kind), at, |entry| {
            beside.insert(entry.key.clone());
            own.insert(name_in(&entry.key), Record::read(entry)?);
            Ok(())
        })
        .await?;
        pages(inventory, keys::discovered_range(kind), at, |entry| {
            beside.insert(entry.key.clone());
            discovered.insert(name_in(&entry.key), Record::read(entry)?);
            Ok(())
        })
        .await?;
    }
    pages(inventory, keys::kind_range(kind), at, |entry| {
        let mut resource = Resource::from_entry(entry)?;
        if let Some(discovered) = discovered.remove(&resource.name) {
            resource.add(discovered);
        }
        if let Some(own) = own.remove(&resource.name) {
            resource.add(own);
        }
        put(index, resource);
        Ok(())
    })
    .await?;
    for (name, record) in own {
        put(
            index,
            resource::whole(kind, &name, Some(record), None, None),
        );
    }
    Ok(())
}

/// Gives each entry of a range; one that cannot be read is left out.
async fn pages(
    inventory: &Inventory,
    mut range: Range,
    at: Revision,
    mut each: impl FnMut(&Entry) -> Result<(), InventoryError>,
) -> Result<(), InventoryError> {
    loop {
        let page = inventory.store.range(range.clone(), PAGE, Some(at)).await?;
        for entry in &page.entries {
            if let Err(error) = each(entry) {
                tracing::warn!(%error, "it cannot be found by queries");
            }
        }
        let Some(last) = page.entries.last().filter(|_| page.more) else {
            return Ok(());
        };
        range = range.after(&last.key);
    }
}

/// What a change made of a resource. Those of the platform are made of parts, of which the change is
/// one: the others are read only where there are any.
pub(super) async fn changed(
    inventory: &Inventory,
    change: &Change,
    (kind, name): (&str, &str),
    beside: &mut HashSet<Bytes>,
) -> Result<Option<Resource>, InventoryError> {
    if is_platform(kind) {
        let of_platform = change.key == keys::key(kind, name).as_bytes();
        if !of_platform && change.after.is_some() {
            beside.insert(change.key.clone());
        } else if !of_platform {
            beside.remove(&change.key);
        }
        let others = [keys::own_key(kind, name), keys::discovered_key(kind, name)];
        if !of_platform || others.iter().any(|key| beside.contains(key.as_bytes())) {
            return inventory.stored(kind, name).await;
        }
    }
    change.after.as_ref().map(Resource::from_entry).transpose()
}

/// Puts a resource of a kind into an index.
pub(crate) fn put(index: &mut Index, kind: Option<&Kind>, mut resource: Resource) {
    if let Some(kind) = kind.filter(|kind| kind.derives()) {
        kind.sought(&mut resource.body);
    }
    let document = Document {
        kind: &resource.kind,
        name: &resource.name,
        labels: &resource.labels,
        body: &resource.body,
    };
    if !index.put(&document, resource.revision) {
        tracing::warn!(
            kind = resource.kind,
            "there are too many: it cannot be found by queries"
        );
    }
}
