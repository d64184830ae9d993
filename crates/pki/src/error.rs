use std::{
    io,
    path::{Path, PathBuf},
};

/// Why an identity cannot be made, kept or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file or directory cannot be used.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or key cannot be made or is not what it should be.
    #[error("cannot {doing}")]
    Certificate {
        /// What was tried.
        doing: &'static str,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// The authority's directory holds only one of certificate and key.
    #[error("{} is missing beside {}; put it back, or remove both to begin a new installation",
        missing.display(), present.display())]
    HalfAuthority {
        /// What is not there.
        missing: PathBuf,
        /// What is.
        present: PathBuf,
    },
    /// A text that should be a PEM certificate is none.
    #[error("not a certificate in PEM: {0}")]
    Pem(String),
    /// A certificate that names no host.
    #[error("the certificate is for no host: {0}")]
    NoHost(String),
}

impl PkiError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| PkiError::Io {
            doing,
            path,
            source,
        }
    }

    pub(crate) fn certificate(doing: &'static str) -> impl FnOnce(rcgen::Error) -> Self {
        move |source| PkiError::Certificate { doing, source }
    }
}
