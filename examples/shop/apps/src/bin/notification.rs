//! Tells people what became of their orders. The mails are kept; handing them to a mail server is
//! where this shop ends.

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use shop::app::{self, App};
use shop::bus::Bus;
use shop::config::{Config, Nats, Primary};
use shop::database::Database;
use shop::failure::Failure;
use shop::follower::{self, Follower, Handle};
use shop::nouns::{Event, Mail, Order};
use shop::services::Services;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio_postgres::Transaction;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS notification.mails (
    event bigint PRIMARY KEY, sender text NOT NULL, email text NOT NULL, subject text NOT NULL,
    text text NOT NULL, sent timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX IF NOT EXISTS mails_email ON notification.mails (email, event DESC);";

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
    sender: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            sender: "Larkhill <hello@larkhill.example>".into(),
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
        let bus = Bus::open(&settings.nats).await?;
        let router = Router::new()
            .route("/mails", get(mails))
            .with_state(database.clone());
        let follower = Follower {
            database: database.clone(),
            bus: bus.clone(),
            services: Services::open(&settings.lookup)?,
            schema: "notification",
            source: "order",
            handler: Writer {
                sender: settings.parameters.sender,
            },
        };
        let prepared = database.clone();
        Ok(App::new(settings.listen, router)
            .postgres(&database)
            .nats(&bus)
            .setup(move || {
                let database = prepared.clone();
                let statements = format!("{SCHEMA}\n{}", follower::statements("notification"));
                async move { database.prepare("notification", &statements).await }
            })
            .task(follower.run(&["order.>", "payment.>"])))
    })
}

struct Writer {
    sender: String,
}

impl Handle for Writer {
    async fn handle(&self, transaction: &Transaction<'_>, event: &Event) -> Result<(), Failure> {
        let order: Order = serde_json::from_value(event.body.clone())?;
        let Some((subject, text)) = letter(&event.subject, &order) else {
            return Ok(());
        };
        let insert = "INSERT INTO notification.mails (event, sender, email, subject, text)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
        transaction
            .execute(
                insert,
                &[
                    &event.position,
                    &self.sender,
                    &order.account.email,
                    &subject,
                    &text,
                ],
            )
            .await?;
        Ok(())
    }
}

/// Subject and text of the mail about an event, if people want to hear of it.
fn letter(event: &str, order: &Order) -> Option<(String, String)> {
    let name = &order.account.name;
    let number = order
        .id
        .get(order.id.len().saturating_sub(8)..)
        .unwrap_or(&order.id)
        .to_uppercase();
    let (cents, currency) = (order.quote.total_cents, &order.quote.currency);
    let total = format!("{}.{:02} {currency}", cents / 100, cents % 100);
    match event {
        "order.placed" => Some((
            format!("We have your order {number}"),
            format!("Dear {name}, thank you. Your order over {total} is reserved for you."),
        )),
        "order.paid" => Some((
            format!("Your payment for order {number}"),
            format!("Dear {name}, we received {total}. We are packing."),
        )),
        "payment.refused" => Some((
            format!("Your payment for order {number} was refused"),
            format!(
                "Dear {name}, your payment was refused: {} You can try again with another card on the page of your order.",
                order.reason.as_deref().unwrap_or("It did not go through.")
            ),
        )),
        "order.shipped" => Some((
            format!("Your order {number} is on its way"),
            format!(
                "Dear {name}, your parcel is {}.",
                order.tracking.as_deref().unwrap_or("under way")
            ),
        )),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Asked {
    email: String,
}

async fn mails(
    State(database): State<Database>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Mail>>, Failure> {
    let select = "SELECT sender, email, subject, text, (extract(epoch FROM sent) * 1000)::bigint
        FROM notification.mails WHERE email = $1 ORDER BY event DESC LIMIT 50";
    let rows = database
        .client()
        .await?
        .query(select, &[&asked.email])
        .await?;
    let mails = rows.iter().map(|row| Mail {
        sender: row.get(0),
        email: row.get(1),
        subject: row.get(2),
        text: row.get(3),
        sent_ms: row.get(4),
    });
    Ok(Json(mails.collect()))
}
