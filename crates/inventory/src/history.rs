//! What resources were, who changed them, through what and why.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;
use wright_store::{Entry, Operation, Range, Revision};

use crate::{
    Author, Change, Content, Difference, Inventory, InventoryError, Refused, Write, differences,
    error::shape, keys,
};

/// How many past states are read, and forgotten, at once.
const PAGE: usize = 500;

/// What a resource was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// When it became so.
    pub at: Timestamp,
    /// The commit that made it so.
    #[serde(default)]
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

/// States in order, out of what was kept: of a resource of the platform two parts that change apart.
fn states(kept: impl Iterator<Item = (Kept, Revision)>, declarable: bool) -> Vec<Past> {
    let (mut platform, mut own): (Option<Content>, Option<Content>) = (None, None);
    let mut states = Vec::new();
    for (kept, revision) in kept {
        let content = kept.body.map(|body| Content {
            labels: kept.labels,
            body,
        });
        if kept.own {
            own = content;
        } else {
            if content.is_none() && !declarable {
                own = None;
            }
            platform = content;
        }
        let whole = merged(platform.clone(), own.clone());
        states.push(Past {
            at: kept.at,
            revision,
            by: kept.by,
            labels: whole
                .as_ref()
                .map(|whole| whole.labels.clone())
                .unwrap_or_default(),
            body: whole.map(|whole| whole.body),
            own: own.clone(),
        });
    }
    states
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
        let entries = self.read_all(keys::history_range(kind, name)).await?;
        let what = || format!("the history of {kind}/{name}");
        let read = |entry: &Entry| {
            let kept: Kept =
                serde_json::from_slice(&entry.value).map_err(|error| shape(what())(error))?;
            Ok((kept, entry.modified))
        };
        let kept: Result<Vec<_>, InventoryError> = entries.iter().map(read).collect();
        let platform = crate::kind::shipped(kind).filter(|kind| kind.platform);
        let declarable = platform.is_none_or(|kind| kind.declarable);
        Ok(states(kept?.into_iter(), declarable))
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
        let history = self.history(kind, name).await?;
        let seen = history.into_iter().take_while(|past| moment.has_seen(past));
        Ok(seen.last().filter(|past| past.body.is_some()))
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
                gone.extend(old.end().map(|key| Operation::Delete(key.into())));
            }
            forgotten += gone.len();
            if !gone.is_empty() {
                self.store.commit(Vec::new(), gone).await?;
            }
            let Some(last) = last.filter(|_| page.more) else {
                return Ok(forgotten);
            };
            range.start = [&last[..], b"\0"].concat().into();
            // What is written meanwhile is new, and stays.
            at = None;
        }
    }
}

/// The newest old states of the resource that is being looked at: the platform's part and people's.
#[derive(Debug, Default)]
struct Old {
    resource: Vec<u8>,
    newest: [Option<Vec<u8>>; 2],
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
        goes.extend(self.newest[usize::from(sort.own)].replace(entry.key.to_vec()));
        self.removed = sort.body.is_none();
        Ok(goes)
    }

    /// At the end of a resource: what it was at that time goes too where that is nothing.
    fn end(&mut self) -> Option<Vec<u8>> {
        let [platform, own] = std::mem::take(&mut self.newest);
        let both = platform.is_some() && own.is_some();
        std::mem::take(&mut self.removed)
            .then(|| platform.or(own))
            .flatten()
            .filter(|_| !both)
    }
}

/// When a state was written: its id is a UUID of version 7.
fn written_at(id: &[u8]) -> Option<Timestamp> {
    let id = Uuid::try_parse_ascii(id).ok()?;
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?).ok()
}
