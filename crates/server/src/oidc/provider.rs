use serde::{Deserialize, Serialize};
use wright_inventory::{Inventory, InventoryError};

use super::{OidcError, fetch::Fetch};

/// The kind of identity providers.
const KIND: &str = "identity-provider";

/// An identity provider: the body of its resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Provider {
    /// Its issuer identifier, `https://…`; `http://` only on a loopback address.
    pub issuer: String,
    /// As whom it knows this installation: a public client.
    pub client_id: String,
    /// What is asked of it beside `openid`.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The claim with the user's name.
    #[serde(default = "user_claim")]
    pub user_claim: String,
    /// The claim with the user's groups.
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
    /// An authority to trust beside the machine's, PEM.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ca: String,
}

fn scopes() -> Vec<String> {
    ["profile", "email", "groups"].map(str::to_owned).to_vec()
}

fn user_claim() -> String {
    "preferred_username".to_owned()
}

fn groups_claim() -> String {
    "groups".to_owned()
}

/// What a provider says of itself (OpenID Connect Discovery 1.0, 3).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub jwks_uri: String,
}

/// A provider by the name of its resource; without a name, the only one.
///
/// # Errors
/// Where the inventory fails.
pub async fn provider(
    inventory: &Inventory,
    name: Option<&str>,
) -> Result<Option<(String, Provider)>, InventoryError> {
    if let Some(name) = name {
        let provider = inventory.get_as::<Provider>(KIND, name).await?;
        return Ok(provider.map(|provider| (name.to_owned(), provider)));
    }
    let mut all = inventory.list_named_as::<Provider>(KIND).await?;
    let only = all.pop();
    Ok(only.filter(|_| all.is_empty()))
}

impl Provider {
    /// Asks it what it is.
    pub(super) async fn metadata(&self, fetch: &Fetch) -> Result<Metadata, OidcError> {
        check_url(&self.issuer)?;
        let url = format!(
            "{}/.well-known/openid-configuration",
            self.issuer.trim_end_matches('/')
        );
        let metadata: Metadata = fetch.get(&url).await?;
        if metadata.issuer != self.issuer {
            return Err(OidcError::Setup(format!(
                "its issuer is {:?}, not {:?}",
                metadata.issuer, self.issuer
            )));
        }
        for url in [
            &metadata.authorization_endpoint,
            &metadata.token_endpoint,
            &metadata.jwks_uri,
        ] {
            check_url(url)?;
        }
        Ok(metadata)
    }
}

/// A provider's URL is HTTPS, or does not leave the machine.
fn check_url(url: &str) -> Result<(), OidcError> {
    let parsed: Result<http::Uri, _> = url.parse();
    let good = parsed.is_ok_and(|uri| match uri.scheme_str() {
        Some("https") => uri.host().is_some(),
        Some("http") => uri.host().is_some_and(is_loopback),
        _ => false,
    });
    match good {
        true => Ok(()),
        false => Err(OidcError::Setup(format!(
            "{url:?} is not https://…, nor http:// on a loopback address"
        ))),
    }
}

/// Whether it is an address of this machine alone.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    address.is_ok_and(|address| address.is_loopback())
}
