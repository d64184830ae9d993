//! Who may call: bearer tokens (RFC 6750), of which the store keeps only the BLAKE3 hash.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::header::AUTHORIZATION;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wright_model::Digest;
use wright_store::{Operation, SharedStore, StoreError};

use super::answer::Refusal;
use crate::{api::ClientContext, members::Roster};

/// Who makes a request, for the audit trail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Actor(pub String);

fn token_key(token: &str) -> String {
    format!("token/{}", Digest::of(token.as_bytes()))
}

/// Makes a token of 256 random bits for `actor`.
///
/// # Errors
/// Where the store fails.
pub async fn issue(store: &SharedStore, actor: &str) -> Result<String, StoreError> {
    let bits: [u8; 32] = rand::rng().random();
    let token = format!("wright_{}", Digest::from_bytes(bits));
    let value = serde_json::to_vec(&Actor(actor.to_owned())).unwrap_or_default();
    store
        .commit(Vec::new(), vec![Operation::put(token_key(&token), value)])
        .await?;
    Ok(token)
}

/// The file `client.json` (mode 0600) of a data directory, by which clients know the servers.
pub struct ClientFile {
    /// Where tokens are.
    pub store: SharedStore,
    /// The data directory.
    pub data: PathBuf,
    /// This server's own URL.
    pub url: String,
    /// The authority's certificate, PEM.
    pub ca: String,
}

impl ClientFile {
    /// Writes it, with the URLs of other servers; the token stays while it is valid.
    ///
    /// # Errors
    /// Where the store or the file fails.
    pub async fn write(
        &self,
        others: &[String],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let file = self.data.join("client.json");
        let known: Option<ClientContext> = fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let token = match known {
            Some(known) if is_valid(&self.store, &known.token).await? => known.token,
            _ => issue(&self.store, "operator").await?,
        };
        let context = ClientContext {
            url: self.url.clone(),
            others: others.to_vec(),
            token,
            ca: self.ca.clone(),
        };
        write_private(&file, &serde_json::to_vec_pretty(&context)?)?;
        Ok(())
    }

    /// Keeps it true of the members until `shutdown`.
    pub async fn keep(self, mut roster: watch::Receiver<Roster>, shutdown: CancellationToken) {
        let mut written = Vec::new();
        let kept = async {
            loop {
                let members = roster.borrow_and_update().clone();
                let urls = members.into_values().map(|seated| seated.member.api);
                let others: Vec<String> = urls.filter(|url| *url != self.url).collect();
                if others != written {
                    match self.write(&others).await {
                        Ok(()) => written = others,
                        Err(error) => tracing::warn!(%error, "client.json cannot be written"),
                    }
                }
                if roster.changed().await.is_err() {
                    return;
                }
            }
        };
        shutdown.run_until_cancelled(kept).await;
    }
}

async fn is_valid(store: &SharedStore, token: &str) -> Result<bool, StoreError> {
    Ok(store.get(token_key(token).as_bytes()).await?.is_some())
}

fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = file.with_extension("partial");
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(partial, file)
}

/// Lets a request through only with a known token, and tells handlers whose it is.
pub async fn require(
    State(store): State<Arc<SharedStore>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let token = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let Some(token) = token else {
        return Err(Refusal::new(
            401,
            "unauthenticated",
            "no token",
            "send `Authorization: Bearer TOKEN`; the token is in client.json of the data directory",
        ));
    };
    let entry = store
        .get(token_key(token).as_bytes())
        .await
        .map_err(Refusal::internal)?;
    let actor: Option<Actor> = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
    let Some(actor) = actor else {
        return Err(Refusal::new(
            401,
            "unauthenticated",
            "unknown token",
            "this token is not known here, or was withdrawn",
        ));
    };
    request.extensions_mut().insert(actor);
    Ok(next.run(request).await)
}
