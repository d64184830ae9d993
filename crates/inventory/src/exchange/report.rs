use serde::{Deserialize, Serialize};

use crate::Difference;

/// What an import did; of a dry run, what it would do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Resources that are new.
    pub created: usize,
    /// Resources that are others than before.
    pub changed: usize,
    /// Resources that were so already.
    pub same: usize,
    /// Rows that were not taken; nothing of them was written.
    pub errors: Vec<RowError>,
    /// Field by field what changes; of a dry run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<RowDifference>,
}

/// A row that was not taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowError {
    /// Its line.
    pub line: u64,
    /// `KIND/NAME`.
    pub resource: String,
    /// Why.
    pub message: String,
    /// What it refers to and is not there: it may come with another row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
}

/// A resource that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Missing {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What becomes of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// It is made.
    New,
    /// It is changed.
    Changed,
}

/// A resource that an import changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowDifference {
    /// Its line.
    pub line: u64,
    /// `KIND/NAME`.
    pub resource: String,
    /// What becomes of it.
    pub deed: Deed,
    /// Its fields that differ.
    pub fields: Vec<Difference>,
}

impl Report {
    /// Adds what another part of the import did.
    pub fn add(&mut self, other: Report) {
        self.created += other.created;
        self.changed += other.changed;
        self.same += other.same;
        self.errors.extend(other.errors);
        self.differences.extend(other.differences);
    }
}
