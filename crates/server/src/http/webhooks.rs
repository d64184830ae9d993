//! Webhooks: how far they have come, what was given up, and doing it again.

use axum::{
    Json,
    extract::{Path, State},
};
use wright_inventory::feed::FeedError;
use wright_store::StoreError;

use super::{Rooms, Shared, answer::Refusal};
use crate::{
    api::{DeadLetter, Replay, WebhookView},
    webhooks::{Courier, Hook, KIND, Pace, Records},
};

/// How many dead letters are counted and listed.
const DEAD: usize = 1000;

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Refusal::internal(error)
    }
}

/// All webhooks.
#[utoipa::path(get, path = "/webhooks", responses((status = 200, description = "The webhooks.", body = serde_json::Value)))]
pub async fn list(State(rooms): Shared) -> Result<Json<Vec<WebhookView>>, Refusal> {
    let records = Records::new(rooms.store.clone());
    let mut views = Vec::new();
    for resource in rooms.inventory.list(KIND).await? {
        let clear = rooms.inventory.in_clear(resource)?;
        let hook = Hook::read(clear).map_err(Refusal::internal)?;
        let post = records.post(&hook.name).await?;
        views.push(WebhookView {
            position: match &post {
                Some(post) => post.position.clone(),
                None => hook.since,
            },
            failing: post.and_then(|post| post.failing),
            dead: records.dead(&hook.name, DEAD).await?.len(),
            name: hook.name,
            url: hook.url,
            kinds: hook.kinds,
            active: hook.active,
        });
    }
    Ok(Json(views))
}

/// The letters of a webhook that were given up, at most 1,000.
#[utoipa::path(get, path = "/webhooks/{name}/dead", params(("name" = String, Path)), responses((status = 200, description = "The dead letters.", body = serde_json::Value), (status = 404, description = "No such webhook.", body = serde_json::Value)))]
pub async fn dead(
    State(rooms): Shared,
    Path(name): Path<String>,
) -> Result<Json<Vec<DeadLetter>>, Refusal> {
    let hook = find(&rooms, &name).await?;
    let records = Records::new(rooms.store.clone());
    Ok(Json(records.dead(&hook.name, DEAD).await?))
}

/// Post once more: everything after a position, or a dead letter, which is gone when it has arrived.
#[utoipa::path(post, path = "/webhooks/{name}/replay", params(("name" = String, Path)), request_body = serde_json::Value, responses((status = 200, description = "It goes back to there, or the dead letter has arrived.", body = serde_json::Value), (status = 404, description = "No such webhook or dead letter.", body = serde_json::Value), (status = 410, description = "What comes after the position is no longer kept.", body = serde_json::Value), (status = 502, description = "The receiver did not take the dead letter.", body = serde_json::Value)))]
pub async fn replay(
    State(rooms): Shared,
    Path(name): Path<String>,
    Json(replay): Json<Replay>,
) -> Result<Json<Replay>, Refusal> {
    let hook = find(&rooms, &name).await?;
    let records = Records::new(rooms.store.clone());
    match &replay {
        Replay {
            from: Some(from),
            dead: None,
        } => {
            let kept = rooms.feed.is_kept(from.clone()).await;
            kept.map_err(|error: FeedError| Refusal::from(error))?;
            records.ask_replay(&hook.name, from.clone()).await?;
        }
        Replay {
            from: None,
            dead: Some(id),
        } => {
            let dead = records.dead_letter(&hook.name, id).await?;
            let dead = dead.ok_or_else(|| Refusal::not_found(format!("dead letter {id}")))?;
            let unsent = |error: &dyn std::fmt::Display| {
                Refusal::new(
                    502,
                    "not-delivered",
                    "the receiver did not take it",
                    error.to_string(),
                )
            };
            let courier = Courier::new(&hook, &Pace::default()).map_err(|error| unsent(&error))?;
            courier
                .post(&dead.letter)
                .await
                .map_err(|error| unsent(&error))?;
            records.raise(&hook.name, id).await?;
        }
        _ => {
            let detail = "give either `from`, a position, or `dead`, the id of a dead letter";
            return Err(Refusal::new(
                400,
                "replay",
                "what is to be replayed?",
                detail,
            ));
        }
    }
    Ok(Json(replay))
}

async fn find(rooms: &Rooms, name: &str) -> Result<Hook, Refusal> {
    let found = rooms.inventory.get(KIND, name).await?;
    let found = found.ok_or_else(|| Refusal::not_found(format!("webhook {name}")))?;
    Hook::read(rooms.inventory.in_clear(found)?).map_err(Refusal::internal)
}
