//! What resources were, who changed them, through what and why.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;
use wright_store::{Entry, Operation, Range, Revision};

use crate::{
    Author, Change, Content, Difference, Inventory, InventoryError, Refused, Write, differences,
    error::shape, keys,
};

/// How many past states are read, and forgotten, at once.
const PAGE: usize = 500;

/// What a resource was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Past {
    /// Its place in the history: what is read on from.
    #[serde(default)]
    pub id: String,
    /// When it became so.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The commit that made it so.
    #[serde(default)]
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// Who made it so; nothing where the platform did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Author>,
    /// The labels from then on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The body from then on; `None`: it was removed.
    pub body: Option<Value>,
    /// What people had said of it by then, of a resource of the platform.
    #[serde(skip)]
    own: Option<Content>,
}

/// A moment in a resource's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// By the clock of the server that wrote.
    Time(Timestamp),
    /// By the store's revision.
    Revision(Revision),
}

impl Moment {
    fn has_seen(self, past: &Past) -> bool {
        match self {
            Moment::Time(time) => past.at <= time,
            Moment::Revision(revision) => past.revision <= revision,
        }
    }
}

/// A past state as it is stored.
#[derive(Debug, Deserialize)]
struct Kept {
    at: Timestamp,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    body: Option<Value>,
    #[serde(default)]
    by: Option<Author>,
    #[serde(default)]
    own: bool,
    #[serde(default)]
    discovered: bool,
}

impl Past {
    /// What was changed since an earlier state; labels as `labels.KEY`.
    pub fn since(&self, before: Option<&Past>) -> Vec<Difference> {
        let body = |past: Option<&Past>| {
            past.and_then(|past| past.body.clone())
                .unwrap_or(Value::Null)
        };
        let mut found = differences(&body(before), &body(Some(self)));
        let labels = |past: Option<&Past>| {
            let labels = past.map(|past| past.labels.clone()).unwrap_or_default();
            labels
                .into_iter()
                .map(|(key, value)| (key, Value::String(value)))
                .collect()
        };
        let mut labelled = differences(
            &Value::Object(labels(before)),
            &Value::Object(labels(Some(self))),
        );
        for one in &mut labelled {
            one.field.insert_str(0, "labels.");
        }
        found.append(&mut labelled);
        found
    }
}

/// States in order, out of what was kept: of a resource of the platform three parts that change apart.
#[derive(Debug, Default)]
struct States {
    platform: Option<Content>,
    own: Option<Content>,
    discovered: Option<Content>,
    declarable: bool,
}

impl States {
    /// What the resource was after the next change.
    fn next(&mut self, id: String, kept: Kept, revision: Revision) -> Past {
        let content = kept.body.map(|body| Content {
            labels: kept.labels,
            body,
        });
        if kept.own {
            self.own = content;
        } else if kept.discovered {
            self.discovered = content;
        } else {
            if content.is_none() {
                self.discovered = None;
                self.own = self.own.take().filter(|_| self.declarable);
            }
            self.platform = content;
        }
        let found = merged(self.platform.clone(), self.discovered.clone());
        let whole = merged(found, self.own.clone());
        Past {
            id,
            at: kept.at,
            revision,
            by: kept.by,
            labels: whole
                .as_ref()
                .map(|whole| whole.labels.clone())
                .unwrap_or_default(),
            body: whole.map(|whole| whole.body),
            own: self.own.clone(),
        }
    }
}

fn merged(platform: Option<Content>, own: Option<Content>) -> Option<Content> {
    let (mut whole, own) = match (platform, own) {
        (Some(platform), Some(own)) => (platform, own),
        (platform, own) => return platform.or(own),
    };
    for (key, value) in own.labels {
        whole.labels.entry(key).or_insert(value);
    }
    if let (Value::Object(body), Value::Object(own)) = (&mut whole.body, own.body) {
        for (field, value) in own {
            body.entry(field).or_insert(value);
        }
    }
    Some(whole)
}

