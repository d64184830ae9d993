//! One attempt to post a letter.

use std::{error::Error as _, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::Full;
use jiff::Timestamp;
use wright_model::BackOff;

use super::{Hook, Letter};
use crate::outward::{self, OutwardError};

/// How long attempts and the waits between them take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A receiver that has not answered for this long has failed.
    pub timeout: Duration,
    /// The waits before a letter is sent again.
    pub again: BackOff,
    /// How long what was delivered may be not noted yet.
    pub unnoted: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            timeout: Duration::from_secs(15),
            again: BackOff {
                first: Duration::from_secs(1),
                longest: Duration::from_secs(300),
            },
            unnoted: Duration::from_millis(200),
        }
    }
}

/// Why a letter did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// Certificates or the request cannot be made of what the webhook says.
    #[error("{0}")]
    Unusable(String),
    /// Nobody was reached, or the link broke.
    #[error("{url} does not answer: {reason}")]
    Link {
        /// Whom.
        url: String,
        /// Why.
        reason: String,
    },
    /// It took too long.
    #[error("no answer in {0:?}")]
    Slow(Duration),
    /// It was not taken.
    #[error("the answer was {0}, not 2xx")]
    Refused(http::StatusCode),
}

/// Posts the letters of one webhook.
#[derive(Debug)]
pub struct Courier {
    client: outward::Client,
    url: Uri,
    hook: Hook,
    timeout: Duration,
}

impl Courier {
    /// For a webhook. It trusts the certificates of the machine and the webhook's own.
    ///
    /// # Errors
    /// Where the webhook's URL or certificate is none.
    pub fn new(hook: &Hook, pace: &Pace) -> Result<Self, PostError> {
        let unusable = |what: String| PostError::Unusable(what);
        let url: Uri = hook
            .url
            .parse()
            .map_err(|error| unusable(format!("{}: {error}", hook.url)))?;
        let client = outward::client(&hook.ca).map_err(|error| match error {
            OutwardError::Authority(why) => unusable(format!("the webhook's `ca`: {why}")),
            OutwardError::Tls(error) => unusable(error.to_string()),
        })?;
        Ok(Courier {
            client,
            url,
            hook: hook.clone(),
            timeout: pace.timeout,
        })
    }

    /// Posts a letter; done when the receiver answered 2xx.
    ///
    /// # Errors
    /// Where it did not.
    pub async fn post(&self, letter: &Letter) -> Result<(), PostError> {
        let seconds = Timestamp::now().as_second();
        let body = Bytes::copy_from_slice(letter.body.as_bytes());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::USER_AGENT,
                concat!("wright/", env!("CARGO_PKG_VERSION")),
            )
            .header("webhook-id", &letter.id)
            .header("webhook-timestamp", seconds);
        if let Some(secret) = &self.hook.secret {
            let signature = secret.sign(&letter.id, seconds, &body);
            request = request.header("webhook-signature", signature);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| PostError::Unusable(error.to_string()))?;
        let answer = tokio::time::timeout(self.timeout, self.client.request(request)).await;
        let answer = answer.map_err(|_| PostError::Slow(self.timeout))?;
        let answer = answer.map_err(|error| PostError::Link {
            url: self.url.to_string(),
            reason: error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string),
        })?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(PostError::Refused(answer.status()))
        }
    }
}
