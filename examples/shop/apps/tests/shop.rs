//! The whole shop, with real PostgreSQL, Redis and NATS.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod site;

use http::Method;
use serde_json::Value;
use site::{APPS, Site, Visitor, eventually, program};
use std::process::Command;

/// Every app, and a second instance of two.
async fn whole_shop() -> Site {
    let mut apps = APPS.to_vec();
    apps.extend(["catalog", "order"]);
    Site::start(&apps).await
}

async fn orders_written(site: &Site) -> i64 {
    site.query("SELECT count(*) FROM \"order\".orders")
        .await
        .unwrap()
}

fn state(answer: &Value) -> &str {
    answer["order"]["state"].as_str().unwrap()
}

#[tokio::test]
async fn a_purchase_goes_from_the_front_page_to_the_parcel() {
    let site = whole_shop().await;
    let outcome = site.buyer(&["--expect-no-errors"]).await;
    assert_eq!(
        (&outcome["orders"], &outcome["refused"], &outcome["errors"]),
        (&1.into(), &1.into(), &0.into()),
        "{outcome}"
    );
    let mails = "SELECT count(*) FROM notification.mails";
    // Placed, refused, placed again, paid, shipped.
    eventually("five mails are sent", async || {
        site.query(mails).await == Some(5)
    })
    .await;
    let pairs = "SELECT count(*) FROM recommendation.together";
    eventually("what was bought together is known", async || {
        site.query(pairs).await == Some(2)
    })
    .await;
}

#[tokio::test]
async fn shopping_goes_on_when_instances_are_killed() {
    let mut site = whole_shop().await;
    let buyers = (0..4).map(|_| site.buyer(&["--seconds", "10", "--expect-no-errors"]));
    let shopping = tokio::spawn(futures::future::join_all(buyers));
    eventually("the first orders", async || {
        orders_written(&site).await >= 2
    })
    .await;
    site.kill("order-6").await;
    let before = orders_written(&site).await;
    eventually("orders after the first loss", async || {
        orders_written(&site).await > before + 2
    })
    .await;
    site.kill("catalog-12").await;
    for outcome in shopping.await.unwrap() {
        assert_eq!(outcome["errors"], 0, "{outcome}");
    }
}

#[tokio::test]
async fn of_twenty_buyers_of_five_pieces_five_get_one() {
    let site = whole_shop().await;
    let sku = "teapot-anniversary";
    assert_eq!(site.available(sku).await, 5);
    let outcomes = futures::future::join_all((0..20).map(|_| site.buyer(&["--sku", sku]))).await;
    let sum = |field: &str| {
        outcomes
            .iter()
            .map(|outcome| outcome[field].as_i64().unwrap())
            .sum::<i64>()
    };
    assert_eq!(
        (sum("orders"), sum("sold_out"), sum("errors")),
        (5, 15, 0),
        "{outcomes:?}"
    );
    assert_eq!(site.available(sku).await, 0);
}

