//! Simulated hosts and generated sites: how large a control plane must be is found out here, before
//! anybody buys machines.
//!
//! The central function is [`run`]: thousands of agents in one process that speak the real protocol
//! to real servers, each with its own identity, connection and journal. An agent is the real one
//! ([`wright_agent::Sessions`] and [`wright_agent::Tasks`]); only what its tasks do to a host is
//! simulated ([`SimulatedHost`]), as a [`Profile`] says. [`Blueprint::generate`] makes sites for
//! them, shaped like published graphs of microservices.
//!
//! ```
//! use wright_simulate::{Blueprint, GraphWant};
//!
//! let want = GraphWant { apps: 20, instances: 60, layers: 4, seed: 7 };
//! let site = Blueprint::generate(&want)?;
//! assert_eq!(site.apps.len(), 20);
//! assert_eq!(site, Blueprint::generate(&want)?);
//! # Ok::<(), wright_simulate::GraphError>(())
//! ```
//!
//! # Invariants
//! - What a host does follows from the seed, its name, the operation, the instance and how often it
//!   was asked for that, never from the order in which things happen.
//! - Nothing of this machine is touched: no directory, no port, no process.

mod chance;
mod fate;
mod generate;
mod host;
mod machine;
mod profile;
mod run;

pub use chance::Chance;
pub use fate::Fate;
pub use generate::{App, Blueprint, GraphError, GraphWant};
pub use host::SimulatedHost;
pub use profile::{Behaviour, Operation, Profile, ProfileError};
pub use run::{Progress, Settings, SimulationError, addresses, run};
