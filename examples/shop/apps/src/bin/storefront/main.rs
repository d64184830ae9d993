//! The shop as people see it. Keeps nothing itself: who somebody is and what is in the cart is known by
//! cookie to the user and cart apps, so any instance can answer any request.

mod account;
mod browse;
mod buy;
mod pages;
mod visitor;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use http::header;
use pages::Pages;
use serde::Deserialize;
use shop::app::{self, App};
use shop::config::{Config, ConfigError};
use shop::services::Services;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    listen: SocketAddr,
    lookup: String,
    #[serde(default)]
    parameters: Parameters,
}

/// What the shop is called and how it shows things.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Parameters {
    name: String,
    currency: String,
    page_size: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            name: "Larkhill".into(),
            currency: "EUR".into(),
            page_size: 24,
        }
    }
}

impl Config for Settings {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

/// What every handler needs.
#[derive(Clone)]
struct Shop {
    services: Services,
    pages: Arc<Pages>,
    page_size: u32,
}

fn main() -> ExitCode {
    app::main(async |settings: Settings| {
        let Parameters {
            name,
            currency,
            page_size,
        } = settings.parameters;
        let pages = Pages::new(name, currency).map_err(|error| ConfigError::Value {
            field: "templates",
            detail: error.to_string(),
        })?;
        let shop = Shop {
            services: Services::open(&settings.lookup)?,
            pages: Arc::new(pages),
            page_size,
        };
        let fixed = |kind: &'static str, text: &'static str| {
            get(async move || {
                (
                    [
                        (header::CONTENT_TYPE, kind),
                        (header::CACHE_CONTROL, "max-age=300"),
                    ],
                    text,
                )
            })
        };
        let router = Router::new()
            .route("/", get(browse::home))
            .route("/category/{slug}", get(browse::category))
            .route("/product/{sku}", get(browse::product))
            .route("/search", get(browse::search))
            .route("/cart", get(buy::cart).post(buy::put_in_cart))
            .route("/checkout", get(buy::checkout).post(buy::order))
            .route("/orders", get(buy::orders))
            .route("/orders/{id}", get(buy::show_order))
            .route("/orders/{id}/pay", post(buy::pay))
            .route("/sign-in", get(account::form).post(account::sign_in))
            .route("/sign-up", get(account::form).post(account::sign_up))
            .route("/sign-out", post(account::sign_out))
            .route("/account", get(account::show))
            .fallback(browse::nothing)
            .layer(middleware::from_fn_with_state(shop.clone(), pages::explain))
            .route(
                "/style.css",
                fixed("text/css", include_str!("../../../templates/style.css")),
            )
            .route(
                "/icon.svg",
                fixed("image/svg+xml", include_str!("../../../templates/icon.svg")),
            )
            .with_state(shop);
        Ok(App::new(settings.listen, router))
    })
}
