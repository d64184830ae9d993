#![doc = include_str!("../README.md")]
//!
//! The central type is [`Index`]. A [`Filter`] is a condition in CEL: the index finds what it is true
//! for, and it can be asked of one [`Document`], which gives the same answer.
//!
//! # Invariants
//! - No I/O, no clock: an index is what was put into it, in the order of the revisions.
//! - No bodies are kept, only columns; what an answer shows of a body beyond them is read elsewhere.
//! - What a [`Sight`] does not show is nowhere in an answer, and changes none.
//! - What a query would cost is known before it is begun, and one over the bound is refused.

mod answer;
mod cells;
mod column;
mod compile;
mod dictionary;
mod eval;
mod expr;
mod filter;
mod group;
mod index;
mod inherit;
mod line;
mod order;
mod packed;
mod plan;
mod posting;
mod query;
mod reach;
mod resolve;
mod rows;
mod schema;
mod search;
mod sight;
mod table;
mod value;
mod words;

pub use filter::{Document, Equality, Filter, FilterError};
pub use index::{Index, Revision};
pub use plan::Step;
pub use query::{Found, Group, Query, QueryError, Row, RowNumber};
pub use reach::{Link, Reach};
pub use schema::{FieldSchema, Inherited, Schema, Sort};
pub use search::{Hit, Rank};
pub use sight::{Seen, Shown, Sight, Way};
