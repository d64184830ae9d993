//! Instances onto hosts.
//!
//! The central function is [`place`]: given what every host offers and what every instance wants,
//! it answers where each instance goes, or for each instance that fits nowhere, which rule every
//! host broke.
//!
//! ```
//! use std::collections::{BTreeMap, BTreeSet};
//! use wright_model::{ByteSize, Capacity, CpuShare};
//! use wright_placement::{HostOffer, Spread, Want, place};
//!
//! let free = Capacity { cpu: CpuShare::from_millis(2000), memory: "1GiB".parse()? };
//! let host = |name: &str, address: &str| -> Result<_, Box<dyn std::error::Error>> {
//!     Ok(HostOffer {
//!         name: name.parse()?,
//!         address: address.parse()?,
//!         capacity: free,
//!         free,
//!         used_ports: BTreeMap::new(),
//!         apps: BTreeMap::new(),
//!         open: true,
//!     })
//! };
//! let want = |instance: &str| -> Result<_, Box<dyn std::error::Error>> {
//!     Ok(Want {
//!         instance: instance.parse()?,
//!         app: "catalog".parse()?,
//!         cpu: CpuShare::from_millis(500),
//!         memory: ByteSize::from_bytes(128 << 20),
//!         ports: BTreeSet::from([8080]),
//!         away_from: BTreeSet::new(),
//!         spread: Spread::Prefer,
//!         pinned: None,
//!     })
//! };
//! let hosts = [host("h1", "127.77.0.1")?, host("h2", "127.77.0.2")?];
//! let placed = place(&hosts, &[want("catalog-1")?, want("catalog-2")?]).map_err(|r| r[0].to_string())?;
//! assert_ne!(placed[0].host, placed[1].host);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//! - Pure and deterministic: the order of hosts and wants does not change the answer.
//! - A pinned instance stays on its host or is refused; it is never moved.
//! - Every refusal names one rule for every host.

mod ledger;
mod place;
mod refusal;

pub use place::{HostOffer, Placed, Spread, Want, place};
pub use refusal::{HostRefusal, Refusal, Rule};
