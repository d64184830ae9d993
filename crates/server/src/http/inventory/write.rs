//! Writing resources.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use wright_access::Act;
use wright_inventory::{Action, Author, Change, Content, Resource, Write};
use wright_model::Name;
use wright_store::Revision;

use super::{moment, rights, tagged};
use crate::{
    api::{OutcomeView, Restore, Transaction, TransactionAnswer},
    http::{Rooms, Shared, answer::Refusal, gates::Deed},
    rights::{Known, SOURCES},
};

/// The media type of a merge patch (RFC 7396).
const MERGE: &str = "application/merge-patch+json";
/// That of what a manager applies.
const APPLY: &str = "application/apply-patch+json";

/// How a resource is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct How {
    /// Only say what would be.
    #[serde(default)]
    dry_run: bool,
    /// For the history, such as a change's number.
    #[serde(default)]
    why: String,
    /// Who applies; the caller where nobody is named.
    #[serde(default)]
    manager: String,
    /// Take over what other managers own.
    #[serde(default)]
    force: bool,
}

/// A resource as people send it: what a reader got may be sent back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(flatten)]
    content: Content,
    #[serde(default)]
    revision: Revision,
}

pub(super) fn author(known: &Known, why: &str) -> Author {
    Author {
        actor: known.caller.name().to_owned(),
        through: known.record.through(),
        why: why.to_owned(),
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    let wrong = |error: serde_json::Error| {
        Refusal::new(422, "body", "not what was expected", error.to_string())
    };
    serde_json::from_slice(body).map_err(wrong)
}

/// The revision that `If-Match` or `If-None-Match: *` names.
fn expected(headers: &HeaderMap) -> Result<Option<Revision>, Refusal> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default().trim())
    };
    let wrong = |detail: String| Err(Refusal::new(400, "precondition", "no precondition", detail));
    match (text(IF_MATCH), text(IF_NONE_MATCH)) {
        (None, None) | (Some("*"), None) => Ok(None),
        (None, Some("*")) => Ok(Some(0)),
        (Some(tag), None) => match tag.trim_matches('"').parse() {
            Ok(revision) => Ok(Some(revision)),
            Err(_) => wrong(format!(
                "If-Match is {tag}; the ETag of the resource was expected, such as \"812\""
            )),
        },
        _ => wrong("either If-Match or `If-None-Match: *` was expected".to_owned()),
    }
}

