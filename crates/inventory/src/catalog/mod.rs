//! The catalog: all resources in memory, to find them by what they are (decision 9).

pub(crate) mod load;
mod pages;
mod past;
pub(crate) mod schema;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task, time};
use utoipa::ToSchema;
pub use wright_query::{
    Document, Filter, FilterError, Group, Hit, Index, Query, QueryError, Rank, Row, Shown, Sight,
    Step, Way,
};
use wright_query::{Found, Revision};
use wright_store::{Changes, Range};

use self::{
    load::Loaded,
    pages::{Pages, Rest},
    past::Past,
};
use crate::{
    Inventory, InventoryError, Referrer, Referrers, keys,
    kind::{KIND, Kind},
};

/// The wait before what the store refused is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one waits for a revision to be in memory.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most rows of a page.
const MOST_ROWS: usize = 10_000;
/// The rows of a page where nobody says how many.
const SOME_ROWS: usize = 100;

/// Finds resources, counts and groups them, and searches their words.
pub struct Catalog {
    pub(crate) inventory: Inventory,
    index: RwLock<Index>,
    /// The revision that is in the index; none: it is not loaded yet.
    seen: watch::Sender<Option<Revision>>,
    pages: Mutex<Pages>,
    /// How often everything was loaded: rows of another load are others.
    loads: std::sync::atomic::AtomicU64,
    /// Which references went, once somebody asks; taken with `index` in hand.
    past: Mutex<Option<Past>>,
    /// Held by who reads what went before it was remembered.
    remembering: tokio::sync::Mutex<()>,
}

/// An answer, or a page of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = QueryAnswer)]
pub struct Answer {
    /// What was answered from.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// How many there are on all pages.
    pub total: u64,
    /// Those of this page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Row>,
    /// How many of each combination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// What was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// To ask for the next page; none where this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Why the catalog did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The query.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The store.
    #[error(transparent)]
    Store(#[from] wright_store::StoreError),
    /// The pages of an answer are kept for five minutes, and not all of them when there are many.
    #[error("the rest of that answer is no longer kept: ask anew")]
    Expired,
    /// Not everything is in memory yet.
    #[error("revision {asked} is not in memory after {PATIENCE:?}; {seen} is")]
    Behind {
        /// What was waited for.
        asked: Revision,
        /// How far it is; 0 while it is loaded.
        seen: Revision,
    },
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("seen", &*self.seen.borrow())
            .finish_non_exhaustive()
    }
}

impl Catalog {
    /// An empty one; [`Catalog::run`] fills it.
    pub fn new(inventory: Inventory) -> Arc<Self> {
        Arc::new(Catalog {
            inventory,
            index: RwLock::default(),
            seen: watch::Sender::default(),
            pages: Mutex::default(),
            loads: Default::default(),
            past: Mutex::default(),
            remembering: tokio::sync::Mutex::default(),
        })
    }

