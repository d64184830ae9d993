use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use wright_store::{Changes, Entry, Range, Revision, SharedStore, StoreError};

use super::{Filter, Position, changed_fields};
use crate::{
    InventoryError, Resource, keys,
    kind::{is_discovered, is_platform},
    record::Record,
    resource,
};

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

/// One resource changed by one commit. What is in it is read when somebody wants to know it: thousands
/// are kept that nobody ever asks for, so there is room for as little as can be until then.
#[derive(Debug)]
pub struct Change {
    /// Where whoever knows it stands.
    pub position: Position,
    /// The resource's kind.
    pub kind: String,
    /// The resource's name.
    pub name: String,
    parts: Parts,
    /// Of the platform's resources, the parts that the commit left as they were, once somebody wants them.
    others: [OnceLock<Option<Box<Entry>>>; 3],
    content: OnceLock<Box<Content>>,
    texts: OnceLock<Box<Texts>>,
}

/// A change as JSON, for each [`What`].
type Texts = [OnceLock<Bytes>; 5];

/// The changed keys of one resource, by [`Part`]: those of the platform have up to three, of which most
/// commits change one.
type Parts = [Option<Box<wright_store::Change>>; 3];

/// What a change changed.
#[derive(Debug, Clone, Default, PartialEq)]
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
    position: &'a Position,
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
    /// What a commit means for a resource by way of others, as its watcher sees it.
    pub(super) fn of_related(revision: Revision, kind: &str, name: &str, content: Content) -> Self {
        Change {
            position: Position::up_to(revision, name),
            kind: kind.to_owned(),
            name: name.to_owned(),
            parts: Parts::default(),
            others: Default::default(),
            content: OnceLock::from(Box::new(content)),
            texts: OnceLock::new(),
        }
    }

    /// What is in it.
    pub fn content(&self) -> &Content {
        self.content.get_or_init(|| match self.read() {
            Ok(content) => Box::new(content),
            Err(error) => {
                tracing::error!(%error, kind = self.kind, name = self.name, "a change cannot be read");
                Box::default()
            }
        })
    }

    fn read(&self) -> Result<Content, InventoryError> {
        let before = self.side(|change| change.before.as_ref())?;
        let after = self.side(|change| change.after.as_ref())?;
        let fields = changed_fields(before.as_ref(), after.as_ref());
        let fields = fields.into_iter().map(|one| one.field).collect();
        Ok(Content {
            before,
            after,
            fields,
        })
    }

    /// The entries of one side, by [`Part`].
    fn entries<'c>(
        &'c self,
        side: impl Fn(&'c wright_store::Change) -> Option<&'c Entry>,
    ) -> [Option<&'c Entry>; 3] {
        Part::ALL.map(|part| match &self.parts[part as usize] {
            Some(change) => side(change),
            None => self.others[part as usize].get().and_then(Option::as_deref),
        })
    }

    fn side<'c>(
        &'c self,
        side: impl Fn(&'c wright_store::Change) -> Option<&'c Entry>,
    ) -> Result<Option<Resource>, InventoryError> {
        let read = |entry: Option<&Entry>| entry.map(Record::read).transpose();
        match self.entries(side) {
            [None, None, None] => Ok(None),
            [Some(entry), None, None] => Resource::from_entry(entry).map(Some),
            [platform, own, discovered] => Ok(Some(resource::whole(
                &self.kind,
                &self.name,
                read(own)?,
                read(platform)?,
                read(discovered)?,
            ))),
        }
    }

    /// The parts that the commit left as they were, where they are not known yet, and their keys.
    fn lacks(&self) -> impl Iterator<Item = (Part, String)> {
        let (kind, name) = (&self.kind, &self.name);
        let lacks = |part: &Part| {
            let index = *part as usize;
            self.parts[index].is_none() && self.others[index].get().is_none()
        };
        let parts = Part::ALL.into_iter().filter(lacks);
        parts.filter_map(move |part| {
            let key = match part {
                Part::Whole if is_platform(kind) => keys::key(kind, name),
                Part::Own if is_platform(kind) => keys::own_key(kind, name),
                Part::Discovered if is_discovered(kind) => keys::discovered_key(kind, name),
                _ => return None,
            };
            Some((part, key))
        })
    }

    /// Whether all of it is known.
    pub(super) fn is_complete(&self) -> bool {
        self.lacks().next().is_none()
    }

    async fn complete(&self, store: &SharedStore) -> Result<(), StoreError> {
        let at = Some(self.position.revision());
        for (part, key) in self.lacks() {
            let page = store.range(Range::key(key), 1, at).await?;
            let found = page.entries.into_iter().next();
            let _ = self.others[part as usize].set(found.map(Box::new));
        }
        Ok(())
    }

    /// What it is to somebody with this filter; `None`: nothing.
    pub fn judge(&self, filter: Option<&dyn Filter>) -> Option<What> {
        let Some(filter) = filter else {
            let there = |[whole, own, _]: [Option<&Entry>; 3]| whole.or(own).is_some();
            let was = there(self.entries(|change| change.before.as_ref()));
            let is = there(self.entries(|change| change.after.as_ref()));
            return match (was, is) {
                (false, true) => Some(What::Created),
                (true, true) => Some(What::Changed),
                (true, false) => Some(What::Removed),
                (false, false) => None,
            };
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
        let texts = self.texts.get_or_init(Box::default);
        let text = texts[what as usize].get_or_init(|| {
            let content = self.content();
            let written = Written {
                position: &self.position,
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

/// A commit's changes of resources, in the order of their kinds and names.
#[derive(Debug)]
pub(super) struct Commit {
    pub revision: Revision,
    pub changes: Vec<Arc<Change>>,
    /// About how much memory all that takes.
    pub bytes: usize,
}

impl Commit {
    /// Of the changes that the store told; those of other keys are left out.
    pub(super) fn new(changes: Changes) -> Option<Self> {
        let revision = changes.first()?.revision;
        let mut resources: BTreeMap<(String, String), Parts> = BTreeMap::new();
        let mut bytes = 0;
        for change in changes {
            let Some((part, kind, name)) = resource_of(&change.key) else {
                continue;
            };
            let sides = [&change.before, &change.after].into_iter().flatten();
            let sizes = sides.map(|entry| entry.key.len() + entry.value.len());
            bytes += sizes.sum::<usize>() + size_of::<Change>() + size_of_val(&change);
            let parts = resources.entry((kind, name)).or_default();
            parts[part as usize] = Some(Box::new(change));
        }
        let all = resources.len();
        let changes = resources.into_iter().zip(1..);
        let changes = changes.map(|(((kind, name), parts), nth)| {
            Arc::new(Change {
                position: Position::within(revision, nth, all),
                kind,
                name,
                parts,
                others: Default::default(),
                content: OnceLock::new(),
                texts: OnceLock::new(),
            })
        });
        Some(Commit {
            revision,
            changes: changes.collect(),
            bytes,
        })
    }

    /// Reads what the commit left as it was of the resources of some kinds.
    pub(super) async fn complete(
        &self,
        store: &SharedStore,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), StoreError> {
        let lack = self
            .changes
            .iter()
            .filter(|it| wanted(&it.kind) && !it.is_complete());
        try_join_all(lack.map(|change| change.complete(store))).await?;
        Ok(())
    }
}

/// Where a part of a resource stands.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// The resource; of the platform's, what the platform records.
    Whole,
    /// What people say of one of the platform's.
    Own,
    /// What agents discovered about it.
    Discovered,
}

impl Part {
    const ALL: [Part; 3] = [Part::Whole, Part::Own, Part::Discovered];
}

/// The kind and name of the resource under a key, and which part of it that is.
fn resource_of(key: &[u8]) -> Option<(Part, String, String)> {
    let key = std::str::from_utf8(key).ok()?;
    let (part, rest) = key.split_once('/')?;
    let part = match part {
        "r" => Part::Whole,
        "r+" => Part::Own,
        "r-" => Part::Discovered,
        _ => return None,
    };
    let (kind, name) = rest.split_once('/')?;
    Some((part, kind.to_owned(), name.to_owned()))
}
