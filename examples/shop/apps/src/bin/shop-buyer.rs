//! Shops through the storefront, as a person would: signs up, looks around, searches, fills a cart, buys,
//! pays (now and then with a card that is refused, and then with a good one) and waits for the parcel.
//!
//! Prints one line of JSON: `{"orders":…,"refused":…,"errors":…}`. Exits with 1 when something went
//! wrong that must not.

use clap::Parser;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use shop::services::query_value;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a parcel may take.
const SHIPPED_WITHIN: Duration = Duration::from_secs(30);
/// How long one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const GOOD_CARD: &str = "4242 4242 4242 4242";
const REFUSED_CARD: &str = "4000 0000 0000 0002";

#[derive(Parser)]
#[command(about = "Buys things in the example shop and says how it went")]
struct Args {
    /// The front door, such as http://127.77.0.1:8000
    #[arg(long)]
    url: String,
    /// Shop for so long instead of once
    #[arg(long)]
    seconds: Option<u64>,
    /// Always buy this product instead of trying many
    #[arg(long)]
    sku: Option<String>,
    /// Exit with 1 on any error, also on one that went away when tried again
    #[arg(long)]
    expect_no_errors: bool,
}

/// What came of all shopping.
#[derive(Default)]
struct Tally {
    orders: u32,
    refused: u32,
    sold_out: u32,
    requests: u32,
    errors: u32,
    last_error: Option<String>,
}

