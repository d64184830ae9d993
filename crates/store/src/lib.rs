#![doc = include_str!("../README.md")]
//!
//! The central type is the [`Store`] trait; [`open`] picks the engine by URL: `file:DIR` is
//! embedded, `etcd://host:port,…` a cluster. Both pass the same conformance suite.
//!
//! # Invariants
//! - Every commit raises the one global revision by one; a reader sees all of a commit or nothing.
//! - A commit is made once, however often an engine had to ask for it.
//! - An acknowledged commit is on disk, and so is what a refused one was compared with.
//! - A watch delivers every change once, in order, or ends with [`StoreError::Compacted`]. A slow
//!   reader holds up nobody.
//! - A revision that was read can be watched from: list, then watch, misses nothing.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod contract;
mod copy;
mod etcd;
mod limits;
mod local;
mod open;

pub use contract::*;
pub use copy::{Copied, copy};
pub use local::{Summary, backup, check, reads_go_first, restore};
pub use open::open;
