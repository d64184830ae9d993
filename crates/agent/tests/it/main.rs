//! The agent on real processes, real files and real connections.

mod faults;
mod host;
mod lifecycle;
mod session;
mod supervision;
