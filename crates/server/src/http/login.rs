//! How people show who they are, and what they may ask about themselves.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use axum::{
    Extension, Json,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
};
use http::header::RETRY_AFTER;
use jiff::{SignedDuration, Timestamp};
use wright_access::{Act, Decision, NewToken, TokenError, TokenSort};

use super::{
    Rooms, Shared,
    answer::Refusal,
    gates::{Deed, Peer},
};
use crate::{
    api::{Can, CanWhat, HeldRole, Login, Session, WhoAmI},
    rights::Known,
};

/// How long a session lasts.
const SESSION: SignedDuration = SignedDuration::from_hours(12);

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let detail = error.to_string();
        match error {
            TokenError::Store(_) | TokenError::Unreadable { .. } => Refusal::internal(detail),
            _ => Refusal::new(422, "token", "such a token cannot be made", detail),
        }
    }
}

/// Log in with a name and a password; the answer's token lasts for twelve hours. Who fails five times
/// waits, longer each time.
#[utoipa::path(post, path = "/login", request_body = Login, security(()), responses(
    (status = 200, description = "A session.", body = Session),
    (status = 401, description = "No such user, or another password."),
    (status = 429, description = "Too many attempts.", headers(("Retry-After" = u64, description = "Seconds to wait."))),
))]
pub async fn login(
    State(rooms): Shared,
    peer: Option<Extension<Peer>>,
    Json(login): Json<Login>,
) -> Response {
    let from = peer.map(|Extension(Peer(address))| address.ip());
    let deed = Deed {
        actor: Some(login.user.clone()),
        act: Act::Write,
        kind: "session".to_owned(),
        name: login.user.clone(),
    };
    let mut response = match attempt(&rooms, from, login).await {
        Ok(session) => Json(session).into_response(),
        Err(refused) => *refused,
    };
    response.extensions_mut().insert(deed);
    response
}

async fn attempt(
    rooms: &Rooms,
    from: Option<IpAddr>,
    Login { user, password }: Login,
) -> Result<Session, Box<Response>> {
    let rights = &rooms.rights;
    let from = from.map_or_else(String::new, |from| from.to_string());
    let tries = [format!("from {from}"), format!("{user} from {from}")];
    let now = Timestamp::now();
    let waits = tries
        .iter()
        .filter_map(|who| rights.throttle().wait(who, now))
        .max();
    if let Some(wait) = waits {
        return Err(Box::new(too_often(wait)));
    }
    // Counted before the password is looked at: attempts made at once count, too.
    tries
        .iter()
        .for_each(|who| rights.throttle().failed(who, now));
    let right = rights.passwords.is(&user, &password).await.map_err(boxed)?;
    if !right || !rights.is_active(&user) {
        let detail = "there is no such user, or that is not the password";
        return Err(boxed(Refusal::new(401, "login", "not logged in", detail)));
    }
    tries
        .iter()
        .for_each(|who| rights.throttle().succeeded(who));
    let issued = begin(rooms, user, BTreeSet::new()).await;
    issued.map_err(|refusal| Box::new(refusal.into_response()))
}

fn boxed(error: impl Into<Refusal>) -> Box<Response> {
    Box::new(error.into().into_response())
}

pub(super) fn too_often(wait: Duration) -> Response {
    let seconds = wait.as_secs().max(1);
    let detail = format!("too many attempts failed; try again in {seconds} s");
    let mut response = Refusal::new(429, "throttled", "too often", detail).into_response();
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

/// Begins a session of somebody who has shown who he is.
pub(super) async fn begin(
    rooms: &Rooms,
    user: String,
    groups: BTreeSet<String>,
) -> Result<Session, Refusal> {
    let expires_at = Timestamp::now() + SESSION;
    let new = NewToken {
        name: "session".to_owned(),
        user: Some(user.clone()),
        expires_at: Some(expires_at),
        ..NewToken::default()
    };
    let tokens = &rooms.rights.tokens;
    let issued = tokens.issue(new, TokenSort::Session, groups, &user).await?;
    Ok(Session {
        token: issued.token,
        user,
        expires_at,
    })
}

/// End this session; its token is worth nothing from now on.
#[utoipa::path(post, path = "/logout", responses((status = 204, description = "It is ended."), (status = 409, description = "It is no session.")))]
pub async fn logout(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
) -> Result<Response, Refusal> {
    if known.record.sort != TokenSort::Session {
        let detail = "this is a program's token: withdraw it with `wright token revoke`";
        return Err(Refusal::new(409, "no-session", "no session", detail));
    }
    let tokens = &rooms.rights.tokens;
    tokens.revoke(|token| token.id == known.record.id).await?;
    let mut response = http::StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(Deed {
        actor: None,
        act: Act::Write,
        kind: "session".to_owned(),
        name: known.caller.name().to_owned(),
    });
    Ok(response)
}

/// Who the caller is, and what he may do.
#[utoipa::path(get, path = "/whoami", responses((status = 200, description = "The caller.", body = WhoAmI)))]
pub async fn whoami(Extension(known): Extension<Known>) -> Json<WhoAmI> {
    let Known { caller, record } = known;
    let held = caller.roles().into_iter().map(|(role, teams)| HeldRole {
        role: role.to_owned(),
        teams: teams.cloned(),
    });
    Json(WhoAmI {
        name: caller.name().to_owned(),
        user: caller.user().map(str::to_owned),
        through: record.through(),
        expires_at: record.expires_at,
        teams: caller.teams().map(str::to_owned).collect(),
        roles: held.collect(),
        kinds: record.kinds.clone(),
    })
}

/// Whether the caller may do something to a resource, or to some resource of a kind.
#[utoipa::path(get, path = "/can", params(
    ("act" = String, Query, description = "read, write, approve, operate, see-secrets or administer"),
    ("kind" = String, Query, description = "The kind."),
    ("name" = Option<String>, Query, description = "Which of it; without: whether there could be one."),
), responses((status = 200, description = "Whether he may.", body = Can), (status = 400, description = "No such act.")))]
pub async fn can(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Query(CanWhat { act, kind, name }): Query<CanWhat>,
) -> Result<Json<Can>, Refusal> {
    let who = known.caller.name();
    let Some(name) = name else {
        let allowed = known.caller.may_some(act, &kind);
        let not = if allowed { "" } else { "not " };
        let why = format!("{who} may {not}{act} some {kind}");
        return Ok(Json(Can { allowed, why }));
    };
    let decision = rooms
        .rights
        .decide(&known.caller, act, &kind, &name)
        .await?;
    let why = match decision {
        Decision::Allowed => format!("{who} may {act} {kind} {name}"),
        Decision::Forbidden => format!("{who} may not {act} {kind} {name}"),
        Decision::Hidden => format!("for {who} there is no {kind} {name}"),
    };
    let allowed = decision == Decision::Allowed;
    Ok(Json(Can { allowed, why }))
}
