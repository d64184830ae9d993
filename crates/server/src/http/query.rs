//! Finding resources: queries and words.

use axum::{
    Extension, Json,
    extract::{Query as Parameters, State},
};
use serde::Deserialize;
use wright_inventory::catalog::{Answer, CatalogError, Hit, Query, QueryError};
use wright_model::Diagnostic;

use super::{Shared, answer::Refusal, listed};
use crate::rights::Known;

/// The most hits of a search.
const MOST_HITS: usize = 1000;

impl From<CatalogError> for Refusal {
    fn from(error: CatalogError) -> Self {
        let detail = error.to_string();
        match error {
            CatalogError::Expired => Refusal::new(410, "expired", "no longer kept", detail),
            CatalogError::Behind { .. } => Refusal::new(503, "behind", "not yet in memory", detail),
            CatalogError::Store(_) => Refusal::internal(detail),
            CatalogError::Query(error) => match error {
                QueryError::Filter(error) => {
                    let found = Diagnostic::error("filter", error.message)
                        .at("filter", 1, error.column)
                        .help(error.help);
                    Refusal::findings("the filter was not understood", vec![found])
                }
                QueryError::Field { what, path, source } => {
                    let message = format!("{what} {path:?}: {}", source.message);
                    let found = Diagnostic::error("field", message).help(source.help);
                    Refusal::findings("a field was not understood", vec![found])
                }
                QueryError::NoKind(kind) => Refusal::not_found(format!("kind {kind}")),
                QueryError::TooExpensive { .. } => {
                    Refusal::new(422, "too-expensive", "the query is too expensive", detail)
                }
                QueryError::TooManyGroups { .. } | QueryError::Wrong(_) => {
                    Refusal::new(422, "query", "the query has no answer", detail)
                }
            },
        }
    }
}

/// Finds, counts and groups resources by what they are.
///
/// The filter is CEL over the fields of one kind: `host.model == "compute" && host.rack.room.name ==
/// "b2" && size(host.instances) < 4`. Answers of many rows have a `cursor`: sent back alone, it gives
/// the next page, of the same revision. What the caller may not read is as if it were not there; he is
/// not told what was done (`steps`) where that is not all.
#[utoipa::path(post, path = "/query", request_body(content = serde_json::Value, description = "`kind`, `filter` (CEL), `group`, `text` (words), `sort` (`-` before a field: downwards), `select`, `group-by` (up to four fields), `count`, `limit`, `explain`; or `cursor`."), responses(
    (status = 200, description = "revision, total, rows (name, revision, values), groups (values, count), steps, cursor", body = Answer),
    (status = 400, description = "The body is no JSON.", body = serde_json::Value),
    (status = 404, description = "No such kind or group.", body = serde_json::Value),
    (status = 410, description = "The rest of the answer is no longer kept.", body = serde_json::Value),
    (status = 415, description = "The body is not said to be JSON.", body = serde_json::Value),
    (status = 422, description = "The query was not understood, or is too expensive.", body = serde_json::Value),
    (status = 503, description = "Not everything is in memory yet.", body = serde_json::Value),
))]
pub async fn query(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Json(query): Json<Query>,
) -> Result<Json<Answer>, Refusal> {
    Ok(Json(rooms.ask(&known, query).await?))
}

/// What to search.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    q: String,
    #[serde(default)]
    kind: String,
    #[serde(default = "twenty")]
    limit: usize,
}

fn twenty() -> usize {
    20
}

/// The first resources, best first, that have all words, or words that begin so.
///
/// Searched is what the caller may read.
#[utoipa::path(get, path = "/search", params(
    ("q" = String, Query, description = "Words, or their beginnings; those of a name go first."),
    ("kind" = Option<String>, Query, description = "Kinds, with commas between; all where there is none."),
    ("limit" = Option<usize>, Query, description = "At most so many; 20, at most 1,000."),
), responses(
    (status = 200, description = "kind, name and rank (name, prefix, words, beginnings) of each.", body = Vec<Hit>),
    (status = 400, description = "A parameter is not what it should be.", body = serde_json::Value),
    (status = 503, description = "Not everything is in memory yet.", body = serde_json::Value),
))]
pub async fn search(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Parameters(wanted): Parameters<Wanted>,
) -> Result<Json<Vec<Hit>>, Refusal> {
    let sight = rooms.sight(&known).await?;
    let kinds = listed(&wanted.kind);
    let limit = wanted.limit.min(MOST_HITS);
    let hits = rooms.catalog.search(wanted.q, kinds, limit, sight).await?;
    Ok(Json(hits))
}
