//! The audit: who did or tried what.

use axum::{
    Json,
    extract::{Query, State},
};
use jiff::Timestamp;
use serde::Deserialize;
use wright_access::{Act, AuditQuery, AuditRecord, Outcome};

use super::{Shared, answer::Refusal};

/// The most records that are shown at once.
const MOST: usize = 10_000;

/// Which records are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    actor: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    act: Option<Act>,
    outcome: Option<Outcome>,
    #[serde(default = "hundred")]
    limit: usize,
}

fn hundred() -> usize {
    100
}

/// Every write, refused ones too, and every read of a secret: the newest that match, oldest of them
/// first.
#[utoipa::path(get, path = "/audit", params(
    ("since" = Option<String>, Query, description = "From then on, RFC 3339."),
    ("until" = Option<String>, Query, description = "Until then, RFC 3339."),
    ("actor" = Option<String>, Query, description = "By this one."),
    ("kind" = Option<String>, Query, description = "To this kind."),
    ("name" = Option<String>, Query, description = "To this name."),
    ("act" = Option<String>, Query, description = "read, write, approve, operate, see-secrets or administer"),
    ("outcome" = Option<String>, Query, description = "done, refused or failed"),
    ("limit" = Option<usize>, Query, description = "At most so many; 100, at most 10,000."),
), responses((status = 200, description = "The records.", body = Vec<AuditRecord>), (status = 400, description = "A filter is not what it should be.")))]
pub async fn list(
    State(rooms): Shared,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<AuditRecord>>, Refusal> {
    let query = AuditQuery {
        since: wanted.since,
        until: wanted.until,
        actor: wanted.actor,
        kind: wanted.kind,
        name: wanted.name,
        act: wanted.act,
        outcome: wanted.outcome,
        limit: wanted.limit.min(MOST),
    };
    let found = rooms.rights.audit.find(&query).await;
    Ok(Json(found.map_err(Refusal::internal)?))
}
