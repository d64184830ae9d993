//! Calls to the servers of others, such as receivers of webhooks and identity providers.

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// Calls by HTTP and HTTPS.
pub type Client = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Why nobody can be called.
#[derive(Debug, thiserror::Error)]
pub enum OutwardError {
    /// What should be certificates of an authority is not.
    #[error("{0}")]
    Authority(String),
    /// TLS cannot be had.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Trusts the machine's authorities and those of `ca`: certificates as PEM, or nothing.
///
/// # Errors
/// Where `ca` is something else.
pub fn client(ca: &str) -> Result<Client, OutwardError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(OutwardError::Authority)?;
    }
    let provider = rustls::crypto::ring::default_provider();
    let tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    Ok(legacy::Client::builder(TokioExecutor::new()).build(connector))
}
