//! Payments: decides, writes the decision down, and never decides twice.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use shop::app::{self, App};
use shop::config::{Config, Primary};
use shop::database::Database;
use shop::failure::Failure;
use shop::nouns::Payment;
use std::net::SocketAddr;
use std::process::ExitCode;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS payment.payments (
    id text PRIMARY KEY, amount_cents bigint NOT NULL, card_last4 text NOT NULL, refused text,
    decided timestamptz NOT NULL DEFAULT now());";

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

#[derive(Deserialize, Serialize, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Parameters {
    limit_cents: i64,
    refused_suffix: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            limit_cents: 500_000,
            refused_suffix: "0002".into(),
        }
    }
}

impl Config for Settings {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

#[derive(Clone)]
struct Payments {
    database: Database,
    limits: Parameters,
}

fn main() -> ExitCode {
    app::main(async |settings: Settings| {
        let database = Database::open("postgres.primary", &settings.postgres.primary)?;
        let router = Router::new()
            .route(
                "/limits",
                get(async |State(payments): State<Payments>| Json(payments.limits)),
            )
            .route("/payments/{id}", get(show).put(pay))
            .route("/payments/{id}/cancel", post(cancel))
            .with_state(Payments {
                database: database.clone(),
                limits: settings.parameters,
            });
        let prepared = database.clone();
        Ok(App::new(settings.listen, router)
            .postgres(&database)
            .setup(move || {
                let database = prepared.clone();
                async move { database.prepare("payment", SCHEMA).await }
            }))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    amount_cents: i64,
    card: String,
}

/// Why a card does not pay an amount, in words for its owner.
fn refusal(digits: &str, amount_cents: i64, limits: &Parameters) -> Option<String> {
    if !(12..=19).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        Some("This is not a card number.".into())
    } else if !limits.refused_suffix.is_empty() && digits.ends_with(&limits.refused_suffix) {
        Some("The bank refused the card.".into())
    } else if amount_cents > limits.limit_cents {
        Some("The amount is above the limit of the card.".into())
    } else {
        None
    }
}

impl Payments {
    /// Of several decisions about one payment the first counts, and all are told that one.
    async fn decide(&self, payment: Payment) -> Result<Payment, Failure> {
        let client = self.database.client().await?;
        let insert = "INSERT INTO payment.payments (id, amount_cents, card_last4, refused) VALUES ($1, $2, $3, $4)
            ON CONFLICT DO NOTHING";
        let Payment {
            id,
            amount_cents,
            card_last4,
            refused,
        } = &payment;
        if client
            .execute(insert, &[id, amount_cents, card_last4, refused])
            .await?
            == 1
        {
            return Ok(payment);
        }
        drop(client);
        self.find(id)
            .await?
            .ok_or_else(|| Failure::Internal(format!("payment {id} vanished")))
    }

    async fn find(&self, id: &str) -> Result<Option<Payment>, Failure> {
        let select =
            "SELECT id, amount_cents, card_last4, refused FROM payment.payments WHERE id = $1";
        let row = self
            .database
            .client()
            .await?
            .query_opt(select, &[&id])
            .await?;
        Ok(row.map(|row| Payment {
            id: row.get(0),
            amount_cents: row.get(1),
            card_last4: row.get(2),
            refused: row.get(3),
        }))
    }
}

async fn pay(
    State(payments): State<Payments>,
    Path(id): Path<String>,
    Json(request): Json<Request>,
) -> Result<Json<Payment>, Failure> {
    if request.amount_cents <= 0 {
        return Err(Failure::Invalid(
            "amount_cents: expected more than 0".into(),
        ));
    }
    let digits: String = request
        .card
        .chars()
        .filter(|c| !matches!(c, ' ' | '-'))
        .collect();
    let refused = refusal(&digits, request.amount_cents, &payments.limits);
    let skip = digits.chars().count().saturating_sub(4);
    let card_last4 = digits.chars().skip(skip).collect();
    let payment = Payment {
        id,
        amount_cents: request.amount_cents,
        card_last4,
        refused,
    };
    Ok(Json(payments.decide(payment).await?))
}

/// What has not been decided yet will not be paid any more; what has been stays as it is.
async fn cancel(
    State(payments): State<Payments>,
    Path(id): Path<String>,
) -> Result<Json<Payment>, Failure> {
    let refused = Some("The payment was interrupted. Nothing was charged.".into());
    let payment = Payment {
        id,
        amount_cents: 0,
        card_last4: String::new(),
        refused,
    };
    Ok(Json(payments.decide(payment).await?))
}

async fn show(
    State(payments): State<Payments>,
    Path(id): Path<String>,
) -> Result<Json<Payment>, Failure> {
    payments
        .find(&id)
        .await?
        .map(Json)
        .ok_or_else(|| Failure::NotFound(format!("no payment {id}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_and_amounts_are_refused_with_a_reason() {
        let limits = Parameters::default();
        assert_eq!(refusal("4242424242424242", 500_000, &limits), None);
        for (card, amount) in [
            ("4242424242424242", 500_001),
            ("4000000000000002", 1),
            ("4242", 1),
            ("42424242424x", 1),
        ] {
            assert!(refusal(card, amount, &limits).is_some(), "{card} {amount}");
        }
    }
}
