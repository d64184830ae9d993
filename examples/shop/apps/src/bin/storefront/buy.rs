//! Cart, checkout, orders.

use crate::Shop;
use crate::browse::{by_skus, if_there};
use crate::pages::onwards;
use crate::visitor::{Visitor, is_plain, set_cookie};
use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Method, header};
use serde::Deserialize;
use serde_json::json;
use shop::failure::Failure;
use shop::nouns::{Account, Item, Order, OrderRequest, OrderState, PayRequest, Product, Quote};
use shop::services::Call;
use std::time::Duration;

/// How long one instance may take over an order: it asks other apps, which may be moving.
const ORDER: Duration = Duration::from_secs(12);

/// What somebody who is not signed in gets to see where an account is needed.
pub fn sign_in_first(visitor: &Visitor, next: &str) -> Response {
    if visitor.json {
        Failure::Unknown("Please sign in.".into()).into_response()
    } else {
        Redirect::to(&format!("/sign-in?next={next}")).into_response()
    }
}

async fn quote(shop: &Shop, items: &[Item]) -> Result<Quote, Failure> {
    Ok(shop
        .services
        .call(Call::new(Method::POST, "pricing", "/quote").json(&items))
        .await?)
}

pub async fn cart(State(shop): State<Shop>, headers: HeaderMap) -> Result<Response, Failure> {
    let mut visitor = Visitor::of(&shop, &headers).await;
    let items = visitor.items()?;
    let Some(first) = items.first() else {
        return shop
            .pages
            .show(&visitor, "cart.html", json!({ "lines": [] }));
    };
    let skus: Vec<&str> = items.iter().map(|item| item.sku.as_str()).collect();
    let path = format!("/products?limit=1000&skus={}", skus.join(","));
    let (quote, products, together) = tokio::join!(
        quote(&shop, &items),
        shop.services.get::<Vec<Product>>("catalog", path),
        if_there(
            shop.services
                .get::<Vec<String>>("recommendation", format!("/together/{}", first.sku))
        ),
    );
    let (quote, products) = (quote?, products?);
    let together: Vec<String> = together
        .into_iter()
        .filter(|sku| !skus.contains(&sku.as_str()))
        .collect();
    let together = by_skus(&shop, &together).await;
    let lines: Vec<_> = quote
        .lines
        .iter()
        .map(|line| {
            let product = products.iter().find(|product| product.sku == line.sku);
            json!({
                "sku": line.sku, "name": line.name, "quantity": line.quantity,
                "unit_cents": line.unit_cents, "total_cents": line.total_cents,
                "motif": product.map(|product| &product.motif), "hue": product.map(|product| product.hue),
            })
        })
        .collect();
    shop.pages.show(
        &visitor,
        "cart.html",
        json!({ "lines": lines, "quote": quote, "together": together }),
    )
}

#[derive(Deserialize)]
pub struct Put {
    sku: String,
    quantity: u32,
    #[serde(default)]
    mode: Mode,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Add,
    Set,
}

