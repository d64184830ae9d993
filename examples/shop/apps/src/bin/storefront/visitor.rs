//! Who asks, what is in their cart, and whether they want pages or JSON.

use crate::Shop;
use http::{HeaderMap, HeaderValue, header};
use shop::failure::Failure;
use shop::nouns::{Account, Item};

pub struct Visitor {
    /// Wants JSON rather than pages.
    pub json: bool,
    /// The session's token, if there is a session.
    pub session: Option<String>,
    /// The cart's identity, if there is a cart.
    pub cart: Option<String>,
    /// Who it is; an error when that could not be found out.
    account: Result<Option<Account>, Failure>,
    items: Result<Vec<Item>, Failure>,
}

/// Whether a request asks for JSON.
pub fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
}

/// Whether a text may stand in a path as it is.
pub fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, value)| *key == name && is_plain(value))
        .map(|(_, value)| value.to_owned())
}

/// A cookie to set; an empty value forgets it.
pub fn set_cookie(name: &str, value: &str, days: u32) -> Option<HeaderValue> {
    let age = if value.is_empty() {
        0
    } else {
        u64::from(days) * 86_400
    };
    HeaderValue::from_str(&format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}"
    ))
    .ok()
}

impl Visitor {
    /// Asks the user and cart apps.
    pub async fn of(shop: &Shop, headers: &HeaderMap) -> Self {
        let (session, cart) = (cookie(headers, "session"), cookie(headers, "cart"));
        let account = async {
            let Some(token) = &session else {
                return Ok(None);
            };
            match shop
                .services
                .get("user", format!("/sessions/{token}"))
                .await
            {
                Ok(account) => Ok(Some(account)),
                Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        let items = async {
            let Some(cart) = &cart else {
                return Ok(Vec::new());
            };
            Ok(shop.services.get("cart", format!("/carts/{cart}")).await?)
        };
        let (account, items) = tokio::join!(account, items);
        Self {
            json: wants_json(headers),
            session,
            cart,
            account,
            items,
        }
    }

    /// Who it is, for a page that can do without knowing.
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref().ok().and_then(Option::as_ref)
    }

    /// Who it is, for what needs an account; none when nobody is signed in.
    pub fn known(&mut self) -> Result<Option<Account>, Failure> {
        std::mem::replace(&mut self.account, Ok(None))
            .inspect(|account| self.account = Ok(account.clone()))
    }

    /// How many things are in the cart.
    pub fn count(&self) -> u32 {
        self.items
            .as_ref()
            .map_or(0, |items| items.iter().map(|item| item.quantity).sum())
    }

    /// What is in the cart, for what needs it.
    pub fn items(&mut self) -> Result<Vec<Item>, Failure> {
        std::mem::replace(&mut self.items, Ok(Vec::new()))
            .inspect(|items| self.items = Ok(items.clone()))
    }

    /// The cart's new content.
    pub fn replace_items(&mut self, items: Vec<Item>) {
        self.items = Ok(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_among_others_and_strange_ones_ignored() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            HeaderValue::from_static("a=b; cart=0-f; session=../x"),
        );
        assert_eq!(cookie(&headers, "cart").as_deref(), Some("0-f"));
        assert_eq!(cookie(&headers, "session"), None);
    }
}
