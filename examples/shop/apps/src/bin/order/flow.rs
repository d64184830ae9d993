//! The way of an order: reserve, pay, or release.

use crate::ledger::{Entry, Ledger};
use http::{Method, StatusCode};
use serde_json::json;
use shop::failure::Failure;
use shop::nouns::{Item, Order, OrderRequest, OrderState, PayRequest, Payment, Quote};
use shop::services::{Call, CallError, Services};

#[derive(Clone)]
pub struct Flow {
    pub ledger: Ledger,
    pub services: Services,
}

/// The product a customer reads about when the shelf is empty.
fn sold_out(error: &CallError) -> String {
    format!("Sorry, {}.", error.detail())
}

impl Flow {
    /// Places an order, or finds the one placed with this key.
    pub async fn place(&self, request: OrderRequest) -> Result<Order, Failure> {
        let known = match self.ledger.by_key(&request.account, &request.key).await? {
            Some(entry) => entry,
            None => {
                let quote: Quote = self
                    .services
                    .call(Call::new(Method::POST, "pricing", "/quote").json(&request.items))
                    .await?;
                self.ledger
                    .begin(&uuid::Uuid::now_v7().to_string(), &request, &quote)
                    .await?;
                let written = self.ledger.by_key(&request.account, &request.key).await?;
                written.ok_or_else(|| Failure::Internal("the order was not written".into()))?
            }
        };
        self.reserve(&known).await?;
        self.ledger.order(&known.order.id).await
    }

    /// Reserves the stock of a new order. Does nothing for any other.
    pub async fn reserve(&self, entry: &Entry) -> Result<(), Failure> {
        if entry.order.state != OrderState::New {
            return Ok(());
        }
        let reservation = entry.attempt_id();
        let call = Call::new(Method::PUT, "stock", format!("/reservations/{reservation}"))
            .json(&entry.items);
        match self.services.call::<Vec<Item>>(call).await {
            Ok(_) => {
                let placed = self.ledger.placed(entry).await?;
                if !placed
                    && self.ledger.entry(&entry.order.id).await?.order.state
                        == OrderState::OutOfStock
                {
                    // Another instance was told that the shelf was empty a moment before.
                    self.ledger.not_needed(&reservation).await?;
                }
            }
            Err(error) if error.status() == Some(StatusCode::CONFLICT) => {
                let reason = sold_out(&error);
                if entry.attempt > 1 {
                    self.ledger.still_refused(entry, &reason).await?;
                    self.ledger.not_needed(&reservation).await?;
                } else {
                    self.ledger.out_of_stock(entry, &reason).await?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Pays an order, or finds out what became of the payment made with this key.
    pub async fn pay(&self, id: &str, request: &PayRequest) -> Result<Order, Failure> {
        let mut entry = self.ledger.entry(id).await?;
        if entry.order.state == OrderState::PaymentRefused
            && entry.pay_key.as_deref() != Some(&request.key)
        {
            self.ledger.again(&entry).await?;
            entry = self.ledger.entry(id).await?;
        }
        if entry.order.state == OrderState::New {
            self.reserve(&entry).await?;
            entry = self.ledger.entry(id).await?;
        }
        match entry.order.state {
            OrderState::Placed => {}
            OrderState::New => {
                return Err(Failure::Conflict(
                    "The order is being placed. Please wait.".into(),
                ));
            }
            // What is decided is the answer, whoever asks for it again.
            _ => return Ok(entry.order),
        }
        if !self.ledger.paying(&entry, &request.key).await? {
            let order = self.ledger.order(id).await?;
            return match order.state {
                OrderState::Placed => {
                    Err(Failure::Conflict("A payment is under way already.".into()))
                }
                _ => Ok(order),
            };
        }
        let body = json!({ "amount_cents": entry.order.quote.total_cents, "card": request.card });
        let call = Call::new(
            Method::PUT,
            "payment",
            format!("/payments/{}", entry.attempt_id()),
        );
        let payment: Payment = self.services.call(call.json(&body)).await?;
        self.settle(&entry, &payment).await?;
        self.ledger.order(id).await
    }

    /// Does what the outcome of a payment asks for.
    pub async fn settle(&self, entry: &Entry, payment: &Payment) -> Result<(), Failure> {
        match &payment.refused {
            None => {
                self.ledger.paid(entry).await?;
            }
            Some(reason) => {
                self.ledger
                    .ended(entry, OrderState::PaymentRefused, reason)
                    .await?;
                // Written down as owed: if this does not work out now, the sweeper does it.
                if let Err(error) = self.release(&entry.attempt_id()).await {
                    tracing::warn!(%error, order = entry.order.id, "stock will be released later");
                }
            }
        }
        Ok(())
    }

    /// Gives stock back.
    pub async fn release(&self, reservation: &str) -> Result<(), Failure> {
        let call = Call::new(
            Method::DELETE,
            "stock",
            format!("/reservations/{reservation}"),
        );
        self.services.call::<()>(call).await?;
        self.ledger.released(reservation).await
    }
}
