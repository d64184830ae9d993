//! Where the servers are, and how one of them is dialled.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use rand::seq::SliceRandom as _;
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use wright_model::Digest;
use wright_protocol::{
    Blame, Fault,
    wire::{ArchiveRequest, archive_part::Part, control_client::ControlClient},
};

use crate::{
    AgentError, Archive, ArchiveSource, Settings,
    durable::{self, Staged},
    error::locked,
};

const SERVER_NAME: &str = "wright-server";
/// How long a silent connection is believed in before it is tried, and then until it is given up.
const ONLY_SERVER: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5));
/// The same where there are other servers to go to.
const ONE_OF_SEVERAL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));
/// How long dialling may take. Twice as long after each round in which no server answered in time, for
/// whoever gives up too soon begins anew behind all others, when many agents call at once.
const DIALLING: Duration = Duration::from_secs(5);
const LONGER: u32 = 3;
/// How much the server may send ahead of what is read, bytes: on one call, and in all. Archives come
/// as fast as the disk takes them, not faster into memory.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Tasks hold rendered configuration files, tables the services of all sites.
const LARGEST_MESSAGE: usize = 64 << 20;
/// More servers than this no server would name.
const MOST_SERVERS: usize = 64;

/// The servers, as the agent reaches them: one at a time. Clones are the same.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    tls: ClientTlsConfig,
    /// Those it was told of when it was set up.
    given: Vec<String>,
    /// Where it remembers what servers said of each other.
    file: Option<PathBuf>,
    dialled: Mutex<Dialled>,
}

struct Dialled {
    /// Those that servers told of, the last time.
    learned: Vec<String>,
    /// Those that are still to be tried in this round, the next one last.
    round: Vec<String>,
    /// Rounds since a session was held.
    failed: u32,
    current: String,
    client: ControlClient<Channel>,
}

/// What one side of mutual TLS needs to reach a server, PEM.
pub struct ServerIdentity {
    /// Whom it trusts.
    pub ca: Vec<u8>,
    /// Who it is.
    pub certificate: Vec<u8>,
    /// The proof.
    pub key: Vec<u8>,
}

impl Server {
    /// Prepares a real agent's connection; nothing is dialled yet.
    pub(crate) fn new(settings: &Settings) -> Result<Self, AgentError> {
        let directory = settings.layout().agent();
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read(&path).map_err(AgentError::io("read", &path))
        };
        let identity = ServerIdentity {
            ca: read("ca.pem")?,
            certificate: read("agent.pem")?,
            key: read("agent.key")?,
        };
        Self::prepare(
            &settings.servers,
            &identity,
            Some(directory.join("servers")),
        )
    }

    /// Prepares connections to servers by their URLs; nothing is dialled yet.
    ///
    /// # Errors
    /// Where there is none, or a URL or the identity cannot be used.
    pub fn at(urls: &[String], identity: &ServerIdentity) -> Result<Self, AgentError> {
        Self::prepare(urls, identity, None)
    }

    fn prepare(
        urls: &[String],
        identity: &ServerIdentity,
        file: Option<PathBuf>,
    ) -> Result<Self, AgentError> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&identity.ca))
            .identity(Identity::from_pem(&identity.certificate, &identity.key))
            .domain_name(SERVER_NAME);
        let learned = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        let learned: Vec<String> = learned
            .iter()
            .flat_map(|text| text.lines())
            .map(str::to_owned)
            .collect();
        for url in urls {
            endpoint(url, &tls)?;
        }
        let mut round = a_round(&learned, urls);
        let first = round.pop().ok_or(AgentError::NoServer)?;
        let dialled = Dialled {
            client: dial(&first, &tls, patience(&learned, urls), 0)?,
            learned,
            round,
            failed: 0,
            current: first,
        };
        Ok(Server(Arc::new(Shared {
            tls,
            given: urls.to_vec(),
            file,
            dialled: Mutex::new(dialled),
        })))
    }

    /// The server that is called now.
    pub(crate) fn client(&self) -> ControlClient<Channel> {
        locked(&self.0.dialled).client.clone()
    }

    /// The one that is called now failed: the next one's turn. Answers whether that one has not been
    /// tried since a session was last `held`.
    pub(crate) fn turn(&self, held: bool) -> bool {
        let mut dialled = locked(&self.0.dialled);
        let over = dialled.round.is_empty();
        if held || over {
            dialled.round = a_round(&dialled.learned, &self.0.given);
        }
        dialled.failed = if held {
            0
        } else {
            dialled.failed + u32::from(over)
        };
        if held {
            // The one that failed just now comes last.
            let failed = dialled.current.clone();
            dialled.round.retain(|url| *url != failed);
            dialled.round.insert(0, failed);
        }
        let Some(next) = dialled.round.pop() else {
            return false;
        };
        let untried = if held { next != dialled.current } else { !over };
        let patience = patience(&dialled.learned, &self.0.given);
        match dial(&next, &self.0.tls, patience, dialled.failed) {
            Ok(client) => (dialled.client, dialled.current) = (client, next),
            Err(error) => tracing::warn!(%error, "a server's URL cannot be used"),
        }
        untried
    }

    /// These are the servers that live; they are remembered. The session that is open stays.
    pub(crate) fn learn(&self, mut urls: Vec<String>) {
        urls.retain(|url| endpoint(url, &self.0.tls).is_ok());
        urls.sort();
        urls.truncate(MOST_SERVERS);
        let mut dialled = locked(&self.0.dialled);
        if urls.is_empty() || dialled.learned == urls {
            return;
        }
        dialled.learned = urls;
        if let Err(error) = self.remember(&dialled.learned) {
            tracing::warn!(%error, "the servers' URLs are not on disk");
        }
    }

    fn remember(&self, urls: &[String]) -> io::Result<()> {
        let Some(file) = &self.0.file else {
            return Ok(());
        };
        let text = urls.join("\n");
        Staged::write(file, text.as_bytes(), 0o600, None)?.commit()?;
        durable::sync_parent(file)
    }
}

