//! Packages: what anything installed comes in. The archive format, its manifest with the eight
//! operations, its signature, and the way from a directory to an archive and back.
//!
//! The central type is [`Manifest`], the meaning of a `package.toml`: what runs, as whom, and how
//! each of the eight [operations](wright_model::Operation) is done. [`build`] turns a directory
//! with a manifest into an archive, [`PrivateKey::sign`] signs it, [`verify`] says whether it is
//! what was signed, [`unpack`] makes a directory of it again, and [`checksum`] proves later that
//! this directory is still what was shipped.
//!
//! ```
//! use wright_model::Operation;
//! use wright_package::{Keyring, PrivateKey, build, checksum, scaffold, unpack, verify};
//!
//! # let scratch = tempfile::tempdir()?;
//! # let (source, out, target) =
//! #     (scratch.path().join("hello"), scratch.path().join("out"), scratch.path().join("hello-1"));
//! scaffold(&source, &"hello".parse()?)?;
//! let built = build(&source, &[], &out)?;
//! assert_eq!(built.id.to_string(), "hello@0.1.0");
//! assert_eq!(built.manifest.operation(Operation::Stop).timeout.to_string(), "10s");
//!
//! let key = PrivateKey::generate();
//! let signature = key.sign(&built.id.digest);
//! let keyring = Keyring::from_iter([key.public()]);
//! verify(&built.archive, &built.id, &signature, &keyring)?;
//!
//! unpack(&built.archive, &target, &built.id.digest)?;
//! assert!(checksum(&target)?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The archive
//!
//! A `.wpk` file is one zstd frame around a POSIX ustar archive. Its first entry is `FILES`, the
//! [`Listing`] of everything else; then `package.toml`; then the rest in the order of the bytes of
//! their paths. There are regular files, directories and symbolic links that stay inside, nothing
//! else. Times, owners and groups are 0, modes 644 or 755. A reader knows from `FILES` what must
//! come and refuses anything else before it is written.
//!
//! # Invariants
//! - The same files give the same bytes, and so the same digest, wherever and whenever they are built.
//! - Nothing is written outside the destination, whatever an archive says; a destination exists
//!   completely or not at all.
//! - Reading an archive takes less than 6 MiB of memory, whatever its size.
//! - No network, no processes, no agent: files in, files out.

mod addition;
mod archive;
mod build;
mod checksum;
mod error;
mod keys;
mod listing;
mod manifest;
mod path;
mod placeholder;
mod platform;
mod program;
mod scaffold;
mod signature;
mod suggest;
mod tree;
mod unpack;

pub use addition::{Addition, AdditionError};
pub use archive::{Contents, inspect, read_listing, read_manifest};
pub use build::{Built, build};
pub use checksum::{Finding, FindingKind, checksum, checksum_against};
pub use error::{Error, Fault};
pub use keys::{KeyId, KeyIdError, Keyring, PrivateKey, PublicKey};
pub use listing::{Item, ItemKind, LISTING_FILE, Listing};
pub use manifest::{Action, Customised, MANIFEST_FILE, Manifest, OperationSpec, RunAs, Signal};
pub use placeholder::{ExpandError, Expansion, expand};
pub use platform::{Platform, PlatformError};
pub use program::find_program;
pub use scaffold::scaffold;
pub use signature::{Signature, SignatureError, digest_of, signature_path, verify};
pub use unpack::unpack;
