//! Who referred to what a while ago. The index knows who does now; the catalog remembers for some time
//! which references went, so that both together have everybody who referred at any revision since.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{MutexGuard, PoisonError},
};

use wright_query::{Document, Index};
use wright_store::{Entry, Revision};

use super::Catalog;
use crate::{
    Resource,
    feed::{self, FeedError},
    keys,
};

/// The most references that are remembered.
const MOST: usize = 200_000;

/// References that resources had and have no longer.
#[derive(Debug)]
pub(super) struct Past {
    /// All that went after it are here.
    since: Revision,
    gone: VecDeque<Gone>,
}

#[derive(Debug)]
struct Gone {
    /// The commit since which it is not there.
    revision: Revision,
    kind: String,
    name: String,
    field: String,
    to: String,
}

impl Past {
    fn begin(since: Revision) -> Self {
        Past {
            since,
            gone: VecDeque::new(),
        }
    }

    /// Notes what a commit, newer than all others, made of what a resource refers to.
    pub fn note(&mut self, revision: Revision, of: (&str, &str), was: References, is: &References) {
        self.gone.extend(lost(revision, of, was, is));
        while self.gone.len() > MOST {
            let oldest = self.gone.pop_front();
            self.since = oldest.map_or(self.since, |oldest| oldest.revision);
        }
    }
}

/// Fields, and the names that they refer to.
type References = Vec<(String, String)>;

fn lost<'a>(
    revision: Revision,
    (kind, name): (&'a str, &'a str),
    was: References,
    is: &'a References,
) -> impl Iterator<Item = Gone> + 'a {
    let lost = was.into_iter().filter(|reference| !is.contains(reference));
    lost.map(move |(field, to)| Gone {
        revision,
        kind: kind.to_owned(),
        name: name.to_owned(),
        field,
        to,
    })
}

impl Catalog {
    /// The names of resources of a kind, at most `most` and one more, among them all that referred by a
    /// field to one of some names before a commit or after it. Others did so later.
    ///
    /// # Errors
    /// Where what was then is no longer known, the store fails, or the commit is not in memory in time.
    pub(crate) async fn referred(
        &self,
        kind: &str,
        field: &str,
        to: &BTreeSet<String>,
        commit: Revision,
        most: usize,
    ) -> Result<BTreeSet<String>, FeedError> {
        let seen = self.at_least(commit).await;
        seen.map_err(|error| FeedError::Unseen(error.to_string()))?;
        loop {
            self.remember(commit.saturating_sub(1)).await?;
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            let past = self.past();
            // What was remembered may have been let go since.
            let Some(past) = past.as_ref().filter(|past| past.since < commit) else {
                continue;
            };
            let mut found = BTreeSet::new();
            let begun = past.gone.partition_point(|gone| gone.revision < commit);
            let gone = past.gone.range(begun..);
            let gone =
                gone.filter(|it| it.kind == kind && it.field == field && to.contains(&it.to));
            found.extend(gone.map(|gone| gone.name.clone()));
            for name in to {
                if found.len() > most {
                    break;
                }
                found.extend(index.referring(kind, field, name, most + 1));
            }
            return Ok(found);
        }
    }

    pub(super) fn past(&self) -> MutexGuard<'_, Option<Past>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on it is known which references went after a revision.
    async fn remember(&self, since: Revision) -> Result<(), FeedError> {
        let _one = self.remembering.lock().await;
        let until = {
            // Whoever writes to the index notes what goes.
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            let mut past = self.past();
            let past = past.get_or_insert_with(|| Past::begin(index.revision()));
            past.since
        };
        if until <= since {
            return Ok(());
        }
        let forgotten = FeedError::Expired {
            asked: since,
            oldest: until,
        };
        let store = &self.inventory.store;
        // Something comes after `until`, so that it is seen where that has been reached.
        feed::mark(store).await?;
        let mut kinds = self.inventory.schemas().await.map_err(FeedError::from)?;
        let mut changes = store.watch(feed::range(), since).await?;
        let mut gone = VecDeque::new();
        loop {
            let commit = changes.next().await.ok_or(FeedError::Closed)??;
            for change in &commit {
                let Some((kind, name)) = keys::resource_in(&change.key) else {
                    continue;
                };
                if change.revision > until {
                    break;
                }
                let was = references(&mut kinds, change.before.as_ref());
                let is = references(&mut kinds, change.after.as_ref());
                gone.extend(lost(change.revision, (&kind, &name), was, &is));
            }
            if gone.len() > MOST {
                return Err(forgotten);
            }
            if commit
                .first()
                .is_some_and(|change| change.revision >= until)
            {
                break;
            }
        }
        let mut past = self.past();
        // Else everything was loaded anew, or a kind has changed: whoever asks begins again.
        if let Some(past) = past.as_mut().filter(|past| past.since == until) {
            if gone.len() + past.gone.len() > MOST {
                return Err(forgotten);
            }
            gone.append(&mut past.gone);
            past.gone = gone;
            past.since = since;
        }
        Ok(())
    }
}

/// What the resource of an entry refers to; `kinds` has no others. What cannot be read is found by nobody.
fn references(kinds: &mut Index, entry: Option<&Entry>) -> References {
    let read = entry.and_then(|entry| Resource::from_entry(entry).ok());
    let Some(resource) = read else {
        return References::new();
    };
    let (kind, name) = (&resource.kind, &resource.name);
    let document = Document {
        kind,
        name,
        labels: &resource.labels,
        body: &resource.body,
    };
    kinds.put(&document, resource.revision);
    let found = kinds.references(kind, name);
    kinds.remove(kind, name, resource.revision);
    found
}
