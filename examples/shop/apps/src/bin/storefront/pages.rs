//! From values to pages.

use crate::Shop;
use crate::visitor::{Visitor, wants_json};
use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::header;
use http_body_util::BodyExt;
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde_json::json;
use shop::assortment::CATEGORIES;
use shop::failure::Failure;
use shop::nouns::Category;
use shop::pictures;
use std::sync::{PoisonError, RwLock};

const TEMPLATES: [(&str, &str); 14] = [
    ("base.html", include_str!("../../../templates/base.html")),
    ("cards.html", include_str!("../../../templates/cards.html")),
    (
        "summary.html",
        include_str!("../../../templates/summary.html"),
    ),
    ("badge.html", include_str!("../../../templates/badge.html")),
    ("home.html", include_str!("../../../templates/home.html")),
    (
        "listing.html",
        include_str!("../../../templates/listing.html"),
    ),
    (
        "product.html",
        include_str!("../../../templates/product.html"),
    ),
    ("cart.html", include_str!("../../../templates/cart.html")),
    (
        "checkout.html",
        include_str!("../../../templates/checkout.html"),
    ),
    (
        "orders.html",
        include_str!("../../../templates/orders.html"),
    ),
    ("order.html", include_str!("../../../templates/order.html")),
    ("sign.html", include_str!("../../../templates/sign.html")),
    (
        "account.html",
        include_str!("../../../templates/account.html"),
    ),
    ("error.html", include_str!("../../../templates/error.html")),
];

/// The templates, and what every page shows.
pub struct Pages {
    environment: Environment<'static>,
    name: String,
    currency: String,
    /// The last categories heard of, for the bar on top of every page.
    categories: RwLock<Vec<Category>>,
}

impl Pages {
    pub fn new(name: String, currency: String) -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        for (name, source) in TEMPLATES {
            environment.add_template(name, source)?;
        }
        environment.add_filter("money", money);
        environment.add_filter("number", |id: String| number(&id));
        environment.add_filter("date", date);
        environment.add_function("picture", |motif: String, hue: u16| {
            Value::from_safe_string(pictures::picture(&motif, hue))
        });
        let categories = CATEGORIES.map(|(slug, title, line, motif, hue)| Category {
            slug: slug.into(),
            title: title.into(),
            line: line.into(),
            motif: motif.into(),
            hue,
        });
        Ok(Self {
            environment,
            name,
            currency,
            categories: RwLock::new(categories.into()),
        })
    }

    pub fn remember(&self, categories: &[Category]) {
        *self
            .categories
            .write()
            .unwrap_or_else(PoisonError::into_inner) = categories.to_vec();
    }

    pub fn categories(&self) -> Vec<Category> {
        self.categories
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The page of that name about `content`, or `content` itself for whoever wants JSON.
    pub fn show(
        &self,
        visitor: &Visitor,
        name: &str,
        content: serde_json::Value,
    ) -> Result<Response, Failure> {
        if visitor.json {
            return Ok(Json(content).into_response());
        }
        let common = context! {
            shop => self.name.as_str(),
            currency => self.currency.as_str(),
            categories => Value::from(Serde(self.categories())),
            account => Value::from(Serde(visitor.account())),
            cart_count => visitor.count(),
        };
        let content = Value::from(Serde(&content));
        let page = self
            .environment
            .get_template(name)?
            .render(context! { ..content, ..common })?;
        Ok(Html(page).into_response())
    }
}

/// Onwards to another page, or the outcome itself for whoever wants JSON.
pub fn onwards(visitor: &Visitor, to: &str, outcome: serde_json::Value) -> Response {
    if visitor.json {
        Json(outcome).into_response()
    } else {
        Redirect::to(to).into_response()
    }
}

/// Turns a problem into a page, for people.
pub async fn explain(State(shop): State<Shop>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let response = next.run(request).await;
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    if wants_json(&headers) || kind != Some("application/problem+json") {
        return response;
    }
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let content = json!({
        "status": status.as_u16(),
        "title": status.canonical_reason().unwrap_or("Error"),
        "detail": problem.get("detail").cloned().unwrap_or_default(),
    });
    let visitor = Visitor::of(&shop, &headers).await;
    match shop.pages.show(&visitor, "error.html", content) {
        Ok(page) => (status, page).into_response(),
        Err(error) => error.into_response(),
    }
}

fn money(cents: i64, currency: String) -> String {
    let sign = match currency.as_str() {
        "EUR" => "€",
        "USD" => "$",
        "GBP" => "£",
        other => return format!("{}.{:02} {other}", cents / 100, cents % 100),
    };
    let whole = (cents / 100).to_string();
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}.{:02}", cents % 100)
}

/// The part of an order's identity that people read to each other.
fn number(id: &str) -> String {
    id.get(id.len().saturating_sub(8)..)
        .unwrap_or(id)
        .to_uppercase()
}

fn date(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|time| time.strftime("%-d %b %Y, %H:%M UTC").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_grouped_and_has_two_places() {
        assert_eq!(money(249_005, "EUR".into()), "€2,490.05");
        assert_eq!(money(1_234_567_800, "USD".into()), "$12,345,678.00");
        assert_eq!(money(5, "CHF".into()), "0.05 CHF");
    }

    #[test]
    fn every_template_compiles() {
        assert!(Pages::new("x".into(), "EUR".into()).is_ok());
    }
}
