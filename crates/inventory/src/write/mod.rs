//! Writing: many resources in one commit, each held against its kind, its constraints, what it refers
//! to and who refers to it.

mod apply;
mod batch;
mod cascade;
mod draft;
mod merge;
mod plan;
mod refused;
mod removed;
mod schema;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wright_store::{Revision, StoreError};

pub use self::refused::{Contested, Refused};
use self::{batch::Batch, plan::Plan};
use crate::{Inventory, Resource, kind::KIND};

/// How often a write that lost a race is drawn up anew. Each loss is somebody else's success.
const ATTEMPTS: usize = 1000;

/// Who writes, by what, and why: kept in the history.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Author {
    /// Who.
    pub actor: String,
    /// By what, such as `cli` or a job's id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub through: String,
    /// Why, such as a change's number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Author {
    /// Somebody, without a reason.
    pub fn new(actor: &str) -> Self {
        Author {
            actor: actor.to_owned(),
            ..Author::default()
        }
    }
}

/// A write of one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Write {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What to do.
    #[serde(flatten)]
    pub change: Change,
    /// The revision that was read, 0 where there was nothing: refused where it is another by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Revision>,
}

/// What to do with a resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Change {
    /// Make it; refused where it is there.
    Create(Content),
    /// Make it so, whatever was there.
    Replace(Content),
    /// Change what a merge patch (RFC 7396) of `{labels, body}` names.
    Merge {
        /// The patch.
        patch: Value,
    },
    /// Set these fields in the name of a manager, who owns them from then on. Fields that the manager
    /// applied before and no longer does go. Refused where another manager's would change.
    Apply {
        /// What the manager says.
        #[serde(flatten)]
        content: Content,
        /// In whose name; the author's where it is empty.
        #[serde(default)]
        manager: String,
        /// Take over what others own.
        #[serde(default)]
        force: bool,
    },
    /// Remove it, and do with those who refer to it as their kinds say.
    Delete,
}

/// What people say of a resource.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Content {
    /// For selection.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The fact.
    #[serde(default)]
    pub body: Value,
}

impl Content {
    /// Without labels.
    pub fn new(body: Value) -> Self {
        Content {
            labels: BTreeMap::new(),
            body,
        }
    }
}

impl Write {
    /// Whatever is there now.
    pub fn new(kind: &str, name: &str, change: Change) -> Self {
        Write {
            kind: kind.to_owned(),
            name: name.to_owned(),
            change,
            expected: None,
        }
    }

    /// Where it is still what was read at this revision; 0: where it is not there.
    #[must_use]
    pub fn expecting(self, revision: Revision) -> Self {
        Write {
            expected: Some(revision),
            ..self
        }
    }
}

/// What became of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is new.
    Created,
    /// It is another than before.
    Changed,
    /// It is gone.
    Deleted,
    /// It no longer refers to something that is gone.
    Cleared,
    /// It was so already.
    Unchanged,
}

/// One resource of a write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What became of it.
    pub action: Action,
    /// What it is now; what it was, where it is gone. Of a dry run, as it would be.
    pub resource: Resource,
}

/// What a write did; of a dry run, what it would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// The commit; where nothing changed or nothing was to be done, the newest one.
    pub revision: Revision,
    /// Those that were asked for, in that order, and then those that went with them.
    pub outcomes: Vec<Outcome>,
}

/// Writing.
impl Inventory {
    /// Writes resources in one commit: all of them or none.
    ///
    /// A write that loses a race is drawn up anew, unless it says which revision it expects.
    ///
    /// # Errors
    /// [`Refused`]: nothing was written.
    pub async fn write(&self, writes: &[Write], author: &Author) -> Result<Written, Refused> {
        if writes.iter().any(|write| write.kind == KIND) {
            return self.change_kind(writes, author, false).await;
        }
        for _ in 0..ATTEMPTS {
            let batch = Batch::draw(self, writes, author, false).await?;
            let mut plan = Plan::of(&batch, author)?;
            if plan.is_empty() {
                let revision = self.store.revision().await.map_err(Refused::store)?;
                return Ok(batch.written(revision));
            }
            let (guards, operations) = plan.take_parts();
            match self.store.commit(guards, operations).await {
                Ok(revision) => return Ok(batch.written(revision)),
                Err(StoreError::Refused { guard, .. }) => {
                    self.lost(&batch, &plan, &guard).await?;
                }
                Err(error) => return Err(Refused::store(error)),
            }
        }
        Err(Refused::Busy)
    }

    /// What a write would do, and whether it would be refused; nothing is written.
    ///
    /// # Errors
    /// As [`Inventory::write`].
    pub async fn preview(&self, writes: &[Write], author: &Author) -> Result<Written, Refused> {
        if writes.iter().any(|write| write.kind == KIND) {
            return self.change_kind(writes, author, true).await;
        }
        let batch = Batch::draw(self, writes, author, true).await?;
        let plan = Plan::of(&batch, author)?;
        let revision = self.store.revision().await.map_err(Refused::store)?;
        for guard in plan.guards() {
            if !self.holds(guard).await? {
                self.lost(&batch, &plan, guard).await?;
            }
        }
        Ok(batch.written(revision))
    }
}

/// Kinds that a batch was drawn with, by name.
type BatchKinds = HashMap<String, Arc<crate::kind::Kind>>;