/// All servers in the order in which they are tried, the first one last: those that lived lately
/// before those that were given, at random.
fn a_round(learned: &[String], given: &[String]) -> Vec<String> {
    let mut rng = rand::rng();
    let given = given.iter().filter(|url| !learned.contains(url));
    let mut round: Vec<String> = given.cloned().collect();
    round.sort();
    round.dedup();
    round.shuffle(&mut rng);
    let mut first = learned.to_vec();
    first.shuffle(&mut rng);
    round.extend(first);
    round
}

fn patience(learned: &[String], given: &[String]) -> (Duration, Duration) {
    match a_round(learned, given).len() {
        0 | 1 => ONLY_SERVER,
        _ => ONE_OF_SEVERAL,
    }
}

fn dial(
    url: &str,
    tls: &ClientTlsConfig,
    (silence, answer): (Duration, Duration),
    failed: u32,
) -> Result<ControlClient<Channel>, AgentError> {
    let channel = endpoint(url, tls)?
        .connect_timeout(DIALLING * 2_u32.pow(failed.min(LONGER)))
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(silence)
        .keep_alive_timeout(answer)
        .keep_alive_while_idle(true)
        .connect_lazy();
    Ok(ControlClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE))
}

fn endpoint(url: &str, tls: &ClientTlsConfig) -> Result<Endpoint, AgentError> {
    Endpoint::from_shared(url.to_owned())
        .and_then(|endpoint| endpoint.tls_config(tls.clone()))
        .map_err(|source| AgentError::Connection {
            server: url.to_owned(),
            source,
        })
}

fn unreachable(status: &Status) -> Fault {
    Fault::new(
        Blame::Passing,
        format!("the server does not answer: {}", status.message()),
    )
}

#[async_trait]
impl ArchiveSource for Server {
    async fn open(&self, digest: &Digest) -> Result<Archive, Fault> {
        let request = ArchiveRequest {
            digest: digest.to_string(),
        };
        let mut parts = match self.client().archive(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == tonic::Code::NotFound => {
                let message = format!("the server has no package with the digest {digest}");
                return Err(Fault::new(Blame::Package, message));
            }
            Err(status) => return Err(unreachable(&status)),
        };
        let first = parts
            .message()
            .await
            .map_err(|status| unreachable(&status))?;
        let Some(Part::Signature(signature)) = first.and_then(|part| part.part) else {
            return Err(Fault::new(
                Blame::Passing,
                "the server sent an archive without signature",
            ));
        };
        let data = parts.map(|part| match part {
            Ok(part) => match part.part {
                Some(Part::Data(bytes)) => Ok(Bytes::from(bytes)),
                _ => Ok(Bytes::new()),
            },
            Err(status) => Err(unreachable(&status)),
        });
        Ok(Archive {
            signature,
            data: data.boxed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URLS: [&str; 3] = ["https://a:1", "https://b:1", "https://c:1"];

    fn server(urls: &[&str]) -> Server {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        Server::prepare(&urls, &identity(), None).unwrap()
    }

    fn identity() -> ServerIdentity {
        let authority = rcgen::generate_simple_self_signed(Vec::new()).unwrap();
        ServerIdentity {
            ca: authority.cert.pem().into(),
            certificate: authority.cert.pem().into(),
            key: authority.signing_key.serialize_pem().into(),
        }
    }

    fn current(server: &Server) -> String {
        locked(&server.0.dialled).current.clone()
    }

    #[tokio::test]
    async fn every_server_is_tried_before_one_is_tried_again() {
        let server = server(&URLS);
        let mut tried = vec![current(&server)];
        for _ in 1..URLS.len() {
            assert!(server.turn(false));
            tried.push(current(&server));
        }
        tried.sort();
        assert_eq!(tried, URLS);
        assert!(!server.turn(false));
    }

    #[tokio::test]
    async fn a_server_that_held_a_session_and_failed_is_tried_last() {
        let server = server(&URLS);
        let failed = current(&server);
        assert!(server.turn(true) && current(&server) != failed);
        assert!(server.turn(false) && current(&server) != failed);
        assert!(server.turn(false) && current(&server) == failed);
    }

    #[tokio::test]
    async fn the_only_server_is_tried_again_with_pauses() {
        let server = server(&URLS[..1]);
        assert!(!server.turn(true) && !server.turn(false));
        assert_eq!(current(&server), URLS[0]);
    }

    #[tokio::test]
    async fn servers_that_were_learned_survive_and_come_first() {
        let directory = tempfile::tempdir().unwrap();
        let file = Some(directory.path().join("servers"));
        let given = vec![URLS[0].to_owned()];
        let server = Server::prepare(&given, &identity(), file.clone()).unwrap();
        server.learn(vec![URLS[1].to_owned()]);
        let server = Server::prepare(&given, &identity(), file).unwrap();
        assert_eq!(current(&server), URLS[1]);
        assert!(server.turn(false) && current(&server) == URLS[0]);
    }
}
