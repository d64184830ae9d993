//! What is declared against what was discovered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wright_inventory::kind::Drift;

/// A field of a resource that is not what was discovered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DriftView {
    /// The resource's kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The field; `instances.NAME` of an instance that is not where it is recorded.
    #[serde(flatten)]
    pub drift: Drift,
    /// Since when; nothing where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
}

/// What to do with a field that is not what was discovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// What was discovered is declared from now on.
    Accept,
    /// It may differ, as long as nothing else is discovered.
    Tolerate,
    /// It is made what is declared, where the platform can.
    Revert,
}

/// `POST /resources/{kind}/{name}/drift`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// The field.
    pub field: String,
    /// What to do.
    pub act: Resolution,
    /// Which one to accept, where several were discovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// For the history. To tolerate needs one.
    #[serde(default)]
    pub why: String,
    /// Only say what would be.
    #[serde(default)]
    pub dry_run: bool,
}

/// The answer to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resolved {
    /// One line.
    pub message: String,
}
