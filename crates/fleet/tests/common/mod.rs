//! A fleet served over loopback with mutual TLS, and agents that speak the protocol by hand.

#![allow(dead_code)]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity},
};
use wright_fleet::{
    Fleet, FleetEvent, FleetSettings, Peer, Roster, ServeError, Subscription, Unfollowed, serve,
};
use wright_model::{Digest, Name};
use wright_pki::{Authority, Identity, SERVER_NAME};
use wright_protocol::{
    Answer, Task, TaskAnswer,
    wire::{
        self, FromAgent, ToAgent, control_client::ControlClient, from_agent::Message as Said,
        to_agent::Message,
    },
};

/// Hosts that can be struck off.
#[derive(Default)]
pub struct Hosts(Mutex<BTreeSet<Name>>);

impl Hosts {
    pub fn strike(&self, host: &str) {
        self.0.lock().unwrap().remove(host);
    }
}

#[async_trait::async_trait]
impl Roster for Hosts {
    async fn is_known(&self, host: &Name) -> bool {
        self.0.lock().unwrap().contains(host)
    }
}

/// A served fleet with hosts `h1` to `h200` on its roster.
pub struct Served {
    pub fleet: Fleet,
    pub hosts: Arc<Hosts>,
    pub authority: Authority,
    pub address: SocketAddr,
    pub directory: TempDir,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<Result<(), ServeError>>,
}

pub async fn served() -> Served {
    served_with(FleetSettings::default()).await
}

pub async fn served_with(settings: FleetSettings) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::open(&directory.path().join("pki")).unwrap();
    served_by(settings, directory, authority).await
}

/// Another server of the same installation.
pub async fn beside(other: &Served) -> Served {
    let (certificate, key) = (other.authority.certificate(), other.authority.key());
    let authority = Authority::from_pem(certificate.to_owned(), key.to_owned()).unwrap();
    served_by(
        FleetSettings::default(),
        tempfile::tempdir().unwrap(),
        authority,
    )
    .await
}

async fn served_by(settings: FleetSettings, directory: TempDir, authority: Authority) -> Served {
    let hosts = Arc::new(Hosts::default());
    hosts
        .0
        .lock()
        .unwrap()
        .extend((1..=200).map(|n| name(&format!("h{n}"))));
    let archives = directory.path().to_owned();
    let files = move |digest: Digest| -> Option<(PathBuf, PathBuf)> {
        let archive = archives.join(digest.to_string());
        archive
            .exists()
            .then(|| (archive.clone(), archive.with_extension("sig")))
    };
    let fleet = Fleet::new(hosts.clone(), Arc::new(files), settings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = authority.issue_server(&[], &[]).unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, identity, fleet.clone(), shutdown.clone()));
    Served {
        fleet,
        hosts,
        authority,
        address,
        directory,
        shutdown,
        serving,
    }
}

impl Served {
    /// Itself, as other servers reach it.
    pub fn as_peer(&self, id: &str) -> Peer {
        let identity = self.authority.issue_peer().unwrap();
        Peer::new(id, &self.address.to_string(), &identity).unwrap()
    }

    /// Follows another server until that ends.
    pub fn follow(&self, peer: &Peer) -> JoinHandle<Unfollowed> {
        self.fleet.meet(peer);
        let (fleet, peer) = (self.fleet.clone(), peer.clone());
        tokio::spawn(async move { fleet.follow(&peer).await })
    }

    pub fn identity(&self, host: &str) -> Identity {
        self.authority.issue_agent(&name(host)).unwrap()
    }

