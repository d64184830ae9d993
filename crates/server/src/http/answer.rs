//! How errors leave: problem+json (RFC 9457).

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use wright_model::{Diagnostic, Problem};

/// A request that was not done, and why.
#[derive(Debug)]
pub struct Refusal(pub Box<Problem>);

impl Refusal {
    /// A problem of the sort `urn:wright:{kind}`.
    pub fn new(status: u16, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Refusal(Box::new(Problem::new(status, kind, title, detail)))
    }

    /// What was asked for does not exist.
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(404, "not-found", "not found", format!("there is no {what}"))
    }

    /// What was sent is wrong; nothing was done.
    pub fn findings(title: &str, diagnostics: Vec<Diagnostic>) -> Self {
        let count = diagnostics.len();
        let detail = format!(
            "{count} finding{}; nothing has been changed",
            if count == 1 { "" } else { "s" }
        );
        let mut problem = Problem::new(422, "findings", title, detail);
        problem.diagnostics = diagnostics;
        Refusal(Box::new(problem))
    }

    /// Our own failure.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(500, "internal", "the server failed", error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}
