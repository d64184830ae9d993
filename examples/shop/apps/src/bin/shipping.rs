//! Packs what was paid and hands it to the carrier, then tells the order.

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop::app::{self, App};
use shop::bus::Bus;
use shop::config::{Config, Nats, Primary};
use shop::database::Database;
use shop::failure::Failure;
use shop::follower::{self, Follower, Handle};
use shop::nouns::{Event, Order};
use shop::services::{Call, Services};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio_postgres::Transaction;

/// How often packed shipments are looked for.
const LOOK: Duration = Duration::from_millis(500);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS shipping.shipments (
    order_id text PRIMARY KEY, address text NOT NULL, tracking text NOT NULL,
    ready timestamptz NOT NULL, shipped timestamptz);
CREATE INDEX IF NOT EXISTS shipments_waiting ON shipping.shipments (ready) WHERE shipped IS NULL;";

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
    handling_ms: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { handling_ms: 1500 }
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
        let services = Services::open(&settings.lookup)?;
        let bus = Bus::open(&settings.nats).await?;
        let router = Router::new()
            .route("/shipments", get(shipments))
            .with_state(database.clone());
        let follower = Follower {
            database: database.clone(),
            bus: bus.clone(),
            services: services.clone(),
            schema: "shipping",
            source: "order",
            handler: Packer {
                handling_ms: settings.parameters.handling_ms.into(),
            },
        };
        let prepared = database.clone();
        Ok(App::new(settings.listen, router)
            .postgres(&database)
            .nats(&bus)
            .setup(move || {
                let database = prepared.clone();
                let statements = format!("{SCHEMA}\n{}", follower::statements("shipping"));
                async move { database.prepare("shipping", &statements).await }
            })
            .task(follower.run(&["order.paid"]))
            .task(carry(database, services)))
    })
}

struct Packer {
    handling_ms: i64,
}

impl Handle for Packer {
    async fn handle(&self, transaction: &Transaction<'_>, event: &Event) -> Result<(), Failure> {
        if event.subject != "order.paid" {
            return Ok(());
        }
        let order: Order = serde_json::from_value(event.body.clone())?;
        let tracking = format!("LH{:08}", event.position);
        let insert = "INSERT INTO shipping.shipments (order_id, address, tracking, ready)
            VALUES ($1, $2, $3, now() + $4::bigint * interval '1 millisecond') ON CONFLICT DO NOTHING";
        transaction
            .execute(
                insert,
                &[&order.id, &order.address, &tracking, &self.handling_ms],
            )
            .await?;
        Ok(())
    }
}

/// Hands over what is packed; never ends.
async fn carry(database: Database, services: Services) {
    loop {
        if let Err(error) = hand_over(&database, &services).await {
            tracing::warn!(%error, "shipments wait");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The order is told before the shipment is marked: told twice it stays shipped.
async fn hand_over(database: &Database, services: &Services) -> Result<(), Failure> {
    let mut client = database.client().await?;
    let transaction = client.transaction().await?;
    let select = "SELECT order_id, tracking FROM shipping.shipments
        WHERE shipped IS NULL AND ready <= now() ORDER BY ready LIMIT 20 FOR UPDATE SKIP LOCKED";
    for row in transaction.query(select, &[]).await? {
        let (order, tracking): (String, String) = (row.get(0), row.get(1));
        let call = Call::new(Method::PUT, "order", format!("/orders/{order}/shipment"));
        let _: Order = services
            .call(call.json(&json!({ "tracking": tracking })))
            .await?;
        let mark = "UPDATE shipping.shipments SET shipped = now() WHERE order_id = $1";
        transaction.execute(mark, &[&order]).await?;
        tracing::info!(order, tracking, "shipped");
    }
    transaction.commit().await?;
    Ok(())
}

#[derive(Serialize)]
struct Shipment {
    order: String,
    tracking: String,
    shipped: bool,
}

#[derive(Deserialize)]
struct Asked {
    limit: Option<i64>,
}

async fn shipments(
    State(database): State<Database>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Shipment>>, Failure> {
    let select = "SELECT order_id, tracking, shipped IS NOT NULL FROM shipping.shipments ORDER BY ready DESC LIMIT $1";
    let limit = asked.limit.unwrap_or(20).clamp(1, 200);
    let rows = database.client().await?.query(select, &[&limit]).await?;
    let shipments = rows.iter().map(|row| Shipment {
        order: row.get(0),
        tracking: row.get(1),
        shipped: row.get(2),
    });
    Ok(Json(shipments.collect()))
}
