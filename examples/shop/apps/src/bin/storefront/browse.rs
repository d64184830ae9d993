//! Looking around. What is only nice to have (offers, stock, recommendations) is left out of a page
//! when its app does not answer, so that the page is there.

use crate::Shop;
use crate::visitor::{Visitor, is_plain};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop::failure::Failure;
use shop::nouns::{Category, Level, Price, Product};
use shop::services::{CallError, query_value};
use std::time::Duration;

/// How long a page waits for what it can do without.
const NICE_TO_HAVE: Duration = Duration::from_millis(1500);

/// A product as it is shown.
#[derive(Serialize)]
pub struct Card {
    #[serde(flatten)]
    product: Product,
    list_cents: i64,
    unit_cents: i64,
    available: Option<i64>,
}

/// What came in time, or nothing.
pub async fn if_there<T: Default>(what: impl Future<Output = Result<T, CallError>>) -> T {
    match tokio::time::timeout(NICE_TO_HAVE, what).await {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            tracing::warn!(%error, "page is made without it");
            T::default()
        }
        Err(_) => T::default(),
    }
}

/// Products with their prices and stock.
pub async fn cards(shop: &Shop, products: Vec<Product>) -> Vec<Card> {
    if products.is_empty() {
        return Vec::new();
    }
    let skus: Vec<&str> = products
        .iter()
        .map(|product| product.sku.as_str())
        .collect();
    let skus = skus.join(",");
    let (prices, levels) = tokio::join!(
        if_there(
            shop.services
                .get::<Vec<Price>>("pricing", format!("/prices?skus={skus}"))
        ),
        if_there(
            shop.services
                .get::<Vec<Level>>("stock", format!("/stock?skus={skus}"))
        ),
    );
    let card = |product: Product| {
        let price = prices.iter().find(|price| price.sku == product.sku);
        let level = levels.iter().find(|level| level.sku == product.sku);
        Card {
            list_cents: price.map_or(product.price_cents, |price| price.list_cents),
            unit_cents: price.map_or(product.price_cents, |price| price.unit_cents),
            available: level.map(|level| level.available),
            product,
        }
    };
    products.into_iter().map(card).collect()
}

/// The products of those names, in that order.
pub async fn by_skus(shop: &Shop, skus: &[String]) -> Vec<Card> {
    if skus.is_empty() {
        return Vec::new();
    }
    let path = format!("/products?skus={}", skus.join(","));
    let mut products: Vec<Product> = if_there(shop.services.get("catalog", path)).await;
    products.sort_by_key(|product| skus.iter().position(|sku| *sku == product.sku));
    cards(shop, products).await
}

pub async fn home(State(shop): State<Shop>, headers: HeaderMap) -> Result<Response, Failure> {
    let visitor = Visitor::of(&shop, &headers);
    let categories = shop.services.get::<Vec<Category>>("catalog", "/categories");
    let products = shop
        .services
        .get::<Vec<Product>>("catalog", "/products?limit=200");
    let best = if_there(
        shop.services
            .get::<Vec<String>>("recommendation", "/best-sellers"),
    );
    let (visitor, categories, products, best) = tokio::join!(visitor, categories, products, best);
    let (categories, products) = (categories?, products?);
    shop.pages.remember(&categories);
    // Every seventh product: a bit of every category, the same on every instance.
    let picked: Vec<Product> = products
        .iter()
        .skip(3)
        .step_by(7)
        .take(8)
        .cloned()
        .collect();
    let still: Vec<Product> = products.iter().step_by(11).take(6).cloned().collect();
    let (products, best_sellers) = tokio::join!(cards(&shop, picked), by_skus(&shop, &best));
    let content = json!({ "products": products, "best_sellers": best_sellers, "still": still, "categories": categories });
    shop.pages.show(&visitor, "home.html", content)
}

pub async fn category(
    State(shop): State<Shop>,
    Path(slug): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let nothing = || Failure::NotFound(format!("There is no category {slug}."));
    if !is_plain(&slug) {
        return Err(nothing());
    }
    let path = format!("/products?category={slug}&limit={}", shop.page_size);
    let (visitor, categories, products) = tokio::join!(
        Visitor::of(&shop, &headers),
        shop.services.get::<Vec<Category>>("catalog", "/categories"),
        shop.services.get::<Vec<Product>>("catalog", path),
    );
    let categories = categories?;
    shop.pages.remember(&categories);
    let category = categories
        .into_iter()
        .find(|category| category.slug == slug)
        .ok_or_else(nothing)?;
    let products = cards(&shop, products?).await;
    let content = json!({ "title": category.title, "line": category.line, "here": slug, "products": products });
    shop.pages.show(&visitor, "listing.html", content)
}

pub async fn product(
    State(shop): State<Shop>,
    Path(sku): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if !is_plain(&sku) {
        return Err(Failure::NotFound("There is no such product.".into()));
    }
    let (visitor, product, together) = tokio::join!(
        Visitor::of(&shop, &headers),
        shop.services
            .get::<Product>("catalog", format!("/products/{sku}?viewed=true")),
        if_there(
            shop.services
                .get::<Vec<String>>("recommendation", format!("/together/{sku}"))
        ),
    );
    let product = product?;
    let path = format!("/products?category={}&limit=12", product.category);
    let similar: Vec<Product> = if_there(shop.services.get("catalog", path)).await;
    let similar = similar
        .into_iter()
        .filter(|other| other.sku != sku && !together.contains(&other.sku))
        .take(4)
        .collect();
    let here = product.category.clone();
    let (mut shown, together, similar) = tokio::join!(
        cards(&shop, vec![product]),
        by_skus(&shop, &together),
        cards(&shop, similar)
    );
    let content =
        json!({ "product": shown.pop(), "together": together, "similar": similar, "here": here });
    shop.pages.show(&visitor, "product.html", content)
}

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    q: String,
}

pub async fn search(
    State(shop): State<Shop>,
    Query(Asked { q }): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let q: String = q.chars().take(100).collect();
    let path = format!("/search?limit={}&q={}", shop.page_size, query_value(&q));
    let (visitor, products) = tokio::join!(
        Visitor::of(&shop, &headers),
        shop.services.get::<Vec<Product>>("search", path)
    );
    let products = cards(&shop, products?).await;
    let line = match products.len() {
        0 => "Nothing matches. Fewer words may find more.".to_owned(),
        1 => "One product".to_owned(),
        count => format!("{count} products"),
    };
    let content =
        json!({ "title": format!("“{q}”"), "line": line, "query": q, "products": products });
    shop.pages.show(&visitor, "listing.html", content)
}

pub async fn nothing() -> Failure {
    Failure::NotFound("There is no such page.".into())
}
