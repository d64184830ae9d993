//! The HTTP client: everything the command line knows, it knows from the API.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_rustls::HttpsConnector;
use hyper_util::{client::legacy, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::io::ReaderStream;
use wright_model::Problem;
use wright_server::api::ClientContext;

use crate::failure::Failure;

/// The file with the session of `wright login`, beside client.json.
const SESSION: &str = "session.json";
/// How long one of several servers may take to say that it lives.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// How much of a file is read at once, bytes.
const PIECE: usize = 64 << 10;

/// Talks to a server, and to the next where that one does not answer.
pub struct Client {
    context: ClientContext,
    /// Which of the servers answered last.
    answers: AtomicUsize,
    /// Done when it was found out which of several servers answers at all.
    found: tokio::sync::OnceCell<()>,
    http: legacy::Client<HttpsConnector<HttpConnector>, BoxBody<Bytes, io::Error>>,
}

/// What is sent; again to the next server where one does not answer.
#[derive(Clone)]
enum Payload {
    /// In memory.
    Bytes(Bytes),
    /// A few bytes, and after them a file, however large it is.
    File(Bytes, PathBuf),
}

impl Payload {
    fn body(&self) -> io::Result<BoxBody<Bytes, io::Error>> {
        let (head, file) = match self {
            Payload::Bytes(bytes) => {
                return Ok(Full::new(bytes.clone())
                    .map_err(|never| match never {})
                    .boxed());
            }
            Payload::File(head, file) => (head.clone(), std::fs::File::open(file)?),
        };
        let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE);
        let pieces = futures::stream::once(async { Ok(head) }).chain(pieces);
        Ok(BodyExt::boxed(StreamBody::new(pieces.map_ok(Frame::data))))
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Payload::Bytes(bytes)
    }
}

impl Client {
    /// Talks to the server of a data directory: as the session of `wright login`, where there is one;
    /// with the token in `WRIGHT_TOKEN`, where that is set.
    pub fn open(data: &Path) -> Result<Self, Failure> {
        let mut context = match Self::session(data)? {
            Some(session) => session,
            None => Self::context(data)?,
        };
        if let Some(token) = std::env::var("WRIGHT_TOKEN")
            .ok()
            .filter(|token| !token.is_empty())
        {
            context.token = token;
        }
        Self::new(context)
    }

    /// What `client.json` of a data directory says.
    pub fn context(data: &Path) -> Result<ClientContext, Failure> {
        let file = data.join("client.json");
        let text = std::fs::read_to_string(&file).map_err(|error| {
            Failure::usage(format!(
                "no server is known here: {}: {error}\n  help: start one with `wright dev --hosts 8`, name its data directory with --data DIR or WRIGHT_DATA, or log in with `wright login --server URL --ca FILE`",
                file.display()
            ))
        })?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
    }

    /// The session of `wright login`, if somebody is logged in.
    pub fn session(data: &Path) -> Result<Option<ClientContext>, Failure> {
        let file = data.join(SESSION);
        let Ok(text) = std::fs::read_to_string(&file) else {
            return Ok(None);
        };
        let read = serde_json::from_str(&text);
        read.map(Some)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
    }

