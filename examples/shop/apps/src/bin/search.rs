//! Full text search over the catalog: an index in memory, read anew when a product changed. What is
//! looked at more often ranks higher.

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use futures::StreamExt;
use serde::Deserialize;
use shop::app::{self, App};
use shop::bus::Bus;
use shop::config::{Config, Nats};
use shop::failure::Failure;
use shop::nouns::{Event, Product};
use shop::services::Services;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    listen: SocketAddr,
    lookup: String,
    nats: Nats,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Parameters {
    refresh_seconds: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            refresh_seconds: 30,
        }
    }
}

impl Config for Settings {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

/// A product with its words: those of the name count most, then the category, then the description.
struct Indexed {
    product: Product,
    words: Vec<(String, f64)>,
}

#[derive(Default)]
struct Index {
    products: Vec<Indexed>,
    views: HashMap<String, u32>,
}

#[derive(Clone)]
struct Search {
    services: Services,
    index: Arc<RwLock<Index>>,
}

fn main() -> ExitCode {
    app::main(async |settings: Settings| {
        let services = Services::open(&settings.lookup)?;
        let bus = Bus::open(&settings.nats).await?;
        let search = Search {
            services,
            index: Arc::default(),
        };
        let router = Router::new()
            .route("/search", get(find))
            .with_state(search.clone());
        let refresh = Duration::from_secs(settings.parameters.refresh_seconds.max(1));
        let (announced, listened) = (bus.clone(), search.clone());
        Ok(App::new(settings.listen, router)
            .nats(&bus)
            .setup(move || {
                let search = search.clone();
                async move { search.read().await }
            })
            .task(async move { listened.listen(&announced, refresh).await }))
    })
}

impl Search {
    async fn read(&self) -> Result<(), Failure> {
        let products: Vec<Product> = self.services.get("catalog", "/products?limit=1000").await?;
        let products = products.into_iter().map(index).collect();
        self.index
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .products = products;
        Ok(())
    }

    /// Every instance has an index of its own, so each hears every event: no group.
    async fn listen(&self, bus: &Bus, refresh: Duration) {
        let mut events = match bus.subscribe("product.>", None).await {
            Ok(events) => events.boxed(),
            Err(error) => {
                tracing::error!(%error, "not subscribed");
                futures::stream::pending().boxed()
            }
        };
        loop {
            let event = tokio::time::timeout(refresh, events.next()).await;
            let event: Option<Event> = match event {
                Ok(Some(message)) => serde_json::from_slice(&message.payload).ok(),
                Ok(None) => std::future::pending().await,
                Err(_) => None,
            };
            match event {
                Some(Event { subject, body, .. }) if subject == "product.viewed" => {
                    if let Some(sku) = body.get("sku").and_then(|sku| sku.as_str()) {
                        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
                        if index
                            .products
                            .iter()
                            .any(|indexed| indexed.product.sku == sku)
                        {
                            *index.views.entry(sku.to_owned()).or_default() += 1;
                        }
                    }
                }
                _ => {
                    if let Err(error) = self.read().await {
                        tracing::warn!(%error, "index not refreshed");
                    }
                }
            }
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

fn index(product: Product) -> Indexed {
    let weighted = |text: &str, weight: f64| {
        words(text)
            .map(move |word| (word, weight))
            .collect::<Vec<_>>()
    };
    let mut all = weighted(&product.name, 10.0);
    all.extend(weighted(&product.motif, 6.0));
    all.extend(weighted(&product.category, 4.0));
    all.extend(weighted(&product.description, 1.0));
    Indexed {
        product,
        words: all,
    }
}

/// How well a product answers the query: every word must be found, as a word or as its beginning.
fn score(indexed: &Indexed, query: &[String]) -> Option<f64> {
    query
        .iter()
        .map(|wanted| {
            indexed
                .words
                .iter()
                .filter_map(|(word, weight)| match word.strip_prefix(wanted.as_str()) {
                    Some("") => Some(*weight),
                    Some(_) => Some(*weight * 0.5),
                    None => None,
                })
                .reduce(f64::max)
        })
        .sum()
}

#[derive(Deserialize)]
struct Asked {
    q: String,
    limit: Option<usize>,
}

async fn find(State(search): State<Search>, Query(asked): Query<Asked>) -> Json<Vec<Product>> {
    let query: Vec<String> = words(&asked.q).take(8).collect();
    if query.is_empty() {
        return Json(Vec::new());
    }
    let index = search.index.read().unwrap_or_else(PoisonError::into_inner);
    let mut found: Vec<(f64, &Product)> = index
        .products
        .iter()
        .filter_map(|indexed| {
            let views = index
                .views
                .get(&indexed.product.sku)
                .copied()
                .unwrap_or_default();
            Some((
                score(indexed, &query)? + f64::from(views).ln_1p() * 0.2,
                &indexed.product,
            ))
        })
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.sku.cmp(&b.1.sku)));
    Json(
        found
            .into_iter()
            .take(asked.limit.unwrap_or(24).min(100))
            .map(|(_, product)| product.clone())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(name: &str, description: &str) -> Indexed {
        index(Product {
            sku: name.into(),
            name: name.into(),
            category: "kitchen".into(),
            description: description.into(),
            price_cents: 1,
            motif: "mug".into(),
            hue: 0,
        })
    }

    #[test]
    fn a_word_in_the_name_beats_one_in_the_description_and_all_words_are_needed() {
        let query = |text: &str| words(text).collect::<Vec<_>>();
        let (name, text) = (indexed("Oak Board", "flat"), indexed("Tray", "made of oak"));
        assert!(score(&name, &query("oak")) > score(&text, &query("oak")));
        assert!(score(&name, &query("OA")).is_some());
        assert_eq!(score(&name, &query("oak steel")), None);
    }
}
