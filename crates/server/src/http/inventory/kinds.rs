//! Kinds, with what ships and what was added in one.

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::Value;
use wright_inventory::{Refused, kind::Kind};
use wright_model::Name;

use crate::{
    api::KindView,
    http::{Rooms, Shared, answer::Refusal},
};

/// All kinds: those that ship and those that people have defined.
#[utoipa::path(get, path = "/kinds", responses((status = 200, description = "The kinds.", body = Vec<KindView>)))]
pub async fn list_kinds(State(rooms): Shared) -> Result<Json<Vec<KindView>>, Refusal> {
    let kinds = rooms.inventory.all_kinds().await?;
    Ok(Json(kinds.iter().map(|kind| KindView::new(kind)).collect()))
}

/// One kind.
#[utoipa::path(get, path = "/kinds/{kind}", params(("kind" = String, Path)), responses((status = 200, description = "The kind.", body = KindView), (status = 404, description = "No such kind.", body = serde_json::Value)))]
pub async fn show_kind(
    State(rooms): Shared,
    Path(name): Path<Name>,
) -> Result<Json<KindView>, Refusal> {
    find(&rooms, &name, |kind| Json(KindView::new(kind))).await
}

/// The JSON Schema of a kind's bodies, for editors.
#[utoipa::path(get, path = "/kinds/{kind}/schema", params(("kind" = String, Path)), responses((status = 200, description = "The schema (draft 2020-12).", body = serde_json::Value), (status = 404, description = "No such kind.", body = serde_json::Value)))]
pub async fn kind_schema(
    State(rooms): Shared,
    Path(name): Path<Name>,
) -> Result<Json<Value>, Refusal> {
    find(&rooms, &name, |kind| Json(kind.json_schema())).await
}

async fn find<T>(rooms: &Rooms, name: &Name, view: impl FnOnce(&Kind) -> T) -> Result<T, Refusal> {
    // As it is now, not as it was when it was last written by.
    let kinds = rooms.inventory.all_kinds().await?;
    if let Some(kind) = kinds.iter().find(|kind| kind.name() == name.as_str()) {
        return Ok(view(kind));
    }
    let near = rooms.inventory.nearest_kind(name.as_str()).await?;
    let kind = name.to_string();
    Err(Refused::NoKind { kind, near }.into())
}