pub async fn put_in_cart(
    State(shop): State<Shop>,
    headers: HeaderMap,
    Form(put): Form<Put>,
) -> Result<Response, Failure> {
    if !is_plain(&put.sku) {
        return Err(Failure::NotFound("There is no such product.".into()));
    }
    let mut visitor = Visitor::of(&shop, &headers).await;
    // What cannot be bought does not go in, or the whole cart could not be priced any more.
    let _: Product = shop
        .services
        .get("catalog", format!("/products/{}", put.sku))
        .await?;
    let held = visitor
        .items()?
        .iter()
        .find(|item| item.sku == put.sku)
        .map_or(0, |item| item.quantity);
    let quantity = if put.mode == Mode::Set {
        put.quantity
    } else {
        held.saturating_add(put.quantity)
    };
    let cart = visitor
        .cart
        .clone()
        .unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let call = Call::new(
        Method::PUT,
        "cart",
        format!("/carts/{cart}/items/{}", put.sku),
    );
    let items: Vec<Item> = shop
        .services
        .call(call.json(&json!({ "quantity": quantity })))
        .await?;
    let outcome = json!({ "items": items });
    visitor.replace_items(items);
    let mut response = onwards(&visitor, "/cart", outcome);
    if let Some(cookie) = set_cookie("cart", &cart, 30) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

pub async fn checkout(State(shop): State<Shop>, headers: HeaderMap) -> Result<Response, Failure> {
    let mut visitor = Visitor::of(&shop, &headers).await;
    if visitor.known()?.is_none() {
        return Ok(sign_in_first(&visitor, "/checkout"));
    }
    let items = visitor.items()?;
    if items.is_empty() {
        return Ok(onwards(&visitor, "/cart", json!({ "items": [] })));
    }
    let quote = quote(&shop, &items).await?;
    shop.pages.show(
        &visitor,
        "checkout.html",
        json!({ "quote": quote, "key": uuid::Uuid::now_v7().to_string() }),
    )
}

#[derive(Deserialize)]
pub struct Checkout {
    address: String,
    card: String,
    key: String,
}

pub async fn order(
    State(shop): State<Shop>,
    headers: HeaderMap,
    Form(form): Form<Checkout>,
) -> Result<Response, Failure> {
    let mut visitor = Visitor::of(&shop, &headers).await;
    let Some(account) = visitor.known()? else {
        return Ok(sign_in_first(&visitor, "/checkout"));
    };
    let items = visitor.items()?;
    let placed = place(&shop, account, &form, items).await?;
    let placed = match placed.state {
        OrderState::New | OrderState::Placed => {
            pay_for(&shop, &placed.id, &form.key, &form.card).await?
        }
        _ => placed,
    };
    // The cart has become an order; one that could not be placed leaves it as it was.
    if let (Some(cart), true) = (&visitor.cart, placed.state != OrderState::OutOfStock) {
        if_there(shop.services.call::<()>(Call::new(
            Method::DELETE,
            "cart",
            format!("/carts/{cart}"),
        )))
        .await;
    }
    Ok(onwards(
        &visitor,
        &format!("/orders/{}", placed.id),
        json!({ "order": placed }),
    ))
}

/// The cart of a request that is sent again may be empty already: its order is found by the key.
async fn place(
    shop: &Shop,
    account: Account,
    form: &Checkout,
    items: Vec<Item>,
) -> Result<Order, Failure> {
    let request = OrderRequest {
        key: form.key.clone(),
        account,
        address: form.address.trim().to_owned(),
        items,
    };
    Ok(shop
        .services
        .call(
            Call::new(Method::POST, "order", "/orders")
                .json(&request)
                .within(ORDER),
        )
        .await?)
}

async fn pay_for(shop: &Shop, order: &str, key: &str, card: &str) -> Result<Order, Failure> {
    let request = PayRequest {
        key: key.to_owned(),
        card: card.to_owned(),
    };
    let call = Call::new(Method::POST, "order", format!("/orders/{order}/payments"));
    Ok(shop
        .services
        .call(call.json(&request).within(ORDER))
        .await?)
}

/// An order, if it is that of the account.
async fn own(shop: &Shop, account: &Account, id: &str) -> Result<Order, Failure> {
    let nothing = || Failure::NotFound("There is no such order.".into());
    if !is_plain(id) {
        return Err(nothing());
    }
    let order: Order = shop.services.get("order", format!("/orders/{id}")).await?;
    if order.account.id == account.id {
        Ok(order)
    } else {
        Err(nothing())
    }
}

pub async fn orders(State(shop): State<Shop>, headers: HeaderMap) -> Result<Response, Failure> {
    let mut visitor = Visitor::of(&shop, &headers).await;
    let Some(account) = visitor.known()? else {
        return Ok(sign_in_first(&visitor, "/orders"));
    };
    let orders: Vec<Order> = shop
        .services
        .get("order", format!("/orders?account={}", account.id))
        .await?;
    shop.pages
        .show(&visitor, "orders.html", json!({ "orders": orders }))
}

pub async fn show_order(
    State(shop): State<Shop>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let mut visitor = Visitor::of(&shop, &headers).await;
    let Some(account) = visitor.known()? else {
        return Ok(sign_in_first(&visitor, "/orders"));
    };
    let order = own(&shop, &account, &id).await?;
    shop.pages.show(
        &visitor,
        "order.html",
        json!({ "order": order, "key": uuid::Uuid::now_v7().to_string() }),
    )
}

#[derive(Deserialize)]
pub struct Pay {
    card: String,
    key: String,
}

pub async fn pay(
    State(shop): State<Shop>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<Pay>,
) -> Result<Response, Failure> {
    let mut visitor = Visitor::of(&shop, &headers).await;
    let Some(account) = visitor.known()? else {
        return Ok(sign_in_first(&visitor, "/orders"));
    };
    let order = own(&shop, &account, &id).await?;
    let order = pay_for(&shop, &order.id, &form.key, &form.card).await?;
    Ok(onwards(
        &visitor,
        &format!("/orders/{}", order.id),
        json!({ "order": order }),
    ))
}
