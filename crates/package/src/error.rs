use std::{io, path::PathBuf};

use wright_model::{Diagnostic, Digest};

use crate::KeyId;

/// Why something about a package was not done. Each text is complete by itself: it goes over wires
/// and into logs that keep nothing but the text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What a person wrote or put into the package cannot be taken; nothing was made.
    #[error("{}", lines(.0))]
    Refused(Vec<Diagnostic>),

    /// The system refused to read or write.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, …
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The archive is not what [`build`](crate::build) makes; nothing of it was kept.
    #[error("{} cannot be taken as a package: {fault}", archive.display())]
    BadArchive {
        /// The archive file.
        archive: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },

    /// The archive's bytes are not the ones that were asked for.
    #[error(
        "the bytes of {package} are wrong: digest {expected} was expected, it is {actual}; \
         fetch it again, and push it again if that does not help"
    )]
    WrongDigest {
        /// The package, or its archive's path.
        package: String,
        /// The digest it should have.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },

    /// The package is signed by a key that is not trusted.
    #[error(
        "{package} is signed by key {key}, which is not trusted; if you know whose key it is, add \
         its public key to the keyring, otherwise do not install the package"
    )]
    UnknownKey {
        /// The package.
        package: String,
        /// The key that signed it.
        key: KeyId,
    },

    /// The signature does not belong to the archive, or was forged.
    #[error(
        "the signature of {package} is wrong: key {key} did not sign this archive; get archive and \
         signature again from where they were built, or sign it again"
    )]
    WrongSignature {
        /// The package.
        package: String,
        /// The key that it claims.
        key: KeyId,
    },

    /// A file that should hold a key does not.
    #[error("{} is not a usable key: {why}", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// Why not, and what to do.
        why: String,
    },

    /// There is something where the package should go.
    #[error("{} exists already; remove it first", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Not zstd, a damaged frame, or a window larger than a host must afford.
    #[error("its compression is damaged or not zstd as `wright package build` writes it ({0})")]
    Compression(io::Error),
    /// A tar header that cannot be read.
    #[error("its tar structure is damaged ({0})")]
    Structure(String),
    /// It ends before everything it lists has come.
    #[error("it ends too early; it was probably cut off on its way, fetch it again")]
    Truncated,
    /// Something follows where the archive should end.
    #[error("something follows after its end")]
    Trailing,
    /// It holds more than it may, or more than it says.
    #[error("{0}")]
    TooLarge(String),
    /// The file list is missing or wrong.
    #[error("its file list `FILES` is wrong: line {line}: {why}")]
    Listing {
        /// The line, from 1; 0 where the list as a whole is meant.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// An entry is not the one that the file list announces.
    #[error("its entry {path:?} is not as listed in `FILES`: {why}")]
    NotAsListed {
        /// The entry's path, as it stands in the archive.
        path: String,
        /// What is different.
        why: String,
    },
    /// `package.toml` cannot be taken.
    #[error("its package.toml is wrong:\n{}", lines(.0))]
    Manifest(Vec<Diagnostic>),
}

impl Error {
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io {
            doing,
            path,
            source,
        }
    }
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics
        .iter()
        .map(Diagnostic::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
