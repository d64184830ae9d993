use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use wright_store::{Entry, Operation, Revision};

use crate::{
    Author, InventoryError,
    error::shape,
    keys::{discovered_key, history_key, key, own_key},
    kind::{is_discovered, shipped},
    record::{Owners, Record, Stored, Written},
};

/// A managed fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Resource {
    /// What sort of thing: `host`, `site`, `instance`, …
    pub kind: String,
    /// Unique among its kind.
    pub name: String,
    /// For selection.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The fact.
    pub body: Value,
    /// Who applied which field (`field`, `field/key` or `labels:key`); empty where nobody applied any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub owners: Owners,
    /// The store's revision that made it: another one after it was removed and made again.
    #[serde(default)]
    #[schema(value_type = u64)]
    pub created: Revision,
    /// The store's revision that last wrote it.
    #[serde(default)]
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// When it was last written.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A resource's body, read from its entry without a look at what else is there.
pub(crate) fn read_body<T: DeserializeOwned>(entry: &Entry) -> Result<T, InventoryError> {
    #[derive(Deserialize)]
    struct Body<T> {
        body: T,
    }
    let what = || String::from_utf8_lossy(&entry.key);
    let read = serde_json::from_slice(&entry.value);
    let Body { body } = read.map_err(|error| shape(what().trim_start_matches("r/"))(error))?;
    Ok(body)
}

/// The name of the resource under a key.
pub(crate) fn name_in(key: &[u8]) -> String {
    kind_and_name(key).1
}

/// The kind and the name of the resource under a key.
pub(crate) fn kind_and_name(key: &[u8]) -> (String, String) {
    let key = String::from_utf8_lossy(key);
    let mut parts = key.splitn(3, '/').skip(1);
    let mut part = || parts.next().unwrap_or_default().to_owned();
    (part(), part())
}

impl Resource {
    /// The body as what it should be.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn body_as<T: DeserializeOwned>(self) -> Result<T, InventoryError> {
        serde_json::from_value(self.body).map_err(shape(format!("{}/{}", self.kind, self.name)))
    }

    /// The same with another part; what is there already wins.
    pub(crate) fn with(mut self, part: Record) -> Self {
        self.add(part);
        self
    }

    pub(crate) fn add(&mut self, own: Record) {
        for (key, value) in own.labels {
            self.labels.entry(key).or_insert(value);
        }
        if let Value::Object(body) = &mut self.body {
            for (field, value) in own.body {
                body.entry(field).or_insert(value);
            }
        }
        self.owners.extend(own.owners);
        self.revision = self.revision.max(own.modified);
        self.updated_at = self.updated_at.max(own.updated_at);
    }

    /// Reads a resource from its entry.
    pub(crate) fn from_entry(entry: &Entry) -> Result<Self, InventoryError> {
        let key = String::from_utf8_lossy(&entry.key).into_owned();
        let stored: Stored<Value> =
            serde_json::from_slice(&entry.value).map_err(shape(key.clone()))?;
        let (kind, name) = kind_and_name(&entry.key);
        Ok(Resource {
            kind,
            name,
            labels: stored.labels,
            body: stored.body,
            owners: stored.owners,
            created: entry.created,
            revision: entry.modified,
            updated_at: stored.updated_at,
        })
    }
}

/// A resource out of what the platform records, what was discovered and what people say of it; where two
/// have a field, the earlier of these wins.
pub(crate) fn whole(
    kind: &str,
    name: &str,
    own: Option<Record>,
    platform: Option<Record>,
    discovered: Option<Record>,
) -> Resource {
    let mut parts = [platform, discovered, own].into_iter().flatten();
    let first = parts.next().unwrap_or_else(Record::empty);
    parts.fold(of_record(kind, name, first), Resource::with)
}

fn of_record(kind: &str, name: &str, record: Record) -> Resource {
    Resource {
        kind: kind.to_owned(),
        name: name.to_owned(),
        labels: record.labels,
        body: Value::Object(record.body),
        owners: record.owners,
        created: record.created,
        revision: record.modified,
        updated_at: record.updated_at,
    }
}

/// A write of one resource, whatever was there before.
#[derive(Debug, Clone)]
pub struct Put {
    kind: String,
    name: String,
    labels: BTreeMap<String, String>,
    body: Box<RawValue>,
}

