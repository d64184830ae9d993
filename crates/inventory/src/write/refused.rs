use serde::Serialize;
use wright_store::{Revision, StoreError};

use crate::{InventoryError, Referrer, kind::Violation};

/// A field that two managers want to be different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contested {
    /// The field.
    pub field: String,
    /// Who owns it.
    pub owners: Vec<String>,
    /// What they say.
    pub found: String,
    /// What was applied.
    pub applied: String,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such kind.
    #[error("there is no kind {kind}{}", near.as_ref().map_or_else(String::new, |near| format!("; did you mean {near}?")))]
    NoKind {
        /// What was asked for.
        kind: String,
        /// The kind whose name is most like it.
        near: Option<String>,
    },
    /// Bodies are not what their kinds say.
    #[error("{}", list(.0))]
    Invalid(Vec<Violation>),
    /// There is nothing of this name.
    #[error("there is no {kind} {name}")]
    NotFound {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
    },
    /// What was to be made is there.
    #[error("there is a {kind} {name} already")]
    Exists {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
    },
    /// It is no longer what was read.
    #[error(
        "{kind}/{name} is at revision {found}, {expected} was expected: somebody changed it meanwhile"
    )]
    Conflict {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
        /// What the writer had read; 0: nothing.
        expected: Revision,
        /// What it is; 0: nothing is there.
        found: Revision,
    },
    /// Another resource has what must be unique.
    #[error("{kind}/{name}: {} is taken by {kind}/{owner}", what.join(", "))]
    Taken {
        /// The kind.
        kind: String,
        /// The resource that was to be written.
        name: String,
        /// The fields and their values.
        what: Vec<String>,
        /// The resource that has them.
        owner: String,
    },
    /// What is referred to is not there.
    #[error("{kind}/{name}: {field} refers to {to}/{target}, which is not there")]
    NoTarget {
        /// The kind.
        kind: String,
        /// The resource that refers.
        name: String,
        /// Its field.
        field: String,
        /// The kind it refers to.
        to: String,
        /// The name it refers to.
        target: String,
    },
    /// Others refer to what was to be deleted.
    #[error(
        "{kind}/{name} cannot be deleted: {count} resource(s) refer to it, such as {}",
        some(referrers)
    )]
    Referenced {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
        /// Some of those who refer.
        referrers: Vec<Referrer>,
        /// How many were found.
        count: usize,
    },
    /// Another manager owns fields that would change.
    #[error("{kind}/{name}: {}", contested(fields))]
    Owned {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
        /// Which fields.
        fields: Vec<Contested>,
    },
    /// The platform has it.
    #[error("{kind}/{name} is the platform's own: {reason}")]
    Platform {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
        /// What cannot be done, and how else.
        reason: &'static str,
    },
    /// Resources are not as the kind is to say.
    #[error(
        "{count} resource(s) of the kind {kind} would not be as it says: {}",
        list(offenders)
    )]
    Broken {
        /// The kind.
        kind: String,
        /// Some of what is wrong with them.
        offenders: Vec<Violation>,
        /// How many resources.
        count: usize,
    },
    /// A kind that still has resources, or that other kinds refer to.
    #[error("the kind {kind} is in use: {by}")]
    InUse {
        /// The kind.
        kind: String,
        /// By what.
        by: String,
    },
    /// More than one commit holds.
    #[error(
        "{resources} resources in one transaction are {parts} guards and writes, the limit is {limit}: write fewer at once"
    )]
    TooMany {
        /// How many resources it would write.
        resources: usize,
        /// How many guards and writes.
        parts: usize,
        /// How many a commit may have.
        limit: usize,
    },
    /// Writes that cannot be in one transaction.
    #[error("{0}")]
    Together(String),
    /// Who writes may not.
    #[error("{0}")]
    NotAllowed(String),
    /// Others were quicker every time.
    #[error("others wrote the same resources all the time; try again")]
    Busy,
    /// The store failed, or what is in it cannot be read.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
}

impl Refused {
    pub(crate) fn store(error: StoreError) -> Self {
        Refused::Inventory(error.into())
    }
}

fn list(violations: &[Violation]) -> String {
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    told.join("; ")
}

fn some(referrers: &[Referrer]) -> String {
    let told = referrers.iter().take(5);
    let told: Vec<String> = told
        .map(|referrer| format!("{}/{} ({})", referrer.kind, referrer.name, referrer.field))
        .collect();
    told.join(", ")
}

fn contested(fields: &[Contested]) -> String {
    let told: Vec<String> = fields
        .iter()
        .map(|one| {
            let owners = one.owners.join(", ");
            format!(
                "{} is {} by {owners}, {} was applied",
                one.field, one.found, one.applied
            )
        })
        .collect();
    told.join("; ")
}
