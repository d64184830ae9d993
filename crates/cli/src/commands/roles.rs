//! The long-running roles.

use std::path::Path;

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};
use wright_server::{LocalHosts, Settings};

use crate::{
    args::{AgentArgs, DevArgs, Listen, ServerArgs},
    failure::Failure,
    output,
};

/// A runtime for what talks to a server or is one.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

/// Logs to standard error what `WRIGHT_LOG` says: `LEVEL` or `TARGET=LEVEL`, several with commas.
fn log(default: LevelFilter) {
    let asked = std::env::var("WRIGHT_LOG").ok();
    // Not `EnvFilter`: it compiles regular expressions, which an agent would carry all its life.
    let filter = asked
        .and_then(|text| text.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(default));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init();
}

fn settings(data: &Path, listen: &Listen) -> Settings {
    Settings {
        dead_after: listen.dead_after.duration(),
        ..Settings::new(data, listen.api, listen.agents)
    }
}

/// `wright dev`.
pub fn dev(data: &Path, arguments: DevArgs) -> Result<(), Failure> {
    log(LevelFilter::WARN);
    let hosts = LocalHosts {
        count: arguments.hosts,
        network: arguments.network,
    };
    serve(Settings {
        hosts: Some(hosts),
        ..settings(data, &arguments.listen)
    })
}

/// `wright server`.
pub fn server(data: &Path, arguments: ServerArgs) -> Result<(), Failure> {
    log(LevelFilter::INFO);
    serve(Settings {
        store: arguments.store,
        advertise: arguments.advertise,
        master_key: arguments.master_key,
        ..settings(data, &arguments.listen)
    })
}

/// Lets this process have as many connections as the system allows it: one for each host.
pub fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn serve(settings: Settings) -> Result<(), Failure> {
    allow_open_files();
    let served = runtime()?.block_on(wright_server::run(settings, output::say));
    served.map_err(|error| Failure::failed(error.to_string()))
}

/// `wright agent`.
pub fn agent(arguments: AgentArgs) -> Result<(), Failure> {
    log(LevelFilter::INFO);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let settings = wright_agent::Settings {
        uid_base: arguments.uid_base,
        ..wright_agent::Settings::new(arguments.home, arguments.name, arguments.address)
            .with_servers(arguments.server)
    };
    runtime
        .block_on(wright_agent::run(settings))
        .map_err(|error| Failure::failed(error.to_string()))
}
