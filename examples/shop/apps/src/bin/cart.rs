//! Carts: for each a Redis hash of product to quantity.

use axum::extract::{Path, State};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use shop::app::{self, App};
use shop::config::{Config, Redis};
use shop::failure::Failure;
use shop::kv::Kv;
use shop::nouns::Item;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;

/// The most of one product a cart takes.
const MOST: u32 = 99;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    listen: SocketAddr,
    #[serde(rename = "lookup")]
    _lookup: String,
    redis: Redis,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Parameters {
    keep_days: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { keep_days: 30 }
    }
}

impl Config for Settings {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

#[derive(Clone)]
struct Carts {
    kv: Kv,
    keep_seconds: u64,
}

fn main() -> ExitCode {
    app::main(async |settings: Settings| {
        let kv = Kv::open(&settings.redis)?;
        let keep_seconds = u64::from(settings.parameters.keep_days.max(1)) * 86_400;
        let router = Router::new()
            .route("/carts/{id}", get(show).delete(empty))
            .route("/carts/{id}/items/{sku}", put(set))
            .with_state(Carts {
                kv: kv.clone(),
                keep_seconds,
            });
        Ok(App::new(settings.listen, router).redis(&kv))
    })
}

fn key(id: &str) -> String {
    format!("cart:{id}")
}

impl Carts {
    async fn items(&self, id: &str) -> Result<Vec<Item>, Failure> {
        let held: BTreeMap<String, u32> =
            self.kv.repeat(redis::cmd("HGETALL").arg(key(id))).await?;
        Ok(held
            .into_iter()
            .map(|(sku, quantity)| Item { sku, quantity })
            .collect())
    }
}

async fn show(
    State(carts): State<Carts>,
    Path(id): Path<String>,
) -> Result<Json<Vec<Item>>, Failure> {
    Ok(Json(carts.items(&id).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quantity {
    quantity: u32,
}

/// Sets the quantity rather than adding to it, so that the request may be repeated.
async fn set(
    State(carts): State<Carts>,
    Path((id, sku)): Path<(String, String)>,
    Json(Quantity { quantity }): Json<Quantity>,
) -> Result<Json<Vec<Item>>, Failure> {
    if quantity > MOST {
        return Err(Failure::Invalid(format!(
            "quantity: expected at most {MOST}, not {quantity}"
        )));
    }
    if quantity == 0 {
        let () = carts
            .kv
            .repeat(redis::cmd("HDEL").arg(key(&id)).arg(&sku))
            .await?;
    } else {
        let () = carts
            .kv
            .repeat(redis::cmd("HSET").arg(key(&id)).arg(&sku).arg(quantity))
            .await?;
    }
    let () = carts
        .kv
        .repeat(redis::cmd("EXPIRE").arg(key(&id)).arg(carts.keep_seconds))
        .await?;
    Ok(Json(carts.items(&id).await?))
}

async fn empty(State(carts): State<Carts>, Path(id): Path<String>) -> Result<Json<()>, Failure> {
    let () = carts.kv.repeat(redis::cmd("DEL").arg(key(&id))).await?;
    Ok(Json(()))
}
