//! Users. Each is a resource of the kind `user`; his password is kept elsewhere.

use axum::{
    Extension, Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use wright_access::{Act, PasswordError, TokenSort, User};
use wright_inventory::{InventoryError, Put};

use super::{Rooms, Shared, answer::Refusal, gates::Deed};
use crate::{
    api::{NewUser, PasswordChange, UserChange, UserView},
    rights::Known,
};

/// The kind of users.
const USER: &str = "user";

impl From<PasswordError> for Refusal {
    fn from(error: PasswordError) -> Self {
        let detail = error.to_string();
        match error {
            PasswordError::Length => Refusal::new(422, "password", "no good password", detail),
            _ => Refusal::internal(detail),
        }
    }
}

fn view(name: String, user: User) -> UserView {
    UserView {
        name,
        full_name: user.full_name,
        email: user.email,
        disabled: user.disabled,
    }
}

/// Make a user.
#[utoipa::path(post, path = "/users", request_body = NewUser, responses(
    (status = 201, description = "He is known from now on.", body = UserView),
    (status = 409, description = "There is one of this name."),
    (status = 422, description = "Not a name, or no good password."),
))]
pub async fn add(State(rooms): Shared, Json(new): Json<NewUser>) -> Result<Response, Refusal> {
    let name = new.name;
    let user = User {
        full_name: new.full_name,
        email: new.email,
        disabled: false,
        identity: None,
    };
    let put = Put::new(USER, &name, &user).map_err(|error| match error {
        InventoryError::BadName(_) => Refusal::new(422, "name", "not a name", error.to_string()),
        error => error.into(),
    })?;
    if rooms.inventory.get(USER, &name).await?.is_some() {
        return Err(taken(&name));
    }
    if let Some(password) = &new.password {
        rooms.rights.passwords.set(&name, password).await?;
    }
    match rooms.inventory.replace(put, 0).await {
        Err(InventoryError::Store(error)) if error.is_refused() => return Err(taken(&name)),
        written => written?,
    };
    let deed = deed(&name);
    let mut response = (StatusCode::CREATED, Json(view(name, user))).into_response();
    response.extensions_mut().insert(deed);
    Ok(response)
}

fn taken(name: &str) -> Refusal {
    let detail = format!("there is a user {name} already");
    Refusal::new(409, "exists", "the name is taken", detail)
}

fn deed(name: &str) -> Deed {
    Deed {
        actor: None,
        act: Act::Administer,
        kind: USER.to_owned(),
        name: name.to_owned(),
    }
}

/// Change a user, or shut him out. What is not said stays.
#[utoipa::path(put, path = "/users/{user}", params(("user" = String, Path)), request_body = UserChange, responses(
    (status = 200, description = "As he is now.", body = UserView),
    (status = 404, description = "No such user."),
    (status = 409, description = "Somebody else changed him meanwhile."),
))]
pub async fn change(
    State(rooms): Shared,
    Path(name): Path<String>,
    Json(change): Json<UserChange>,
) -> Result<Json<UserView>, Refusal> {
    let nobody = || Refusal::not_found(format!("user {name}"));
    let found = rooms.inventory.get(USER, &name).await?.ok_or_else(nobody)?;
    let read = found.revision;
    let (labels, mut body) = (found.labels.clone(), found.body.clone());
    let mut user: User = found.body_as()?;
    user.full_name = change.full_name.unwrap_or(user.full_name);
    user.email = change.email.unwrap_or(user.email);
    user.disabled = change.disabled.unwrap_or(user.disabled);
    let own = serde_json::to_value(&user).map_err(Refusal::internal)?;
    // Fields that others have added to the kind stay.
    if let (Some(body), serde_json::Value::Object(own)) = (body.as_object_mut(), own) {
        body.extend(own);
    }
    let mut put = Put::new(USER, &name, &body)?;
    for (key, value) in &labels {
        put = put.label(key, value);
    }
    match rooms.inventory.replace(put, read).await {
        Err(InventoryError::Store(error)) if error.is_refused() => {
            let detail = "somebody else changed the user meanwhile; try again";
            return Err(Refusal::new(409, "changed", "changed meanwhile", detail));
        }
        written => written?,
    };
    if user.disabled {
        end_sessions(&rooms, &name).await?;
    }
    Ok(Json(view(name, user)))
}

/// Set a user's password; his sessions end. Who sets his own says the present one.
#[utoipa::path(put, path = "/users/{user}/password", params(("user" = String, Path)), request_body = PasswordChange, responses(
    (status = 204, description = "It is set."),
    (status = 403, description = "It is not his, or the present one is another."),
    (status = 404, description = "No such user."),
    (status = 422, description = "No good password."),
))]
pub async fn password(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Path(name): Path<String>,
    Json(change): Json<PasswordChange>,
) -> Result<Response, Refusal> {
    let rights = &rooms.rights;
    let own = known.caller.user() == Some(&name) && known.record.sort == TokenSort::Session;
    if !known.caller.may_all(Act::Administer, USER) {
        let now = jiff::Timestamp::now();
        let tries = format!("{name} at his password");
        let waits = rights.throttle().wait(&tries, now).is_some();
        let current = change.current.as_deref().unwrap_or_default();
        if !own || waits || !rights.passwords.is(&name, current).await? {
            rights.throttle().failed(&tries, now);
            let detail = "only who has the password, or administers users, sets it";
            return Err(Refusal::forbidden(detail));
        }
    }
    if rooms.inventory.get(USER, &name).await?.is_none() {
        return Err(Refusal::not_found(format!("user {name}")));
    }
    rights.passwords.set(&name, &change.new).await?;
    end_sessions(&rooms, &name).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(deed(&name));
    Ok(response)
}

async fn end_sessions(rooms: &Rooms, user: &str) -> Result<(), Refusal> {
    let his = |token: &wright_access::TokenRecord| {
        token.sort == TokenSort::Session && token.user.as_deref() == Some(user)
    };
    rooms.rights.tokens.revoke(his).await?;
    Ok(())
}
