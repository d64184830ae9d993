//! The gate itself: a layer around every endpoint.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderValue, Method,
    header::{ALLOW, AUTHORIZATION},
    request::Parts,
};
use wright_access::{Act, Decision, allows};

use super::{Deed, Endpoint, Gate, On, TABLE, note::Note, reveal};
use crate::{
    http::{Rooms, answer::Refusal, auth::Actor},
    records::kind,
    rights::{Known, Rights, SOURCES, Subject},
};

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Kinds of which each belongs to a site, and so to its team.
const ON_SITES: [&str; 2] = [kind::INSTANCE, "job"];

/// A request at the gate, and what is known of it.
pub(super) struct Asked {
    pub(super) endpoint: &'static Endpoint,
    pub(super) known: Option<Known>,
    pub(super) subject: Option<Subject>,
    params: Vec<(String, String)>,
}

impl Asked {
    /// A parameter of the path; empty where there is none of this name.
    pub(super) fn param(&self, wanted: &str) -> &str {
        let found = self.params.iter().find(|(key, _)| key == wanted);
        found.map_or("", |(_, value)| value)
    }
}

/// Lets a request through where the caller may do what the endpoint does, leaves out of the answer what
/// he may not see, and writes down what he did or tried.
pub async fn pass(State(rooms): State<Arc<Rooms>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let known = authenticate(&rooms.rights, &parts).await;
    let path = parts.extensions.get::<MatchedPath>().cloned();
    let endpoint = path.map(|path| find(&parts.method, path.as_str()));
    let endpoint = match (endpoint, &known) {
        (Some(Ok(endpoint)), _) => endpoint,
        (_, Err(_)) => return known.map_or_else(Refusal::into_response, |_| ().into_response()),
        (Some(Err(refused)), Ok(_)) => return *refused,
        (None, Ok(_)) => return next.run(Request::from_parts(parts, body)).await,
    };
    let known = match (endpoint.gate, known) {
        (Gate::Anybody, _) => None,
        (_, Ok(known)) => Some(known),
        (_, Err(refusal)) => return refusal.into_response(),
    };
    let mut asked = Asked {
        endpoint,
        known,
        subject: None,
        params: params(&mut parts).await,
    };
    let note = Note::of(&parts);
    let response = match open(&rooms.rights, &mut asked).await {
        Ok(()) => {
            if let Some(known) = &asked.known {
                let actor = Actor(known.caller.name().to_owned());
                parts.extensions.insert(actor);
                parts.extensions.insert(known.clone());
            }
            let response = next.run(Request::from_parts(parts, body)).await;
            settle(&rooms.rights, &asked, response).await
        }
        Err(refusal) => refusal.into_response(),
    };
    note.write(&rooms.rights, &asked, response).await
}

async fn params(parts: &mut Parts) -> Vec<(String, String)> {
    let Ok(params) = RawPathParams::from_request_parts(parts, &()).await else {
        return Vec::new();
    };
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    params.iter().map(owned).collect()
}

/// Who shows this token.
async fn authenticate(rights: &Arc<Rights>, parts: &Parts) -> Result<Known, Refusal> {
    let token = parts
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let Some(token) = token else {
        return Err(Refusal::unauthenticated(
            "send `Authorization: Bearer TOKEN`; the token is in client.json of the data directory, or comes from `wright login`",
        ));
    };
    let known = rights.know(token).await.map_err(Refusal::internal)?;
    known.ok_or_else(|| {
        Refusal::unauthenticated("this token is not known here, has expired or was withdrawn")
    })
}

/// The endpoint's line in the table. What is not there is refused: nobody has said who may call it.
fn find(method: &Method, path: &str) -> Result<&'static Endpoint, Box<Response>> {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    let method = match *method {
        Method::HEAD => "GET",
        _ => method.as_str(),
    };
    let here = || TABLE.iter().filter(|endpoint| endpoint.path == path);
    if let Some(endpoint) = here().find(|endpoint| endpoint.method == method) {
        return Ok(endpoint);
    }
    let methods: Vec<&str> = here().map(|endpoint| endpoint.method).collect();
    if methods.is_empty() {
        let detail = "nobody has said who may call this endpoint, so nobody may";
        return Err(Box::new(Refusal::forbidden(detail).into_response()));
    }
    let detail = "this path does not take this method; see /api/openapi.json";
    let refusal = Refusal::new(405, "method-not-allowed", "method not allowed", detail);
    let mut response = refusal.into_response();
    if let Ok(allowed) = HeaderValue::from_str(&methods.join(",")) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    Err(Box::new(response))
}