#[tokio::test]
async fn a_refused_payment_releases_the_stock_and_may_be_tried_again() {
    let site = whole_shop().await;
    let (shop, sku, mut visitor) = (site.url("storefront"), "plant-bonsai", Visitor::default());
    let sign_up = "name=Ada&email=ada%40example.org&password=correct-horse";
    visitor
        .json(Method::POST, &format!("{shop}/sign-up"), sign_up)
        .await;
    visitor
        .json(
            Method::POST,
            &format!("{shop}/cart"),
            &format!("sku={sku}&quantity=2"),
        )
        .await;
    let checkout = "address=Here&card=4000000000000002&key=first";
    let refused = visitor
        .json(Method::POST, &format!("{shop}/checkout"), checkout)
        .await;
    assert_eq!(state(&refused), "payment-refused", "{refused}");
    assert_eq!(refused["order"]["reason"], "The bank refused the card.");
    eventually("the stock is back", async || site.available(sku).await == 5).await;

    let again = visitor
        .json(Method::POST, &format!("{shop}/checkout"), checkout)
        .await;
    assert_eq!(
        again["order"]["id"], refused["order"]["id"],
        "the same key gives the same order"
    );
    let pay = format!(
        "{shop}/orders/{}/pay",
        refused["order"]["id"].as_str().unwrap()
    );
    let paid = visitor
        .json(Method::POST, &pay, "card=4242424242424242&key=second")
        .await;
    assert!(matches!(state(&paid), "paid" | "shipped"), "{paid}");
    assert_eq!(site.available(sku).await, 3);
    let orders = visitor
        .json(Method::GET, &format!("{shop}/orders"), "")
        .await;
    assert_eq!(orders["orders"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_amount_above_the_limit_is_refused() {
    let site = whole_shop().await;
    let (shop, mut visitor) = (site.url("storefront"), Visitor::default());
    let sign_up = "name=Cy&email=cy%40example.org&password=correct-horse";
    visitor
        .json(Method::POST, &format!("{shop}/sign-up"), sign_up)
        .await;
    visitor
        .json(
            Method::POST,
            &format!("{shop}/cart"),
            "sku=speaker-master&quantity=3",
        )
        .await;
    let checkout = "address=Here&card=4242424242424242&key=much";
    let refused = visitor
        .json(Method::POST, &format!("{shop}/checkout"), checkout)
        .await;
    assert_eq!(state(&refused), "payment-refused", "{refused}");
    assert!(
        refused["order"]["reason"]
            .as_str()
            .unwrap()
            .contains("limit"),
        "{refused}"
    );
}

#[tokio::test]
async fn events_wait_in_the_outbox_while_nats_is_away() {
    let mut site = whole_shop().await;
    site.kill("nats").await;
    let outcome = site.buyer(&["--expect-no-errors"]).await;
    assert_eq!(outcome["errors"], 0, "{outcome}");
    let waiting = "SELECT count(*) FROM \"order\".outbox WHERE NOT announced";
    assert_eq!(site.query(waiting).await, Some(5));
    site.start_nats();
    eventually("the events are announced", async || {
        site.query(waiting).await == Some(0)
    })
    .await;
}

#[tokio::test]
async fn the_apps_come_back_when_their_middleware_does() {
    let mut site = whole_shop().await;
    let healths =
        ["user", "order", "cart", "catalog"].map(|app| format!("{}/healthz", site.url(app)));
    site.kill("postgres").await;
    site.kill("redis").await;
    for health in &healths {
        let (status, reason) = Visitor::default()
            .send(Method::GET, health, "")
            .await
            .unwrap();
        assert_eq!(status, 503, "{health}");
        assert!(
            reason.starts_with("postgres:") || reason.starts_with("redis:"),
            "{reason}"
        );
    }
    site.start_redis();
    site.start_postgres().await;
    for health in &healths {
        eventually("healthy again", async || {
            matches!(Visitor::default().send(Method::GET, health, "").await, Ok((status, _)) if status == 200)
        })
        .await;
    }
    let outcome = site.buyer(&["--expect-no-errors"]).await;
    assert_eq!(
        (&outcome["orders"], &outcome["errors"]),
        (&1.into(), &0.into()),
        "{outcome}"
    );
}

#[tokio::test]
async fn instances_that_start_at_once_seed_once_and_end_when_asked() {
    let mut site = Site::start(&["catalog", "catalog", "catalog"]).await;
    assert_eq!(
        site.query("SELECT count(*) FROM catalog.products").await,
        Some(60)
    );
    assert_eq!(
        site.query("SELECT count(*) FROM catalog.categories").await,
        Some(6)
    );
    assert_eq!(site.terminate("catalog-0").await, Some(0));
}

#[test]
fn a_wrong_configuration_ends_with_78_and_names_the_field() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cart.toml");
    for (text, expected) in [
        (
            "listen = '127.0.0.1:1'\nlookup = 'http://x/'\n",
            "missing field `redis`",
        ),
        (
            "listen = '127.0.0.1:1'\nlookup = 'http://x/'\ncolour = 1\n[redis]\nurl = 'redis://x/'\n",
            "unknown field `colour`",
        ),
        ("listen = 'here'\n", "invalid socket address"),
        (
            "listen = '127.0.0.1:1'\nlookup = 'http://x/'\n[redis]\nurl = 'http://x/'\n",
            "redis.url",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = Command::new(program("cart"))
            .arg("--config")
            .arg(&file)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}
