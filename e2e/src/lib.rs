//! A test bed for end-to-end tests: a real `wright dev` with real agents in a directory of its own,
//! and small sites to build on it.

mod bed;
mod blows;
mod process;
mod site;

pub use bed::{Bed, Ended, processes_of, signal};
pub use blows::{Blows, from_environment};
pub use process::{Running, built};
pub use site::{App, Site};
