//! Finding resources: queries and words.

use axum::{
    Extension, Json,
    extract::{Query as Parameters, State},
};
use serde::Deserialize;
use wright_access::Act;
use wright_inventory::catalog::{Answer, CatalogError, Hit, Query, QueryError};
use wright_model::Diagnostic;

use super::{Shared, answer::Refusal};
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
/// the next page, of the same revision.
#[utoipa::path(post, path = "/query", request_body(content = serde_json::Value, description = "`kind`, `filter` (CEL), `text` (words), `sort` (`-` before a field: downwards), `select`, `group-by` (up to four fields), `count`, `limit`, `explain`; or `cursor`."), responses(
    (status = 200, description = "revision, total, rows (name, revision, values), groups (values, count), steps, cursor", body = serde_json::Value),
    (status = 400, description = "The body is no JSON.", body = serde_json::Value),
    (status = 404, description = "No such kind.", body = serde_json::Value),
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
    // Before anything is said of the kind: an error would tell of its fields.
    if let Some(kind) = &query.kind {
        may_read(&known, kind)?;
    }
    let concerned = rooms.catalog.concerned(&query).await?;
    concerned
        .iter()
        .try_for_each(|kind| may_read(&known, kind))?;
    if concerned.is_empty() && !known.caller.reads_everything() {
        let detail =
            "what is asked of all kinds is answered to those who may read everything: say a kind";
        return Err(Refusal::forbidden(detail));
    }
    Ok(Json(rooms.catalog.answer(query).await?))
}

/// A filter, an order or a count tells of all resources that it looks at, and of all their fields.
fn may_read(known: &Known, kind: &str) -> Result<(), Refusal> {
    if known.caller.may_all(Act::Read, kind) {
        return Ok(());
    }
    let detail = format!(
        "a query that looks at {kind} is answered to those who may read all of it; \
         what you may read is listed by GET /resources/{kind}"
    );
    Err(Refusal::forbidden(detail))
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
/// Searched are the kinds of which the caller may read everything.
#[utoipa::path(get, path = "/search", params(
    ("q" = String, Query, description = "Words, or their beginnings; those of a name go first."),
    ("kind" = Option<String>, Query, description = "Kinds, with commas between; all where there is none."),
    ("limit" = Option<usize>, Query, description = "At most so many; 20, at most 1,000."),
), responses(
    (status = 200, description = "kind, name and rank (name, prefix, words, beginnings) of each.", body = Vec<serde_json::Value>),
    (status = 400, description = "A parameter is not what it should be.", body = serde_json::Value),
    (status = 503, description = "Not everything is in memory yet.", body = serde_json::Value),
))]
pub async fn search(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Parameters(wanted): Parameters<Wanted>,
) -> Result<Json<Vec<Hit>>, Refusal> {
    let asked: Vec<&str> = wanted
        .kind
        .split(',')
        .map(str::trim)
        .filter(|k| !k.is_empty())
        .collect();
    rooms.catalog.up_to_date().await?;
    let mut kinds: Vec<String> = rooms.catalog.read(|index| {
        let kinds = index.kinds().into_iter();
        kinds
            .filter(|kind| asked.is_empty() || asked.contains(kind))
            .map(str::to_owned)
            .collect()
    });
    kinds.retain(|kind| known.caller.may_all(Act::Read, kind));
    if kinds.is_empty() {
        return Ok(Json(Vec::new()));
    }
    let limit = wanted.limit.min(MOST_HITS);
    Ok(Json(rooms.catalog.search(wanted.q, kinds, limit).await?))
}
