//! What the inventory's endpoints take and answer beside resources.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wright_inventory::{
    Action, Outcome, Write,
    kind::{Definition, Kind, shipped},
};
use wright_store::Revision;

/// A kind.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KindView {
    /// Its name.
    pub name: String,
    /// Whether it ships with the platform.
    pub shipped: bool,
    /// The revision of the resource that defines or extends it; 0 where there is none.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// All that it says of itself.
    #[schema(value_type = Object)]
    pub definition: Definition,
}

impl KindView {
    /// Of a kind.
    pub fn new(kind: &Kind) -> Self {
        KindView {
            name: kind.name().to_owned(),
            shipped: shipped(kind.name()).is_some(),
            revision: kind.revision(),
            definition: kind.definition().clone(),
        }
    }
}

/// `POST /transactions`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// All of them or none.
    pub writes: Vec<Write>,
    /// For the history, such as a change's number.
    #[serde(default)]
    pub why: String,
    /// Only say what would be.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a transaction did, or would do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TransactionAnswer {
    /// The commit.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// What was asked for, in that order, and what went with it.
    pub outcomes: Vec<OutcomeView>,
}

/// What became of a resource.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OutcomeView {
    /// What.
    pub action: Action,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its revision; of one that is gone, the last.
    #[schema(value_type = u64)]
    pub revision: Revision,
}

impl From<&Outcome> for OutcomeView {
    fn from(outcome: &Outcome) -> Self {
        OutcomeView {
            action: outcome.action,
            kind: outcome.resource.kind.clone(),
            name: outcome.resource.name.clone(),
            revision: outcome.resource.revision,
        }
    }
}

/// Back to what?
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// A time (RFC 3339) or a revision.
    pub at: String,
    /// For the history.
    #[serde(default)]
    pub why: String,
    /// Only say what would be.
    #[serde(default)]
    pub dry_run: bool,
}
