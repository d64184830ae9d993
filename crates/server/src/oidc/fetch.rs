use std::{error::Error as _, time::Duration};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use serde::de::DeserializeOwned;

use super::OidcError;
use crate::outward::{self, OutwardError};

/// How long a provider may take.
const WITHIN: Duration = Duration::from_secs(15);
/// The longest answer that is read, bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Talks to a provider.
#[derive(Debug)]
pub(super) struct Fetch {
    client: outward::Client,
}

impl Fetch {
    /// Trusts the machine's authorities and one more.
    pub(super) fn new(ca: &str) -> Result<Self, OidcError> {
        let client = outward::client(ca).map_err(|error| match error {
            OutwardError::Authority(why) => OidcError::Setup(format!("its `ca`: {why}")),
            OutwardError::Tls(error) => OidcError::Setup(error.to_string()),
        })?;
        Ok(Fetch { client })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, OidcError> {
        self.ask(Method::GET, url, String::new()).await
    }

    /// Posts a form.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        url: &str,
        form: &[(&str, &str)],
    ) -> Result<T, OidcError> {
        self.ask(Method::POST, url, encoded(form)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: String,
    ) -> Result<T, OidcError> {
        let failed = |why: String| OidcError::Provider(format!("{url}: {why}"));
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| failed(error.to_string()))?;
        let answered = async {
            let response = self.client.request(request).await.map_err(|error| {
                let cause = error.source().map(|source| format!(": {source}"));
                failed(format!("{error}{}", cause.unwrap_or_default()))
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await;
            let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
            if !status.is_success() {
                let text = String::from_utf8_lossy(&body);
                let begin: String = text.chars().take(300).collect();
                return Err(failed(format!("{status}: {begin}")));
            }
            serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))
        };
        let answered = tokio::time::timeout(WITHIN, answered).await;
        answered.map_err(|_| failed(format!("no answer in {WITHIN:?}")))?
    }
}

/// As a form's fields (WHATWG URL, 5.2; every byte that could mean something is escaped).
pub(super) fn encoded(form: &[(&str, &str)]) -> String {
    let escape = |text: &str| -> String {
        let one = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(one).collect()
    };
    let fields = form
        .iter()
        .map(|(name, value)| format!("{name}={}", escape(value)));
    fields.collect::<Vec<_>>().join("&")
}
