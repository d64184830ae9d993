//! Events.

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
};
use futures::stream;
use serde::Deserialize;
use wright_inventory::Event;

use crate::http::{Shared, answer::Refusal, events as sse};

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
#[utoipa::path(get, path = "/events", params(("limit" = Option<usize>, Query)), responses((status = 200, description = "The events.", body = Vec<Event>)))]
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
