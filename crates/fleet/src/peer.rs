//! Other servers: their sessions are seen here as if they were this server's own.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    fs::File,
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity},
};
use wright_model::{Digest, Name};
use wright_pki::{Identity, SERVER_NAME};
use wright_protocol::wire::{
    self, ArchiveRequest, PeerNews, PeerOrder, archive_part::Part, from_agent::Message as Said,
    peer_client::PeerClient,
};

use crate::{
    Fleet, NotApplied, PeerError,
    fleet::Shared,
    seat::{Line, Session},
    service::LARGEST_MESSAGE,
};

/// How often a silent connection between servers is tried, and how long the other may take to say
/// something: a frozen server is found out in their sum.
const PING: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_millis(1500);
/// The wait before a server that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Another server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Peer {
    id: String,
    address: String,
    client: PeerClient<Channel>,
    followed: Arc<AtomicBool>,
}

impl Peer {
    /// A server by its id and the address (`host:port`) where agents and servers reach it. Nothing is
    /// dialled yet.
    ///
    /// # Errors
    /// Where the address or the identity cannot be used.
    pub fn new(
        id: &str,
        address: &str,
        identity: &Identity,
    ) -> Result<Self, tonic::transport::Error> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&identity.ca))
            .identity(TlsIdentity::from_pem(&identity.certificate, &identity.key))
            .domain_name(SERVER_NAME);
        let channel = Endpoint::from_shared(format!("https://{address}"))?
            .tls_config(tls)?
            .connect_timeout(PATIENCE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PATIENCE)
            .keep_alive_while_idle(true)
            .connect_lazy();
        Ok(Peer {
            id: id.to_owned(),
            address: address.to_owned(),
            client: PeerClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE),
            followed: Arc::default(),
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether its machine says that nobody listens at its address: its process has ended.
    pub async fn is_gone(&self) -> bool {
        let dialled = timeout(PATIENCE, TcpStream::connect(&self.address)).await;
        matches!(dialled, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Writes an archive that it has to a file; answers with its signature, or with `None` where it
    /// has no such archive. Nothing is proved.
    ///
    /// # Errors
    /// Where it does not answer, or the file cannot be written.
    pub async fn archive(&self, digest: Digest, file: &Path) -> Result<Option<Vec<u8>>, PeerError> {
        let request = asked(digest);
        let mut parts = match self.client.clone().archive(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(self.failed(status)),
        };
        let disk = |source| PeerError::Disk {
            server: self.id.clone(),
            source,
        };
        let mut archive = File::create(file).await.map_err(disk)?;
        let mut signature = Vec::new();
        while let Some(part) = parts
            .message()
            .await
            .map_err(|status| self.failed(status))?
        {
            match part.part {
                Some(Part::Signature(bytes)) => signature = bytes,
                Some(Part::Data(bytes)) => archive.write_all(&bytes).await.map_err(disk)?,
                None => {}
            }
        }
        archive.sync_all().await.map_err(disk)?;
        Ok(Some(signature))
    }

    /// Has it fetch an archive from wherever it finds it.
    ///
    /// # Errors
    /// Where it does not answer or does not find it.
    pub async fn keep(&self, digest: Digest) -> Result<(), PeerError> {
        let kept = self.client.clone().keep(asked(digest)).await;
        kept.map(drop).map_err(|status| self.failed(status))
    }

    fn failed(&self, status: Status) -> PeerError {
        PeerError::Call {
            server: self.id.clone(),
            source: Box::new(status),
        }
    }
}

fn asked(digest: Digest) -> ArchiveRequest {
    ArchiveRequest {
        digest: digest.to_string(),
    }
}

/// How following a server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfollowed {
    /// Whether it had begun.
    pub followed: bool,
    /// Why it ended.
    pub why: String,
}

impl Fleet {
    /// The other servers that are followed, or shall be.
    pub fn peers(&self) -> Vec<Peer> {
        self.0.known_peers().values().cloned().collect()
    }

    /// Whether the sessions of all other servers are seen at present.
    pub fn sees_all_peers(&self) -> bool {
        let peers = self.0.known_peers();
        peers
            .values()
            .all(|peer| peer.followed.load(Ordering::Relaxed))
    }

    /// Another server lives: it is asked for archives and waited for with tables from now on.
    pub fn meet(&self, peer: &Peer) {
        let mut known = self.0.known_peers();
        known.insert(peer.id.clone(), peer.clone());
    }

    /// A server lives no longer.
    pub fn part(&self, id: &str) {
        self.0.known_peers().remove(id);
        self.0.progress.send_replace(());
    }

    /// Sees a server's sessions as if they were here, until the connection breaks; then they are
    /// closed.
    pub async fn follow(&self, peer: &Peer) -> Unfollowed {
        let (orders, outgoing) = mpsc::unbounded_channel();
        let mut client = peer.client.clone();
        let answer = client.follow(UnboundedReceiverStream::new(outgoing)).await;
        let mut news = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                return Unfollowed {
                    followed: false,
                    why: status.message().to_owned(),
                };
            }
        };
        let following = Following {
            shared: &self.0,
            peer,
            orders,
        };
        peer.followed.store(true, Ordering::Relaxed);
        let why = loop {
            match news.message().await {
                Ok(Some(news)) => following.take(news),
                Ok(None) => break "it ended the connection".to_owned(),
                Err(status) => break status.message().to_owned(),
            }
        };
        Unfollowed {
            followed: true,
            why,
        }
    }

    /// Waits until a peer's agents answer from a table, or the peer lives no longer: its agents get
    /// the table where they connect next.
    pub(crate) async fn wait_applied_there(
        &self,
        peer: &Peer,
        revision: u64,
        deadline: Instant,
    ) -> Result<(), NotApplied> {
        while self.0.known_peers().contains_key(&peer.id) {
            let left = deadline.saturating_duration_since(Instant::now());
            let asked = wire::AppliedRequest {
                revision,
                deadline_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            };
            match peer.client.clone().applied(asked).await {
                Ok(answer) => {
                    let wire::AppliedAnswer { published, behind } = answer.into_inner();
                    let agents: Vec<Name> = behind.iter().filter_map(|n| n.parse().ok()).collect();
                    return match (published, agents.is_empty()) {
                        (true, true) => Ok(()),
                        (true, false) => Err(NotApplied::Waiting { revision, agents }),
                        (false, _) => Err(NotApplied::Unpublished(revision)),
                    };
                }
                Err(_) if left.is_zero() => {
                    return Err(NotApplied::Unknown {
                        revision,
                        server: peer.id.clone(),
                    });
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
        Ok(())
    }
}

/// A server that is followed. Dropping it closes what was seen through it.
struct Following<'a> {
    shared: &'a Shared,
    peer: &'a Peer,
    orders: mpsc::UnboundedSender<PeerOrder>,
}

impl Following<'_> {
    fn take(&self, news: PeerNews) {
        let Ok(host) = news.host.parse::<Name>() else {
            return;
        };
        match news.said.map(|said| said.message) {
            None => self.close(&host, "it left the server that it was connected to"),
            // A message of a newer protocol.
            Some(None) => {}
            Some(Some(Said::Hello(hello))) => {
                let line = Line::Peer {
                    peer: self.peer.id.clone(),
                    orders: self.orders.clone(),
                };
                // Its server has asked the roster. If the host was given up meanwhile, that server
                // ends the session, and with it this one.
                self.shared
                    .open(&host, hello, line, CancellationToken::new());
            }
            Some(Some(said)) => {
                let number = {
                    let state = self.shared.state();
                    let seat = state.seats.get(&host);
                    let session = seat.and_then(|seat| seat.session.as_ref());
                    session.filter(|s| self.has(s)).map(|s| s.number)
                };
                if let Some(number) = number {
                    self.shared.hear(&host, number, said);
                }
            }
        }
    }

    fn has(&self, session: &Session) -> bool {
        session.is_of(&self.peer.id)
    }

    fn close(&self, host: &Name, why: &str) {
        self.shared
            .close_if(host, why, false, |session| self.has(session));
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.peer.followed.store(false, Ordering::Relaxed);
        let seen: Vec<Name> = {
            let state = self.shared.state();
            let sessions = state
                .seats
                .values()
                .filter_map(|seat| seat.session.as_ref());
            let seen = sessions.filter(|session| self.has(session));
            seen.map(|session| session.host.clone()).collect()
        };
        for host in seen {
            let why = "the server that it was connected to does not answer";
            self.shared
                .close_if(&host, why, true, |session| self.has(session));
        }
    }
}
