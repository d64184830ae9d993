//! What a commit changed, and around it what it left as it was.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::Value;
use wright_query::Link;
use wright_store::Revision;

use super::{Change, Content, FeedError, change::Commit};
use crate::{Resource, catalog::Catalog, kind::Kind};

/// The most resources that one commit may concern.
const MOST: usize = 100_000;
/// The most resources that are read to look at those of one step.
const MOST_READ: usize = 20_000;

/// Names of resources of one kind.
pub(super) type Names = BTreeSet<String>;

/// A commit, and what it left as it was.
pub(super) struct World<'c> {
    catalog: &'c Catalog,
    pub revision: Revision,
    /// By kind and name.
    changed: BTreeMap<&'c str, BTreeMap<&'c str, &'c Change>>,
    read: HashMap<String, HashMap<String, Option<Resource>>>,
    /// How much of `read` there is.
    size: usize,
}

impl<'c> World<'c> {
    pub fn new(catalog: &'c Catalog, commit: &'c Commit, kinds: &[String]) -> Self {
        let mut changed: BTreeMap<&str, BTreeMap<&str, &Change>> = BTreeMap::new();
        for change in commit.changes.iter().filter(|it| kinds.contains(&it.kind)) {
            let of_kind = changed.entry(&change.kind).or_default();
            of_kind.insert(&change.name, change);
        }
        World {
            catalog,
            revision: commit.revision,
            changed,
            read: HashMap::new(),
            size: 0,
        }
    }

    pub fn change(&self, kind: &str, name: &str) -> Option<&'c Change> {
        self.changed.get(kind)?.get(name).copied()
    }

    /// The names of the resources of a kind that changed in a way that matters.
    pub fn changed_of(&self, kind: &str, matters: impl Fn(&Change) -> bool) -> Names {
        let changed = self.changed.get(kind).into_iter().flatten();
        let changed = changed.filter(|(_, change)| matters(change));
        changed.map(|(name, _)| (*name).to_owned()).collect()
    }

    /// A kind, if it can be used.
    pub async fn definition(&self, kind: &str) -> Option<Arc<Kind>> {
        self.catalog.inventory.kind(kind).await.ok().flatten()
    }

    /// Refuses to go on with more resources than one commit may concern.
    pub fn concerns(&self, count: usize) -> Result<(), FeedError> {
        self.bound(count, MOST)
    }

    fn bound(&self, count: usize, most: usize) -> Result<(), FeedError> {
        match count > most {
            true => Err(FeedError::Wide {
                revision: self.revision,
                most,
            }),
            false => Ok(()),
        }
    }

    /// A resource before and after the commit, once it was loaded.
    pub fn sides<'w>(&'w self, kind: &str, name: &str) -> [Option<&'w Resource>; 2] {
        if let Some(change) = self.change(kind, name) {
            let content = change.content();
            return [content.before.as_ref(), content.after.as_ref()];
        }
        let read = self.read.get(kind).and_then(|of_kind| of_kind.get(name));
        let read = read.and_then(Option::as_ref);
        [read, read]
    }

    /// What is told of a resource.
    pub fn content(&self, kind: &str, name: &str) -> Content {
        match self.change(kind, name) {
            Some(change) => change.content().clone(),
            None => {
                let [before, after] = self.sides(kind, name).map(Option::<&Resource>::cloned);
                Content {
                    before,
                    after,
                    fields: Vec::new(),
                }
            }
        }
    }

    /// Reads resources that the commit left as they were.
    pub async fn load(&mut self, kind: &str, names: &Names) -> Result<(), FeedError> {
        let read = self.read.get(kind);
        let is_new = |name: &&String| {
            self.change(kind, name).is_none() && read.is_none_or(|read| !read.contains_key(*name))
        };
        let new: Vec<String> = names.iter().filter(is_new).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        self.size += new.len();
        self.bound(self.size, MOST_READ)?;
        let inventory = &self.catalog.inventory;
        let found = inventory.resources_at(kind, &new, self.revision).await?;
        let of_kind = self.read.entry(kind.to_owned()).or_default();
        of_kind.extend(new.into_iter().map(|name| (name, None)));
        for resource in found {
            of_kind.insert(resource.name.clone(), Some(resource));
        }
        Ok(())
    }

    /// Where a link leads from some resources, before the commit or after it, and from there back to
    /// `from`; others of the kind may be among them that referred later.
    pub async fn along(
        &mut self,
        link: &Link,
        from: &Names,
        against: bool,
    ) -> Result<Names, FeedError> {
        let Link { kind, field, .. } = link;
        let found = match link.back == against {
            true => {
                self.load(kind, from).await?;
                let sides = from.iter().flat_map(|name| self.sides(kind, name));
                let targets = sides.flatten().flat_map(|it| targets(it, field));
                targets.map(str::to_owned).collect()
            }
            false => {
                let (catalog, commit) = (self.catalog, self.revision);
                catalog.referred(kind, field, from, commit, MOST).await?
            }
        };
        self.concerns(found.len())?;
        Ok(found)
    }
}

/// What stands at a field of a resource.
fn at<'r>(resource: &'r Resource, field: &str) -> Option<&'r Value> {
    let path = field.split('.');
    path.into_iter()
        .try_fold(&resource.body, |at, key| at.get(key))
}

/// The names that a resource refers to by a field.
fn targets<'r>(resource: &'r Resource, field: &str) -> Vec<&'r str> {
    let label = field.strip_prefix("labels.");
    if let Some(label) = label.and_then(|label| resource.labels.get(label)) {
        return vec![label];
    }
    match at(resource, field) {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether what a change did can matter to whom only some fields do.
pub(super) fn differs(
    change: &Change,
    fields: Option<&BTreeSet<String>>,
    kind: Option<&Kind>,
) -> bool {
    let content = change.content();
    let (Some(before), Some(after)) = (&content.before, &content.after) else {
        return true;
    };
    if before.labels != after.labels {
        return true;
    }
    let sought = |resource: &Resource| {
        let mut sought = resource.clone();
        if let Some(kind) = kind.filter(|kind| kind.derives()) {
            kind.sought(&mut sought.body);
        }
        sought
    };
    let (before, after) = (sought(before), sought(after));
    let mut fields = fields.into_iter().flatten();
    fields.any(|field| at(&before, field) != at(&after, field))
}
