//! Who is who between servers and agents: the installation's own certificate authority and the
//! identities it issues for mutual TLS.
//!
//! The central type is [`Authority`]. It issues an [`Identity`] to the server and to every agent;
//! [`host_of`] tells from an agent's certificate which host it speaks for, [`is_server`] whether it
//! is another server that calls.
//!
//! ```
//! use wright_pki::{Authority, Identity, host_of};
//!
//! # let scratch = tempfile::tempdir()?;
//! let authority = Authority::open(scratch.path())?;
//! let identity = authority.issue_agent(&"h3".parse()?)?;
//! identity.write(&scratch.path().join("agent"), Identity::AGENT)?;
//! assert_eq!(host_of(&identity.certificate_der()?)?.as_str(), "h3");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//! - A private key is in a file that only its owner can read, from its first byte on, and in no
//!   debug output.
//! - A file is there completely or not at all, whenever the process dies.
//! - What is issued to an agent cannot be used as a server's, nor the other way round (extended
//!   key usage), and neither can issue anything.

mod authority;
mod error;
mod identity;

pub use authority::{Authority, SERVER_NAME};
pub use error::PkiError;
pub use identity::{Identity, host_of, is_server};
