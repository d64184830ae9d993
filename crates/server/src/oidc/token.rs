use std::collections::BTreeSet;

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{OidcError, Provider};

/// Signatures by a key of which only the provider has the other half. None with a shared secret.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::EdDSA,
];
/// The longest name of a user or a group, characters, and the most groups.
const MAX_NAME: usize = 100;
const MAX_GROUPS: usize = 1000;

/// The answer of the token endpoint.
#[derive(Deserialize)]
pub(super) struct Tokens {
    id_token: String,
}

/// Somebody whom a provider knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name that he is to have here.
    pub user: String,
    /// Who he is to the provider, for ever: issuer and subject.
    pub identity: String,
    /// His groups.
    pub groups: BTreeSet<String>,
    /// As people call him.
    pub full_name: String,
    /// Where he reads mail.
    pub email: String,
}

impl Tokens {
    /// Whom the ID token proves (OpenID Connect Core 1.0, 3.1.3.7).
    pub(super) fn prove(
        &self,
        provider: &Provider,
        keys: &JwkSet,
        nonce: &str,
    ) -> Result<Person, OidcError> {
        let bad = |error: jsonwebtoken::errors::Error| OidcError::Token(error.to_string());
        let header = decode_header(&self.id_token).map_err(bad)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(OidcError::Token(format!(
                "it is signed with {:?}",
                header.alg
            )));
        }
        let key = key(keys, header.kid.as_deref())?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[&provider.client_id]);
        validation.set_issuer(&[&provider.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let key = DecodingKey::from_jwk(key).map_err(bad)?;
        let claims = decode::<Map<String, Value>>(&self.id_token, &key, &validation);
        let claims = claims.map_err(bad)?.claims;
        let text = |claim: &str| {
            claims
                .get(claim)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if text("nonce") != nonce {
            return Err(OidcError::Token("it was made for another login".to_owned()));
        }
        let authorized = text("azp");
        if !authorized.is_empty() && authorized != provider.client_id {
            return Err(OidcError::Token(format!("it was made for {authorized:?}")));
        }
        person(provider, &claims)
    }
}

fn key<'a>(keys: &'a JwkSet, id: Option<&str>) -> Result<&'a Jwk, OidcError> {
    let found = match id {
        Some(id) => keys.find(id),
        None => keys.keys.first().filter(|_| keys.keys.len() == 1),
    };
    found.ok_or_else(|| {
        OidcError::Token("it is signed with a key that the provider does not show".to_owned())
    })
}

fn person(provider: &Provider, claims: &Map<String, Value>) -> Result<Person, OidcError> {
    let text = |claim: &str| {
        let text = claims
            .get(claim)
            .and_then(Value::as_str)
            .unwrap_or_default();
        text.to_owned()
    };
    let user = text(&provider.user_claim);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
    if user.is_empty() || user.len() > MAX_NAME || !user.chars().all(allowed) {
        return Err(OidcError::Token(format!(
            "its claim {} is {user:?}: 1 to {MAX_NAME} of letters, digits and -._@ were expected",
            provider.user_claim
        )));
    }
    let groups = match claims.get(&provider.groups_claim) {
        Some(Value::Array(groups)) => {
            let names = groups.iter().filter_map(Value::as_str);
            names.take(MAX_GROUPS).map(str::to_owned).collect()
        }
        Some(Value::String(group)) => BTreeSet::from([group.clone()]),
        _ => BTreeSet::new(),
    };
    Ok(Person {
        user,
        identity: format!("{}#{}", provider.issuer, text("sub")),
        groups,
        full_name: text("name"),
        email: text("email"),
    })
}
