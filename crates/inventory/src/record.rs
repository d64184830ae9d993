//! Resources as they are stored.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use wright_store::{Entry, Operation, Revision};

use crate::{
    Author, InventoryError,
    error::shape,
    keys::{history_key, written_key},
};

/// Who applied what: a field (`field`, `field/key` or `labels:key`) and the names of those who apply it.
pub type Owners = BTreeMap<String, Vec<String>>;

/// What is stored under a resource's key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stored<B> {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub body: B,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: Owners,
    /// Of a kind: what it is about to become, and already holds writers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Value>,
    pub updated_at: Timestamp,
}

/// A past state as it is written.
#[derive(Debug, Serialize)]
pub(crate) struct Written<'a> {
    pub at: Timestamp,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: &'a BTreeMap<String, String>,
    pub body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'a Author>,
    #[serde(skip_serializing_if = "is_false")]
    pub own: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub discovered: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What people wrote of one resource.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub labels: BTreeMap<String, String>,
    pub body: Map<String, Value>,
    pub owners: Owners,
    pub pending: Option<Value>,
    pub updated_at: Timestamp,
    /// The store's revisions; 0 before it is stored.
    pub created: Revision,
    pub modified: Revision,
}

impl Record {
    pub fn empty() -> Self {
        Record {
            labels: BTreeMap::new(),
            body: Map::new(),
            owners: Owners::new(),
            pending: None,
            updated_at: Timestamp::UNIX_EPOCH,
            created: 0,
            modified: 0,
        }
    }

    pub fn read(entry: &Entry) -> Result<Self, InventoryError> {
        let what = || String::from_utf8_lossy(&entry.key).into_owned();
        let stored: Stored<Map<String, Value>> =
            serde_json::from_slice(&entry.value).map_err(|error| shape(what())(error))?;
        Ok(Record {
            labels: stored.labels,
            body: stored.body,
            owners: stored.owners,
            pending: stored.pending,
            updated_at: stored.updated_at,
            created: entry.created,
            modified: entry.modified,
        })
    }

    /// Whether it says the same, whenever and however often it was written.
    pub fn says(&self, other: &Record) -> bool {
        self.body == other.body
            && self.labels == other.labels
            && self.owners == other.owners
            && self.pending == other.pending
    }

    /// The store operations that write it: the resource and its history.
    pub fn operations(
        &self,
        kind: &str,
        name: &str,
        author: &Author,
    ) -> Result<[Operation; 2], InventoryError> {
        let what = || shape(format!("{kind}/{name}"));
        // Written once, for both.
        let body = serde_json::value::to_raw_value(&self.body).map_err(what())?;
        let key = written_key(kind, name);
        let past = Written {
            at: self.updated_at,
            labels: &self.labels,
            body: Some(&body),
            by: Some(author),
            own: key.starts_with("r+"),
            discovered: false,
        };
        let past = serde_json::to_vec(&past).map_err(what())?;
        let stored = Stored {
            labels: self.labels.clone(),
            body: &*body,
            owners: self.owners.clone(),
            pending: self.pending.clone(),
            updated_at: self.updated_at,
        };
        let stored = serde_json::to_vec(&stored).map_err(what())?;
        Ok([
            Operation::put(key, stored),
            Operation::put(history_key(kind, name), past),
        ])
    }
}

/// The store operations that remove what people wrote of a resource, and note it.
pub(crate) fn removal(
    kind: &str,
    name: &str,
    author: &Author,
    at: Timestamp,
) -> Result<[Operation; 2], InventoryError> {
    let key = written_key(kind, name);
    let past = Written {
        at,
        labels: &BTreeMap::new(),
        body: None,
        by: Some(author),
        own: key.starts_with("r+"),
        discovered: false,
    };
    let past = serde_json::to_vec(&past).map_err(shape(format!("{kind}/{name}")))?;
    Ok([
        Operation::Delete(key.into()),
        Operation::put(history_key(kind, name), past),
    ])
}
