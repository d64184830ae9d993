//! Resources, their kinds and their past; events.

mod drift;
mod happened;
mod kinds;
mod list;
mod quota;
mod refused;
mod rights;
#[cfg(test)]
mod tests;
mod write;

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header::ETAG};
use jiff::Timestamp;
use serde::Deserialize;
use wright_inventory::{InventoryError, Moment, Past, Refused, Resource};
use wright_model::Name;

pub use self::{drift::*, happened::*, kinds::*, list::*, rights::write_held, write::*};
use super::{Rooms, Shared, answer::Refusal};

impl From<InventoryError> for Refusal {
    fn from(error: InventoryError) -> Self {
        Refusal::internal(error)
    }
}

/// Refuses a kind that there is not, and names the nearest.
async fn known(rooms: &Rooms, kind: &Name) -> Result<(), Refusal> {
    if rooms.inventory.kind(kind.as_str()).await?.is_some() {
        return Ok(());
    }
    let near = rooms.inventory.nearest_kind(kind.as_str()).await?;
    let kind = kind.to_string();
    Err(Refused::NoKind { kind, near }.into())
}

/// A moment of the past.
#[derive(Debug, Deserialize)]
pub struct At {
    /// A time (RFC 3339) or a revision.
    #[serde(default)]
    at: Option<String>,
}

/// A time or a revision.
fn moment(text: &str) -> Result<Moment, Refusal> {
    if let Ok(revision) = text.parse() {
        return Ok(Moment::Revision(revision));
    }
    text.parse::<Timestamp>().map(Moment::Time).map_err(|_| {
        let detail =
            format!("{text:?} is neither a revision nor a time such as 2026-03-01T12:00:00Z");
        Refusal::new(400, "moment", "no moment", detail)
    })
}

/// One resource, as it is or was.
#[utoipa::path(get, path = "/resources/{kind}/{name}", params(("kind" = String, Path), ("name" = String, Path), ("at" = Option<String>, Query, description = "A time or a revision.")), responses((status = 200, description = "The resource; its revision is the ETag.", body = Resource), (status = 404, description = "No such resource.", body = serde_json::Value)))]
pub async fn show(
    State(rooms): Shared,
    Path((kind, name)): Path<(Name, String)>,
    Query(At { at }): Query<At>,
) -> Result<Response, Refusal> {
    let missing = || Refusal::not_found(format!("{kind} {name}"));
    let Some(at) = at else {
        let found = rooms.inventory.resource(kind.as_str(), &name).await?;
        return match found {
            Some(resource) => Ok(tagged(resource)),
            None => {
                known(&rooms, &kind).await?;
                Err(missing())
            }
        };
    };
    let past = rooms
        .inventory
        .as_of(kind.as_str(), &name, moment(&at)?)
        .await?;
    let past = past.ok_or_else(missing)?;
    Ok(Json(Resource {
        kind: kind.to_string(),
        labels: past.labels,
        body: past.body.unwrap_or_default(),
        owners: Default::default(),
        created: 0,
        revision: past.revision,
        updated_at: past.at,
        name,
    })
    .into_response())
}

/// A resource with its revision as the ETag (RFC 9110, 8.8.3).
fn tagged(resource: Resource) -> Response {
    let tag = HeaderValue::from_str(&format!("\"{}\"", resource.revision));
    let mut response = Json(resource).into_response();
    if let Ok(tag) = tag {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Which past states.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// At most so many.
    #[serde(default = "hundred")]
    limit: usize,
    /// After the one of this id.
    #[serde(default)]
    after: String,
    /// So many of the newest instead.
    #[serde(default)]
    newest: Option<usize>,
}

fn hundred() -> usize {
    100
}

/// The most past states that are answered at once.
const MOST_PAST: usize = 1000;

/// What a resource was after each change, oldest first, and who changed it through what and why. Where
/// there are as many as `limit`, the `id` of the last one, as `after`, gives those that follow.
#[utoipa::path(get, path = "/resources/{kind}/{name}/history", params(("kind" = String, Path), ("name" = String, Path), ("limit" = Option<usize>, Query, description = "At most so many; 100, at most 1,000."), ("after" = Option<String>, Query, description = "After the one of this id."), ("newest" = Option<usize>, Query, description = "So many of the newest instead.")), responses((status = 200, description = "Its past.", body = Vec<Past>), (status = 400, description = "A parameter is not what it should be.", body = serde_json::Value), (status = 404, description = "No such kind or resource.", body = serde_json::Value)))]
pub async fn history(
    State(rooms): Shared,
    Path((kind, name)): Path<(Name, String)>,
    Query(which): Query<Which>,
) -> Result<Response, Refusal> {
    let inventory = &rooms.inventory;
    let past = match which.newest {
        Some(count) => {
            let count = count.clamp(1, MOST_PAST);
            inventory
                .newest_history(kind.as_str(), &name, count)
                .await?
        }
        None => {
            let limit = which.limit.clamp(1, MOST_PAST);
            let page = inventory.history_page(kind.as_str(), &name, &which.after, limit);
            page.await?
        }
    };
    if past.is_empty() && which.after.is_empty() {
        known(&rooms, &kind).await?;
        Err(Refusal::not_found(format!("{kind} {name}")))
    } else {
        Ok(Json(past).into_response())
    }
}