struct Buyer {
    client: Client<HttpConnector, Full<bytes::Bytes>>,
    url: String,
    cookies: Vec<(String, String)>,
    requests: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let end = Instant::now() + Duration::from_secs(args.seconds.unwrap_or(0));
    let mut tally = Tally::default();
    for round in 0u32.. {
        let mut buyer = Buyer::new(&args.url);
        let outcome = buyer.shop(round, args.sku.as_deref(), &mut tally).await;
        tally.requests += buyer.requests;
        if let Err(error) = outcome {
            eprintln!("{error}");
            tally.errors += 1;
            tally.last_error = Some(error);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        if Instant::now() >= end {
            break;
        }
    }
    let bought = tally.orders > 0 || (args.sku.is_some() && tally.sold_out > 0);
    println!(
        "{}",
        json!({
            "orders": tally.orders, "refused": tally.refused, "sold_out": tally.sold_out,
            "requests": tally.requests, "errors": tally.errors, "last_error": tally.last_error,
        })
    );
    let failed = if args.expect_no_errors || args.seconds.is_none() {
        tally.errors > 0
    } else {
        false
    };
    ExitCode::from(u8::from(failed || !bought))
}

impl Buyer {
    fn new(url: &str) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url: url.trim_end_matches('/').to_owned(),
            cookies: Vec::new(),
            requests: 0,
        }
    }

    async fn shop(
        &mut self,
        round: u32,
        sku: Option<&str>,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let key = uuid::Uuid::now_v7().to_string();
        let email = format!("buyer-{key}@example.org");
        self.page("/", "</html>").await?;
        let form = [
            ("name", "Bo Buyer"),
            ("email", &email),
            ("password", "correct-horse"),
        ];
        self.post("/sign-up", &form).await?;
        let skus = match sku {
            Some(sku) => vec![sku.to_owned()],
            None => self.choose(round).await?,
        };
        for sku in &skus {
            self.page(&format!("/product/{sku}"), "</html>").await?;
            self.post("/cart", &[("sku", sku), ("quantity", "1"), ("mode", "set")])
                .await?;
        }
        self.page("/cart", "Total").await?;
        let refuse = sku.is_none() && round.is_multiple_of(3);
        let card = if refuse { REFUSED_CARD } else { GOOD_CARD };
        let form = [
            ("address", "1 Mill Lane\nLarkhill"),
            ("card", card),
            ("key", &key),
        ];
        let mut order = self.post("/checkout", &form).await?;
        if refuse && state(&order) == "payment-refused" {
            tally.refused += 1;
            let path = format!("/orders/{}/pay", text(&order, "/order/id")?);
            let again = format!("{key}-again");
            order = self
                .post(&path, &[("card", GOOD_CARD), ("key", &again)])
                .await?;
        }
        match state(&order) {
            "out-of-stock" => {
                tally.sold_out += 1;
                return Ok(());
            }
            "paid" | "shipped" => {}
            other => return Err(format!("after paying, the order is {other}: {order}")),
        }
        let id = text(&order, "/order/id")?.to_owned();
        self.wait_for_parcel(&id).await?;
        tally.orders += 1;
        self.page("/account", "Hello, Bo Buyer").await?;
        self.post("/sign-out", &[]).await?;
        Ok(())
    }

    /// Two products: one found by browsing, one by searching.
    async fn choose(&mut self, round: u32) -> Result<Vec<String>, String> {
        let pick = |value: &Value, at: u32| {
            let products: Vec<&Value> = value["products"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|product| {
                    product["available"]
                        .as_i64()
                        .is_none_or(|available| available > 20)
                })
                .collect();
            let at = usize::try_from(at).unwrap_or_default() % products.len().max(1);
            products
                .get(at)
                .and_then(|product| product["sku"].as_str())
                .map(str::to_owned)
        };
        let category = ["kitchen", "lighting", "desk", "garden", "bags"]
            [usize::try_from(round % 5).unwrap_or_default()];
        let listed = self.get(&format!("/category/{category}")).await?;
        let word = ["mug", "lamp", "notebook", "plant", "tote", "radio"]
            [usize::try_from(round % 6).unwrap_or_default()];
        let found = self.get(&format!("/search?q={word}")).await?;
        let mut skus: Vec<String> = [pick(&listed, round), pick(&found, round / 2 + 1)]
            .into_iter()
            .flatten()
            .collect();
        skus.dedup();
        if skus.is_empty() {
            Err("nothing to buy was found".into())
        } else {
            Ok(skus)
        }
    }

    async fn wait_for_parcel(&mut self, id: &str) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let order = self.get(&format!("/orders/{id}")).await?;
            if state(&order) == "shipped" {
                return Ok(());
            }
            if begun.elapsed() > SHIPPED_WITHIN {
                return Err(format!(
                    "order {id} is still {} after {SHIPPED_WITHIN:?}",
                    state(&order)
                ));
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    async fn page(&mut self, path: &str, expected: &str) -> Result<String, String> {
        let body = self.request(Method::GET, path, None, "text/html").await?;
        if body.contains(expected) {
            Ok(body)
        } else {
            Err(format!("GET {path}: {expected:?} is not on the page"))
        }
    }

    async fn get(&mut self, path: &str) -> Result<Value, String> {
        let body = self
            .request(Method::GET, path, None, "application/json")
            .await?;
        serde_json::from_str(&body).map_err(|error| format!("GET {path}: {error}"))
    }

    async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Result<Value, String> {
        let form: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", query_value(value)))
            .collect();
        let body = self
            .request(Method::POST, path, Some(form.join("&")), "application/json")
            .await?;
        serde_json::from_str(&body).map_err(|error| format!("POST {path}: {error}"))
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        form: Option<String>,
        accept: &str,
    ) -> Result<String, String> {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let what = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::ACCEPT, accept)
            .header(header::COOKIE, cookies.join("; "))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form.unwrap_or_default()))
            .map_err(|error| format!("{what}: {error}"))?;
        self.requests += 1;
        let answer = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| shop::failure::chain(&error))?;
            let (parts, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|error| error.to_string())?
                .to_bytes();
            Ok::<_, String>((parts, String::from_utf8_lossy(&body).into_owned()))
        };
        let (parts, body) = tokio::time::timeout(ANSWER_WITHIN, answer)
            .await
            .map_err(|_| format!("{what}: no answer within {ANSWER_WITHIN:?}"))?
            .map_err(|error| format!("{what}: {error}"))?;
        for cookie in parts
            .headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
        {
            if let Some((name, value)) = cookie
                .split(';')
                .next()
                .and_then(|pair| pair.split_once('='))
            {
                self.cookies.retain(|(known, _)| known != name);
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        if parts.status == StatusCode::OK {
            Ok(body)
        } else {
            Err(format!("{what}: {} {}", parts.status, body.trim()))
        }
    }
}

fn state(answer: &Value) -> &str {
    answer
        .pointer("/order/state")
        .and_then(Value::as_str)
        .unwrap_or("unknown")
}

fn text<'a>(answer: &'a Value, pointer: &str) -> Result<&'a str, String> {
    answer
        .pointer(pointer)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("no {pointer} in {answer}"))
}
