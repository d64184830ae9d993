//! People who show an identity provider who they are: OpenID Connect (Core 1.0), the authorization code
//! flow with PKCE (RFC 7636), for browsers and, by a redirect to a loopback address (RFC 8252), for the
//! command line.
//!
//! A provider is a resource of the kind `identity-provider`. What a login needs between its two halves
//! is in the store, so that any server takes up what another began.

mod begun;
mod fetch;
mod provider;
#[cfg(test)]
mod tests;
mod token;

pub use provider::{Provider, provider};
pub use token::Person;

use std::sync::{Arc, Mutex, PoisonError};

use wright_store::StoreError;

use fetch::Fetch;

/// Why somebody could not log in through an identity provider.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The provider's resource, or what it says of itself, is not what it should be.
    #[error("the identity provider is not set up as it should be: {0}")]
    Setup(String),
    /// It does not answer, or with something else.
    #[error("the identity provider does not answer as it should: {0}")]
    Provider(String),
    /// The login was not begun here, is over, or took too long.
    #[error("this login was not begun here, was ended already, or took longer than ten minutes")]
    Unknown,
    /// Where the provider should send people back is not theirs.
    #[error(
        "{0:?} is not http://127.0.0.1:PORT/…, http://[::1]:PORT/… or this server's own address"
    )]
    Redirect(String),
    /// The token does not prove what it should.
    #[error("the identity provider's token is not good: {0}")]
    Token(String),
}

/// What is kept between logins: the connection to the last provider.
#[derive(Debug, Default)]
pub struct Oidc {
    fetch: Mutex<Option<(Provider, Arc<Fetch>)>>,
}

impl Oidc {
    /// How to talk to a provider.
    fn fetch(&self, provider: &Provider) -> Result<Arc<Fetch>, OidcError> {
        let mut kept = self.fetch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, fetch)) = kept.as_ref().filter(|(known, _)| known == provider) {
            return Ok(fetch.clone());
        }
        let fetch = Arc::new(Fetch::new(&provider.ca)?);
        *kept = Some((provider.clone(), fetch.clone()));
        Ok(fetch)
    }
}