/// Decides before the handler is asked.
async fn open(rights: &Rights, asked: &mut Asked) -> Result<(), Refusal> {
    let Some(caller) = asked.known.as_ref().map(|known| known.caller.clone()) else {
        return Ok(());
    };
    let (act, on, whole) = match asked.endpoint.gate {
        Gate::Anybody | Gate::Known => return Ok(()),
        Gate::Needs(act, on) => (act, on, None),
        Gate::NeedsWhole(act, on, whole) => (act, on, Some(whole)),
    };
    let may_read_all = |kind: &&str| caller.may_all(Act::Read, kind);
    let missing = |kind: &str| {
        Refusal::forbidden(format!(
            "this takes the right to read every {kind} it is made of"
        ))
    };
    let (kind, name) = match on {
        On::Some(kind) if !caller.may_some(act, kind) => return Err(not_yours(act, kind, "")),
        On::Some(_) => {
            let hidden = whole.into_iter().flatten().find(|kind| !may_read_all(kind));
            return hidden.map_or(Ok(()), |kind| Err(missing(kind)));
        }
        On::All(kind) => (kind.to_owned(), String::new()),
        On::One(kind, key) => (kind.to_owned(), asked.param(key).to_owned()),
        On::Instance => {
            let name = format!("{}.{}", asked.param("site"), asked.param("name"));
            (kind::INSTANCE.to_owned(), name)
        }
        On::Resource => (
            asked.param("kind").to_owned(),
            asked.param("name").to_owned(),
        ),
    };
    let free = caller.may_all(act, &kind) && whole.into_iter().flatten().all(may_read_all);
    let bare = || Subject::named(&kind, &name);
    let subject = match free || name.is_empty() {
        true => bare(),
        false => rights
            .subject(&kind, &name)
            .await
            .map_err(Refusal::internal)?,
    };
    let subject = asked.subject.insert(subject);
    if free {
        return Ok(());
    }
    match allows(&caller, act, &subject.target()) {
        Decision::Hidden if !name.is_empty() => {
            return Err(Refusal::not_found(format!("{kind} {name}")));
        }
        Decision::Hidden | Decision::Forbidden => return Err(not_yours(act, &kind, &name)),
        Decision::Allowed => {}
    }
    let Some(whole) = whole else {
        return Ok(());
    };
    let sees = |subject: &Subject| caller.fields(Act::Read, &subject.target()).is_all();
    if !sees(subject) {
        return Err(missing(&kind));
    }
    let hidden = whole.iter().find(|kind| match ON_SITES.contains(kind) {
        true => !sees(&subject.beside(kind)),
        false => !may_read_all(kind),
    });
    hidden.map_or(Ok(()), |kind| Err(missing(kind)))
}

fn not_yours(act: Act, kind: &str, name: &str) -> Refusal {
    let what = format!("{kind} {name}");
    Refusal::forbidden(format!(
        "to {act} {} is not among your rights; see `wright whoami`",
        what.trim_end()
    ))
}

/// What a handler asks where only it knows what is acted on.
///
/// # Errors
/// The refusal, as the gate would have made it.
pub async fn require(
    rights: &Rights,
    known: &Known,
    act: Act,
    kind: &str,
    name: &str,
) -> Result<(), Refusal> {
    let decision = rights.decide(&known.caller, act, kind, name).await;
    match decision.map_err(Refusal::internal)? {
        Decision::Allowed => Ok(()),
        Decision::Forbidden => Err(not_yours(act, kind, name)),
        Decision::Hidden if name.is_empty() => Err(not_yours(act, kind, name)),
        Decision::Hidden => Err(Refusal::not_found(format!("{kind} {name}"))),
    }
}

/// After the handler: who writes what rights are made of finds them so, and nobody sees more than he
/// may.
async fn settle(rights: &Arc<Rights>, asked: &Asked, response: Response) -> Response {
    let written = asked.endpoint.audited.is_some() && response.status().is_success();
    let deed = response.extensions().get::<Deed>();
    let kind = deed.map(|deed| &deed.kind);
    let kind = kind.or(asked.subject.as_ref().map(|subject| &subject.kind));
    let concerns_rights = match kind {
        Some(kind) => SOURCES.contains(&kind.as_str()),
        None => asked.endpoint.audited != Some(Act::Operate),
    };
    if written
        && concerns_rights
        && let Err(error) = rights.reload().await
    {
        tracing::warn!(%error, "rights could not be read again");
    }
    match &asked.known {
        Some(known) if !known.caller.reads_everything() => {
            reveal::reveal(rights, known, asked, response).await
        }
        _ => response,
    }
}
