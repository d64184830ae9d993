//! Products and categories. Reads go to the replica when there is one, else to the primary.

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use shop::app::{self, App};
use shop::assortment;
use shop::bus::Bus;
use shop::config::{Config, Nats, Postgres};
use shop::database::Database;
use shop::failure::Failure;
use shop::nouns::{Category, Product};
use shop::outbox::Outbox;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// How long the replica is left alone after it failed.
const AVOID_REPLICA: Duration = Duration::from_secs(2);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS catalog.categories (
    slug text PRIMARY KEY, place int NOT NULL, title text NOT NULL, line text NOT NULL,
    motif text NOT NULL, hue int NOT NULL);
CREATE TABLE IF NOT EXISTS catalog.products (
    sku text PRIMARY KEY, place int NOT NULL, name text NOT NULL,
    category text NOT NULL REFERENCES catalog.categories, description text NOT NULL,
    price_cents bigint NOT NULL CHECK (price_cents > 0), motif text NOT NULL, hue int NOT NULL);
CREATE INDEX IF NOT EXISTS products_category ON catalog.products (category, place);";

const COLUMNS: &str = "sku, name, category, description, price_cents, motif, hue";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    listen: SocketAddr,
    #[serde(rename = "lookup")]
    _lookup: String,
    postgres: Postgres,
    nats: Nats,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Parameters {
    page_size: i64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { page_size: 24 }
    }
}

impl Config for Settings {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

#[derive(Clone)]
struct Catalog {
    primary: Database,
    replica: Option<Database>,
    replica_failed: Arc<Mutex<Option<Instant>>>,
    outbox: Outbox,
    bus: Bus,
    page_size: i64,
}

fn main() -> ExitCode {
    app::main(async |settings: Settings| {
        let primary = Database::open("postgres.primary", &settings.postgres.primary)?;
        let replica = match &settings.postgres.replica {
            Some(url) => Some(Database::open("postgres.replica", url)?),
            None => None,
        };
        let bus = Bus::open(&settings.nats).await?;
        let outbox = Outbox::new(primary.clone(), bus.clone(), "catalog");
        let catalog = Catalog {
            primary: primary.clone(),
            replica,
            replica_failed: Arc::default(),
            outbox: outbox.clone(),
            bus: bus.clone(),
            page_size: settings.parameters.page_size.clamp(1, 200),
        };
        let router = Router::new()
            .route("/categories", get(categories))
            .route("/products", get(products))
            .route("/products/{sku}", get(product).patch(change))
            .with_state(catalog.clone())
            .merge(outbox.router());
        Ok(App::new(settings.listen, router)
            .postgres(&primary)
            .nats(&bus)
            .setup(move || {
                let catalog = catalog.clone();
                async move { catalog.prepare().await }
            })
            .task(outbox.relay()))
    })
}

impl Catalog {
    /// The seeding is in the transaction that holds the schema's lock: it happens once.
    async fn prepare(&self) -> Result<(), Failure> {
        let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let mut statements = format!("{SCHEMA}\n{}", self.outbox.statements());
        for (place, (slug, title, line, motif, hue)) in assortment::CATEGORIES.iter().enumerate() {
            statements += &format!(
                "INSERT INTO catalog.categories SELECT {}, {place}, {}, {}, {}, {hue}
                 WHERE NOT EXISTS (SELECT 1 FROM catalog.products) ON CONFLICT DO NOTHING;\n",
                quote(slug),
                quote(title),
                quote(line),
                quote(motif)
            );
        }
        let rows: Vec<String> = assortment::PRODUCTS
            .iter()
            .enumerate()
            .map(|(place, seed)| {
                format!(
                    "({}, {place}, {}, {}, {}, {}::bigint, {}, {})",
                    quote(seed.sku),
                    quote(seed.name),
                    quote(seed.category),
                    quote(seed.description),
                    seed.price_cents,
                    quote(seed.motif),
                    assortment::hue(seed)
                )
            })
            .collect();
        statements += &format!(
            "INSERT INTO catalog.products SELECT * FROM (VALUES {}) seed
             WHERE NOT EXISTS (SELECT 1 FROM catalog.products);",
            rows.join(",\n")
        );
        self.primary.prepare("catalog", &statements).await
    }

    /// Asks the replica, and the primary when the replica fails or has nothing (it may lag).
    async fn read(
        &self,
        statement: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        if let Some(replica) = &self.replica {
            let failed = *self
                .replica_failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if failed.is_none_or(|when| when.elapsed() > AVOID_REPLICA) {
                match query(replica, statement, values).await {
                    Ok(rows) if !rows.is_empty() => return Ok(rows),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "replica failed, reading from the primary");
                        *self
                            .replica_failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    }
                }
            }
        }
        query(&self.primary, statement, values).await
    }
}

