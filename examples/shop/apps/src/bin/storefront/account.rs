//! Signing up, in and out, and what the shop knows of a person.

use crate::Shop;
use crate::browse::if_there;
use crate::buy::sign_in_first;
use crate::pages::onwards;
use crate::visitor::{Visitor, set_cookie};
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, header};
use serde::Deserialize;
use serde_json::json;
use shop::failure::Failure;
use shop::nouns::{Account, Mail, Order, Session};
use shop::services::{Call, CallError, query_value};

#[derive(Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub struct Credentials {
    #[serde(default)]
    name: String,
    email: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// Where to go after signing in: only ever a page of this shop.
fn onwards_to(next: &str) -> &str {
    if next.starts_with('/') && !next.starts_with("//") && !next.contains('\\') {
        next
    } else {
        "/"
    }
}

pub async fn form(
    State(shop): State<Shop>,
    Query(query): Query<Next>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let visitor = Visitor::of(&shop, &headers).await;
    shop.pages
        .show(&visitor, "sign.html", json!({ "next": query.next }))
}

async fn open_session(shop: &Shop, credentials: &Credentials) -> Result<Session, CallError> {
    let body = json!({ "email": credentials.email, "password": credentials.password });
    shop.services
        .call(Call::new(Method::POST, "user", "/sessions").json(&body))
        .await
}

/// The form again with what was wrong, or back to the shop with a session.
fn signed(
    shop: &Shop,
    visitor: &Visitor,
    given: &Credentials,
    outcome: Result<Session, CallError>,
) -> Result<Response, Failure> {
    let session = match outcome {
        Ok(session) => session,
        Err(error)
            if !visitor.json
                && error
                    .status()
                    .is_some_and(|status| status.is_client_error()) =>
        {
            let content = json!({
                "error": error.detail(), "email": given.email, "name": given.name, "next": given.next,
            });
            let page = shop.pages.show(visitor, "sign.html", content)?;
            return Ok((error.status().unwrap_or_default(), page).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let mut response = onwards(
        visitor,
        onwards_to(&given.next),
        json!({ "account": session.account }),
    );
    if let Some(cookie) = set_cookie("session", &session.token, 1) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

pub async fn sign_in(
    State(shop): State<Shop>,
    headers: HeaderMap,
    Form(given): Form<Credentials>,
) -> Result<Response, Failure> {
    let (visitor, outcome) =
        tokio::join!(Visitor::of(&shop, &headers), open_session(&shop, &given));
    signed(&shop, &visitor, &given, outcome)
}

pub async fn sign_up(
    State(shop): State<Shop>,
    headers: HeaderMap,
    Form(given): Form<Credentials>,
) -> Result<Response, Failure> {
    let visitor = Visitor::of(&shop, &headers).await;
    let body = json!({ "name": given.name, "email": given.email, "password": given.password });
    let made: Result<Account, _> = shop
        .services
        .call(Call::new(Method::POST, "user", "/users").json(&body))
        .await;
    let outcome = match made {
        Ok(_) => open_session(&shop, &given).await,
        Err(error) => Err(error),
    };
    signed(&shop, &visitor, &given, outcome)
}

pub async fn sign_out(State(shop): State<Shop>, headers: HeaderMap) -> Result<Response, Failure> {
    let visitor = Visitor::of(&shop, &headers).await;
    if let Some(token) = &visitor.session {
        let _: () = shop
            .services
            .call(Call::new(
                Method::DELETE,
                "user",
                format!("/sessions/{token}"),
            ))
            .await?;
    }
    let mut response = onwards(&visitor, "/", json!({ "account": null }));
    if let Some(cookie) = set_cookie("session", "", 0) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

pub async fn show(State(shop): State<Shop>, headers: HeaderMap) -> Result<Response, Failure> {
    let mut visitor = Visitor::of(&shop, &headers).await;
    let Some(account) = visitor.known()? else {
        return Ok(sign_in_first(&visitor, "/account"));
    };
    let (orders, mails) = tokio::join!(
        shop.services
            .get::<Vec<Order>>("order", format!("/orders?account={}", account.id)),
        if_there(shop.services.get::<Vec<Mail>>(
            "notification",
            format!("/mails?email={}", query_value(&account.email))
        )),
    );
    shop.pages.show(
        &visitor,
        "account.html",
        json!({ "account": account, "orders": orders?, "mails": mails }),
    )
}

#[cfg(test)]
mod tests {
    use super::onwards_to;

    #[test]
    fn signing_in_never_leads_to_another_site() {
        assert_eq!(onwards_to("/checkout"), "/checkout");
        for elsewhere in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
        ] {
            assert_eq!(onwards_to(elsewhere), "/", "{elsewhere}");
        }
    }
}
