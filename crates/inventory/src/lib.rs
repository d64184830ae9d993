#![doc = include_str!("../README.md")]
//!
//! The central type is [`Inventory`]. [`Put`] and [`delete_operations`] give the store operations of
//! a write without doing it, for those who must commit it together with something else.
//!
//! # Invariants
//! - Every write of a resource writes its history in the same commit.
//! - Every write of a resource can be guarded by the revision that was read.
//! - Watches deliver every change once, in order; what was listed can be watched from.

mod error;
mod event;
mod events;
pub mod feed;
mod inventory;
mod resource;
mod watch;

pub use error::InventoryError;
pub use event::{Event, EventWatch};
pub use inventory::{Inventory, ResourcePage};
pub use resource::{Past, Put, Resource, delete_operations, key as resource_key};
pub use watch::{ResourceChange, ResourceWatch};