    pub async fn client(&self, identity: &Identity) -> Result<ControlClient<Channel>, String> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&identity.ca))
            .identity(TlsIdentity::from_pem(&identity.certificate, &identity.key))
            .domain_name(SERVER_NAME);
        self.dial(tls).await
    }

    pub async fn dial(&self, tls: ClientTlsConfig) -> Result<ControlClient<Channel>, String> {
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).unwrap();
        // Small windows, so that a slow agent shows early.
        let endpoint = endpoint
            .initial_stream_window_size(65_535)
            .initial_connection_window_size(65_535);
        let channel = endpoint.tls_config(tls).unwrap().connect().await;
        channel
            .map(ControlClient::new)
            .map_err(|error| format!("{error:?}"))
    }

    /// An agent that has said Hello and was welcomed.
    pub async fn agent(&self, host: &str) -> Agent {
        self.agent_holding(host, wire::Table::default()).await
    }

    /// The same, with this service table.
    pub async fn agent_holding(&self, host: &str, table: wire::Table) -> Agent {
        let client = self.client(&self.identity(host)).await.unwrap();
        let mut agent = Agent::open(client).await.unwrap();
        agent
            .say(Said::Hello(wire::Hello {
                table_revision: table.revision,
                table_digest: table.digest,
                ..hello()
            }))
            .await;
        assert!(matches!(agent.next().await, Some(Message::Welcome(_))));
        agent
    }
}

pub fn hello() -> wire::Hello {
    wire::Hello {
        version: "1.0.0".into(),
        boot_id: "boot-1".into(),
        ..Default::default()
    }
}

/// The agent's end of a session.
pub struct Agent {
    said: mpsc::Sender<FromAgent>,
    heard: Streaming<ToAgent>,
}

impl Agent {
    pub async fn open(mut client: ControlClient<Channel>) -> Result<Self, Status> {
        let (said, outgoing) = mpsc::channel(64);
        let heard = client
            .session(ReceiverStream::new(outgoing))
            .await?
            .into_inner();
        Ok(Agent { said, heard })
    }

    pub async fn say(&self, message: Said) {
        self.said
            .send(FromAgent {
                message: Some(message),
            })
            .await
            .unwrap();
    }

    /// What the server says next; `None` when the session is over.
    pub async fn next(&mut self) -> Option<Message> {
        self.heard
            .message()
            .await
            .ok()
            .flatten()
            .and_then(|heard| heard.message)
    }

    pub async fn next_task(&mut self) -> (String, Task) {
        match self.next().await {
            Some(Message::Task(task)) => (task.key, serde_json::from_slice(&task.body).unwrap()),
            other => panic!("a task was expected, not {other:?}"),
        }
    }

    /// The fence of the next task.
    pub async fn next_fence(&mut self) -> Option<wire::Fence> {
        match self.next().await {
            Some(Message::Task(task)) => task.fence,
            other => panic!("a task was expected, not {other:?}"),
        }
    }

    pub async fn next_cancel(&mut self) -> String {
        match self.next().await {
            Some(Message::Cancel(cancel)) => cancel.key,
            other => panic!("a cancel was expected, not {other:?}"),
        }
    }

    pub async fn answer(&self, key: &str, answer: &TaskAnswer) {
        let answer = serde_json::to_vec(answer).unwrap();
        self.say(Said::Result(wire::TaskResult {
            key: key.to_owned(),
            answer,
        }))
        .await;
    }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn stop() -> Task {
    Task::Stop {
        instance: "shop/web-1".parse().unwrap(),
    }
}

pub fn done(message: &str) -> TaskAnswer {
    Ok(Answer {
        message: message.to_owned(),
        ..Answer::default()
    })
}

/// A deadline that no test reaches.
pub fn later() -> Instant {
    Instant::now() + Duration::from_secs(300)
}

/// A task given from a task of its own.
pub fn submit(served: &Served, host: &str, key: &str) -> JoinHandle<TaskAnswer> {
    submit_with(served, host, key, CancellationToken::new())
}

pub fn submit_with(
    served: &Served,
    host: &str,
    key: &str,
    cancel: CancellationToken,
) -> JoinHandle<TaskAnswer> {
    let (fleet, host, key) = (served.fleet.clone(), name(host), key.to_owned());
    tokio::spawn(async move { fleet.submit(&host, &key, stop(), later(), cancel).await })
}

/// Waits for the event that is looked for.
pub async fn until(
    events: &mut Subscription,
    mut wanted: impl FnMut(&FleetEvent) -> bool,
) -> FleetEvent {
    loop {
        let event = events.recv().await.expect("the fleet is there");
        if wanted(&event) {
            return event;
        }
    }
}
