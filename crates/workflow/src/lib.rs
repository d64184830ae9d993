//! The durable job engine.
//!
//! A job is a graph of [`Step`]s made by a planner. The engine walks it: whatever does not depend
//! on each other runs at once, every step is recorded before and after its effect, and a job
//! survives the death of any process.
//!
//! # Invariants
//! - The engine knows no verb: what a step does is behind the [`Verb`] trait.
//! - A step's `succeeded` and the facts its verb wants recorded are one commit.
//! - The executor chooses nothing. A plan that must change is replaced under its revision.

mod step;
mod verb;

pub use step::*;
pub use verb::*;
