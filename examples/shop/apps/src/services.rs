//! Calls to sibling apps, found by the route lookup.
//!
//! Every call may be sent more than once, to different instances: when an instance cannot be reached,
//! is too slow or answers 5xx, the next one is asked, until a deadline. So a sibling's instance that dies
//! in the middle of a call costs time, not an error.

use crate::config::ConfigError;
use crate::rotation::{Rotation, Table};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer of the lookup is used.
const FRESH: Duration = Duration::from_secs(1);
/// How long one instance may take to answer, unless the call says otherwise.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long a call may take in all.
const OVERALL: Duration = Duration::from_secs(6);
/// Attempts at an instance that answers 500: a program's own error rarely goes away.
const SERVER_ERRORS: u32 = 3;

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{service}: {reason}")]
pub struct CallError {
    service: String,
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("{detail} ({status})")]
    Status { status: StatusCode, detail: String },
    #[error("{0}")]
    Unreachable(String),
    #[error("unexpected answer: {0}")]
    Answer(#[from] serde_json::Error),
}

impl CallError {
    /// The status the sibling answered with, if it answered.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match &self.reason {
            Reason::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What the sibling said, or why it could not be asked.
    #[must_use]
    pub fn detail(&self) -> &str {
        match &self.reason {
            Reason::Status { detail, .. } | Reason::Unreachable(detail) => detail,
            Reason::Answer(_) => "unexpected answer",
        }
    }
}

/// The sibling apps.
#[derive(Clone)]
pub struct Services {
    lookup: String,
    client: Client<HttpConnector, Full<Bytes>>,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

#[derive(Default)]
struct Known {
    rotation: Rotation,
    asked: Option<Instant>,
}

/// A call: a method, a path and how often it may take how long.
#[derive(Debug)]
pub struct Call<'a> {
    service: &'a str,
    method: Method,
    path: String,
    body: Bytes,
    attempt: Duration,
}

impl<'a> Call<'a> {
    /// A call without a body.
    #[must_use]
    pub fn new(method: Method, service: &'a str, path: impl Into<String>) -> Self {
        Self {
            service,
            method,
            path: path.into(),
            body: Bytes::new(),
            attempt: ATTEMPT,
        }
    }

    /// The same with a JSON body.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        // Values of ours always serialise: their maps have string keys.
        self.body = serde_json::to_vec(body).unwrap_or_default().into();
        self
    }

    /// The same with another time limit for one instance.
    #[must_use]
    pub fn within(mut self, attempt: Duration) -> Self {
        self.attempt = attempt;
        self
    }

    fn error(&self, reason: Reason) -> CallError {
        CallError {
            service: self.service.to_owned(),
            reason,
        }
    }
}