/// Writes one resource, and answers with what it is.
async fn one(rooms: &Rooms, known: &Known, write: Write, how: &How) -> Result<Response, Refusal> {
    let (kind, name) = (write.kind.clone(), write.name.clone());
    let written = rights::write(
        rooms,
        known,
        vec![write],
        &author(known, &how.why),
        how.dry_run,
    )
    .await?;
    let outcome = written.outcomes.into_iter().next();
    let Some(outcome) = outcome else {
        return Err(Refusal::internal("a write without an outcome"));
    };
    let status = match outcome.action {
        Action::Created if !how.dry_run => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let mut response = tagged(outcome.resource);
    *response.status_mut() = status;
    response.extensions_mut().insert(deed(&kind, &name));
    Ok(response)
}

fn deed(kind: &str, name: &str) -> Deed {
    Deed {
        actor: None,
        act: Act::Write,
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

/// What was sent, for the resource that the path names.
fn sent(
    body: &Bytes,
    kind: &str,
    name: Option<&str>,
) -> Result<(String, Content, Revision), Refusal> {
    let mut value: Value = read(body)?;
    if let Value::Object(value) = &mut value {
        // A reader's answer has these too; nobody writes them.
        for field in ["created", "updated_at", "owners"] {
            value.remove(field);
        }
    }
    let sent: Sent = serde_json::from_value(value)
        .map_err(|error| Refusal::new(422, "body", "not what was expected", error.to_string()))?;
    let differs = |detail: String| Refusal::new(422, "body", "not what was expected", detail);
    if let Some(other) = sent.kind.filter(|other| other != kind) {
        return Err(differs(format!(
            "the kind in the body is {other}, in the path {kind}"
        )));
    }
    let name = match (name, sent.name) {
        (Some(name), Some(other)) if name != other => {
            return Err(differs(format!(
                "the name in the body is {other}, in the path {name}"
            )));
        }
        (Some(name), _) => name.to_owned(),
        (None, Some(name)) => name,
        (None, None) => return Err(differs("a name was expected".to_owned())),
    };
    let mut content = sent.content;
    if content.body.is_null() {
        content.body = Value::Object(Map::new());
    }
    Ok((name, content, sent.revision))
}

/// Make a resource: `{name, labels, body}`.
#[utoipa::path(post, path = "/resources/{kind}", params(("kind" = String, Path), ("dry_run" = Option<bool>, Query), ("why" = Option<String>, Query)), request_body = serde_json::Value, responses((status = 201, description = "It is made.", body = Resource), (status = 200, description = "It would be made.", body = Resource), (status = 404, description = "No such kind.", body = serde_json::Value), (status = 409, description = "It is there, or breaks a constraint.", body = serde_json::Value)))]
pub async fn create(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Path(kind): Path<Name>,
    Query(how): Query<How>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (name, content, _) = sent(&body, kind.as_str(), None)?;
    let write = Write::new(kind.as_str(), &name, Change::Create(content));
    one(&rooms, &known, write, &how).await
}

/// Make a resource what is sent, or make it: `{labels, body}`. A reader's answer may be sent back with
/// changes: its revision is then expected.
#[utoipa::path(put, path = "/resources/{kind}/{name}", params(("kind" = String, Path), ("name" = String, Path), ("dry_run" = Option<bool>, Query), ("why" = Option<String>, Query), ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header)), request_body = serde_json::Value, responses((status = 200, description = "It is so.", body = Resource), (status = 201, description = "It is made.", body = Resource), (status = 404, description = "No such kind.", body = serde_json::Value), (status = 409, description = "It breaks a constraint.", body = serde_json::Value), (status = 412, description = "It is no longer what was read.", body = serde_json::Value)))]
pub async fn replace(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Path((kind, name)): Path<(Name, String)>,
    Query(how): Query<How>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (name, content, read) = sent(&body, kind.as_str(), Some(&name))?;
    let mut write = Write::new(kind.as_str(), &name, Change::Replace(content));
    write.expected = expected(&headers)?.or((read > 0).then_some(read));
    one(&rooms, &known, write, &how).await
}

/// Change parts of a resource: a merge patch (RFC 7396) of `{labels, body}`, or, as
/// `application/apply-patch+json`, what a manager applies.
#[utoipa::path(patch, path = "/resources/{kind}/{name}", params(("kind" = String, Path), ("name" = String, Path), ("dry_run" = Option<bool>, Query), ("why" = Option<String>, Query), ("manager" = Option<String>, Query), ("force" = Option<bool>, Query), ("If-Match" = Option<String>, Header)), request_body(content((serde_json::Value = "application/merge-patch+json"), (serde_json::Value = "application/apply-patch+json"))), responses((status = 200, description = "It is so.", body = Resource), (status = 201, description = "It is made.", body = Resource), (status = 404, description = "No such resource.", body = serde_json::Value), (status = 409, description = "It breaks a constraint, or another manager owns a field.", body = serde_json::Value), (status = 412, description = "It is no longer what was read.", body = serde_json::Value)))]
pub async fn patch(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Path((kind, name)): Path<(Name, String)>,
    Query(how): Query<How>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let media = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media = media
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let change = match media {
        MERGE | "application/json" => Change::Merge {
            patch: read(&body)?,
        },
        APPLY => Change::Apply {
            content: sent(&body, kind.as_str(), Some(&name))?.1,
            manager: how.manager.clone(),
            force: how.force,
        },
        _ => {
            let detail = format!("{MERGE} or {APPLY} was expected");
            return Err(Refusal::new(
                415,
                "media-type",
                "another media type",
                detail,
            ));
        }
    };
    let mut write = Write::new(kind.as_str(), &name, change);
    write.expected = expected(&headers)?;
    one(&rooms, &known, write, &how).await
}

/// Remove a resource, and do with those who refer to it as their kinds say. With `dry_run`, what would
/// go and what would be cleared.
#[utoipa::path(delete, path = "/resources/{kind}/{name}", params(("kind" = String, Path), ("name" = String, Path), ("dry_run" = Option<bool>, Query), ("why" = Option<String>, Query), ("If-Match" = Option<String>, Header)), responses((status = 200, description = "What is gone, and what went with it.", body = TransactionAnswer), (status = 404, description = "No such resource.", body = serde_json::Value), (status = 409, description = "Others refer to it.", body = serde_json::Value), (status = 412, description = "It is no longer what was read.", body = serde_json::Value)))]
pub async fn remove(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Path((kind, name)): Path<(Name, String)>,
    Query(how): Query<How>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut write = Write::new(kind.as_str(), &name, Change::Delete);
    write.expected = expected(&headers)?;
    let transaction = Transaction {
        writes: vec![write],
        why: how.why,
        dry_run: how.dry_run,
    };
    together(&rooms, &known, transaction).await
}

/// Write several resources: all of them or none.
#[utoipa::path(post, path = "/transactions", request_body = serde_json::Value, responses((status = 200, description = "It is done.", body = TransactionAnswer), (status = 404, description = "No such kind or resource.", body = serde_json::Value), (status = 409, description = "One of them breaks a constraint.", body = serde_json::Value), (status = 412, description = "One of them is no longer what was read.", body = serde_json::Value), (status = 413, description = "More than one commit holds.", body = serde_json::Value)))]
pub async fn transact(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    body: Bytes,
) -> Result<Response, Refusal> {
    together(&rooms, &known, read(&body)?).await
}

async fn together(
    rooms: &Rooms,
    known: &Known,
    transaction: Transaction,
) -> Result<Response, Refusal> {
    // What the audit calls it by: what decides over others, if it is among them.
    let writes = &transaction.writes;
    let decides = |write: &&Write| SOURCES.contains(&write.kind.as_str());
    let first = writes.iter().find(decides).or(writes.first());
    let Some(deed) = first.map(|write| deed(&write.kind, &write.name)) else {
        return Err(Refusal::new(
            422,
            "body",
            "not what was expected",
            "a transaction writes something",
        ));
    };
    let author = author(known, &transaction.why);
    let written = rights::write(
        rooms,
        known,
        transaction.writes,
        &author,
        transaction.dry_run,
    )
    .await?;
    let answer = TransactionAnswer {
        revision: written.revision,
        outcomes: written.outcomes.iter().map(OutcomeView::from).collect(),
    };
    let mut response = Json(answer).into_response();
    response.extensions_mut().insert(deed);
    Ok(response)
}

/// Make a resource what it was at a time or revision: a new write, held against what its kind says now.
#[utoipa::path(post, path = "/resources/{kind}/{name}/restore", params(("kind" = String, Path), ("name" = String, Path)), request_body = serde_json::Value, responses((status = 200, description = "It is so.", body = Resource), (status = 201, description = "It is there again.", body = Resource), (status = 404, description = "It was not there then.", body = serde_json::Value), (status = 409, description = "It breaks a constraint now.", body = serde_json::Value)))]
pub async fn restore(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Path((kind, name)): Path<(Name, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let restore: Restore = read(&body)?;
    let write = rooms
        .inventory
        .restoring(kind.as_str(), &name, moment(&restore.at)?)
        .await?;
    let how = How {
        dry_run: restore.dry_run,
        why: match restore.why.is_empty() {
            true => format!("restored as of {}", restore.at),
            false => restore.why,
        },
        ..How::default()
    };
    one(&rooms, &known, write, &how).await
}

/// A secret field in clear. That it was read is written to the audit.
#[utoipa::path(get, path = "/resources/{kind}/{name}/secrets/{field}", params(("kind" = String, Path), ("name" = String, Path), ("field" = String, Path)), responses((status = 200, description = "The secret.", body = serde_json::Value), (status = 404, description = "No such secret.", body = serde_json::Value)))]
pub async fn secret(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Path((kind, name, field)): Path<(Name, String, String)>,
) -> Result<Response, Refusal> {
    let missing = || Refusal::not_found(format!("secret {field} of {kind} {name}"));
    let subject = rooms.rights.subject(kind.as_str(), &name).await?;
    let fields = known.caller.fields(Act::SeeSecrets, &subject.target());
    if !fields.cover(&field) {
        return Err(missing());
    }
    let clear = rooms.inventory.reveal(kind.as_str(), &name, &field).await?;
    let clear = clear.ok_or_else(missing)?;
    let mut response = Json(serde_json::json!({ "value": clear })).into_response();
    response.extensions_mut().insert(Deed {
        act: Act::SeeSecrets,
        ..deed(kind.as_str(), &name)
    });
    Ok(response)
}
