#![doc = include_str!("../README.md")]
//!
//! The central type is [`Inventory`]. People write through [`Inventory::write`]: held against the kind
//! ([`kind`]), with constraints, relations and owners. The platform writes what it records by [`Put`],
//! which asks nobody; what people say of such a resource is kept beside it, and
//! [`Inventory::resource`] reads both as one. [`Put`] and [`delete_operations`] give the store operations of
//! a write without doing it, for those who must commit it together with something else.
//!
//! # Invariants
//! - Every write of a resource writes its history in the same commit.
//! - What people write is as its kind says, unique where it must be, and refers to what there is: each
//!   is a guard or a key of the same commit, so it holds however many servers write.
//! - The clear value of a secret field is nowhere in the store.
//! - Every write of a resource can be guarded by the revision that was read.
//! - Watches deliver every change once, in order; what was listed can be watched from.

pub mod catalog;
mod difference;
mod error;
mod event;
mod events;
pub mod exchange;
pub mod feed;
mod group;
mod history;
mod inventory;
mod keys;
pub mod kind;
mod kinds;
mod record;
mod referrers;
mod resource;
mod sealer;
mod watch;
mod whole;
mod write;

pub use difference::{Difference, differences};
pub use error::InventoryError;
pub use event::{Event, EventWatch};
pub use group::{GROUP, Group};
pub use history::{Moment, Past};
pub use inventory::{Inventory, ResourcePage};
pub use keys::key as resource_key;
pub use record::Owners;
pub use referrers::{Referrer, Referrers};
pub use resource::{Put, Resource, delete_operations, discovery_operations};
pub use sealer::Sealer;
pub use watch::{ChangedResource, ResourceChange, ResourceWatch};
pub use write::{Action, Author, Change, Content, Contested, Outcome, Refused, Write, Written};