impl Services {
    /// The siblings the lookup at `url` knows.
    ///
    /// # Errors
    /// When `url` is not `http://HOST:PORT/PATH`.
    pub fn open(url: &str) -> Result<Self, ConfigError> {
        let wrong = |detail: String| ConfigError::Value {
            field: "lookup",
            detail,
        };
        let uri: Uri = url
            .parse()
            .map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
        if uri.scheme_str() != Some("http") || uri.authority().is_none() {
            return Err(wrong(format!(
                "expected http://HOST:PORT/PATH, not {url:?}"
            )));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_millis(800)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(8)
            .build(connector);
        Ok(Self {
            lookup: url.trim_end_matches('/').to_owned(),
            client,
            known: Arc::default(),
        })
    }

    /// `GET path` of a service.
    ///
    /// # Errors
    /// When no instance answers in time, or with other than 2xx.
    pub async fn get<T: DeserializeOwned>(
        &self,
        service: &str,
        path: impl Into<String>,
    ) -> Result<T, CallError> {
        self.call(Call::new(Method::GET, service, path)).await
    }

    /// Makes a call and decodes the answer. For calls that may be sent twice.
    ///
    /// # Errors
    /// When no instance answers in time, or with other than 2xx.
    pub async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, CallError> {
        let body = self.send(&call).await?;
        let text: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(text).map_err(|error| call.error(error.into()))
    }

    async fn send(&self, call: &Call<'_>) -> Result<Bytes, CallError> {
        let deadline = Instant::now() + OVERALL.max(call.attempt);
        let mut server_errors = 0;
        for attempt in 0u32.. {
            let (target, instances) = self.target(call.service, attempt > 0).await;
            let reason = match target {
                None => Reason::Unreachable("no instance serves".into()),
                Some(authority) => match self.attempt(&authority, call).await {
                    Ok(body) => return Ok(body),
                    Err(reason) => {
                        if let Reason::Status { status, .. } = &reason {
                            if !status.is_server_error() {
                                return Err(call.error(reason));
                            }
                            server_errors +=
                                u32::from(*status == StatusCode::INTERNAL_SERVER_ERROR);
                        }
                        tracing::warn!(service = call.service, authority, %reason, "attempt failed");
                        self.with(call.service, |known| {
                            known.rotation.failed(&authority, Instant::now())
                        });
                        reason
                    }
                },
            };
            // The next instance is asked at once; a second round waits, longer each time.
            let rounds = attempt / u32::try_from(instances.max(1)).unwrap_or(1);
            let pause = Duration::from_millis(if attempt == 0 && instances > 1 {
                0
            } else {
                50 << rounds.min(1)
            });
            if server_errors >= SERVER_ERRORS || Instant::now() + pause >= deadline {
                return Err(call.error(reason));
            }
            tokio::time::sleep(pause).await;
        }
        Err(call.error(Reason::Unreachable("gave up".into())))
    }

    async fn attempt(&self, authority: &str, call: &Call<'_>) -> Result<Bytes, Reason> {
        let request = Request::builder()
            .method(call.method.clone())
            .uri(format!("http://{authority}{}", call.path))
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )
            .body(Full::new(call.body.clone()))
            .map_err(|error| Reason::Unreachable(error.to_string()))?;
        let (status, body) = self
            .exchange(request, call.attempt)
            .await
            .map_err(Reason::Unreachable)?;
        if status.is_success() {
            return Ok(body);
        }
        let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let detail = problem
            .and_then(|problem| problem.get("detail")?.as_str().map(str::to_owned))
            .unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned());
        Err(Reason::Status { status, detail })
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), String> {
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| crate::failure::chain(&error))?;
            let status = response.status();
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(|error| error.to_string())?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_| format!("no answer within {limit:?}"))?
    }

    /// The instance to ask and how many there are. When the lookup does not answer, the last known ones.
    async fn target(&self, service: &str, refresh: bool) -> (Option<String>, usize) {
        let stale = self.with(service, |known| {
            let stale = refresh || known.asked.is_none_or(|asked| asked.elapsed() >= FRESH);
            if stale {
                known.asked = Some(Instant::now());
            }
            stale || known.rotation.is_empty()
        });
        if stale {
            match self.ask(service).await {
                Ok(table) => self.with(service, |known| known.rotation.update(&table)),
                Err(error) => tracing::warn!(service, error, "lookup failed, using what was known"),
            }
        }
        self.with(service, |known| {
            (known.rotation.pick(Instant::now()), known.rotation.len())
        })
    }

    async fn ask(&self, service: &str) -> Result<Table, String> {
        let request = Request::get(format!("{}/{service}", self.lookup))
            .body(Full::default())
            .map_err(|error| error.to_string())?;
        let (status, body) = self.exchange(request, Duration::from_secs(1)).await?;
        if !status.is_success() {
            return Err(format!("{status}"));
        }
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }

    fn with<T>(&self, service: &str, act: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        act(known.entry(service.to_owned()).or_default())
    }
}

/// A text as the value of a query parameter.
#[must_use]
pub fn query_value(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn query_values_are_encoded() {
        assert_eq!(super::query_value("a b&ü"), "a%20b%26%C3%BC");
    }
}
