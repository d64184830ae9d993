//! Tokens for programs.

use std::collections::BTreeSet;

use axum::{
    Extension, Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use wright_access::{Act, NewToken, TokenRecord, TokenSort};

use super::{Shared, answer::Refusal, gates::Deed};
use crate::rights::Known;

/// The kind of tokens, for rights.
const TOKEN: &str = "token";

fn is_own(known: &Known, user: Option<&str>) -> bool {
    user.is_some() && known.caller.user() == user
}

/// The tokens: the caller's own, or all of them for who may read them. What a token is, nobody is told
/// again.
#[utoipa::path(get, path = "/tokens", responses((status = 200, description = "By name.", body = Vec<TokenRecord>)))]
pub async fn list(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
) -> Result<Json<Vec<TokenRecord>>, Refusal> {
    let mut tokens = rooms.rights.tokens.list().await?;
    if !known.caller.may_all(Act::Read, TOKEN) {
        tokens.retain(|token| is_own(&known, token.user.as_deref()));
    }
    Ok(Json(tokens))
}

/// Make a token. Who has logged in makes one with his own rights, or with fewer; one with rights of its
/// own is for who administers tokens. The answer is the only place where it is seen.
#[utoipa::path(post, path = "/tokens", request_body = serde_json::Value, responses(
    (status = 201, description = "The token, and what is kept of it.", body = serde_json::Value),
    (status = 403, description = "Not for the caller."),
    (status = 422, description = "Such a token cannot be made."),
))]
pub async fn add(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Json(new): Json<NewToken>,
) -> Result<Response, Refusal> {
    let own = is_own(&known, new.user.as_deref()) && known.record.sort == TokenSort::Session;
    if !own && !known.caller.may_all(Act::Administer, TOKEN) {
        let detail = "who has logged in makes tokens of his own (`user`: his name); others take the right to administer tokens";
        return Err(Refusal::forbidden(detail));
    }
    if let Some(role) = new.roles.iter().find(|role| !rooms.rights.has_role(role)) {
        let detail = format!("there is no role {role}");
        return Err(Refusal::new(
            422,
            "token",
            "such a token cannot be made",
            detail,
        ));
    }
    let groups = match own {
        true => known.record.groups.clone(),
        false => BTreeSet::new(),
    };
    let by = known.caller.name();
    let issued = rooms
        .rights
        .tokens
        .issue(new, TokenSort::Program, groups, by);
    let issued = issued.await?;
    let deed = deed(&issued.record);
    let mut response = (StatusCode::CREATED, Json(issued)).into_response();
    response.extensions_mut().insert(deed);
    Ok(response)
}

fn deed(record: &TokenRecord) -> Deed {
    Deed {
        actor: None,
        act: Act::Administer,
        kind: TOKEN.to_owned(),
        name: format!("{} ({})", record.name, record.id),
    }
}

/// Withdraw a token, by its id or its name: it is worth nothing from now on.
#[utoipa::path(delete, path = "/tokens/{token}", params(("token" = String, Path, description = "Its id, or the name of one only.")), responses(
    (status = 204, description = "It is withdrawn."),
    (status = 404, description = "No such token."),
    (status = 409, description = "Several have this name: say the id."),
))]
pub async fn revoke(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Path(which): Path<String>,
) -> Result<Response, Refusal> {
    let all = known.caller.may_all(Act::Administer, TOKEN);
    let tokens = rooms.rights.tokens.list().await?;
    let found: Vec<&TokenRecord> = tokens
        .iter()
        .filter(|token| all || is_own(&known, token.user.as_deref()))
        .filter(|token| token.id == which || token.name == which)
        .collect();
    let found = match found[..] {
        [] => return Err(Refusal::not_found(format!("token {which}"))),
        [one] => one,
        _ => {
            let ids: Vec<&str> = found.iter().map(|token| token.id.as_str()).collect();
            let detail = format!("{which} are {}: say which by its id", ids.join(", "));
            return Err(Refusal::new(
                409,
                "ambiguous",
                "several have this name",
                detail,
            ));
        }
    };
    rooms
        .rights
        .tokens
        .revoke(|token| token.id == found.id)
        .await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(deed(found));
    Ok(response)
}
