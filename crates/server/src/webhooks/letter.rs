//! What is posted, and how it is signed. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wright_inventory::feed::{FeedError, Position, Told};

/// What a secret begins with that is written in base64.
const PREFIX: &str = "whsec_";
/// The shortest and longest secret, bytes (Standard Webhooks: 192 to 512 bits).
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// The key that a receiver knows a webhook by.
#[derive(Debug, Clone)]
pub struct Secret(hmac::Key);

/// A text that is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// What follows `whsec_` is no base64.
    #[error("the secret begins with whsec_, but what follows is not base64: {0}")]
    Base64(String),
    /// It would be guessed, or is no key.
    #[error(
        "the secret has {0} bytes; 24 to 64 were expected (whsec_ and base64 of them, or text)"
    )]
    Length(usize),
}

impl Secret {
    /// `whsec_` and base64 of the key; or any other text, whose bytes are the key.
    ///
    /// # Errors
    /// Where it is too short, too long or broken.
    pub fn read(text: &str) -> Result<Self, SecretError> {
        let key = match text.strip_prefix(PREFIX) {
            None => text.as_bytes().to_vec(),
            Some(coded) => STANDARD
                .decode(coded)
                .map_err(|error| SecretError::Base64(error.to_string()))?,
        };
        if !LENGTHS.contains(&key.len()) {
            return Err(SecretError::Length(key.len()));
        }
        Ok(Secret(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// `webhook-signature` of a body: HMAC-SHA256 over id, time (seconds since 1970) and body.
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

/// Something to post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The same whenever it is posted again.
    pub id: String,
    /// What it is about, for those who list it: `host/h3 changed`.
    pub about: String,
    /// JSON: `type`, `timestamp`, `data`.
    pub body: String,
}

impl Letter {
    /// Of a change.
    pub fn of(webhook: &str, told: &Told) -> Self {
        let after = told.change.content().after.as_ref();
        let at = after.map_or_else(Timestamp::now, |after| after.updated_at);
        let data = String::from_utf8_lossy(&told.json()).into_owned();
        Letter::with(webhook, told, told.what.as_str(), at, &data)
    }

    /// Of what somebody sees of a change.
    pub fn seen(webhook: &str, told: &Told, seen: &Value) -> Self {
        let at = seen.pointer("/after/updated_at").and_then(Value::as_str);
        let at = at
            .and_then(|at| at.parse().ok())
            .unwrap_or_else(Timestamp::now);
        let what = seen.get("what").and_then(Value::as_str);
        let what = what.unwrap_or(told.what.as_str());
        Letter::with(webhook, told, what, at, &seen.to_string())
    }

    fn with(webhook: &str, told: &Told, what: &str, at: Timestamp, data: &str) -> Self {
        let change = &told.change;
        Letter {
            id: format!("{webhook}.{}", change.position),
            about: format!("{}/{} {what}", change.kind, change.name),
            body: format!(
                r#"{{"type":"{}.{what}","timestamp":"{at}","data":{data}}}"#,
                change.kind
            ),
        }
    }

    /// That changes were lost, for the store keeps them no longer.
    pub fn gap(webhook: &str, after: &Position, error: &FeedError) -> Self {
        let data = serde_json::json!({
            "type": "expired",
            "timestamp": Timestamp::now(),
            "data": { "position": after, "detail": error.to_string() },
        });
        Letter {
            id: format!("{webhook}.{after}.expired"),
            about: "expired".to_owned(),
            body: data.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn a_signature_is_the_one_that_receivers_compute() {
        let secret = Secret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_could_be_guessed_or_is_broken_is_refused() {
        assert_eq!(Secret::read("short").unwrap_err(), SecretError::Length(5));
        let broken = Secret::read("whsec_***").unwrap_err();
        assert!(matches!(broken, SecretError::Base64(_)), "{broken}");
        assert!(Secret::read("twenty-four letters or more").is_ok());
    }
}
