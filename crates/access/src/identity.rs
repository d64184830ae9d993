use std::collections::BTreeSet;

/// By whom a request is made, as far as a token, a password or an identity provider proves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// As it is written in the audit: `ada`, `token/ci`.
    pub name: String,
    /// The user, where there is one.
    pub user: Option<String>,
    /// His groups, as the identity provider tells them.
    pub groups: BTreeSet<String>,
    /// Roles of his own, beside those that bindings give.
    pub roles: Vec<String>,
    /// What narrows it all.
    pub scope: Scope,
}

/// What narrows a token's rights; an empty part narrows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only these kinds.
    pub kinds: BTreeSet<String>,
    /// Only what these teams own.
    pub teams: BTreeSet<String>,
    /// Only what is allowed by these of the user's roles.
    pub roles: BTreeSet<String>,
}

impl Identity {
    /// A user who has shown his password.
    pub fn user(name: &str) -> Self {
        Identity {
            name: name.to_owned(),
            user: Some(name.to_owned()),
            ..Identity::default()
        }
    }
}
