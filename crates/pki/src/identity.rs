use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use wright_model::Name;
use x509_parser::{parse_x509_certificate, pem::parse_x509_pem};

use crate::{PkiError, authority::PEER_NAME};

/// What one side of mutual TLS needs, all PEM: whom it trusts, who it is, and the proof.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The authority's certificate.
    pub ca: String,
    /// Its own certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// The stem of an agent's files: `agent.pem`, `agent.key`.
    pub const AGENT: &str = "agent";
    /// The stem of a server's files: `server.pem`, `server.key`.
    pub const SERVER: &str = "server";

    /// Writes `ca.pem`, `{stem}.pem` and `{stem}.key` into a directory, which is made if it is not
    /// there. The key is for its owner only (mode 600).
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(&self, directory: &Path, stem: &str) -> Result<(), PkiError> {
        make_directory(directory)?;
        let [ca, certificate, key] = paths(directory, stem);
        write(&key, &self.key, 0o600)?;
        write(&certificate, &self.certificate, 0o644)?;
        write(&ca, &self.ca, 0o644)
    }

    /// Reads what [`Identity::write`] wrote.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn read(directory: &Path, stem: &str) -> Result<Self, PkiError> {
        let read = |path: &PathBuf| fs::read_to_string(path).map_err(PkiError::io("read", path));
        let [ca, certificate, key] = paths(directory, stem);
        Ok(Identity {
            ca: read(&ca)?,
            certificate: read(&certificate)?,
            key: read(&key)?,
        })
    }

    /// The certificate, DER.
    ///
    /// # Errors
    /// Where it is not PEM.
    pub fn certificate_der(&self) -> Result<Vec<u8>, PkiError> {
        let (_, pem) = parse_x509_pem(self.certificate.as_bytes())
            .map_err(|error| PkiError::Pem(error.to_string()))?;
        Ok(pem.contents)
    }
}

/// The host that an agent's certificate (DER) is for: its common name. That the certificate is
/// genuine must have been proved before, by TLS.
///
/// # Errors
/// Where it is no certificate or its common name is no host's name.
pub fn host_of(certificate: &[u8]) -> Result<Name, PkiError> {
    common_name(certificate)?
        .parse()
        .map_err(|error: wright_model::NameError| PkiError::NoHost(error.to_string()))
}

/// Whether a certificate (DER) is what a server shows to another server. That it is genuine must
/// have been proved before, by TLS.
pub fn is_server(certificate: &[u8]) -> bool {
    common_name(certificate).is_ok_and(|name| name == PEER_NAME)
}

fn common_name(certificate: &[u8]) -> Result<String, PkiError> {
    let (_, certificate) =
        parse_x509_certificate(certificate).map_err(|error| PkiError::NoHost(error.to_string()))?;
    let name = certificate.subject().iter_common_name().next();
    let name = name.and_then(|name| name.as_str().ok());
    name.map(str::to_owned)
        .ok_or_else(|| PkiError::NoHost("it has no common name".to_owned()))
}

fn paths(directory: &Path, stem: &str) -> [PathBuf; 3] {
    [
        "ca.pem".to_owned(),
        format!("{stem}.pem"),
        format!("{stem}.key"),
    ]
    .map(|file| directory.join(file))
}

pub(crate) fn make_directory(path: &Path) -> Result<(), PkiError> {
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(PkiError::io("make", path))
}

/// Writes a file that is there completely or not at all.
pub(crate) fn write(path: &Path, content: &str, mode: u32) -> Result<(), PkiError> {
    let partial = path.with_added_extension("partial");
    let remove = fs::remove_file(&partial);
    if let Err(error) = remove
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(PkiError::io("replace", &partial)(error));
    }
    // `create_new`, so that nobody's earlier, more open file is written to.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&partial)
        .map_err(PkiError::io("make", &partial))?;
    file.write_all(content.as_bytes())
        .map_err(PkiError::io("write", &partial))?;
    file.sync_all().map_err(PkiError::io("write", &partial))?;
    fs::rename(&partial, path).map_err(PkiError::io("write", path))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(PkiError::io("write", directory))
}
