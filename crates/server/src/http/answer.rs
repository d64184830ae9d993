//! How errors leave: problem+json (RFC 9457).

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use wright_model::{Diagnostic, Problem};

const PROBLEM: &str = "application/problem+json";

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

    /// It is not known who asks.
    pub fn unauthenticated(detail: &str) -> Self {
        Self::new(401, "unauthenticated", "who asks is not known", detail)
    }

    /// Who asks may not.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(403, "forbidden", "not allowed", detail)
    }

    /// Our own failure.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(500, "internal", "the server failed", error.to_string())
    }
}

/// The longest text of an error that is not ours, bytes.
const MAX_TEXT: usize = 16 << 10;

/// Makes a problem of an error that the framework answered as plain text or not at all, such as a
/// body that is no JSON.
pub async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let told = response.headers().get(CONTENT_TYPE);
    if told.is_some_and(|kind| kind == PROBLEM)
        || !(status.is_client_error() || status.is_server_error())
    {
        return response;
    }
    let title = status.canonical_reason().unwrap_or("error").to_lowercase();
    let (parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, MAX_TEXT)
        .await
        .unwrap_or_default();
    let detail = match (status, String::from_utf8_lossy(&text)) {
        (StatusCode::METHOD_NOT_ALLOWED, _) => {
            "this path does not take this method; see /api/openapi.json".to_owned()
        }
        (_, text) => text.into_owned(),
    };
    let kind = title.replace(' ', "-");
    let mut problem = Refusal::new(status.as_u16(), &kind, &title, detail).into_response();
    if let Some(allowed) = parts.headers.get(ALLOW) {
        problem.headers_mut().insert(ALLOW, allowed.clone());
    }
    problem
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware::map_response, routing::post};
    use http::{Request, header};
    use tower_service::Service as _;

    use super::*;

    #[tokio::test]
    async fn what_the_framework_refuses_is_a_problem_too() {
        let mut app = Router::new()
            .route("/number", post(async |Json(_): Json<u32>| ""))
            .layer(map_response(as_problem));
        for (method, kind, body, status, says) in [
            ("POST", "application/json", "no json", 400, "JSON"),
            ("POST", "application/json", "{}", 422, "expected u32"),
            ("POST", "text/plain", "1", 415, "application/json"),
            ("GET", "application/json", "", 405, "openapi.json"),
        ] {
            let request = Request::builder()
                .method(method)
                .uri("/number")
                .header(header::CONTENT_TYPE, kind)
                .body(Body::from(body))
                .unwrap();
            let response = app.call(request).await.unwrap();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM);
            let body = axum::body::to_bytes(response.into_body(), MAX_TEXT)
                .await
                .unwrap();
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem.status, status);
            assert!(problem.detail.contains(says), "{problem:?}");
        }
    }
}
