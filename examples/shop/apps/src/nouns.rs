//! What the apps talk about.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A kind of product.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Category {
    /// Its name in URLs.
    pub slug: String,
    /// Its name for people.
    pub title: String,
    /// One line about it.
    pub line: String,
    /// The motif that stands for it (see [`crate::pictures`]).
    pub motif: String,
    /// The colour of that picture, as a hue in degrees.
    pub hue: u16,
}

/// Something to buy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Product {
    /// Its identity, also in URLs.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// The slug of its category.
    pub category: String,
    /// A sentence or two about it.
    pub description: String,
    /// List price, tax included.
    pub price_cents: i64,
    /// What its picture shows.
    pub motif: String,
    /// The colour of its picture, as a hue in degrees.
    pub hue: u16,
}

/// So many of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Which product.
    pub sku: String,
    /// How many, at least 1.
    pub quantity: u32,
}

/// What a product costs now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Price {
    /// Which product.
    pub sku: String,
    /// Before any offer.
    pub list_cents: i64,
    /// To be paid for one, tax included.
    pub unit_cents: i64,
}

/// A line of a quote.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// Which product.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// For one.
    pub unit_cents: i64,
    /// For all of the line.
    pub total_cents: i64,
}

/// What a number of items costs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Quote {
    /// One for each product.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub goods_cents: i64,
    /// For shipping.
    pub shipping_cents: i64,
    /// Tax contained in the total.
    pub tax_cents: i64,
    /// To be paid.
    pub total_cents: i64,
    /// The ISO 4217 code of all amounts.
    pub currency: String,
}

/// How many of a product are on the shelf.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Level {
    /// Which product.
    pub sku: String,
    /// Free to be ordered.
    pub available: i64,
}

/// A person with an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    /// Identity.
    pub id: String,
    /// As the person wrote it.
    pub name: String,
    /// In lower case, unique.
    pub email: String,
}

/// An account and the token that proves it for a while.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// The opaque token.
    pub token: String,
    /// Whose it is.
    pub account: Account,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderState {
    /// Written down; its stock is being reserved.
    New,
    /// Stock is reserved, payment is awaited.
    Placed,
    /// Paid, on its way to shipping.
    Paid,
    /// The payment was refused and the stock released; it may be paid again.
    PaymentRefused,
    /// Not enough stock. Final.
    OutOfStock,
    /// Nobody paid in time, the stock was released. Final.
    Expired,
    /// Handed to the carrier. Final.
    Shipped,
}

impl OrderState {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Placed => "placed",
            Self::Paid => "paid",
            Self::PaymentRefused => "payment-refused",
            Self::OutOfStock => "out-of-stock",
            Self::Expired => "expired",
            Self::Shipped => "shipped",
        }
    }
}

/// An order to be placed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderRequest {
    /// Identity of the attempt: the same key gives the same order.
    pub key: String,
    /// Who orders.
    pub account: Account,
    /// Where to.
    pub address: String,
    /// What.
    pub items: Vec<Item>,
}

/// An order as it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Identity.
    pub id: String,
    /// Who ordered.
    pub account: Account,
    /// Where to.
    pub address: String,
    /// What, and for how much.
    pub quote: Quote,
    /// Where it stands.
    pub state: OrderState,
    /// Why it was refused, if it was.
    pub reason: Option<String>,
    /// The carrier's number once shipped.
    pub tracking: Option<String>,
    /// When it was placed, in milliseconds since 1970.
    pub placed_ms: i64,
}

/// A card to pay with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PayRequest {
    /// Identity of the attempt: the same key never pays twice.
    pub key: String,
    /// The card's number.
    pub card: String,
}

/// What a payment came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Payment {
    /// Identity, chosen by who asks.
    pub id: String,
    /// In cents.
    pub amount_cents: i64,
    /// The last digits of the card.
    pub card_last4: String,
    /// Why it was refused; none when it was accepted.
    pub refused: Option<String>,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Its place among the events of its source, from 1, without gaps.
    pub position: i64,
    /// What happened: `order.placed`, `order.paid`, …
    pub subject: String,
    /// To what: the [`Order`] or [`Product`] afterwards.
    pub body: Value,
}

/// A mail that was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mail {
    /// Who it is from.
    pub sender: String,
    /// Who it went to.
    pub email: String,
    /// What it is about.
    pub subject: String,
    /// What it says.
    pub text: String,
    /// When, in milliseconds since 1970.
    pub sent_ms: i64,
}
