//! The kinds there are, compiled once for each revision of theirs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use serde_json::Value;
use wright_store::{Entry, Guard};

use crate::{
    Inventory, InventoryError,
    error::shape,
    keys,
    kind::{Definition, KIND, Kind, shipped, shipped_names},
    record::Record,
    resource::name_in,
};

/// Kinds that were compiled. A writer's commit is guarded by the revision of its kind, so that what is
/// out of date here is found out and read again.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    compiled: RwLock<HashMap<String, Arc<Kind>>>,
}

impl Kinds {
    fn known(&self, name: &str) -> Option<Arc<Kind>> {
        let compiled = self.compiled.read();
        let compiled = compiled.unwrap_or_else(PoisonError::into_inner);
        compiled.get(name).cloned()
    }

    fn keep(&self, kind: &Arc<Kind>) {
        let compiled = self.compiled.write();
        let mut compiled = compiled.unwrap_or_else(PoisonError::into_inner);
        compiled.insert(kind.name().to_owned(), kind.clone());
    }

    pub fn forget(&self, name: &str) {
        let compiled = self.compiled.write();
        compiled
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

/// A kind's resource must still be what was compiled.
pub(crate) fn guard(kind: &Kind) -> Guard {
    let key = keys::key(KIND, kind.name());
    match kind.revision() {
        0 => Guard::Absent(key.into()),
        revision => Guard::Modified(key.into(), revision),
    }
}

/// What a kind is to become that is to be deleted.
pub(crate) const CLOSING: Value = Value::Bool(false);

/// Compiles the kind of an entry; while it is about to change, what it is to become.
fn compile(entry: &Entry) -> Result<Kind, InventoryError> {
    let name = name_in(&entry.key);
    let record = Record::read(entry)?;
    if record.pending == Some(CLOSING) {
        return Ok(Kind::closing(&name, entry.modified));
    }
    let is_pending = record.pending.is_some();
    let body = record.pending.unwrap_or(record.body.into());
    let definition: Definition =
        serde_json::from_value(body).map_err(shape(format!("kind/{name}")))?;
    Kind::compile(&name, shipped(&name), Some(&definition), entry.modified)
        .map(|kind| if is_pending { kind.pending() } else { kind })
        .map_err(|violations| InventoryError::BrokenKind { name, violations })
}

/// Kinds.
impl Inventory {
    /// A kind, as it was when it was last looked at. Of a kind that is about to change, what it will be.
    ///
    /// # Errors
    /// Where the store fails, or what is stored is no kind.
    pub async fn kind(&self, name: &str) -> Result<Option<Arc<Kind>>, InventoryError> {
        if let Some(kind) = self.kinds.known(name) {
            return Ok(Some(kind));
        }
        let entry = self.store.get(keys::key(KIND, name).as_bytes()).await?;
        let kind = match (&entry, shipped(name)) {
            (Some(entry), _) => compile(entry)?,
            (None, Some(definition)) => unextended(name, definition)?,
            (None, None) => return Ok(None),
        };
        let kind = Arc::new(kind);
        self.kinds.keep(&kind);
        Ok(Some(kind))
    }

    /// All kinds as they are now, by name.
    ///
    /// # Errors
    /// Where the store fails, or what is stored is no kind.
    pub async fn all_kinds(&self) -> Result<Vec<Arc<Kind>>, InventoryError> {
        let mut all = BTreeMap::new();
        for name in shipped_names() {
            all.insert(name.to_owned(), None);
        }
        for entry in self.read_all(keys::kind_range(KIND)).await? {
            all.insert(name_in(&entry.key), Some(entry));
        }
        let mut kinds = Vec::with_capacity(all.len());
        for (name, entry) in all {
            let revision = entry.as_ref().map_or(0, |entry| entry.modified);
            let known = self.kinds.known(&name);
            if let Some(known) = known.filter(|kind| kind.revision() == revision) {
                kinds.push(known);
                continue;
            }
            let kind = match (&entry, shipped(&name)) {
                (Some(entry), _) => compile(entry)?,
                (None, Some(definition)) => unextended(&name, definition)?,
                (None, None) => continue,
            };
            let kind = Arc::new(kind);
            self.kinds.keep(&kind);
            kinds.push(kind);
        }
        Ok(kinds)
    }

    /// The kind whose name is most like a wrong one.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn nearest_kind(&self, wrong: &str) -> Result<Option<String>, InventoryError> {
        let kinds = self.all_kinds().await?;
        let names = kinds.iter().map(|kind| kind.name());
        Ok(wright_model::nearest(wrong, names).map(str::to_owned))
    }
}

fn unextended(name: &str, definition: &Definition) -> Result<Kind, InventoryError> {
    Kind::compile(name, Some(definition), None, 0).map_err(|violations| {
        InventoryError::BrokenKind {
            name: name.to_owned(),
            violations,
        }
    })
}