    /// Loads everything and follows every change, until the store is closed.
    pub async fn run(self: Arc<Self>) {
        loop {
            match self.follow().await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "the catalog is loaded anew"),
            }
            time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self) -> Result<(), InventoryError> {
        let store = &self.inventory.store;
        let at = store.revision().await?;
        let Loaded { index, mut beside } = load::load(&self.inventory, at).await?;
        // All keys: whoever waits for a revision need not know which commits concern resources.
        let all = Range {
            start: "".into(),
            end: None,
        };
        let mut changes = store.watch(all, at).await?;
        {
            let mut loaded = self.index.write().unwrap_or_else(PoisonError::into_inner);
            *loaded = index;
            *self.past() = None;
        }
        self.loads
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.seen.send_replace(Some(at));
        while let Some(commit) = changes.next().await {
            self.take(commit?, &mut beside).await?;
        }
        Ok(())
    }

    /// Takes one commit: readers see all of it or nothing.
    async fn take(
        &self,
        commit: Changes,
        beside: &mut HashSet<Bytes>,
    ) -> Result<(), InventoryError> {
        let Some(revision) = commit.first().map(|change| change.revision) else {
            return Ok(());
        };
        let (mut changed, mut kinds) = (Vec::new(), Vec::new());
        for change in &commit {
            let Some((kind, name)) = keys::resource_in(&change.key) else {
                continue;
            };
            if kind == KIND {
                kinds.push(name.clone());
            }
            match load::changed(&self.inventory, change, (&kind, &name), beside).await {
                Ok(resource) => {
                    let definition = self.inventory.kind(&kind).await.ok().flatten();
                    changed.push((definition, kind, name, resource));
                }
                Err(InventoryError::Store(error)) => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "it cannot be found by queries"),
            }
        }
        let mut new = match kinds.as_slice() {
            [] => Vec::new(),
            _ => self.inventory.all_kinds().await?,
        };
        new.retain(|kind| kinds.iter().any(|name| name == kind.name()));
        let schemas: Vec<_> = new.iter().map(|kind| schema::of(kind)).collect();
        let pages_since = self
            .pages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .oldest();
        {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            index.keep_pages_since(pages_since);
            let mut past = self.past();
            if !schemas.is_empty() {
                // What refers is another matter now.
                *past = None;
            }
            schemas.into_iter().for_each(|schema| index.declare(schema));
            for (definition, kind, name, resource) in changed {
                let was = past.as_ref().map(|_| index.references(&kind, &name));
                match resource {
                    Some(resource) => load::put(&mut index, definition.as_deref(), resource),
                    None => {
                        index.remove(&kind, &name, revision);
                    }
                }
                if let (Some(past), Some(was)) = (past.as_mut(), was) {
                    let is = index.references(&kind, &name);
                    past.note(revision, (&kind, &name), was, &is);
                }
            }
            index.advance(revision);
        }
        for kind in new.iter().filter(|kind| kind.derives()) {
            self.derive_anew(kind).await?;
        }
        self.seen.send_replace(Some(revision));
        Ok(())
    }

    /// What is found of a kind's resources follows from another kind than before.
    async fn derive_anew(&self, kind: &Kind) -> Result<(), InventoryError> {
        let (mut after, mut at) = (None, None);
        loop {
            let name = kind.name();
            let page = self
                .inventory
                .resources(name, after.as_deref(), MOST_ROWS, at);
            let page = page.await?;
            at = Some(page.revision);
            after = page.resources.last().map(|last| last.name.clone());
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            for resource in page.resources {
                load::put(&mut index, Some(kind), resource);
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Waits until a commit is in memory: who has just written reads it.
    ///
    /// # Errors
    /// Where that takes half a minute.
    pub async fn at_least(&self, revision: Revision) -> Result<(), CatalogError> {
        let mut seen = self.seen.subscribe();
        let there = seen.wait_for(|seen| seen.is_some_and(|seen| seen >= revision));
        match time::timeout(PATIENCE, there).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(CatalogError::Behind {
                asked: revision,
                seen: self.seen.borrow().unwrap_or_default(),
            }),
        }
    }

    /// Waits until everything that was committed before is in memory.
    ///
    /// # Errors
    /// Where the store fails, or that takes half a minute.
    pub async fn up_to_date(&self) -> Result<(), CatalogError> {
        let newest = self.inventory.store.revision().await?;
        self.at_least(newest).await
    }

    /// Reads the index.
    pub fn read<T>(&self, read: impl FnOnce(&Index) -> T) -> T {
        read(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a query, or gives the next page of an answer; with all that was committed before, as far
    /// as it is in sight. A page is for who sees what the one saw who asked for the first.
    ///
    /// # Errors
    /// Where the query is wrong or too expensive, or its rest is no longer kept.
    pub async fn answer(
        self: &Arc<Self>,
        query: Query,
        sight: Option<Arc<Sight>>,
    ) -> Result<Answer, CatalogError> {
        self.up_to_date().await?;
        let catalog = self.clone();
        let answer = task::spawn_blocking(move || match &query.cursor {
            Some(cursor) => catalog.next_page(cursor, &query, sight),
            None => catalog.first_page(query, sight),
        });
        answer.await.unwrap_or(Err(CatalogError::Expired))
    }

    fn first_page(&self, query: Query, sight: Option<Arc<Sight>>) -> Result<Answer, CatalogError> {
        let limit = page_of(query.limit, SOME_ROWS);
        let query = Query { limit, ..query };
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let seen = index.seen(sight.as_deref());
        let Found {
            revision,
            total,
            mut rows,
            groups,
            steps,
        } = seen.find(&query)?;
        let kind = query.kind.clone().unwrap_or_default();
        let mut answer = Answer {
            revision,
            total,
            groups,
            steps,
            ..Answer::default()
        };
        if query.count || !query.group_by.is_empty() {
            return Ok(answer);
        }
        let rest = rows.split_off(rows.len().min(limit));
        answer.rows = seen.page(&kind, &rows, &query.select)?;
        if !rest.is_empty() {
            let rest = Rest {
                rows: seen.in_order(&kind, &rest, &query.sort)?,
                sight: sight.clone(),
                kind,
                select: query.select,
                revision,
                total,
                limit,
                load: self.loads.load(std::sync::atomic::Ordering::Relaxed),
            };
            answer.cursor = Some(self.pages().keep(rest));
        }
        Ok(answer)
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_page(
        &self,
        cursor: &str,
        query: &Query,
        sight: Option<Arc<Sight>>,
    ) -> Result<Answer, CatalogError> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let rest = self.pages().get(cursor).cloned();
        let load = self.loads.load(std::sync::atomic::Ordering::Relaxed);
        let same = |rest: &Rest| {
            let kind = query.kind.as_ref();
            rest.load == load && rest.sight == sight && kind.is_none_or(|kind| *kind == rest.kind)
        };
        let Some(mut rest) = rest.filter(same) else {
            return Err(CatalogError::Expired);
        };
        let limit = page_of(query.limit, rest.limit);
        let seen = index.seen(sight.as_deref());
        let after = rest.rows.split_off(rest.rows.len().min(limit));
        let mut answer = Answer {
            revision: rest.revision,
            total: rest.total,
            rows: seen.page(&rest.kind, &rest.rows, &rest.select)?,
            ..Answer::default()
        };
        if !after.is_empty() {
            rest.rows = after;
            answer.cursor = Some(self.pages().keep(rest));
        }
        Ok(answer)
    }

    /// The first resources in sight of some kinds (none: of all) with the words of a text.
    ///
    /// # Errors
    /// Where not everything is in memory yet.
    pub async fn search(
        self: &Arc<Self>,
        text: String,
        kinds: Vec<String>,
        limit: usize,
        sight: Option<Arc<Sight>>,
    ) -> Result<Vec<Hit>, CatalogError> {
        self.up_to_date().await?;
        let catalog = self.clone();
        let hits = task::spawn_blocking(move || {
            let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
            catalog.read(|index| index.seen(sight.as_deref()).search(&text, &kinds, limit))
        });
        hits.await.map_err(|_| CatalogError::Expired)
    }
}

fn page_of(asked: usize, else_so_many: usize) -> usize {
    if asked == 0 {
        else_so_many
    } else {
        asked.min(MOST_ROWS)
    }
}

impl Inventory {
    /// An index that knows the kinds there are, and has no resources: for filters on one at a time.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn schemas(&self) -> Result<Index, InventoryError> {
        let mut kinds = Index::default();
        for kind in self.all_kinds().await? {
            kinds.declare(schema::of(&kind));
        }
        Ok(kinds)
    }
}

#[async_trait]
impl Referrers for Catalog {
    async fn referrers(
        &self,
        kinds: &[Arc<Kind>],
        to: &str,
        name: &str,
        at: wright_store::Revision,
        limit: usize,
    ) -> Result<Vec<Referrer>, InventoryError> {
        if let Err(error) = self.at_least(at).await {
            let reason = wright_store::StoreError::Engine(error.to_string());
            return Err(InventoryError::Store(reason));
        }
        let mut found = Vec::new();
        self.read(|index| {
            for kind in kinds {
                for relation in kind.relations().filter(|relation| relation.to == to) {
                    let left = limit - found.len();
                    let names = index.referring(kind.name(), relation.field, name, left);
                    found.extend(names.into_iter().map(|name| Referrer {
                        kind: kind.name().to_owned(),
                        name,
                        field: relation.field.to_owned(),
                    }));
                }
            }
        });
        Ok(found)
    }
}
