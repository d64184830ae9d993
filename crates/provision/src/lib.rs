//! Hosts, from whoever can make them: processes on this machine today; containers, virtual
//! machines, physical machines and clouds behind the same interface.
//!
//! The central type is the trait [`Provider`]; [`Local`] is the embedded provider whose hosts are
//! agents on this machine, each with a loopback address and a directory of its own.
//!
//! ```no_run
//! use std::sync::Arc;
//! use wright_pki::Authority;
//! use wright_provision::{HostWant, Local, LocalSettings, Provider};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let local = Local::new(LocalSettings {
//!     directory: "data/hosts".into(),
//!     network: 77,
//!     count: 8,
//!     server: "https://127.0.0.1:7401".into(),
//!     authority: Arc::new(Authority::open("data/pki".as_ref())?),
//!     keys: "data/keys".into(),
//! });
//! let host = local.create(&HostWant { name: "h3".parse()?, capacity: None }).await?;
//! assert_eq!(host.address.to_string(), "127.77.0.3");
//! local.destroy(&host.name).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Invariants
//! - A host that was killed never comes back under its name until it is destroyed: what ran there
//!   cannot run beside what replaced it.
//! - Every operation can be repeated: what is done already is not done twice.
//! - What a provider made is found again after the server died at any moment.
//! - A destroyed host leaves nothing: no process, no file, no control group.

mod error;
mod local;
mod provider;

pub use error::ProvisionError;
pub use local::{LOOKUP_PORT, Local, LocalSettings};
pub use provider::{HostWant, MadeHost, Provider, Revival};