async fn query(
    database: &Database,
    statement: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Failure> {
    let client = database.client().await?;
    let statement = client.prepare_cached(statement).await?;
    Ok(client.query(&statement, values).await?)
}

fn hue(row: &Row, column: usize) -> u16 {
    u16::try_from(row.get::<_, i32>(column)).unwrap_or_default()
}

fn from_row(row: &Row) -> Product {
    Product {
        sku: row.get(0),
        name: row.get(1),
        category: row.get(2),
        description: row.get(3),
        price_cents: row.get(4),
        motif: row.get(5),
        hue: hue(row, 6),
    }
}

async fn categories(State(catalog): State<Catalog>) -> Result<Json<Vec<Category>>, Failure> {
    let rows = catalog
        .read(
            "SELECT slug, title, line, motif, hue FROM catalog.categories ORDER BY place",
            &[],
        )
        .await?;
    let categories = rows.iter().map(|row| Category {
        slug: row.get(0),
        title: row.get(1),
        line: row.get(2),
        motif: row.get(3),
        hue: hue(row, 4),
    });
    Ok(Json(categories.collect()))
}

#[derive(Deserialize)]
struct Selection {
    category: Option<String>,
    skus: Option<String>,
    limit: Option<i64>,
    offset: Option<i64>,
}

async fn products(
    State(catalog): State<Catalog>,
    Query(selection): Query<Selection>,
) -> Result<Json<Vec<Product>>, Failure> {
    let skus: Option<Vec<&str>> = selection
        .skus
        .as_deref()
        .map(|skus| skus.split(',').collect());
    let limit = selection.limit.unwrap_or(catalog.page_size).clamp(1, 1000);
    let offset = selection.offset.unwrap_or(0).max(0);
    let statement = format!(
        "SELECT {COLUMNS} FROM catalog.products
         WHERE ($1::text IS NULL OR category = $1) AND ($2::text[] IS NULL OR sku = ANY($2))
         ORDER BY place LIMIT $3 OFFSET $4"
    );
    let rows = catalog
        .read(&statement, &[&selection.category, &skus, &limit, &offset])
        .await?;
    Ok(Json(rows.iter().map(from_row).collect()))
}

#[derive(Deserialize)]
struct Viewing {
    #[serde(default)]
    viewed: bool,
}

async fn product(
    State(catalog): State<Catalog>,
    Path(sku): Path<String>,
    Query(viewing): Query<Viewing>,
) -> Result<Json<Product>, Failure> {
    let rows = catalog
        .read(
            &format!("SELECT {COLUMNS} FROM catalog.products WHERE sku = $1"),
            &[&sku],
        )
        .await?;
    let product = rows
        .first()
        .map(from_row)
        .ok_or_else(|| Failure::NotFound(format!("no product {sku}")))?;
    if viewing.viewed {
        let bus = catalog.bus.clone();
        let event = json!({ "position": 0, "subject": "product.viewed", "body": { "sku": sku } });
        // A view is a hint: nobody waits for it, and it may be lost.
        tokio::spawn(async move {
            let _ = bus
                .publish([("product.viewed".to_owned(), Bytes::from(event.to_string()))])
                .await;
        });
    }
    Ok(Json(product))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: Option<String>,
    description: Option<String>,
    price_cents: Option<i64>,
}

async fn change(
    State(catalog): State<Catalog>,
    Path(sku): Path<String>,
    Json(change): Json<Change>,
) -> Result<Json<Product>, Failure> {
    if change.price_cents.is_some_and(|cents| cents <= 0) {
        return Err(Failure::Invalid("price_cents: expected more than 0".into()));
    }
    let mut client = catalog.primary.client().await?;
    let transaction = client.transaction().await?;
    let statement = format!(
        "UPDATE catalog.products SET name = coalesce($2, name), description = coalesce($3, description),
         price_cents = coalesce($4, price_cents) WHERE sku = $1 RETURNING {COLUMNS}"
    );
    let row = transaction
        .query_opt(
            &statement,
            &[&sku, &change.name, &change.description, &change.price_cents],
        )
        .await?
        .ok_or_else(|| Failure::NotFound(format!("no product {sku}")))?;
    let product = from_row(&row);
    catalog
        .outbox
        .write(&transaction, "product.changed", &json!(product))
        .await?;
    transaction.commit().await?;
    catalog.outbox.wake();
    Ok(Json(product))
}
