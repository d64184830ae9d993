//! Filters that follow references: what enters and leaves does so by changes of other resources, too.
//!
//! A commit is looked at by the watcher itself. From each resource that it changed the ways of the filter
//! are gone backwards, to those that may be concerned; of them the filter is asked twice, with all that it
//! looks at as it was before the commit and as it was after it. What the commit did not change is the same
//! in both, and read at its revision.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use wright_query::{Filter, Index, Link, Reach, Schema};

use super::{
    Change, Condition, ConditionError, FeedError, Position, Told, What,
    change::Commit,
    world::{Names, World, differs},
};
use crate::catalog::{Catalog, Sight, load};

/// How many resources are looked at in one step.
const STEP: usize = 500;
/// The most references that a filter may follow, each way counted.
const MOST_LINKS: usize = 64;

/// What somebody sees whose filter follows references: as in queries, and as he may read at the time.
pub trait Sighted: Send + Sync + fmt::Debug + 'static {
    /// Of some kinds; `None`: all of all of them.
    fn sight(&self, kinds: &[&str]) -> Option<Sight>;
}

/// A filter in CEL on the resources of one kind that looks at what they refer to, or at what refers to
/// them.
#[derive(Debug)]
pub struct Related {
    catalog: Arc<Catalog>,
    filter: Filter,
    reach: Reach,
    /// Of the kinds that it looks at, its own among them.
    schemas: Vec<Schema>,
    kinds: Arc<[String]>,
    eyes: Option<Arc<dyn Sighted>>,
}

/// A filter as it is understood.
#[derive(Debug)]
pub enum Understood {
    /// It looks at the resource alone.
    Own(Condition),
    /// It follows references.
    Related(Related),
}

impl Catalog {
    /// Understands a filter on a kind, for somebody who sees what `eyes` see of what it follows; without
    /// them, everything.
    ///
    /// # Errors
    /// What is wrong with it, or that the store failed.
    pub async fn understand(
        self: &Arc<Self>,
        kind: &str,
        text: &str,
        eyes: Option<Arc<dyn Sighted>>,
    ) -> Result<Understood, ConditionError> {
        match self.inventory.condition(kind, text).await {
            Err(ConditionError::Relations(_)) => Related::new(self, kind, text, eyes)
                .await
                .map(Understood::Related),
            condition => condition.map(Understood::Own),
        }
    }
}

impl Related {
    async fn new(
        catalog: &Arc<Catalog>,
        kind: &str,
        text: &str,
        eyes: Option<Arc<dyn Sighted>>,
    ) -> Result<Self, ConditionError> {
        let index = catalog.inventory.schemas().await?;
        let sight = eyes.as_ref().and_then(|eyes| eyes.sight(&index.kinds()));
        let filter = index.seen(sight.as_ref()).filter(text, kind)?;
        let reach = filter.reach().ok_or(ConditionError::Unfollowed)?;
        let links = reach.ways.len();
        if links > MOST_LINKS {
            return Err(ConditionError::TooFar {
                links,
                most: MOST_LINKS,
            });
        }
        let ends = reach.ways.iter().flatten();
        let mut kinds: BTreeSet<&str> = ends.flat_map(|link| [&*link.kind, &*link.to]).collect();
        kinds.insert(kind);
        let schema = |kind: &&str| index.schema(kind).cloned();
        Ok(Related {
            catalog: catalog.clone(),
            schemas: kinds.iter().filter_map(schema).collect(),
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            filter,
            reach,
            eyes,
        })
    }

    /// The kinds whose changes may concern it.
    pub(super) fn kinds(&self) -> &Arc<[String]> {
        &self.kinds
    }

