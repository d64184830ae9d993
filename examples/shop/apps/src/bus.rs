//! NATS: where events are announced.

use crate::config::{self, ConfigError};
use crate::failure::Failure;
use async_nats::connection::State;
use async_nats::{ConnectOptions, Subscriber};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long NATS may take to confirm what was published.
const CONFIRM: Duration = Duration::from_secs(2);

/// A connection to NATS that comes back by itself.
#[derive(Clone)]
pub struct Bus {
    client: async_nats::Client,
    reached: Arc<AtomicBool>,
}

impl Bus {
    /// Connects in the background.
    ///
    /// # Errors
    /// When the URL is not one.
    pub async fn open(section: &config::Nats) -> Result<Self, ConfigError> {
        let wrong = |detail: String| ConfigError::Value {
            field: "nats.url",
            detail,
        };
        let (token, address) = split(&section.url).map_err(wrong)?;
        let mut options = ConnectOptions::new()
            .retry_on_initial_connect()
            .connection_timeout(Duration::from_secs(1))
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis(u64::try_from(attempts).unwrap_or(8).min(8) * 50)
            });
        if let Some(token) = token {
            options = options.token(token);
        }
        let client = options
            .connect(address)
            .await
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            client,
            reached: Arc::default(),
        })
    }

    /// Whether NATS has been reached since the start. An app goes on without it afterwards: its
    /// events wait in the outbox.
    ///
    /// # Errors
    /// When it was never reached.
    pub async fn reached(&self) -> Result<(), Failure> {
        if self.client.connection_state() == State::Connected {
            self.reached.store(true, Ordering::Relaxed);
        }
        if self.reached.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(Failure::Bus("not reached yet".into()))
        }
    }

    /// Publishes and waits until NATS has it.
    ///
    /// # Errors
    /// When NATS is away; the events may or may not have gone out.
    pub async fn publish(
        &self,
        events: impl IntoIterator<Item = (String, Bytes)>,
    ) -> Result<(), Failure> {
        if self.client.connection_state() != State::Connected {
            return Err(Failure::Bus("not connected".into()));
        }
        for (subject, body) in events {
            self.client
                .publish(subject, body)
                .await
                .map_err(|error| Failure::Bus(error.to_string()))?;
        }
        match tokio::time::timeout(CONFIRM, self.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Bus(error.to_string())),
            Err(_) => Err(Failure::Bus(format!("not confirmed within {CONFIRM:?}"))),
        }
    }

    /// Every event of `subject` (`order.>` for all that begin so), at one member of `group` or, without a
    /// group, at each subscriber.
    ///
    /// # Errors
    /// When the subject is not one.
    pub async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
    ) -> Result<Subscriber, Failure> {
        let subject = subject.to_owned();
        let subscriber = match group {
            Some(group) => self.client.queue_subscribe(subject, group.to_owned()).await,
            None => self.client.subscribe(subject).await,
        };
        subscriber.map_err(|error| Failure::Bus(error.to_string()))
    }
}

/// Splits `nats://TOKEN@HOST:PORT` into token and address.
fn split(url: &str) -> Result<(Option<String>, String), String> {
    let rest = url
        .strip_prefix("nats://")
        .ok_or("expected nats://TOKEN@HOST:PORT")?;
    let (token, address) = match rest.rsplit_once('@') {
        Some((token, address)) => (Some(token.to_owned()), address),
        None => (None, rest),
    };
    if address.is_empty() {
        return Err("expected nats://TOKEN@HOST:PORT, the host is missing".into());
    }
    Ok((token, format!("nats://{address}")))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn the_token_is_what_stands_before_the_host() {
        assert_eq!(
            split("nats://t@h:4222"),
            Ok((Some("t".into()), "nats://h:4222".into()))
        );
        assert_eq!(split("nats://h"), Ok((None, "nats://h".into())));
        assert!(split("h:4222").is_err());
        assert!(split("nats://t@").is_err());
    }
}
