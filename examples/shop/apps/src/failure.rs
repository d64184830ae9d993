//! Why a request was not answered as asked, and how that looks on the wire (RFC 9457).

use crate::services::CallError;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The request cannot be fulfilled as it is.
    #[error("{0}")]
    Invalid(String),
    /// The request does not fit the present state.
    #[error("{0}")]
    Conflict(String),
    /// Who asks is not known.
    #[error("{0}")]
    Unknown(String),
    /// PostgreSQL did not do it.
    #[error("postgres: {}", chain(.0))]
    Database(#[from] tokio_postgres::Error),
    /// No connection to PostgreSQL was to be had.
    #[error("postgres: {}", chain(.0))]
    Pool(#[from] deadpool_postgres::PoolError),
    /// Redis did not do it.
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// A sibling app did not do it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Stored or received JSON is not what it should be.
    #[error("unexpected JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// NATS did not take an event.
    #[error("nats: {0}")]
    Bus(String),
    /// A page could not be made.
    #[error("page: {}", chain(.0))]
    Page(#[from] minijinja::Error),
    /// Something that should not happen did.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// The HTTP status that says the same.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Unknown(_) => StatusCode::UNAUTHORIZED,
            Self::Call(error) => match error.status() {
                Some(status) if status.is_client_error() => status,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Database(_) | Self::Pool(_) | Self::Redis(_) | Self::Bus(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Json(_) | Self::Page(_) | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What to tell the caller: the cause without its origin where the origin is a sibling.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Call(error) if error.status().is_some() => error.detail().to_owned(),
            other => other.to_string(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!(error = %self, "request failed");
        }
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("error"),
            "status": status.as_u16(),
            "detail": self.detail(),
        });
        (
            status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            Json(body).into_response().into_body(),
        )
            .into_response()
    }
}

/// An error and its sources in one line; drivers keep the useful part in the source.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = inner.source();
    }
    line
}
