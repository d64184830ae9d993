//! The host daemon: brings packages to a host, runs instances of them, watches over them, and
//! answers where services are, also while nobody is there to tell it.
//!
//! The central type is [`Executor`]: it does [`Task`](wright_protocol::Task)s, each key once, and
//! supervises what they start. [`run`] is the daemon around it: a session with the server, the
//! route lookup, signals. [`launch`] is the small program beside the two: every command of an
//! instance is started through it, and it does the work on packages, so that the memory that needs
//! goes away with it.
//!
//! ```no_run
//! use wright_agent::{Settings, run};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::new("/var/lib/wright", "h1".parse()?, [127, 77, 0, 1].into())
//!     .with_servers(["https://127.0.0.1:7401"]);
//! tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(settings))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Invariants
//! - A task's key is in the journal before its effect begins, and its answer before it is sent; a
//!   known key gets the recorded answer. The journal never holds what a task asked for.
//! - Every effect of its own can be done again after a crash. A hook is run once for its key: it
//!   outlives an agent that is killed, and how it ended is on disk before anybody waits for it in
//!   vain.
//! - No program runs that is not recorded: it waits for its go until its process is on disk, and
//!   ends if the agent dies before that.
//! - Programs outlive the agent and are adopted by the next one.
//! - No secret is written anywhere but into the instance's own files, mode 600.

mod backoff;
mod cgroup;
mod check;
mod command;
mod daemon;
mod durable;
mod errand;
mod error;
mod executor;
mod expect;
mod facts;
mod hook;
mod instance;
mod journal;
mod keeper;
mod launch;
mod layout;
mod logs;
mod lookup;
mod once;
mod pace;
mod process;
mod program;
mod record;
mod server;
mod session;
mod settings;
mod store;
mod supervise;
mod tasks;
mod told;

pub use daemon::run;
pub use error::AgentError;
pub use executor::Executor;
pub use launch::launch;
pub use layout::{InstanceDirs, Layout};
pub use once::{Effects, Order, Output, Tasks, Usage};
pub use server::{Server, ServerIdentity};
pub use session::{Sessions, Tables};
pub use settings::{LogLimits, Settings};
pub use store::{Archive, ArchiveSource};
