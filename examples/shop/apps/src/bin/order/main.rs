//! Orders. An order is written down before anything is done for it, and every step after that can be
//! taken again by any instance: reservation and payment are asked for under the order's own identity.
//! What an instance left undone when it died is taken up by the sweeper of another.

mod flow;
mod ledger;
mod sweeper;

use axum::extract::{Path, Query, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use flow::Flow;
use ledger::Ledger;
use serde::Deserialize;
use shop::app::{self, App};
use shop::bus::Bus;
use shop::config::{Config, Nats, Primary};
use shop::database::Database;
use shop::failure::Failure;
use shop::nouns::{Order, OrderRequest, PayRequest};
use shop::outbox::Outbox;
use shop::services::Services;
use std::net::SocketAddr;
use std::process::ExitCode;

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
    hold_minutes: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { hold_minutes: 15 }
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
        let outbox = Outbox::new(database.clone(), bus.clone(), "order");
        let flow = Flow {
            ledger: Ledger {
                database: database.clone(),
                outbox: outbox.clone(),
            },
            services,
        };
        let router = Router::new()
            .route("/orders", post(place).get(list))
            .route("/orders/{id}", get(show))
            .route("/orders/{id}/payments", post(pay))
            .route("/orders/{id}/shipment", put(ship))
            .with_state(flow.clone())
            .merge(outbox.router());
        let (prepared, statements) = (
            database.clone(),
            format!("{}\n{}", ledger::SCHEMA, outbox.statements()),
        );
        Ok(App::new(settings.listen, router)
            .postgres(&database)
            .nats(&bus)
            .setup(move || {
                let (database, statements) = (prepared.clone(), statements.clone());
                async move { database.prepare("order", &statements).await }
            })
            .task(outbox.relay())
            .task(sweeper::sweep(
                flow,
                settings.parameters.hold_minutes.max(1).into(),
            )))
    })
}

async fn place(
    State(flow): State<Flow>,
    Json(request): Json<OrderRequest>,
) -> Result<Json<Order>, Failure> {
    if request.key.is_empty() || request.key.len() > 100 {
        return Err(Failure::Invalid("key: expected 1 to 100 characters".into()));
    }
    if request.address.trim().is_empty() {
        return Err(Failure::Invalid("Please tell us where to send it.".into()));
    }
    Ok(Json(flow.place(request).await?))
}

async fn pay(
    State(flow): State<Flow>,
    Path(id): Path<String>,
    Json(request): Json<PayRequest>,
) -> Result<Json<Order>, Failure> {
    Ok(Json(flow.pay(&id, &request).await?))
}

#[derive(Deserialize)]
struct Shipment {
    tracking: String,
}

async fn ship(
    State(flow): State<Flow>,
    Path(id): Path<String>,
    Json(shipment): Json<Shipment>,
) -> Result<Json<Order>, Failure> {
    flow.ledger.shipped(&id, &shipment.tracking).await?;
    Ok(Json(flow.ledger.order(&id).await?))
}

async fn show(State(flow): State<Flow>, Path(id): Path<String>) -> Result<Json<Order>, Failure> {
    Ok(Json(flow.ledger.order(&id).await?))
}

#[derive(Deserialize)]
struct Asked {
    account: String,
}

async fn list(
    State(flow): State<Flow>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Order>>, Failure> {
    Ok(Json(flow.ledger.of_account(&asked.account).await?))
}