impl Put {
    /// A write of this body.
    ///
    /// # Errors
    /// Where the kind or name cannot be part of a key, or the body cannot be written as JSON.
    pub fn new<T: Serialize + ?Sized>(
        kind: &str,
        name: &str,
        body: &T,
    ) -> Result<Self, InventoryError> {
        check(kind)?;
        check(name)?;
        let body =
            serde_json::value::to_raw_value(body).map_err(shape(format!("{kind}/{name}")))?;
        Ok(Put {
            kind: kind.to_owned(),
            name: name.to_owned(),
            labels: BTreeMap::new(),
            body,
        })
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The key it writes, for guards.
    pub fn key(&self) -> String {
        key(&self.kind, &self.name)
    }

    /// The store operations: the resource and its history.
    ///
    /// # Errors
    /// Where the body cannot be written as JSON.
    pub fn operations(self) -> Result<Vec<Operation>, InventoryError> {
        let now = Timestamp::now();
        let what = format!("{}/{}", self.kind, self.name);
        let past = Written {
            at: now,
            labels: &self.labels,
            body: Some(&self.body),
            by: None,
            own: false,
            discovered: false,
        };
        let past = serde_json::to_vec(&past).map_err(shape(what.clone()))?;
        let stored = Stored {
            labels: self.labels,
            body: self.body,
            owners: Owners::new(),
            pending: None,
            updated_at: now,
        };
        let stored = serde_json::to_vec(&stored).map_err(shape(what))?;
        Ok(vec![
            Operation::put(key(&self.kind, &self.name), stored),
            Operation::put(history_key(&self.kind, &self.name), past),
        ])
    }
}

/// The store operations that remove a resource of the platform and note it in its history. Guard them
/// with [`resource_key`](crate::resource_key) where it may be gone already: else the history says
/// twice that it was removed. What people said of it goes too, unless its kind may be declared.
pub fn delete_operations(kind: &str, name: &str) -> Vec<Operation> {
    let past = Written {
        at: Timestamp::now(),
        labels: &BTreeMap::new(),
        body: None,
        by: None,
        own: false,
        discovered: false,
    };
    // A time and nothing else: JSON cannot fail.
    let past = serde_json::to_vec(&past).unwrap_or_default();
    let mut operations = vec![
        Operation::Delete(key(kind, name).into()),
        Operation::put(history_key(kind, name), past),
    ];
    if is_discovered(kind) {
        operations.push(Operation::Delete(discovered_key(kind, name).into()));
    }
    if shipped(kind).is_some_and(|kind| kind.platform && !kind.declarable) {
        operations.push(Operation::Delete(own_key(kind, name).into()));
    }
    operations
}

/// The store operations that note what an agent discovered about a resource of the platform, as the
/// field `field`; `by` is who owns it. Guard them with [`resource_key`](crate::resource_key): what is
/// discovered goes with the resource.
///
/// # Errors
/// Where it cannot be written as JSON.
pub fn discovery_operations<T: Serialize>(
    kind: &str,
    name: &str,
    field: &str,
    discovered: &T,
    by: &Author,
) -> Result<Vec<Operation>, InventoryError> {
    let what = || shape(format!("{kind}/{name}"));
    let now = Timestamp::now();
    let body = serde_json::value::to_raw_value(&BTreeMap::from([(field, discovered)]));
    let body = body.map_err(what())?;
    let past = Written {
        at: now,
        labels: &BTreeMap::new(),
        body: Some(&body),
        by: Some(by),
        own: false,
        discovered: true,
    };
    let past = serde_json::to_vec(&past).map_err(what())?;
    let stored = Stored {
        labels: BTreeMap::new(),
        body,
        owners: Owners::from([(field.to_owned(), vec![by.actor.clone()])]),
        pending: None,
        updated_at: now,
    };
    let stored = serde_json::to_vec(&stored).map_err(what())?;
    Ok(vec![
        Operation::put(discovered_key(kind, name), stored),
        Operation::put(history_key(kind, name), past),
    ])
}

pub(crate) fn check(part: &str) -> Result<(), InventoryError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
    if (1..=200).contains(&part.len()) && part.chars().all(allowed) {
        Ok(())
    } else {
        Err(InventoryError::BadName(part.to_owned()))
    }
}
