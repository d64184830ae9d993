//! What is on the shelf. A reservation takes all of its items or none, and the same reservation asked
//! for twice is one reservation; the shelf never goes below zero.

use axum::extract::{Path, Query, State};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use shop::app::{self, App};
use shop::assortment;
use shop::config::{Config, Primary};
use shop::database::Database;
use shop::failure::Failure;
use shop::nouns::{Item, Level};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// How often the shelves are looked over.
const REORDER: Duration = Duration::from_secs(2);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS stock.items (
    sku text PRIMARY KEY, available bigint NOT NULL CHECK (available >= 0), reordered boolean NOT NULL);
CREATE TABLE IF NOT EXISTS stock.reservations (
    id text PRIMARY KEY, items text NOT NULL, released boolean NOT NULL,
    changed timestamptz NOT NULL DEFAULT now());";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    listen: SocketAddr,
    #[serde(rename = "lookup")]
    _lookup: String,
    postgres: Primary,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Parameters {
    reorder_below: i64,
    reorder_to: i64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            reorder_below: 40,
            reorder_to: 200,
        }
    }
}

impl Config for Settings {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

fn main() -> ExitCode {
    app::main(async |settings: Settings| {
        let database = Database::open("postgres.primary", &settings.postgres.primary)?;
        let router = Router::new()
            .route("/stock", get(levels))
            .route("/stock/{sku}", get(level).put(set))
            .route("/reservations/{id}", put(reserve).delete(release))
            .with_state(database.clone());
        let prepared = database.clone();
        Ok(App::new(settings.listen, router)
            .postgres(&database)
            .setup(move || {
                let database = prepared.clone();
                async move { database.prepare("stock", &statements()).await }
            })
            .task(reorder(database, settings.parameters)))
    })
}

fn statements() -> String {
    let rows: Vec<String> = assortment::PRODUCTS
        .iter()
        .map(|seed| {
            format!(
                "('{}', {}::bigint, {})",
                seed.sku,
                seed.stock,
                assortment::is_reordered(seed)
            )
        })
        .collect();
    format!(
        "{SCHEMA}\nINSERT INTO stock.items SELECT * FROM (VALUES {}) seed
         WHERE NOT EXISTS (SELECT 1 FROM stock.items);",
        rows.join(",")
    )
}

/// New goods arrive where the shelf is low.
async fn reorder(database: Database, parameters: Parameters) {
    loop {
        let delivered = async {
            let statement =
                "UPDATE stock.items SET available = $2 WHERE reordered AND available < $1";
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
                [&parameters.reorder_below, &parameters.reorder_to];
            Ok::<_, Failure>(database.client().await?.execute(statement, &values).await?)
        };
        match delivered.await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "products reordered"),
            Err(error) => tracing::warn!(%error, "not reordered"),
        }
        tokio::time::sleep(REORDER).await;
    }
}

async fn level(
    State(database): State<Database>,
    Path(sku): Path<String>,
) -> Result<Json<Level>, Failure> {
    let statement = "SELECT available FROM stock.items WHERE sku = $1";
    let row = database
        .client()
        .await?
        .query_opt(statement, &[&sku])
        .await?;
    let row = row.ok_or_else(|| Failure::NotFound(format!("no product {sku}")))?;
    Ok(Json(Level {
        sku,
        available: row.get(0),
    }))
}

#[derive(Deserialize)]
struct Asked {
    skus: String,
}

async fn levels(
    State(database): State<Database>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Level>>, Failure> {
    let skus: Vec<&str> = asked.skus.split(',').collect();
    let statement = "SELECT sku, available FROM stock.items WHERE sku = ANY($1)";
    let rows = database.client().await?.query(statement, &[&skus]).await?;
    Ok(Json(
        rows.iter()
            .map(|row| Level {
                sku: row.get(0),
                available: row.get(1),
            })
            .collect(),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shelf {
    available: i64,
    reordered: bool,
}

async fn set(
    State(database): State<Database>,
    Path(sku): Path<String>,
    Json(shelf): Json<Shelf>,
) -> Result<Json<Level>, Failure> {
    if shelf.available < 0 {
        return Err(Failure::Invalid("available: expected 0 or more".into()));
    }
    let statement = "INSERT INTO stock.items VALUES ($1, $2, $3)
        ON CONFLICT (sku) DO UPDATE SET available = $2, reordered = $3";
    database
        .client()
        .await?
        .execute(statement, &[&sku, &shelf.available, &shelf.reordered])
        .await?;
    Ok(Json(Level {
        sku,
        available: shelf.available,
    }))
}

/// Products in the order of their names, so that two reservations never wait for each other.
fn in_order(items: &[Item]) -> Result<BTreeMap<&str, i64>, Failure> {
    let mut ordered = BTreeMap::new();
    for item in items {
        if item.quantity == 0 {
            return Err(Failure::Invalid(format!(
                "quantity of {}: expected 1 or more",
                item.sku
            )));
        }
        *ordered.entry(item.sku.as_str()).or_default() += i64::from(item.quantity);
    }
    if ordered.is_empty() {
        Err(Failure::Invalid("nothing to reserve".into()))
    } else {
        Ok(ordered)
    }
}

async fn reserve(
    State(database): State<Database>,
    Path(id): Path<String>,
    Json(items): Json<Vec<Item>>,
) -> Result<Json<Vec<Item>>, Failure> {
    let ordered = in_order(&items)?;
    let mut client = database.client().await?;
    let transaction = client.transaction().await?;
    let text = serde_json::to_string(&items)?;
    let insert = "INSERT INTO stock.reservations (id, items, released) VALUES ($1, $2, false) ON CONFLICT DO NOTHING";
    if transaction.execute(insert, &[&id, &text]).await? == 0 {
        let select = "SELECT items, released FROM stock.reservations WHERE id = $1";
        let row = transaction.query_one(select, &[&id]).await?;
        if row.get(1) {
            return Err(Failure::Conflict(format!("reservation {id} was released")));
        }
        return Ok(Json(serde_json::from_str(row.get(0))?));
    }
    for (sku, quantity) in ordered {
        let take =
            "UPDATE stock.items SET available = available - $2 WHERE sku = $1 AND available >= $2";
        if transaction.execute(take, &[&sku, &quantity]).await? == 0 {
            // Dropping the transaction takes back what was reserved so far.
            return Err(Failure::Conflict(format!("{sku} is sold out")));
        }
    }
    transaction.commit().await?;
    Ok(Json(items))
}

/// Releasing what was never reserved leaves a mark, so that a late request cannot reserve it.
async fn release(
    State(database): State<Database>,
    Path(id): Path<String>,
) -> Result<Json<()>, Failure> {
    let mut client = database.client().await?;
    let transaction = client.transaction().await?;
    let mark = "INSERT INTO stock.reservations (id, items, released) VALUES ($1, '[]', true) ON CONFLICT DO NOTHING";
    if transaction.execute(mark, &[&id]).await? == 0 {
        let update = "UPDATE stock.reservations SET released = true, changed = now()
            WHERE id = $1 AND NOT released RETURNING items";
        if let Some(row) = transaction.query_opt(update, &[&id]).await? {
            let items: Vec<Item> = serde_json::from_str(row.get(0))?;
            for (sku, quantity) in in_order(&items)? {
                let give = "UPDATE stock.items SET available = available + $2 WHERE sku = $1";
                transaction.execute(give, &[&sku, &quantity]).await?;
            }
        }
    }
    transaction.commit().await?;
    Ok(Json(()))
}
