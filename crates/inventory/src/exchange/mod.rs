//! In and out: resources out of files of others and into files for others.
//!
//! Readers turn CSV, YAML, JSON lines and dumps of NetBox into [`Row`]s, each with the line it came
//! from; [`Inventory::import`](crate::Inventory::import) writes rows in large commits through the same
//! checks as every other write, or says what it would do; [`Writer`] writes resources so that reading
//! them again changes nothing. All but the import itself is pure.

mod coerce;
mod import;
pub mod netbox;
mod read;
mod report;
mod row;
mod write;

pub use import::Commit;
pub use read::{Format, read};
pub use report::{Deed, Missing, Report, RowDifference, RowError};
pub use row::{Fields, LineError, Row};
pub use write::Writer;
