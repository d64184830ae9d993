//! Who calls, and what he may do.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wright_access::Act;

/// `POST /login`: a local user and his password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// His password.
    pub password: String,
}

/// The answer to a login.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// The bearer token.
    pub token: String,
    /// Whose.
    pub user: String,
    /// From when on it is worth nothing.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// `POST /login/oidc`: to log in through an identity provider.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginThrough {
    /// Its name; not needed where there is one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Where it sends the browser: an address of the caller's machine, `http://127.0.0.1:PORT/…`, or of
    /// this server.
    pub redirect: String,
}

/// The answer to `POST /login/oidc`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LoginBegun {
    /// Where the browser goes.
    pub url: String,
    /// What it comes back with, beside a code.
    pub state: String,
}

/// `POST /login/oidc/back`: what the browser came back with.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginBack {
    /// From [`LoginBegun`].
    pub state: String,
    /// From the provider.
    pub code: String,
}

/// `GET /whoami`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WhoAmI {
    /// As the audit calls the caller.
    pub name: String,
    /// The user, where it is one or a program of one.
    pub user: Option<String>,
    /// By which token or session.
    pub through: String,
    /// From when on that is worth nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The user's teams.
    pub teams: BTreeSet<String>,
    /// The roles.
    pub roles: Vec<HeldRole>,
    /// The token is for these kinds only; none: for all.
    pub kinds: BTreeSet<String>,
}

/// A role that somebody has.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HeldRole {
    /// Its name.
    pub role: String,
    /// Only for what these teams own; null: for everything.
    pub teams: Option<BTreeSet<String>>,
}

/// The answer to `GET /can`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Can {
    /// Whether the caller may.
    pub allowed: bool,
    /// In words.
    pub why: String,
}

/// The question of `GET /can`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanWhat {
    /// What is to be done.
    pub act: Act,
    /// To which kind.
    pub kind: String,
    /// To which of it; none: to some of it at least.
    pub name: Option<String>,
}

/// `POST /users`: a local user, or one whom an identity provider knows by this name.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewUser {
    /// The name.
    pub name: String,
    /// As people call him.
    #[serde(default)]
    pub full_name: String,
    /// Where he reads mail.
    #[serde(default)]
    pub email: String,
    /// His password; none: he cannot log in with one.
    #[serde(default)]
    pub password: Option<String>,
}

/// `PUT /users/{user}`: what is not said stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UserChange {
    /// As people call him.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// Where he reads mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether he is shut out, with every token he made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// `PUT /users/{user}/password`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The one he has; not needed from who administers users.
    #[serde(default)]
    pub current: Option<String>,
    /// The one he is to have.
    pub new: String,
}

/// What is known of a user.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UserView {
    /// The name.
    pub name: String,
    /// As people call him.
    pub full_name: String,
    /// Where he reads mail.
    pub email: String,
    /// Whether he is shut out.
    pub disabled: bool,
}
