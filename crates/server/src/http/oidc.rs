//! Logging in through an identity provider, in two halves: to the provider, and back.

use std::collections::BTreeSet;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use wright_access::Act;
use wright_inventory::{InventoryError, Put};

use super::{
    Rooms, Shared,
    answer::Refusal,
    gates::{Deed, Peer},
    login::{begin as session, too_often},
};
use crate::{
    api::{LoginBack, LoginBegun, LoginThrough, Session},
    oidc::{OidcError, Person, Provider, provider},
};

/// The kind of users.
const USER: &str = "user";

impl From<OidcError> for Refusal {
    fn from(error: OidcError) -> Self {
        let detail = error.to_string();
        match error {
            OidcError::Store(_) => Refusal::internal(detail),
            OidcError::Setup(_) | OidcError::Provider(_) => {
                Refusal::new(502, "provider", "the identity provider fails", detail)
            }
            OidcError::Redirect(_) => Refusal::new(422, "redirect", "not sent there", detail),
            OidcError::Unknown | OidcError::Token(_) => {
                Refusal::new(401, "login", "not logged in", detail)
            }
        }
    }
}

/// Begin to log in through an identity provider: the answer says where the browser goes. The provider
/// sends it to `redirect` with `state` and `code`, which `POST /login/oidc/back` takes.
#[utoipa::path(post, path = "/login/oidc", request_body = LoginThrough, security(()), responses(
    (status = 200, description = "Where the browser goes.", body = LoginBegun),
    (status = 404, description = "No such identity provider, or several, and none was named."),
    (status = 422, description = "The redirect is neither a loopback address nor this server's."),
    (status = 429, description = "Too many logins were begun and not ended."),
    (status = 502, description = "The identity provider does not answer as it should."),
))]
pub async fn begin(
    State(rooms): Shared,
    peer: Option<Extension<Peer>>,
    Json(wanted): Json<LoginThrough>,
) -> Result<Response, Refusal> {
    let (who, now) = (begins(peer), Timestamp::now());
    let wait = rooms.rights.throttle().wait(&who, now);
    if let Some(wait) = wait {
        return Ok(too_often(wait));
    }
    rooms.rights.throttle().failed(&who, now);
    let provider = named(&rooms, wanted.provider.as_deref()).await?;
    let begun = rooms
        .oidc
        .begin(&rooms.store, &provider, &wanted.redirect, &rooms.url);
    let begun = begun.await?;
    Ok(Json(LoginBegun {
        url: begun.url,
        state: begun.state,
    })
    .into_response())
}

fn begins(peer: Option<Extension<Peer>>) -> String {
    let from = peer.map(|Extension(Peer(address))| address.ip().to_string());
    format!("login through a provider from {}", from.unwrap_or_default())
}

async fn named(rooms: &Rooms, name: Option<&str>) -> Result<(String, Provider), Refusal> {
    let found = provider(&rooms.inventory, name).await?;
    found.ok_or_else(|| match name {
        Some(name) => Refusal::not_found(format!("identity provider {name}")),
        None => Refusal::not_found("identity provider, or there are several: name one"),
    })
}

/// Log in with what the identity provider sent back. Who comes the first time becomes a user.
#[utoipa::path(post, path = "/login/oidc/back", request_body = LoginBack, security(()), responses(
    (status = 200, description = "A session.", body = Session),
    (status = 401, description = "It does not prove who this is, or the login is over."),
    (status = 403, description = "The user is shut out."),
    (status = 409, description = "The name belongs to another user."),
    (status = 502, description = "The identity provider does not answer as it should."),
))]
pub async fn back(
    State(rooms): Shared,
    peer: Option<Extension<Peer>>,
    Json(back): Json<LoginBack>,
) -> Response {
    let person = who(&rooms, back).await;
    let user = person.as_ref().map_or("", |person| &person.user).to_owned();
    let logged_in = async {
        let person = person?;
        admit(&rooms, &person).await?;
        let groups: BTreeSet<String> = person.groups;
        session(&rooms, person.user, groups).await
    };
    let mut response = match logged_in.await {
        Ok(session) => {
            rooms.rights.throttle().succeeded(&begins(peer));
            Json(session).into_response()
        }
        Err(refusal) => refusal.into_response(),
    };
    response.extensions_mut().insert(Deed {
        actor: Some(user.clone()),
        act: Act::Write,
        kind: "session".to_owned(),
        name: user,
    });
    response
}

async fn who(rooms: &Rooms, back: LoginBack) -> Result<Person, Refusal> {
    let login = rooms.oidc.take(&rooms.store, &back.state).await?;
    let (_, provider) = named(rooms, Some(&login.provider)).await?;
    Ok(rooms.oidc.end(&provider, &login, &back.code).await?)
}

/// Lets in whom the provider proved: the user who is known by that identity, or a new one. A name that
/// somebody else has here is not given away.
async fn admit(rooms: &Rooms, person: &Person) -> Result<(), Refusal> {
    if let Some(known) = rooms.inventory.get(USER, &person.user).await? {
        if known.body["identity"].as_str() != Some(&person.identity) {
            return Err(belongs_to_another(&person.user));
        }
        if known.body["disabled"].as_bool() == Some(true) {
            return Err(Refusal::forbidden(format!(
                "user {} is shut out",
                person.user
            )));
        }
        return Ok(());
    }
    let user = wright_access::User {
        full_name: person.full_name.clone(),
        email: person.email.clone(),
        disabled: false,
        identity: Some(person.identity.clone()),
    };
    let put = Put::new(USER, &person.user, &user)?;
    match rooms.inventory.replace(put, 0).await {
        Err(InventoryError::Store(error)) if error.is_refused() => {
            return Err(belongs_to_another(&person.user));
        }
        written => written?,
    };
    // Whoever is let in is somebody at once.
    rooms.rights.reload().await?;
    Ok(())
}

fn belongs_to_another(user: &str) -> Refusal {
    let detail = format!(
        "there is a user {user} here whom this identity provider does not prove; who administers users links the two by the user's field `identity`"
    );
    Refusal::new(409, "taken", "the name belongs to another user", detail)
}
