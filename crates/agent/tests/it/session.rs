//! The daemon against a server on a real connection.

use std::{fs, net::SocketAddr, path::PathBuf, pin::Pin, time::Duration};

use futures::Stream;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};
use wright_agent::Settings;
use wright_model::{Digest, Facts};
use wright_protocol::{
    Task, TaskAnswer,
    wire::{
        self, ArchivePart, ArchiveRequest, FromAgent, Hello, TaskResult, ToAgent, Welcome,
        archive_part::Part,
        control_server::{Control, ControlServer},
        from_agent, to_agent,
    },
};
use wright_route::Table;

use crate::host::{PATIENCE, STAYS, TestHost, id, is_up, spec};

/// One session, as the server sees it.
struct Line {
    incoming: Streaming<FromAgent>,
    outgoing: mpsc::Sender<Result<ToAgent, Status>>,
}

impl Line {
    async fn next(&mut self) -> from_agent::Message {
        let message = tokio::time::timeout(PATIENCE, self.incoming.message()).await;
        message.unwrap().unwrap().unwrap().message.unwrap()
    }

    /// Reads on until there is what is wanted; heartbeats come for ever.
    async fn until<T>(&mut self, mut wanted: impl FnMut(from_agent::Message) -> Option<T>) -> T {
        let read = async {
            loop {
                if let Some(found) = wanted(self.next().await) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap()
    }

    async fn hello(&mut self) -> Hello {
        let from_agent::Message::Hello(hello) = self.next().await else {
            panic!("no hello")
        };
        self.send(to_agent::Message::Welcome(Welcome { heartbeat_ms: 100 }))
            .await;
        hello
    }

    async fn send(&self, message: to_agent::Message) {
        self.outgoing
            .send(Ok(ToAgent {
                message: Some(message),
            }))
            .await
            .unwrap();
    }

    async fn task(&self, key: &str, task: &Task) {
        let body = serde_json::to_vec(task).unwrap();
        let task = wire::Task {
            key: key.to_owned(),
            body: body.into(),
            deadline_ms: 30_000,
            ..wire::Task::default()
        };
        self.send(to_agent::Message::Task(task)).await;
    }

    async fn answer(&mut self, key: &str) -> TaskAnswer {
        self.until(|message| match message {
            from_agent::Message::Result(TaskResult { key: of, answer }) if of == key => {
                Some(serde_json::from_slice(&answer).unwrap())
            }
            _ => None,
        })
        .await
    }
}

struct TestServer {
    lines: mpsc::Sender<Line>,
    shelf: PathBuf,
}

#[tonic::async_trait]
impl Control for TestServer {
    type SessionStream = ReceiverStream<Result<ToAgent, Status>>;
    type ArchiveStream = Pin<Box<dyn Stream<Item = Result<ArchivePart, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<FromAgent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (outgoing, stream) = mpsc::channel(16);
        self.lines
            .send(Line {
                incoming: request.into_inner(),
                outgoing,
            })
            .await
            .unwrap();
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn archive(
        &self,
        request: Request<ArchiveRequest>,
    ) -> Result<Response<Self::ArchiveStream>, Status> {
        let archive = self.shelf.join(request.into_inner().digest);
        let read = |path| fs::read(path).map_err(|error| Status::not_found(error.to_string()));
        let parts = [
            Part::Signature(read(archive.with_extension("sig"))?),
            Part::Data(read(archive)?),
        ];
        let parts = parts.map(|part| Ok(ArchivePart { part: Some(part) }));
        Ok(Response::new(Box::pin(futures::stream::iter(parts))))
    }
}

/// Certificates as an installation has them: one authority, a server, an agent.
fn identities(settings: &Settings) -> ServerTlsConfig {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (
            params.signed_by(&key, &issuer).unwrap().pem(),
            key.serialize_pem(),
        )
    };
    let (agent, agent_key) = issue("h1");
    let directory = settings.layout().agent();
    fs::write(directory.join("ca.pem"), &ca).unwrap();
    fs::write(directory.join("agent.pem"), agent).unwrap();
    fs::write(directory.join("agent.key"), agent_key).unwrap();
    let (server, server_key) = issue("wright-server");
    ServerTlsConfig::new()
        .identity(Identity::from_pem(server, server_key))
        .client_ca_root(Certificate::from_pem(ca))
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// A host whose executor has left, a server for it, and the daemon that dials it.
async fn connected() -> (TestHost, mpsc::Receiver<Line>, u16) {
    let mut host = TestHost::new().await;
    host.leave();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (lines, sessions) = mpsc::channel(4);
    let server = TestServer {
        lines,
        shelf: host.shelf(),
    };
    let tls = identities(&host.settings);
    let serve = Server::builder()
        .tls_config(tls)
        .unwrap()
        .add_service(ControlServer::new(server))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serve);
    host.settings.servers = vec![format!("https://127.0.0.1:{port}")];
    host.settings.lookup_port = free_port().await;
    let lookup = host.settings.lookup_port;
    let settings = host.settings.clone();
    tokio::spawn(async move { wright_agent::run(settings).await.unwrap() });
    (host, sessions, lookup)
}

async fn dialled(sessions: &mut mpsc::Receiver<Line>) -> Line {
    tokio::time::timeout(PATIENCE, sessions.recv())
        .await
        .unwrap()
        .unwrap()
}

async fn get(port: u16, path: &str) -> String {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn an_answer_that_was_lost_with_the_line_is_given_again() {
    let (host, mut sessions, _) = connected().await;
    let manifest = "run = [\"bin/demo\"]\n[operations.install]\ncommand = [\"hooks/install\"]";
    let hook = ("hooks/install", "echo once | tee -a \"$WRIGHT_DATA/count\"");
    let package = host.package("1.0.0", manifest, &[STAYS, hook]);
    let install = Task::Install {
        spec: Box::new(spec(&package, is_up())),
    };

    let mut line = dialled(&mut sessions).await;
    let first = line.hello().await;
    assert!(first.instances.is_empty());
    line.task("job/install/1", &install).await;
    let answer = line.answer("job/install/1").await;
    answer.clone().unwrap();
    drop(line);

    let mut line = dialled(&mut sessions).await;
    let again = line.hello().await;
    assert_eq!(again.boot_id, first.boot_id);
    assert_eq!(again.instances.len(), 1);
    assert_eq!(
        line.answer("job/install/1").await,
        answer,
        "sent again by itself"
    );
    line.task("job/install/1", &install).await;
    assert_eq!(
        line.answer("job/install/1").await,
        answer,
        "and when asked again"
    );
    let count = fs::read_to_string(host.dirs().data.join("count")).unwrap();
    assert_eq!(count, "once\n");
    line.task("clear", &Task::Clear).await;
    line.answer("clear").await.unwrap();
}

#[tokio::test]
async fn output_reports_and_heartbeats_come_while_work_goes_on() {
    let (host, mut sessions, _) = connected().await;
    let manifest =
        "run = [\"bin/demo\"]\n[operations.install]\ncommand = [\"echo\", \"preparing\"]";
    let package = host.package("1.0.0", manifest, &[STAYS]);
    let spec = spec(&package, is_up());
    let mut line = dialled(&mut sessions).await;
    line.hello().await;
    line.task(
        "install",
        &Task::Install {
            spec: Box::new(spec.clone()),
        },
    )
    .await;
    let output = line.until(|message| match message {
        from_agent::Message::Output(output) => Some(output),
        _ => None,
    });
    let output = output.await;
    assert_eq!(
        (output.key.as_str(), output.data.as_slice()),
        ("install", &b"preparing\n"[..])
    );
    line.answer("install").await.unwrap();
    line.task(
        "configure",
        &Task::Configure {
            spec: Box::new(spec.clone()),
        },
    )
    .await;
    line.answer("configure").await.unwrap();
    line.task("start", &Task::Start { instance: id() }).await;
    let ready = |message| match message {
        from_agent::Message::Report(report) => {
            let text = String::from_utf8(report.instances.concat()).unwrap();
            text.contains("\"phase\":\"ready\"").then_some(())
        }
        _ => None,
    };
    line.until(ready).await;
    let resident = line.until(|message| match message {
        from_agent::Message::Heartbeat(beat) => Some(beat.resident_bytes),
        _ => None,
    });
    assert!(resident.await > 0);
    line.task("clear", &Task::Clear).await;
    let removed = line.until(|message| match message {
        from_agent::Message::Report(report) if !report.removed.is_empty() => Some(report.removed),
        _ => None,
    });
    assert_eq!(removed.await, ["shop/demo-1"]);
}

#[tokio::test]
async fn lookups_are_answered_when_the_server_is_gone() {
    let (host, mut sessions, lookup) = connected().await;
    let mut line = dialled(&mut sessions).await;
    line.hello().await;
    let body = br#"{ "revision": 812, "sites": { "shop": { "catalog": [
        { "instance": "catalog-1", "host": "h3", "address": "127.77.0.3", "ports": { "http": 8080 } }
    ] } } }"#;
    line.send(to_agent::Message::Table(wire::Table::pack(
        812,
        body.to_vec(),
    )))
    .await;
    let applied = line.until(|message| match message {
        from_agent::Message::TableApplied(applied) => Some(applied.revision),
        _ => None,
    });
    let applied = applied.await;
    assert_eq!(applied, 812);
    drop((line, sessions));
    let answer = get(lookup, "/v1/sites/shop/services/catalog").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("127.77.0.3"),
        "{answer}"
    );
    let answer = get(lookup, "/v1/sites/shop/services/pricing").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert!(host.layout().services().exists());
}

