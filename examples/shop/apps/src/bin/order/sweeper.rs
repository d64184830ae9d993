//! Takes up what was left undone: by an instance that died, or by a customer who went away.

use crate::flow::Flow;
use http::Method;
use shop::failure::Failure;
use shop::nouns::{OrderState, Payment};
use shop::services::Call;
use std::time::Duration;

/// How often to look.
const LOOK: Duration = Duration::from_secs(3);
/// How long a step may be in somebody's hands before it counts as left, in seconds: longer than any
/// instance tries.
const LEFT: i64 = 15;

/// Sweeps; never ends. Every instance does: each step is safe to take twice.
pub async fn sweep(flow: Flow, hold_minutes: i64) {
    loop {
        for outcome in [
            reserve(&flow).await,
            settle(&flow).await,
            expire(&flow, hold_minutes).await,
            release(&flow).await,
        ] {
            if let Err(error) = outcome {
                tracing::warn!(%error, "not swept");
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn reserve(flow: &Flow) -> Result<(), Failure> {
    for entry in flow.ledger.left(OrderState::New, false, LEFT).await? {
        flow.reserve(&entry).await?;
    }
    Ok(())
}

/// A payment nobody saw the end of: either it was decided, or it is cancelled now.
async fn settle(flow: &Flow) -> Result<(), Failure> {
    for entry in flow.ledger.left(OrderState::Placed, true, LEFT).await? {
        let path = format!("/payments/{}/cancel", entry.attempt_id());
        let payment: Payment = flow
            .services
            .call(Call::new(Method::POST, "payment", path))
            .await?;
        flow.settle(&entry, &payment).await?;
    }
    Ok(())
}

async fn expire(flow: &Flow, hold_minutes: i64) -> Result<(), Failure> {
    for entry in flow
        .ledger
        .left(OrderState::Placed, false, hold_minutes * 60)
        .await?
    {
        flow.ledger
            .ended(&entry, OrderState::Expired, "It was not paid in time.")
            .await?;
    }
    Ok(())
}

async fn release(flow: &Flow) -> Result<(), Failure> {
    for reservation in flow.ledger.to_release().await? {
        flow.release(&reservation).await?;
    }
    Ok(())
}
