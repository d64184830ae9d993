//! The agent on real processes, real files and real connections.

// Helpers outside test functions may fail a test in the same way as the tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod errand;
mod faults;
mod host;
mod killed;
mod lifecycle;
mod session;
mod supervision;
