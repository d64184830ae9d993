//! What is written to the audit about a request.

use std::net::SocketAddr;

use axum::{body::Body, response::Response};
use http::{StatusCode, request::Parts};
use jiff::Timestamp;
use uuid::Uuid;
use wright_access::{Act, AuditRecord, Outcome};
use wright_model::Problem;

use super::pass::{Asked, Peer};
use crate::rights::Rights;

/// The longest reason and path that are written down, bytes.
const MAX_TEXT: usize = 500;
/// The longest problem that is read, bytes.
const MAX_PROBLEM: usize = 1 << 20;

/// What a handler knows better than the gate: put among the extensions of its response. A request that
/// only reads is written down only with it.
#[derive(Debug, Clone)]
pub struct Deed {
    /// Who, where the request did not show it.
    pub actor: Option<String>,
    /// What sort of thing he did.
    pub act: Act,
    /// To what: the kind.
    pub kind: String,
    /// To what: the name.
    pub name: String,
}

/// What the request says of itself.
pub(super) struct Note {
    request: String,
    peer: Option<SocketAddr>,
}

impl Note {
    pub(super) fn of(parts: &Parts) -> Self {
        // Without what comes after `?`: that may hold what nobody should find in the audit.
        let path = parts.uri.path();
        let path = path.strip_prefix("/api/v1").unwrap_or(path);
        Note {
            request: shortened(&format!("{} {path}", parts.method)),
            peer: parts.extensions.get::<Peer>().map(|peer| peer.0),
        }
    }

    /// Writes down a write, and whatever a handler wants written.
    pub(super) async fn write(
        self,
        rights: &Rights,
        asked: &Asked,
        response: Response,
    ) -> Response {
        let deed = response.extensions().get::<Deed>().cloned();
        let Some(act) = deed
            .as_ref()
            .map(|deed| deed.act)
            .or(asked.endpoint.audited)
        else {
            return response;
        };
        let (why, response) = why(response).await;
        let known = asked.known.as_ref();
        let (kind, name) = match (&deed, &asked.subject) {
            (Some(deed), _) => (deed.kind.clone(), deed.name.clone()),
            (None, Some(subject)) => (subject.kind.clone(), subject.name.clone()),
            (None, None) => (
                asked.param("kind").to_owned(),
                asked.param("name").to_owned(),
            ),
        };
        let record = AuditRecord {
            id: Uuid::now_v7(),
            at: Timestamp::now(),
            actor: deed
                .and_then(|deed| deed.actor)
                .or_else(|| known.map(|known| known.caller.name().to_owned()))
                .unwrap_or_default(),
            through: known.map_or_else(String::new, |known| known.record.through()),
            from: self
                .peer
                .map_or_else(String::new, |peer| peer.ip().to_string()),
            act,
            request: self.request,
            kind: shortened(&kind),
            name: shortened(&name),
            outcome: outcome(response.status()),
            status: response.status().as_u16(),
            why,
        };
        if let Err(error) = rights.audit.record(&record).await {
            tracing::error!(%error, ?record, "the audit could not be written");
        }
        response
    }
}

fn outcome(status: StatusCode) -> Outcome {
    if status.is_client_error() {
        Outcome::Refused
    } else if status.is_server_error() {
        Outcome::Failed
    } else {
        Outcome::Done
    }
}

/// Why a request was refused or failed, as its answer says.
async fn why(response: Response) -> (String, Response) {
    if outcome(response.status()) == Outcome::Done {
        return (String::new(), response);
    }
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_PROBLEM)
        .await
        .unwrap_or_default();
    let why = match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => format!("{}: {}", problem.title, problem.detail),
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    (
        shortened(&why),
        Response::from_parts(parts, Body::from(body)),
    )
}

fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT);
    text[..end].to_owned()
}