    /// Keeps a session, for this user's eyes only.
    pub fn keep_session(data: &Path, context: &ClientContext) -> Result<(), Failure> {
        use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
        std::fs::create_dir_all(data)?;
        let partial = data.join(format!("{SESSION}.partial"));
        let text = serde_json::to_vec_pretty(context)
            .map_err(|error| Failure::failed(error.to_string()))?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&partial)?.write_all(&text)?;
        std::fs::rename(partial, data.join(SESSION))?;
        Ok(())
    }

    /// Forgets the session.
    pub fn forget_session(data: &Path) -> Result<(), Failure> {
        Ok(std::fs::remove_file(data.join(SESSION))?)
    }

    /// Talks to a server.
    pub fn new(context: ClientContext) -> Result<Self, Failure> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(context.ca.as_bytes()) {
            let certificate = certificate
                .map_err(|error| Failure::usage(format!("the CA in client.json: {error}")))?;
            roots
                .add(certificate)
                .map_err(|error| Failure::usage(format!("the CA in client.json: {error}")))?;
        }
        let tls = rustls::ClientConfig::builder_with_provider(
            rustls::crypto::ring::default_provider().into(),
        )
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .build();
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Client {
            context,
            answers: AtomicUsize::new(0),
            found: tokio::sync::OnceCell::new(),
            http,
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Payload>,
    ) -> Result<http::Response<Incoming>, Failure> {
        let response = self.ask(method, path, content_type, body.into()).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        Err(problem(status, &body))
    }

    fn servers(&self) -> Vec<&String> {
        let servers = std::iter::once(&self.context.url);
        servers.chain(&self.context.others).collect()
    }

    /// Asks one server after the other, from the one that answered last, until one can be reached.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Payload,
    ) -> Result<http::Response<Incoming>, Failure> {
        let servers = self.servers();
        if servers.len() > 1 {
            self.found.get_or_init(|| self.find()).await;
        }
        let first = self.answers.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for number in (0..servers.len()).map(|nth| (first + nth) % servers.len()) {
            let url = format!("{}/api/v1{path}", servers[number]);
            let request = self.request(&method, &url, content_type, &body)?;
            let error = match self.http.request(request).await {
                Ok(response) => {
                    self.answers.store(number, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(error) => error,
            };
            use std::error::Error as _;
            let cause = error.source().map(|source| format!(": {source}"));
            failures.push(format!(
                "the server at {} does not answer: {error}{}",
                servers[number],
                cause.unwrap_or_default()
            ));
            // What was sent may have been done: then only somebody who was not reached is passed over.
            if method != Method::GET && !error.is_connect() {
                break;
            }
        }
        Err(Failure::unreachable(format!(
            "{}\n  help: is `wright dev` or `wright server` running?",
            failures.join("\n")
        )))
    }

    /// Finds a server that answers: a frozen one takes connections and says nothing.
    async fn find(&self) {
        for (number, server) in self.servers().into_iter().enumerate() {
            let url = format!("{server}/api/v1/health");
            let asked = async {
                let request =
                    self.request(&Method::GET, &url, "application/json", &Bytes::new().into());
                self.http.request(request.ok()?).await.ok()
            };
            if let Ok(Some(_)) = tokio::time::timeout(ANSWERS_WITHIN, asked).await {
                return self.answers.store(number, Ordering::Relaxed);
            }
        }
    }

    fn request(
        &self,
        method: &Method,
        url: &str,
        content_type: &str,
        body: &Payload,
    ) -> Result<Request<BoxBody<Bytes, io::Error>>, Failure> {
        Request::builder()
            .method(method)
            .uri(url)
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.context.token),
            )
            .header(header::CONTENT_TYPE, content_type)
            .body(body.body()?)
            .map_err(|error| Failure::usage(format!("{url}: {error}")))
    }

    async fn json<T: DeserializeOwned>(
        &self,
        response: http::Response<Incoming>,
    ) -> Result<T, Failure> {
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(Failure::link)?
            .to_bytes();
        serde_json::from_slice(&body).map_err(|error| {
            Failure::failed(format!(
                "the server's answer is not what was expected: {error}"
            ))
        })
    }

    /// `GET`, JSON back.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self
            .send(Method::GET, path, "application/json", Bytes::new())
            .await?;
        self.json(response).await
    }

    /// `GET` of a page of a list, and the path of the next one, as `Link` names it (RFC 8288).
    pub async fn page<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(Vec<T>, Option<String>), Failure> {
        let sent = self.send(Method::GET, path, "application/json", Bytes::new());
        let response = sent.await?;
        let link = response.headers().get(header::LINK);
        let next = link.and_then(|link| next_of(link.to_str().ok()?));
        Ok((self.json(response).await?, next))
    }

    /// `GET`, text back.
    pub async fn text(&self, path: &str) -> Result<String, Failure> {
        let response = self
            .send(Method::GET, path, "application/json", Bytes::new())
            .await?;
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(Failure::link)?
            .to_bytes();
        String::from_utf8(body.to_vec()).map_err(|error| Failure::failed(error.to_string()))
    }

    /// `POST` of JSON, JSON back.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::failed(error.to_string()))?;
        let response = self
            .send(Method::POST, path, "application/json", Bytes::from(body))
            .await?;
        self.json(response).await
    }

    /// `PUT` of JSON, JSON back.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::failed(error.to_string()))?;
        let response = self
            .send(Method::PUT, path, "application/json", Bytes::from(body))
            .await?;
        self.json(response).await
    }

    /// A request, with JSON or nothing in it, to which nothing is answered but that it was done.
    pub async fn done(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(), Failure> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|error| Failure::failed(error.to_string()))?;
        let body = Bytes::from(body.unwrap_or_default());
        self.send(method, path, "application/json", body).await?;
        Ok(())
    }

    /// `DELETE`, JSON back.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self
            .send(Method::DELETE, path, "application/json", Bytes::new())
            .await?;
        self.json(response).await
    }

    /// `POST` of a few bytes and a file after them, JSON back.
    pub async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        head: Vec<u8>,
        file: &Path,
    ) -> Result<T, Failure> {
        let payload = Payload::File(head.into(), file.to_path_buf());
        let response = self
            .send(Method::POST, path, "application/octet-stream", payload)
            .await?;
        self.json(response).await
    }

    /// `GET` of a stream of server-sent events: their data, one by one.
    pub async fn events(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<String, Failure>> + Unpin + use<>, Failure> {
        let events = self.named_events(path).await?;
        Ok(events.map(|event| Ok(event?.data)))
    }

    /// The same, with what the server calls each event.
    pub async fn named_events(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<ServerEvent, Failure>> + Unpin + use<>, Failure> {
        let response = self
            .send(Method::GET, path, "application/json", Bytes::new())
            .await?;
        Ok(Box::pin(sse(response.into_body())))
    }

    /// `GET` of a body that goes on; called with each piece.
    pub async fn follow(&self, path: &str, mut each: impl FnMut(&[u8])) -> Result<(), Failure> {
        let response = self
            .send(Method::GET, path, "text/plain", Bytes::new())
            .await?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(Failure::link)?.into_data() {
                each(&data);
            }
        }
        Ok(())
    }
}

