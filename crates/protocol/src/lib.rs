//! What servers and agents say to each other.
//!
//! The envelope is protobuf over gRPC ([`wire`], generated from `proto/agent.proto`); what a task
//! asks for is a [`Task`], a plain Rust value carried as JSON, so that both sides share one type.
//!
//! ```
//! use wright_protocol::Task;
//!
//! let task = Task::Stop { instance: "shop/catalog-1".parse()? };
//! assert!(!task.is_repeatable());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//! - No I/O.
//! - Every task either has an effect, which the agent journals under the task's key, or is
//!   repeatable and is never journalled.

mod codec;
mod table;
mod task;

pub use task::{Answer, Blame, Fault, Observation, Task, TaskAnswer};

/// What programs outside are told of the inventory: generated from `proto/watch.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
pub mod watch {
    tonic::include_proto!("wright.watch.v1");
}

/// The generated messages and service of `proto/agent.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
pub mod wire {
    tonic::include_proto!("wright.agent.v1");
}
