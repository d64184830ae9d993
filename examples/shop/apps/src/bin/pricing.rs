//! What things cost: offers, shipping and tax. Keeps nothing; list prices come from the catalog.

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use shop::app::{self, App};
use shop::config::Config;
use shop::failure::Failure;
use shop::nouns::{Item, Line, Price, Product, Quote};
use shop::services::Services;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    listen: SocketAddr,
    lookup: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Parameters {
    currency: String,
    tax_percent: i64,
    shipping_cents: i64,
    free_shipping_from_cents: i64,
    offer_category: String,
    offer_percent: i64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            currency: "EUR".into(),
            tax_percent: 21,
            shipping_cents: 495,
            free_shipping_from_cents: 7500,
            offer_category: "lighting".into(),
            offer_percent: 15,
        }
    }
}

impl Config for Settings {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

#[derive(Clone)]
struct Pricing {
    services: Services,
    rules: Parameters,
}

fn main() -> ExitCode {
    app::main(async |settings: Settings| {
        let pricing = Pricing {
            services: Services::open(&settings.lookup)?,
            rules: settings.parameters,
        };
        let router = Router::new()
            .route("/price/{sku}", get(price))
            .route("/prices", get(prices))
            .route("/quote", post(quote))
            .with_state(pricing);
        Ok(App::new(settings.listen, router))
    })
}

impl Pricing {
    async fn products(&self, skus: &[&str]) -> Result<Vec<Product>, Failure> {
        if skus.is_empty() {
            return Ok(Vec::new());
        }
        let path = format!("/products?limit=1000&skus={}", skus.join(","));
        Ok(self.services.get("catalog", path).await?)
    }
}

fn priced(product: &Product, rules: &Parameters) -> Price {
    let list_cents = product.price_cents;
    let offered = product.category == rules.offer_category;
    let percent = if offered {
        100 - rules.offer_percent.clamp(0, 90)
    } else {
        100
    };
    Price {
        sku: product.sku.clone(),
        list_cents,
        unit_cents: list_cents * percent / 100,
    }
}

/// Prices contain tax, so the tax is the part of the total that is not net.
fn quoted(items: &[Item], products: &[Product], rules: &Parameters) -> Result<Quote, Failure> {
    let mut merged: BTreeMap<&str, u32> = BTreeMap::new();
    for item in items {
        let quantity = merged.entry(&item.sku).or_default();
        *quantity = quantity.saturating_add(item.quantity);
    }
    if merged.is_empty() {
        return Err(Failure::Invalid("nothing to be priced".into()));
    }
    let mut lines = Vec::with_capacity(merged.len());
    for (sku, quantity) in merged {
        if !(1..=1000).contains(&quantity) {
            return Err(Failure::Invalid(format!(
                "quantity of {sku}: expected 1 to 1000, not {quantity}"
            )));
        }
        let product = products
            .iter()
            .find(|product| product.sku == sku)
            .ok_or_else(|| Failure::Invalid(format!("no product {sku}")))?;
        let unit_cents = priced(product, rules).unit_cents;
        let total_cents = unit_cents * i64::from(quantity);
        lines.push(Line {
            sku: sku.to_owned(),
            name: product.name.clone(),
            quantity,
            unit_cents,
            total_cents,
        });
    }
    let goods_cents = lines.iter().map(|line| line.total_cents).sum();
    let shipping_cents = if goods_cents >= rules.free_shipping_from_cents {
        0
    } else {
        rules.shipping_cents
    };
    let total_cents = goods_cents + shipping_cents;
    let tax_cents = total_cents - total_cents * 100 / (100 + rules.tax_percent.clamp(0, 100));
    Ok(Quote {
        lines,
        goods_cents,
        shipping_cents,
        tax_cents,
        total_cents,
        currency: rules.currency.clone(),
    })
}

async fn price(
    State(pricing): State<Pricing>,
    Path(sku): Path<String>,
) -> Result<Json<Price>, Failure> {
    let products = pricing.products(&[&sku]).await?;
    let product = products
        .first()
        .ok_or_else(|| Failure::NotFound(format!("no product {sku}")))?;
    Ok(Json(priced(product, &pricing.rules)))
}

#[derive(Deserialize)]
struct Asked {
    skus: String,
}

async fn prices(
    State(pricing): State<Pricing>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Price>>, Failure> {
    let skus: Vec<&str> = asked
        .skus
        .split(',')
        .filter(|sku| !sku.is_empty())
        .collect();
    let products = pricing.products(&skus).await?;
    Ok(Json(
        products
            .iter()
            .map(|product| priced(product, &pricing.rules))
            .collect(),
    ))
}

async fn quote(
    State(pricing): State<Pricing>,
    Json(items): Json<Vec<Item>>,
) -> Result<Json<Quote>, Failure> {
    let skus: Vec<&str> = items.iter().map(|item| item.sku.as_str()).collect();
    let products = pricing.products(&skus).await?;
    Ok(Json(quoted(&items, &products, &pricing.rules)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(sku: &str, category: &str, price_cents: i64) -> Product {
        Product {
            sku: sku.into(),
            name: sku.into(),
            category: category.into(),
            description: String::new(),
            price_cents,
            motif: String::new(),
            hue: 0,
        }
    }

    fn item(sku: &str, quantity: u32) -> Item {
        Item {
            sku: sku.into(),
            quantity,
        }
    }

    #[test]
    fn lines_of_one_product_are_merged_and_shipping_is_free_from_a_sum_on() {
        let products = [
            product("a", "kitchen", 1000),
            product("b", "lighting", 1000),
        ];
        let quote = |items: &[Item]| quoted(items, &products, &Parameters::default()).unwrap();
        let small = quote(&[item("a", 1), item("a", 1), item("b", 1)]);
        assert_eq!(
            (small.lines.len(), small.goods_cents, small.total_cents),
            (2, 2850, 3345)
        );
        assert_eq!(small.tax_cents, 3345 - 2764);
        assert_eq!(quote(&[item("a", 8)]).shipping_cents, 0);
    }

    #[test]
    fn what_cannot_be_priced_is_refused() {
        let products = [product("a", "kitchen", 1000)];
        for items in [
            vec![],
            vec![item("a", 0)],
            vec![item("a", 1001)],
            vec![item("x", 1)],
        ] {
            assert!(
                quoted(&items, &products, &Parameters::default()).is_err(),
                "{items:?}"
            );
        }
    }
}