/// The path below `/api/v1` that a link names as the next page.
fn next_of(link: &str) -> Option<String> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.contains("rel=\"next\"");
    let path = target.strip_prefix("/api/v1").filter(|_| is_next)?;
    Some(path.to_owned())
}

fn problem(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) if status == StatusCode::SERVICE_UNAVAILABLE => {
            Failure::unreachable(format!("{}: {}", problem.title, problem.detail))
        }
        Ok(problem) => Failure::from(problem),
        Err(_) => Failure::failed(format!(
            "the server answered {status}: {}",
            String::from_utf8_lossy(body)
        )),
    }
}

/// A server-sent event.
#[derive(Debug, Default)]
pub struct ServerEvent {
    /// Where to go on after it; empty where the server gives none.
    pub id: String,
    /// What it is called; empty where the server does not.
    pub event: String,
    /// What it says.
    pub data: String,
}

impl ServerEvent {
    /// Of one block of lines; `None` where it has no data, such as a comment.
    fn read(block: &str) -> Option<Self> {
        let mut event = ServerEvent::default();
        let mut data = Vec::new();
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => event.id = value.to_owned(),
                "event" => event.event = value.to_owned(),
                "data" => data.push(value),
                _ => {}
            }
        }
        event.data = data.join("\n");
        (!data.is_empty()).then_some(event)
    }
}

/// Server-sent events (WHATWG HTML, 9.2).
fn sse(body: Incoming) -> impl Stream<Item = Result<ServerEvent, Failure>> {
    struct State {
        body: Incoming,
        buffer: Vec<u8>,
    }
    futures::stream::unfold(
        Some(State {
            body,
            buffer: Vec::new(),
        }),
        |state| async move {
            let mut state = state?;
            loop {
                if let Some(end) = state.buffer.windows(2).position(|pair| pair == b"\n\n") {
                    let block: Vec<u8> = state.buffer.drain(..end + 2).collect();
                    let block = String::from_utf8_lossy(&block);
                    let Some(event) = ServerEvent::read(&block) else {
                        continue;
                    };
                    return Some((Ok(event), Some(state)));
                }
                match state.body.frame().await {
                    None => return None,
                    Some(Err(error)) => return Some((Err(Failure::link(error)), None)),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            state.buffer.extend_from_slice(&data);
                        }
                    }
                }
            }
        },
    )
}
