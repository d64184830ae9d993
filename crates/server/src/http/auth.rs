//! How clients on this machine find the server, and who they are: the token of `client.json`.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wright_access::{ADMINISTRATOR, NewToken, TokenError, TokenSort, Tokens};

use crate::{api::ClientContext, members::Roster};

/// The name of the token in `client.json`.
const OPERATOR: &str = "operator";

/// Who makes a request, for the audit trail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Actor(pub String);

/// The file `client.json` (mode 0600) of a data directory, by which clients know the servers.
pub struct ClientFile {
    /// The tokens.
    pub tokens: Tokens,
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
            Some(known) if self.is_valid(&known.token).await? => known.token,
            _ => self.issue().await?,
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

    async fn is_valid(&self, token: &str) -> Result<bool, TokenError> {
        Ok(self.tokens.find(token, Timestamp::now()).await?.is_some())
    }

    /// A token that may do everything: who can read the file may.
    async fn issue(&self) -> Result<String, TokenError> {
        let new = NewToken {
            name: OPERATOR.to_owned(),
            roles: BTreeSet::from([ADMINISTRATOR.to_owned()]),
            ..NewToken::default()
        };
        let issued = self
            .tokens
            .issue(new, TokenSort::Program, BTreeSet::new(), "server")
            .await?;
        Ok(issued.token)
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