    /// What a commit means for the next resources after a position, by their names; and how far that is.
    pub(super) async fn judge(
        &self,
        commit: &Commit,
        after: &Position,
    ) -> Result<(Vec<Told>, Position), FeedError> {
        let kind = self.filter.kind();
        let mut world = World::new(&self.catalog, commit, &self.kinds);
        let kinds: Vec<&str> = self.kinds.iter().map(String::as_str).collect();
        let sight = self.eyes.as_ref().and_then(|eyes| eyes.sight(&kinds));
        let mut names = self.concerned(&mut world, sight.is_some()).await?;
        let known = Some(after).filter(|after| after.revision() == commit.revision);
        if let Some(known) = known.and_then(Position::name) {
            names.retain(|name| name.as_str() > known);
        }
        let rest = names.iter().nth(STEP).cloned();
        let rest = rest.map(|first| names.split_off(&first));
        let reached = match (rest, names.last()) {
            (Some(_), Some(last)) => Position::up_to(commit.revision, last),
            _ => Position::after(commit.revision),
        };
        let mut told = Vec::new();
        if !names.is_empty() {
            let [then, now] = self.matching(&mut world, &names, sight.as_ref()).await?;
            for name in &names {
                let what = match (then.contains(name), now.contains(name)) {
                    (false, true) => What::Entered,
                    (true, false) => What::Left,
                    (true, true) if world.change(kind, name).is_some() => What::Changed,
                    _ => continue,
                };
                let content = world.content(kind, name);
                let change = Change::of_related(commit.revision, kind, name, content);
                let change = Arc::new(change);
                told.push(Told { change, what });
            }
        }
        Ok((told, reached))
    }

    /// The names of the resources for which a commit may mean something.
    async fn concerned(&self, world: &mut World<'_>, in_part: bool) -> Result<Names, FeedError> {
        let mut names = world.changed_of(self.filter.kind(), |_| true);
        let mut begun: BTreeMap<&str, Names> = BTreeMap::new();
        for way in &self.reach.ways {
            let Some(end) = way.last().map(Link::end) else {
                continue;
            };
            if !begun.contains_key(end) {
                let definition = world.definition(end).await;
                let fields = self.reach.fields.get(end);
                // What may not be seen of a resource may depend on any field of it.
                let matters =
                    |change: &Change| in_part || differs(change, fields, definition.as_deref());
                begun.insert(end, world.changed_of(end, matters));
            }
            let mut here = begun.get(end).cloned().unwrap_or_default();
            for link in way.iter().rev() {
                if here.is_empty() {
                    break;
                }
                here = world.along(link, &here, true).await?;
            }
            names.extend(here);
            world.concerns(names.len())?;
        }
        Ok(names)
    }

    /// Loads what the filter looks at of some resources; the names of all of it, by kind.
    async fn looked_at(
        &self,
        world: &mut World<'_>,
        names: &Names,
    ) -> Result<BTreeMap<&str, Names>, FeedError> {
        let kind = self.filter.kind();
        let mut reached: BTreeMap<&[Link], Names> = BTreeMap::from([(&[][..], names.clone())]);
        world.load(kind, names).await?;
        for way in &self.reach.ways {
            let Some((link, begin)) = way.split_last() else {
                continue;
            };
            let from = reached.get(begin).cloned().unwrap_or_default();
            let to = world.along(link, &from, false).await?;
            world.load(link.end(), &to).await?;
            reached.insert(way, to);
        }
        let mut all: BTreeMap<&str, Names> = BTreeMap::new();
        for (way, names) in reached {
            let end = way.last().map_or(kind, Link::end);
            all.entry(end).or_default().extend(names);
        }
        Ok(all)
    }

    /// Which of some resources matched before the commit, and which do after it.
    async fn matching(
        &self,
        world: &mut World<'_>,
        names: &Names,
        sight: Option<&Sight>,
    ) -> Result<[Names; 2], FeedError> {
        let all = self.looked_at(world, names).await?;
        let mut index = Index::default();
        for schema in &self.schemas {
            index.declare(schema.clone());
        }
        let matching = |index: &Index| -> Names {
            let seen = index.seen(sight);
            let matches = |name: &&String| seen.matches(&self.filter, name);
            names.iter().filter(matches).cloned().collect()
        };
        let mut changed = Vec::new();
        for (kind, names) in &all {
            let definition = world.definition(kind).await;
            for name in names {
                let [then, now] = world.sides(kind, name);
                if let Some(then) = then {
                    load::put(&mut index, definition.as_deref(), then.clone());
                }
                if world.change(kind, name).is_some() {
                    changed.push((definition.clone(), *kind, name, now));
                }
            }
        }
        let then = matching(&index);
        for (definition, kind, name, now) in changed {
            match now {
                Some(now) => load::put(&mut index, definition.as_deref(), now.clone()),
                None => drop(index.remove(kind, name, world.revision)),
            }
        }
        Ok([then, matching(&index)])
    }
}
