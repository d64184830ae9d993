//! The service table: which name resolves to which endpoints, for the local lookup of every agent
//! and for whoever else directs traffic.
//!
//! The central type is [`Table`]. [`Table::from_instances`] computes it from what the control plane
//! has recorded and what agents see; [`Table::lookup`] answers one question with an [`Answer`],
//! whose JSON is what programs get from the route lookup; a [`Difference`] is what is different from an
//! older table, and makes the newer one of it.
//!
//! ```
//! use wright_route::Table;
//!
//! let table = Table::from_json(br#"{ "revision": 812, "sites": { "shop": { "catalog": [
//!     { "instance": "catalog-1", "host": "h3", "address": "127.77.0.3", "ports": { "http": 8080 } }
//! ] } } }"#)?;
//! let answer = table.lookup("shop", "catalog").ok_or("nobody provides it")?;
//! assert_eq!((answer.revision, answer.endpoints[0].weight), (812, 100));
//! assert!(table.lookup("shop", "pricing").is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//! - Pure: no I/O, no clock. The same input gives the byte-identical table, whatever the order of
//!   the records.
//! - A table never has a service without endpoints: who is in it can be called.
//! - Health alone never empties a service: where none of its instances is ready, all of them stay
//!   in (Envoy's panic threshold, at none healthy), because a doubtful endpoint is better than none
//!   and a broken check must not take a whole service away.

mod change;
mod compute;
mod table;

pub use change::Difference;
pub use table::{Answer, DEFAULT_WEIGHT, Endpoint, Table};