/// History.
impl Inventory {
    /// What a resource was after each change, oldest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn history(&self, kind: &str, name: &str) -> Result<Vec<Past>, InventoryError> {
        let mut all = Vec::new();
        self.each_past(kind, name, |past| {
            all.push(past);
            true
        })
        .await?;
        Ok(all)
    }

    /// At most `limit` of them, after the one of an id.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn history_page(
        &self,
        kind: &str,
        name: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Past>, InventoryError> {
        let mut page = Vec::new();
        let take = |past: Past| {
            // Ids are in the order of time, so they are in that of their letters.
            if past.id.as_str() > after && page.len() < limit {
                page.push(past);
            }
            page.len() < limit
        };
        self.each_past(kind, name, take).await?;
        Ok(page)
    }

    /// The newest of them, oldest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn newest_history(
        &self,
        kind: &str,
        name: &str,
        count: usize,
    ) -> Result<Vec<Past>, InventoryError> {
        let mut newest = VecDeque::new();
        let take = |past| {
            newest.push_back(past);
            if newest.len() > count {
                newest.pop_front();
            }
            true
        };
        self.each_past(kind, name, take).await?;
        Ok(newest.into())
    }

    /// Gives each past state, oldest first, until no more is wanted; one page of the store is in memory.
    async fn each_past(
        &self,
        kind: &str,
        name: &str,
        mut take: impl FnMut(Past) -> bool,
    ) -> Result<(), InventoryError> {
        let platform = crate::kind::shipped(kind).filter(|kind| kind.platform);
        let mut states = States {
            declarable: platform.is_none_or(|kind| kind.declarable),
            ..States::default()
        };
        let what = || format!("the history of {kind}/{name}");
        let (mut range, mut at) = (keys::history_range(kind, name), None);
        let id_at = range.start.len();
        loop {
            let page = self.store.range(range.clone(), PAGE, at).await?;
            at = Some(page.revision);
            for entry in &page.entries {
                let kept: Kept =
                    serde_json::from_slice(&entry.value).map_err(|error| shape(what())(error))?;
                let id = String::from_utf8_lossy(&entry.key[id_at..]).into_owned();
                if !take(states.next(id, kept, entry.modified)) {
                    return Ok(());
                }
            }
            let Some(last) = page.entries.last().filter(|_| page.more) else {
                return Ok(());
            };
            range = range.after(&last.key);
        }
    }

    /// What a resource was at a moment; nothing where it was not there, or that is no longer known.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn as_of(
        &self,
        kind: &str,
        name: &str,
        moment: Moment,
    ) -> Result<Option<Past>, InventoryError> {
        let mut last = None;
        let take = |past| {
            let seen = moment.has_seen(&past);
            if seen {
                last = Some(past);
            }
            seen
        };
        self.each_past(kind, name, take).await?;
        Ok(last.filter(|past| past.body.is_some()))
    }

    /// The write that makes a resource what it was at a moment; of a resource of the platform, what
    /// people said of it.
    ///
    /// # Errors
    /// [`Refused::NotFound`] where it was not there then.
    pub async fn restoring(
        &self,
        kind: &str,
        name: &str,
        moment: Moment,
    ) -> Result<Write, Refused> {
        let platform = self.kind_or_refused(kind).await?.is_platform();
        let past = self.as_of(kind, name, moment).await?;
        let content = past.and_then(|past| match (platform, past.body) {
            (true, _) => Some(past.own.unwrap_or_else(|| Content::new(Map::new().into()))),
            (false, body) => body.map(|body| Content {
                labels: past.labels,
                body,
            }),
        });
        match content {
            Some(content) => Ok(Write::new(kind, name, Change::Replace(content))),
            None => Err(Refused::NotFound {
                kind: kind.to_owned(),
                name: name.to_owned(),
            }),
        }
    }

    /// Forgets past states from before a time, of each resource all but what it was at that time; how
    /// many.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn trim_history(&self, before: Timestamp) -> Result<usize, InventoryError> {
        let mut range = Range::prefix("h/");
        let (mut at, mut forgotten) = (None, 0);
        let mut old = Old::default();
        loop {
            let page = self.store.range(range.clone(), PAGE, at).await?;
            let mut gone: Vec<Operation> = Vec::new();
            for entry in &page.entries {
                let goes = old.next(entry, before)?;
                gone.extend(goes.into_iter().map(|key| Operation::Delete(key.into())));
            }
            let last = page.entries.last().map(|entry| entry.key.clone());
            if last.is_none() || !page.more {
                gone.extend(
                    old.end()
                        .into_iter()
                        .map(|key| Operation::Delete(key.into())),
                );
            }
            forgotten += gone.len();
            if !gone.is_empty() {
                self.store.commit(Vec::new(), gone).await?;
            }
            let Some(last) = last.filter(|_| page.more) else {
                return Ok(forgotten);
            };
            range = range.after(&last);
            // What is written meanwhile is new, and stays.
            at = None;
        }
    }
}

/// The newest old states of the resource that is being looked at: the platform's part, people's, and what
/// was discovered.
#[derive(Debug, Default)]
struct Old {
    resource: Vec<u8>,
    newest: [Option<Vec<u8>>; 3],
    removed: bool,
}

impl Old {
    /// Looks at the next state; which earlier ones go.
    fn next(&mut self, entry: &Entry, before: Timestamp) -> Result<Vec<Vec<u8>>, InventoryError> {
        #[derive(Deserialize)]
        struct Sort {
            body: Option<serde::de::IgnoredAny>,
            #[serde(default)]
            own: bool,
            #[serde(default)]
            discovered: bool,
        }
        let mut goes = Vec::new();
        let cut = entry
            .key
            .iter()
            .rposition(|byte| *byte == b'/')
            .unwrap_or(0);
        let (resource, id) = entry.key.split_at(cut);
        if self.resource != resource {
            goes.extend(self.end());
            self.resource = resource.to_vec();
        }
        if written_at(&id[1.min(id.len())..]).is_none_or(|at| at >= before) {
            return Ok(goes);
        }
        let what = || shape(String::from_utf8_lossy(&entry.key));
        let sort: Sort = serde_json::from_slice(&entry.value).map_err(|error| what()(error))?;
        let part = match (sort.own, sort.discovered) {
            (true, _) => 1,
            (false, true) => 2,
            (false, false) => 0,
        };
        goes.extend(self.newest[part].replace(entry.key.to_vec()));
        self.removed = sort.body.is_none();
        Ok(goes)
    }

    /// At the end of a resource: what it was at that time goes too where that is nothing.
    fn end(&mut self) -> Vec<Vec<u8>> {
        let [platform, own, discovered] = std::mem::take(&mut self.newest);
        let both = platform.is_some() && own.is_some();
        if !std::mem::take(&mut self.removed) || both {
            return Vec::new();
        }
        [platform, own, discovered].into_iter().flatten().collect()
    }
}

/// When a state was written: its id is a UUID of version 7.
fn written_at(id: &[u8]) -> Option<Timestamp> {
    let id = Uuid::try_parse_ascii(id).ok()?;
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?).ok()
}
