//! Resources and events.

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use futures::stream;
use serde::Deserialize;
use wright_inventory::{Event, InventoryError, Resource};
use wright_model::Name;

use super::{Shared, answer::Refusal, events as sse};

impl From<InventoryError> for Refusal {
    fn from(error: InventoryError) -> Self {
        Refusal::internal(error)
    }
}

/// All resources of a kind.
#[utoipa::path(get, path = "/resources/{kind}", params(("kind" = String, Path)), responses((status = 200, description = "The resources.", body = serde_json::Value)))]
pub async fn list(
    State(rooms): Shared,
    Path(kind): Path<Name>,
) -> Result<Json<Vec<Resource>>, Refusal> {
    Ok(Json(rooms.inventory.list(kind.as_str()).await?))
}

/// One resource.
#[utoipa::path(get, path = "/resources/{kind}/{name}", params(("kind" = String, Path), ("name" = String, Path)), responses((status = 200, description = "The resource.", body = serde_json::Value), (status = 404, description = "No such resource.", body = serde_json::Value)))]
pub async fn show(
    State(rooms): Shared,
    Path((kind, name)): Path<(Name, String)>,
) -> Result<Json<Resource>, Refusal> {
    let found = rooms.inventory.get(kind.as_str(), &name).await?;
    found
        .map(Json)
        .ok_or_else(|| Refusal::not_found(format!("{kind} {name}")))
}

/// What a resource was, oldest first.
#[utoipa::path(get, path = "/resources/{kind}/{name}/history", params(("kind" = String, Path), ("name" = String, Path)), responses((status = 200, description = "Its past.", body = serde_json::Value)))]
pub async fn history(
    State(rooms): Shared,
    Path((kind, name)): Path<(Name, String)>,
) -> Result<Response, Refusal> {
    let past = rooms.inventory.history(kind.as_str(), &name).await?;
    if past.is_empty() {
        Err(Refusal::not_found(format!("{kind} {name}")))
    } else {
        Ok(Json(past).into_response())
    }
}

/// How many events.
#[derive(Debug, Deserialize)]
pub struct Count {
    #[serde(default = "fifty")]
    limit: usize,
}

fn fifty() -> usize {
    50
}

/// The newest events, oldest of them first.
#[utoipa::path(get, path = "/events", params(("limit" = Option<usize>, Query)), responses((status = 200, description = "The events.", body = serde_json::Value)))]
pub async fn events(
    State(rooms): Shared,
    Query(count): Query<Count>,
) -> Result<Json<Vec<Event>>, Refusal> {
    Ok(Json(
        rooms
            .inventory
            .newest_events(count.limit.min(10_000))
            .await?,
    ))
}

/// Events from now on.
#[utoipa::path(get, path = "/events/watch", responses((status = 200, description = "Server-sent events.", content_type = "text/event-stream")))]
pub async fn watch_events(State(rooms): Shared) -> Result<Response, Refusal> {
    let news = rooms.inventory.watch_events().await?;
    let news = stream::unfold(news, async |mut news| match news.next().await {
        Some(Ok(event)) => Some((event, news)),
        _ => None,
    });
    Ok(sse(news).into_response())
}
