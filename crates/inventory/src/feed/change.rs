use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wright_store::{Changes, Revision};

use super::{Filter, Position, changed_fields};
use crate::{InventoryError, Resource};

/// What happened to a resource, as its watcher sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It is new.
    Created,
    /// It was and is.
    Changed,
    /// It is gone.
    Removed,
    /// It matches the filter now and did not before.
    Entered,
    /// It does not match the filter any more, or is gone.
    Left,
}

impl What {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Created => "created",
            What::Changed => "changed",
            What::Removed => "removed",
            What::Entered => "entered",
            What::Left => "left",
        }
    }
}

/// One resource changed by one commit. What is in it is read when somebody wants to know it.
#[derive(Debug)]
pub struct Change {
    /// Where whoever knows it stands.
    pub position: Position,
    /// The resource's kind.
    pub kind: String,
    /// The resource's name.
    pub name: String,
    stored: wright_store::Change,
    content: OnceLock<Content>,
    texts: [OnceLock<Bytes>; 5],
}

/// What a change changed.
#[derive(Debug, Default, PartialEq)]
pub struct Content {
    /// What the resource was; `None` where it is new.
    pub before: Option<Resource>,
    /// What it is; `None` where it is gone.
    pub after: Option<Resource>,
    /// The fields that changed; see [`changed_fields`].
    pub fields: Vec<String>,
}

/// A change as it is written for watchers.
#[derive(Serialize)]
struct Written<'a> {
    position: Position,
    revision: Revision,
    kind: &'a str,
    name: &'a str,
    what: What,
    fields: &'a [String],
    before: &'a Option<Resource>,
    after: &'a Option<Resource>,
}

/// A change that concerns a watcher.
#[derive(Debug, Clone)]
pub struct Told {
    /// The change.
    pub change: Arc<Change>,
    /// What it is to this watcher.
    pub what: What,
}

impl Told {
    /// The change as JSON; made once for all who are told the same.
    pub fn json(&self) -> Bytes {
        self.change.json(self.what)
    }
}

impl Change {
    /// What is in it.
    pub fn content(&self) -> &Content {
        self.content.get_or_init(|| match self.read() {
            Ok(content) => content,
            Err(error) => {
                tracing::error!(%error, kind = self.kind, name = self.name, "a change cannot be read");
                Content::default()
            }
        })
    }

    fn read(&self) -> Result<Content, InventoryError> {
        let read = |entry: &Option<_>| entry.as_ref().map(Resource::from_entry).transpose();
        let (before, after) = (read(&self.stored.before)?, read(&self.stored.after)?);
        let fields = changed_fields(before.as_ref(), after.as_ref());
        Ok(Content {
            before,
            after,
            fields,
        })
    }

    /// What it is to somebody with this filter; `None`: nothing.
    pub fn judge(&self, filter: Option<&dyn Filter>) -> Option<What> {
        let Some(filter) = filter else {
            return Some(match (&self.stored.before, &self.stored.after) {
                (None, _) => What::Created,
                (_, None) => What::Removed,
                _ => What::Changed,
            });
        };
        let content = self.content();
        let matches = |side: &Option<Resource>| side.as_ref().is_some_and(|it| filter.matches(it));
        match (matches(&content.before), matches(&content.after)) {
            (false, true) => Some(What::Entered),
            (true, true) => Some(What::Changed),
            (true, false) => Some(What::Left),
            (false, false) => None,
        }
    }

    fn json(&self, what: What) -> Bytes {
        let text = self.texts[what as usize].get_or_init(|| {
            let content = self.content();
            let written = Written {
                position: self.position,
                revision: self.position.revision(),
                kind: &self.kind,
                name: &self.name,
                what,
                fields: &content.fields,
                before: &content.before,
                after: &content.after,
            };
            // Values that came from JSON: they can be written as JSON.
            serde_json::to_vec(&written).unwrap_or_default().into()
        });
        text.clone()
    }
}

/// A commit's changes of resources, in the order of their keys.
#[derive(Debug)]
pub(super) struct Commit {
    pub revision: Revision,
    pub changes: Vec<Arc<Change>>,
    /// Of all keys and values.
    pub bytes: usize,
}

impl Commit {
    /// Of the changes that the store told; those of other keys are left out.
    pub(super) fn new(mut changes: Changes) -> Option<Self> {
        let revision = changes.first()?.revision;
        changes.sort_by(|one, other| one.key.cmp(&other.key));
        let named: Vec<_> = changes
            .into_iter()
            .filter_map(|change| resource_of(&change.key).map(|name| (name, change)))
            .collect();
        let all = named.len();
        let mut bytes = 0;
        let changes = named.into_iter().zip(1..);
        let changes = changes.map(|(((kind, name), stored), nth)| {
            let sides = [&stored.before, &stored.after].into_iter().flatten();
            bytes += sides
                .map(|entry| entry.key.len() + entry.value.len())
                .sum::<usize>();
            Arc::new(Change {
                position: Position::within(revision, nth, all),
                kind,
                name,
                stored,
                content: OnceLock::new(),
                texts: Default::default(),
            })
        });
        Some(Commit {
            revision,
            changes: changes.collect(),
            bytes,
        })
    }
}

/// The kind and name of the resource under a key.
fn resource_of(key: &[u8]) -> Option<(String, String)> {
    let key = std::str::from_utf8(key).ok()?;
    let (kind, name) = key.strip_prefix("r/")?.split_once('/')?;
    Some((kind.to_owned(), name.to_owned()))
}
