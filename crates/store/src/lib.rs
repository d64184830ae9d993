//! A revisioned key-value store: ordered keys, transactions, watch and leases.
//!
//! The central type is the [`Store`] trait; [`open`] picks the engine by URL. Two engines are
//! planned behind one contract and one conformance suite: `file:DIR` (SQLite, embedded) and etcd.
//!
//! # Invariants
//! - Every commit raises the one global revision by one; a reader sees all of a commit or nothing.
//! - An acknowledged commit is on disk.
//! - A watch delivers every change once, in order, or ends with [`StoreError::Compacted`].

mod contract;
mod local;

pub use contract::*;
pub use local::{Summary, backup, check, open};
