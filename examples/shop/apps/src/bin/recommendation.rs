//! What is bought together, learnt from paid orders.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use shop::app::{self, App};
use shop::bus::Bus;
use shop::config::{Config, Nats, Primary};
use shop::database::Database;
use shop::failure::Failure;
use shop::follower::{self, Follower, Handle};
use shop::nouns::{Event, Order};
use shop::services::Services;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio_postgres::Transaction;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS recommendation.sold (sku text PRIMARY KEY, orders bigint NOT NULL);
CREATE TABLE IF NOT EXISTS recommendation.together (
    sku text NOT NULL, other text NOT NULL, orders bigint NOT NULL, PRIMARY KEY (sku, other));";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    listen: SocketAddr,
    lookup: String,
    postgres: Primary,
    nats: Nats,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Parameters {
    limit: i64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { limit: 4 }
    }
}

impl Config for Settings {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

#[derive(Clone)]
struct Recommendations {
    database: Database,
    limit: i64,
}

fn main() -> ExitCode {
    app::main(async |settings: Settings| {
        let database = Database::open("postgres.primary", &settings.postgres.primary)?;
        let services = Services::open(&settings.lookup)?;
        let bus = Bus::open(&settings.nats).await?;
        let limit = settings.parameters.limit.clamp(1, 50);
        let router = Router::new()
            .route("/together/{sku}", get(together))
            .route("/best-sellers", get(best_sellers))
            .with_state(Recommendations {
                database: database.clone(),
                limit,
            });
        let follower = Follower {
            database: database.clone(),
            bus: bus.clone(),
            services,
            schema: "recommendation",
            source: "order",
            handler: Learner,
        };
        let prepared = database.clone();
        Ok(App::new(settings.listen, router)
            .postgres(&database)
            .nats(&bus)
            .setup(move || {
                let database = prepared.clone();
                let statements = format!("{SCHEMA}\n{}", follower::statements("recommendation"));
                async move { database.prepare("recommendation", &statements).await }
            })
            .task(follower.run(&["order.paid"])))
    })
}

struct Learner;

impl Handle for Learner {
    async fn handle(&self, transaction: &Transaction<'_>, event: &Event) -> Result<(), Failure> {
        if event.subject != "order.paid" {
            return Ok(());
        }
        let order: Order = serde_json::from_value(event.body.clone())?;
        let skus: Vec<&str> = order
            .quote
            .lines
            .iter()
            .map(|line| line.sku.as_str())
            .collect();
        let sold = "INSERT INTO recommendation.sold SELECT unnest($1::text[]), 1
            ON CONFLICT (sku) DO UPDATE SET orders = recommendation.sold.orders + 1";
        transaction.execute(sold, &[&skus]).await?;
        let together = "INSERT INTO recommendation.together
            SELECT a, b, 1 FROM unnest($1::text[]) a, unnest($1::text[]) b WHERE a <> b
            ON CONFLICT (sku, other) DO UPDATE SET orders = recommendation.together.orders + 1";
        transaction.execute(together, &[&skus]).await?;
        Ok(())
    }
}

/// The products bought most often together with one, most often first.
async fn together(
    State(known): State<Recommendations>,
    Path(sku): Path<String>,
) -> Result<Json<Vec<String>>, Failure> {
    let select = "SELECT other FROM recommendation.together WHERE sku = $1 ORDER BY orders DESC, other LIMIT $2";
    let rows = known
        .database
        .client()
        .await?
        .query(select, &[&sku, &known.limit])
        .await?;
    Ok(Json(rows.iter().map(|row| row.get(0)).collect()))
}

async fn best_sellers(State(known): State<Recommendations>) -> Result<Json<Vec<String>>, Failure> {
    let select = "SELECT sku FROM recommendation.sold ORDER BY orders DESC, sku LIMIT $1";
    let rows = known
        .database
        .client()
        .await?
        .query(select, &[&known.limit])
        .await?;
    Ok(Json(rows.iter().map(|row| row.get(0)).collect()))
}
