use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wright_store::{Guard, Operation, Range, SharedStore};

use super::{
    Oidc, OidcError, Provider,
    fetch::encoded,
    provider::is_loopback,
    token::{Person, Tokens},
};

/// How long somebody may take at the provider.
const WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// Where begun logins are.
const PREFIX: &str = "login/";

/// A login that somebody has begun and not ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct Login {
    /// The provider's name.
    pub provider: String,
    redirect: String,
    verifier: String,
    nonce: String,
    until: Timestamp,
}

/// What a browser needs for the first half of a login.
#[derive(Debug)]
pub struct Begun {
    /// Where to send the browser.
    pub url: String,
    /// By what the second half is known.
    pub state: String,
}

fn random() -> String {
    let bits: [u8; 32] = rand::rng().random();
    URL_SAFE_NO_PAD.encode(bits)
}

/// What the store has of a state: nobody who reads the store ends somebody else's login.
fn key(state: &str) -> String {
    format!("{PREFIX}{}", wright_model::Digest::of(state.as_bytes()))
}

/// Where a provider may send somebody with a code: to the program that waits for it on his own machine,
/// or to the portal of this server.
fn check_redirect(redirect: &str, own: &str) -> Result<(), OidcError> {
    let parsed: Result<http::Uri, _> = redirect.parse();
    let loopback = parsed
        .is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(is_loopback));
    let portal = redirect
        .strip_prefix(own)
        .is_some_and(|rest| rest.starts_with('/'));
    match loopback || portal {
        true => Ok(()),
        false => Err(OidcError::Redirect(redirect.to_owned())),
    }
}

impl Oidc {
    /// Begins a login: where the browser goes. It comes back to `redirect` with a code. `own` is this
    /// server's URL.
    ///
    /// # Errors
    /// Where the provider does not answer or is not set up, or the redirect is another's.
    pub async fn begin(
        &self,
        store: &SharedStore,
        (name, provider): &(String, Provider),
        redirect: &str,
        own: &str,
    ) -> Result<Begun, OidcError> {
        check_redirect(redirect, own)?;
        let metadata = provider.metadata(&*self.fetch(provider)?).await?;
        let (state, now) = (random(), Timestamp::now());
        let login = Login {
            provider: name.clone(),
            redirect: redirect.to_owned(),
            verifier: random(),
            nonce: random(),
            until: now + WITHIN,
        };
        forget_late(store, now).await?;
        let value =
            serde_json::to_vec(&login).map_err(|error| OidcError::Setup(error.to_string()))?;
        let put = Operation::put(key(&state), value);
        store.commit(Vec::new(), vec![put]).await?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(login.verifier.as_bytes()));
        let scope = std::iter::once("openid").chain(provider.scopes.iter().map(String::as_str));
        let scope = scope.collect::<Vec<_>>().join(" ");
        let query = encoded(&[
            ("response_type", "code"),
            ("client_id", &provider.client_id),
            ("redirect_uri", redirect),
            ("scope", &scope),
            ("state", &state),
            ("nonce", &login.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let join = if metadata.authorization_endpoint.contains('?') {
            '&'
        } else {
            '?'
        };
        let url = format!("{}{join}{query}", metadata.authorization_endpoint);
        Ok(Begun { url, state })
    }

    /// Which login a state is of; it can be ended once.
    ///
    /// # Errors
    /// [`OidcError::Unknown`] where there is none.
    pub async fn take(&self, store: &SharedStore, state: &str) -> Result<Login, OidcError> {
        let key = key(state);
        let entry = store.get(key.as_bytes()).await?.ok_or(OidcError::Unknown)?;
        let mine = Guard::Modified(entry.key.clone(), entry.modified);
        let delete = Operation::Delete(entry.key);
        match store.commit(vec![mine], vec![delete]).await {
            Err(error) if error.is_refused() => return Err(OidcError::Unknown),
            taken => taken?,
        };
        let login: Login = serde_json::from_slice(&entry.value).map_err(|_| OidcError::Unknown)?;
        match Timestamp::now() < login.until {
            true => Ok(login),
            false => Err(OidcError::Unknown),
        }
    }

    /// Ends a login with the code that the provider gave: who it was.
    ///
    /// # Errors
    /// Where the provider does not give a token for the code, or the token does not prove who it is.
    pub async fn end(
        &self,
        provider: &Provider,
        login: &Login,
        code: &str,
    ) -> Result<Person, OidcError> {
        let fetch = self.fetch(provider)?;
        let metadata = provider.metadata(&fetch).await?;
        let tokens: Tokens = fetch
            .post(
                &metadata.token_endpoint,
                &[
                    ("grant_type", "authorization_code"),
                    ("code", code),
                    ("redirect_uri", &login.redirect),
                    ("client_id", &provider.client_id),
                    ("code_verifier", &login.verifier),
                ],
            )
            .await?;
        let keys = fetch.get(&metadata.jwks_uri).await?;
        tokens.prove(provider, &keys, &login.nonce)
    }
}

/// Forgets logins that were begun and not ended in time.
async fn forget_late(store: &SharedStore, now: Timestamp) -> Result<(), OidcError> {
    let page = store.range(Range::prefix(PREFIX), 1000, None).await?;
    let late = page.entries.into_iter().filter(|entry| {
        let login: Result<Login, _> = serde_json::from_slice(&entry.value);
        login.is_ok_and(|login| login.until <= now)
    });
    let deletes: Vec<Operation> = late.map(|entry| Operation::Delete(entry.key)).collect();
    if !deletes.is_empty() {
        store.commit(Vec::new(), deletes).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_goes_only_to_the_machine_of_who_logs_in_or_to_this_server() {
        let own = "https://10.0.0.1:7400";
        for good in [
            "http://127.0.0.1:5000/back",
            "http://[::1]:5000/",
            "https://10.0.0.1:7400/login",
        ] {
            assert!(check_redirect(good, own).is_ok(), "{good}");
        }
        for bad in [
            "https://evil.example/",
            "http://10.0.0.9/",
            "http://127.0.0.1.evil.example/",
            "http://localhost.evil.example/",
            "https://10.0.0.1:74001/",
            "https://10.0.0.1:7400.evil.example/",
            "javascript:alert(1)",
            "",
        ] {
            assert!(check_redirect(bad, own).is_err(), "{bad}");
        }
    }
}
