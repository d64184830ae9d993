//! The nouns of Sitewright: names, units, digests, specifications and problems that every other
//! crate shares.
//!
//! The central type is [`InstanceSpec`]: everything an agent must know to run one instance of one
//! app. Plans produce it, the server hands it out, agents act on it.
//!
//! ```
//! use wright_model::{ByteSize, Name};
//!
//! let app: Name = "catalog".parse()?;
//! let memory: ByteSize = "128MiB".parse()?;
//! assert_eq!((app.as_str(), memory.bytes()), ("catalog", 134_217_728));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//! - No I/O, no clocks, no randomness: values and their checks only.
//! - A value of a checked type ([`Name`], [`Version`], [`Digest`], …) is valid; parsing is the only way to make one.
//! - Every type that goes over a wire or into the store refuses unknown fields where people write
//!   it by hand, and tolerates them where only programs do.

mod back_off;
mod digest;
mod facts;
mod host;
mod instance;
mod name;
mod nearest;
mod package;
mod problem;
pub mod token;
mod units;

pub use back_off::BackOff;
pub use digest::{Digest, DigestError};
pub use facts::{Cpu, Disk, Facts, NetworkInterface, OperatingSystem};
pub use host::{Capacity, Host, HostState};
pub use instance::{
    Check, CheckKind, ConfigFile, Expectation, HttpCheck, InstanceId, InstanceRecord, InstanceSpec,
    InstanceStatus, LastExit, Limits, Phase, Probe, Traffic,
};
pub use name::{Name, NameError};
pub use nearest::nearest;
pub use package::{Operation, PackageId, Version, VersionError, VersionReq};
pub use problem::{Diagnostic, Problem, Severity};
pub use units::{ByteSize, CpuShare, Span, UnitError};
