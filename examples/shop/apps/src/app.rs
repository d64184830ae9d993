//! The frame of every app: configuration, HTTP server, health, metrics, request log, shutdown.

use crate::bus::Bus;
use crate::config::{self, Config, ConfigError};
use crate::database::Database;
use crate::failure::{Failure, chain};
use crate::kv::Kv;
use crate::metrics::Metrics;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use http::StatusCode;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long requests in flight may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_millis(4500);
/// How long one probe may take.
const PROBE: Duration = Duration::from_millis(1000);
/// How long to wait before what failed at start is tried again.
const AGAIN: Duration = Duration::from_millis(200);

type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// An app that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system refused something it needs.
    #[error("{what}: {source}")]
    System {
        /// What was asked for.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A router with what keeps it going.
pub struct App {
    listen: SocketAddr,
    router: Router,
    probes: Vec<(&'static str, Check)>,
    setup: Option<Check>,
    tasks: Vec<BoxFuture<'static, ()>>,
}

struct Frame {
    probes: Vec<(&'static str, Check)>,
    metrics: Metrics,
    ready: OnceLock<()>,
}

impl App {
    /// An app that answers with `router` at `listen`.
    #[must_use]
    pub fn new(listen: SocketAddr, router: Router) -> Self {
        Self {
            listen,
            router,
            probes: Vec::new(),
            setup: None,
            tasks: Vec::new(),
        }
    }

    /// `/healthz` is good only while `check` is.
    #[must_use]
    pub fn probe<F>(
        mut self,
        name: &'static str,
        check: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.probes
            .push((name, Box::new(move || Box::pin(check()))));
        self
    }

    /// Healthy only while `database` answers.
    #[must_use]
    pub fn postgres(self, database: &Database) -> Self {
        let database = database.clone();
        self.probe("postgres", move || {
            let database = database.clone();
            async move { database.ping().await }
        })
    }

    /// Healthy only while `kv` answers.
    #[must_use]
    pub fn redis(self, kv: &Kv) -> Self {
        let kv = kv.clone();
        self.probe("redis", move || {
            let kv = kv.clone();
            async move { kv.ping().await }
        })
    }

    /// Healthy only once `bus` was reached.
    #[must_use]
    pub fn nats(self, bus: &Bus) -> Self {
        let bus = bus.clone();
        self.probe("nats", move || {
            let bus = bus.clone();
            async move { bus.reached().await }
        })
    }

    /// Tries `setup` until it succeeds once; until then the app is not healthy.
    #[must_use]
    pub fn setup<F>(mut self, setup: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.setup = Some(Box::new(move || Box::pin(setup())));
        self
    }

    /// Runs `task` beside the server, once the setup is done.
    #[must_use]
    pub fn task(mut self, task: impl Future<Output = ()> + Send + 'static) -> Self {
        self.tasks.push(Box::pin(task));
        self
    }

    /// The names of the probes.
    #[must_use]
    pub fn probes(&self) -> Vec<&'static str> {
        self.probes.iter().map(|(name, _)| *name).collect()
    }

    async fn serve(self) -> Result<(), StartError> {
        let system = |what: String| move |source| StartError::System { what, source };
        let listener = TcpListener::bind(self.listen)
            .await
            .map_err(system(format!("listen on {}", self.listen)))?;
        let mut terminate =
            signal(SignalKind::terminate()).map_err(system("handle SIGTERM".into()))?;
        let frame = Arc::new(Frame {
            probes: self.probes,
            metrics: Metrics::default(),
            ready: OnceLock::new(),
        });
        let router = self
            .router
            .route("/healthz", get(health))
            .route("/metrics", get(metrics))
            .layer(middleware::from_fn_with_state(frame.clone(), observe))
            .layer(axum::Extension(frame.clone()));
        let background = tokio::spawn(prepare(self.setup, self.tasks, frame));
        tracing::info!(listen = %self.listen, "serving");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = axum::serve(listener, router).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        let mut server = tokio::spawn(server.into_future());
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
            _ = &mut server => {}
        }
        tracing::info!("stopping");
        background.abort();
        let _ = stop.send(());
        if tokio::time::timeout(DRAIN, server).await.is_err() {
            tracing::warn!("requests still in flight were cut off");
        }
        Ok(())
    }
}

async fn prepare(setup: Option<Check>, tasks: Vec<BoxFuture<'static, ()>>, frame: Arc<Frame>) {
    if let Some(setup) = setup {
        while let Err(error) = setup().await {
            tracing::warn!(%error, "not ready yet");
            tokio::time::sleep(AGAIN).await;
        }
    }
    let _ = frame.ready.set(());
    tracing::info!("ready");
    futures::future::join_all(tasks).await;
}

async fn health(axum::Extension(frame): axum::Extension<Arc<Frame>>) -> Response {
    let probes = frame.probes.iter().map(|(name, probe)| async move {
        match tokio::time::timeout(PROBE, probe()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("{name}: {error}")),
            Err(_) => Err(format!("{name}: no answer within {PROBE:?}")),
        }
    });
    let mut reasons: Vec<String> = futures::future::join_all(probes)
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    if reasons.is_empty() && frame.ready.get().is_none() {
        reasons.push("starting".into());
    }
    if reasons.is_empty() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response()
    }
}

async fn metrics(axum::Extension(frame): axum::Extension<Arc<Frame>>) -> String {
    frame.metrics.render()
}

async fn observe(State(frame): State<Arc<Frame>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let took = begun.elapsed();
    if matches!(path.as_str(), "/healthz" | "/metrics") {
        tracing::debug!(%method, path, status, "request");
    } else {
        frame.metrics.record(method.as_str(), status, took);
        let ms = (took.as_secs_f64() * 10_000.0).round() / 10.0;
        tracing::info!(%method, path, status, ms, "request");
    }
    response
}

/// The `main` of an app: reads the configuration named on the command line, builds the app, serves
/// until SIGTERM. Exit codes: 0 stopped, 78 configuration wrong, 1 anything else.
pub fn main<C: Config>(build: impl AsyncFnOnce(C) -> Result<App, StartError>) -> ExitCode {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let outcome = config::path_from_args(std::env::args())
        .and_then(|path| config::read::<C>(&path))
        .map_err(StartError::from)
        .and_then(|config| run(config, build));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&error));
            ExitCode::from(if matches!(error, StartError::Config(_)) {
                config::EXIT_CODE
            } else {
                1
            })
        }
    }
}

fn run<C: Config>(
    config: C,
    build: impl AsyncFnOnce(C) -> Result<App, StartError>,
) -> Result<(), StartError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|source| StartError::System {
            what: "start the runtime".into(),
            source,
        })?
        .block_on(async { build(config).await?.serve().await })
}
