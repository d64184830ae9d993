//! Asks a server, over TLS, as programs do.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::Deserialize;
use serde_json::Value;

use crate::Result;

/// How a server is reached.
#[derive(Debug, Deserialize)]
struct Context {
    url: String,
    token: String,
    /// The certificate authority, PEM.
    ca: String,
}

/// Clones share their connections.
#[derive(Clone)]
pub struct Client {
    context: Arc<Context>,
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// Of the server whose data directory this is.
    pub fn open(data: &Path) -> Result<Self> {
        let context: Context = serde_json::from_slice(&fs::read(data.join("client.json"))?)?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(context.ca.as_bytes()) {
            roots.add(certificate?)?;
        }
        let provider = rustls::crypto::ring::default_provider();
        let tls = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Client {
            context: Arc::new(context),
            http: legacy::Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Whatever is no success is an error.
    pub async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.context.url))
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.context.token),
            )
            .body(Full::new(body))?;
        let response = self.http.request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let told = response.into_body().collect().await?.to_bytes();
        Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&told)).into())
    }

    /// The whole answer.
    pub async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Value> {
        let answer = self.ask(method, path, body).await?;
        let told = answer.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&told)?)
    }

    pub async fn send_json(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        self.send(method, path, body.to_string().into()).await
    }
}
