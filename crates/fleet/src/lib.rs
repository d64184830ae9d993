//! The server's side of the agents: their sessions, the tasks they are given, what they see, the
//! service table they hold and the package archives they fetch.
//!
//! The central type is [`Fleet`], a handle that is cheap to clone. [`serve`] accepts agents into
//! it; [`Fleet::submit`] has one of them do a task, across reconnections; [`Fleet::stream`] follows
//! a task's output; [`Fleet::statuses`] and [`Fleet::subscribe`] tell what agents see;
//! [`Fleet::publish`] and [`Fleet::wait_applied`] spread the service table. Agents may be connected to
//! several servers: each [`follow`](Fleet::follow)s the others, and sees their sessions as its own.
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//! use tokio::time::Instant;
//! use tokio_util::sync::CancellationToken;
//! use wright_fleet::{Archives, Fleet, FleetSettings, Roster, serve};
//! use wright_pki::Authority;
//! use wright_protocol::Task;
//!
//! # async fn example(
//! #     roster: Arc<dyn Roster>, archives: Arc<dyn Archives>, authority: Authority,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let fleet = Fleet::new(roster, archives, FleetSettings::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:7401").await?;
//! let identity = authority.issue_server(&[], &["127.0.0.1".parse()?])?;
//! let shutdown = CancellationToken::new();
//! tokio::spawn(serve(listener, identity, fleet.clone(), shutdown));
//!
//! let task = Task::Stop { instance: "shop/catalog-1".parse()? };
//! let deadline = Instant::now() + Duration::from_secs(60);
//! let cancel = CancellationToken::new();
//! let answer = fleet.submit(&"h3".parse()?, "job-7/stop/1", task, deadline, cancel).await?;
//! println!("{}", answer.message);
//! # Ok(())
//! # }
//! ```
//!
//! # Invariants
//! - An agent is who its certificate says; a host that the [`Roster`] does not know is refused.
//! - A host has one session, here or at another server: a newer one ends the older.
//! - A task is on its way until it is answered, its deadline is over or it is cancelled. After a
//!   reconnection it is sent again under the same key; that its effect happens once is the agent's
//!   promise, kept by its journal.
//! - Letting go of a [`Fleet::submit`] without cancelling it (a server that goes down) leaves the
//!   task running: whoever submits the same key again gets its answer.
//! - A slow agent holds up nobody else, and gets the newest service table, not all of them.
//! - No task's body is logged: it may hold secrets.

mod archive;
mod error;
mod event;
mod fleet;
mod orders;
mod peer;
mod relay;
mod seat;
mod service;
mod session;
mod stream;
mod table;
mod task;

pub use archive::Archives;
pub use error::{NotApplied, PeerError, ServeError};
pub use event::{FleetEvent, Subscription};
pub use fleet::{AgentView, Fleet, FleetSettings, Roster};
pub use peer::{Peer, Unfollowed};
pub use service::serve;
pub use stream::StreamEnd;
pub use task::TaskKey;