fn table(revision: u64, services: &[(&str, u16)]) -> Table {
    let endpoint = |port| {
        serde_json::json!([{ "instance": "i-1", "host": "h3", "address": "127.77.0.3",
            "ports": { "http": port } }])
    };
    let services = services.iter().map(|(name, port)| (*name, endpoint(*port)));
    let services: std::collections::BTreeMap<_, _> = services.collect();
    let table = serde_json::json!({ "revision": revision, "sites": { "shop": services } });
    serde_json::from_value(table).unwrap()
}

#[tokio::test]
async fn a_difference_changes_the_table_that_it_is_from_and_no_other() {
    let (_host, mut sessions, lookup) = connected().await;
    let mut line = dialled(&mut sessions).await;
    line.hello().await;
    let (old, new) = (
        table(1, &[("web", 80), ("db", 5432)]),
        table(2, &[("web", 81), ("db", 5432)]),
    );
    let whole = |table: &Table| wire::Table::pack(table.revision, table.to_json().unwrap());
    let difference = serde_json::to_vec(&new.difference(&old)).unwrap();
    let difference = whole(&new).pack_difference(&whole(&old), difference);
    let applied = |message| match message {
        from_agent::Message::TableApplied(applied) => Some(applied.revision),
        _ => None,
    };
    let awaited = wire::Table {
        awaited: true,
        ..whole(&old)
    };
    line.send(to_agent::Message::Table(awaited)).await;
    assert_eq!(line.until(applied).await, 1);
    line.send(to_agent::Message::Table(difference.clone()))
        .await;
    line.send(to_agent::Message::AskApplied(wire::AskApplied {}))
        .await;
    assert_eq!(line.until(applied).await, 2);
    for (service, port) in [("web", "81"), ("db", "5432")] {
        let answer = get(lookup, &format!("/v1/sites/shop/services/{service}")).await;
        assert!(answer.contains(port), "{answer}");
    }
    // It is not from the table that is held now: the session ends, and the next one gets all of it.
    line.send(to_agent::Message::Table(difference)).await;
    let hello = dialled(&mut sessions).await.hello().await;
    assert_eq!((hello.table_revision, hello.table_digest), (2, Vec::new()));
}

#[tokio::test]
async fn the_facts_of_the_host_are_told_by_their_digest_and_whole_when_they_are_asked_for() {
    let (_host, mut sessions, _) = connected().await;
    let mut line = dialled(&mut sessions).await;
    let hello = line.hello().await;
    line.send(to_agent::Message::FactsWanted(wire::FactsWanted {}))
        .await;
    let facts = line.until(|message| match message {
        from_agent::Message::Facts(facts) => Some(facts),
        _ => None,
    });
    let facts = facts.await;
    assert_eq!(facts.digest, hello.facts_digest);
    assert_eq!(facts.digest, Digest::of(&facts.body).as_bytes());
    let facts: Facts = serde_json::from_slice(&facts.body).unwrap();
    assert!(facts.cpu.count > 0 && !facts.kernel.is_empty(), "{facts:?}");
}

#[tokio::test]
async fn two_agents_do_not_share_a_directory() {
    let (host, mut sessions, _) = connected().await;
    dialled(&mut sessions).await.hello().await;
    let other = tokio::time::timeout(
        Duration::from_secs(10),
        wright_agent::run(host.settings.clone()),
    );
    let error = other.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("another agent"), "{error}");
}
