//! The gRPC service, and the socket that it is served on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::BoxStream};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{
        Certificate, Identity as TlsIdentity, Server, ServerTlsConfig, server::TcpIncoming,
    },
};
use wright_model::{Digest, Name};
use wright_pki::{Identity, host_of};
use wright_protocol::wire::{
    ArchivePart, ArchiveRequest, FromAgent, ToAgent,
    control_server::{Control, ControlServer},
    peer_server::PeerServer,
};

use crate::{
    archive,
    error::ServeError,
    fleet::{Fleet, Shared},
    orders::spoken,
    session,
};

/// The largest message of an agent: a check's body and some lines, or the status of all instances.
pub(crate) const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// How often a silent connection is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(10);

/// Lets agents into the fleet until `shutdown`: TLS in both directions, clients known to
/// `identity.ca` only. Sessions end with it; the agents come back to the next server.
///
/// # Errors
/// Where the identity cannot be used or the socket fails.
pub async fn serve(
    listener: TcpListener,
    identity: Identity,
    fleet: Fleet,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let tls = ServerTlsConfig::new()
        .identity(TlsIdentity::from_pem(&identity.certificate, &identity.key))
        .client_ca_root(Certificate::from_pem(&identity.ca))
        .timeout(PING);
    let door = Door {
        shared: fleet.0,
        shutdown: shutdown.clone(),
    };
    Server::builder()
        .tls_config(tls)?
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PING))
        .add_service(PeerServer::new(door.clone()).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(ControlServer::new(door).max_decoding_message_size(LARGEST_MESSAGE))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            shutdown.cancelled_owned(),
        )
        .await?;
    Ok(())
}

/// Where agents and other servers knock.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
    pub(crate) shutdown: CancellationToken,
}

impl Door {
    /// Whose agent it is, if that host is on the roster.
    async fn admit<T>(&self, request: &Request<T>) -> Result<Name, Status> {
        let certificates = request.peer_certs();
        let certificate = certificates.as_ref().and_then(|chain| chain.first());
        let certificate =
            certificate.ok_or_else(|| Status::unauthenticated("a certificate is needed"))?;
        let host =
            host_of(certificate).map_err(|error| Status::unauthenticated(error.to_string()))?;
        if self.shared.roster.is_known(&host).await {
            Ok(host)
        } else {
            tracing::warn!(%host, "an agent was refused: its host is not known or was given up");
            Err(Status::permission_denied(format!(
                "host {host} is not known or was given up"
            )))
        }
    }
}

#[tonic::async_trait]
impl Control for Door {
    type SessionStream = BoxStream<'static, Result<ToAgent, Status>>;
    type ArchiveStream = ArchiveStream;

    async fn session(
        &self,
        request: Request<Streaming<FromAgent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let host = self.admit(&request).await?;
        let (begun, begins) = oneshot::channel();
        let (shared, shutdown) = (Arc::clone(&self.shared), self.shutdown.clone());
        tokio::spawn(session::hold(
            shared,
            host,
            request.into_inner(),
            begun,
            shutdown,
        ));
        Ok(Response::new(spoken(begins).boxed()))
    }

    async fn archive(
        &self,
        request: Request<ArchiveRequest>,
    ) -> Result<Response<Self::ArchiveStream>, Status> {
        self.admit(&request).await?;
        let digest = digest_of(request.get_ref())?;
        let files = self.shared.archives.find(digest).await;
        self.send(digest, files)
    }
}

pub(crate) fn digest_of(request: &ArchiveRequest) -> Result<Digest, Status> {
    let digest = request.digest.parse();
    digest.map_err(|error: wright_model::DigestError| Status::invalid_argument(error.to_string()))
}

/// An archive on its way out.
pub(crate) type ArchiveStream = ReceiverStream<Result<ArchivePart, Status>>;

impl Door {
    pub(crate) fn send(
        &self,
        digest: Digest,
        files: Option<(PathBuf, PathBuf)>,
    ) -> Result<Response<ArchiveStream>, Status> {
        let files =
            files.ok_or_else(|| Status::not_found(format!("there is no package {digest}")))?;
        let (to, reader) = mpsc::channel(2);
        let shutdown = self.shutdown.clone();
        tokio::spawn(shutdown.run_until_cancelled_owned(archive::send(files, to)));
        Ok(Response::new(ReceiverStream::new(reader)))
    }
}
