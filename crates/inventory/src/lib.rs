#![doc = include_str!("../README.md")]
//!
//! The central type is [`Inventory`]. [`Put`] and [`delete_operations`] give the store operations of
//! a write without doing it, for those who must commit it together with something else.
//!
//! # Invariants
//! - Every write of a resource writes its history in the same commit.
//! - Watches deliver every change once, in order.

mod error;
mod event;
mod inventory;
mod resource;
mod watch;

pub use error::InventoryError;
pub use event::{Event, EventWatch};
pub use inventory::Inventory;
pub use resource::{Past, Put, Resource, delete_operations};
pub use watch::{ResourceChange, ResourceWatch};
