#![doc = include_str!("../README.md")]
//!
//! The central type is the [`Store`] trait; [`open`] picks the engine by URL. This version has one
//! engine, `file:DIR`; an etcd engine is to come behind the same contract.
//!
//! # Invariants
//! - Every commit raises the one global revision by one; a reader sees all of a commit or nothing.
//! - An acknowledged commit is on disk, and so is what a refused one was compared with.
//! - A watch delivers every change once, in order, or ends with [`StoreError::Compacted`]. A slow
//!   reader holds up nobody.
//! - A revision that was read can be watched from: list, then watch, misses nothing.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod contract;
mod local;

pub use contract::*;
pub use local::{Summary, backup, check, open};
