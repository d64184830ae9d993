//! What the apps of the example shop share.
//!
//! Each app is a program of its own under `src/bin`; its central type is [`app::App`]: a router, the
//! probes behind `/healthz`, what must be set up before it serves, and its background tasks.
//!
//! ```
//! use axum::{Router, routing::get};
//! use shop::app::App;
//!
//! let router = Router::new().route("/limits", get(async || "none"));
//! let app = App::new("127.0.0.1:0".parse().unwrap(), router)
//!     .probe("postgres", async || Ok(()));
//! assert_eq!(app.probes(), ["postgres"]);
//! ```
//!
//! Invariants:
//! - A call to a sibling app may be sent twice: it either only reads, sets a value, or carries the
//!   identity of what it makes. That is what lets [`services`] retry on another instance.
//! - An event is written in the transaction that it tells of ([`outbox`]), and is handled in the
//!   transaction that remembers it as handled ([`follower`]).
//! - Money is in cents, as whole numbers.

pub mod app;
pub mod assortment;
pub mod bus;
pub mod config;
pub mod database;
pub mod failure;
pub mod follower;
pub mod kv;
pub mod metrics;
pub mod nouns;
pub mod outbox;
pub mod pictures;
pub mod rotation;
pub mod services;
