use std::{
    fs::{File, OpenOptions},
    io::Write,
    net::SocketAddr,
    sync::Arc,
};

use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    AgentError, Executor, Layout, Settings, durable,
    lookup::{self, Services},
    server::Server,
    session::Sessions,
};

/// Runs the host daemon until it is told to end (SIGTERM or SIGINT), on one thread if its runtime
/// has one. Programs go on when it ends; the next agent of this directory adopts them.
///
/// # Errors
/// Where the directory, the identity or the address cannot be used. An unreachable server is no
/// error: programs are kept running and lookups answered until it comes back.
pub async fn run(settings: Settings) -> Result<(), AgentError> {
    let layout = settings.layout();
    let _alone = occupy(&layout)?;
    let mut terminate = on_signal(SignalKind::terminate(), &layout)?;
    let mut interrupt = on_signal(SignalKind::interrupt(), &layout)?;
    let server = Server::new(&settings)?;
    let services = Services::load(&layout.services());
    // Lookups first: programs that are started again ask at once.
    let listener = lookup::listen(SocketAddr::new(settings.address, settings.lookup_port)).await?;
    let answering = tokio::spawn(lookup::serve(listener, services.clone()));
    let executor = Executor::open(settings, Arc::new(server.clone())).await?;
    let sessions = Sessions::new(server, executor.tasks().clone(), Arc::new(services));
    tokio::select! {
        never = sessions.keep() => match never {},
        _ = terminate.recv() => tracing::info!("told to end; programs go on"),
        _ = interrupt.recv() => tracing::info!("interrupted; programs go on"),
    }
    answering.abort();
    executor.detach();
    Ok(())
}

fn on_signal(kind: SignalKind, layout: &Layout) -> Result<tokio::signal::unix::Signal, AgentError> {
    signal(kind).map_err(AgentError::io("receive signals for", layout.home()))
}

/// Makes sure that no other agent uses the directory, and leaves the process id there.
fn occupy(layout: &Layout) -> Result<File, AgentError> {
    let directory = layout.agent();
    durable::directory(&directory, 0o700, None).map_err(AgentError::io("make", &directory))?;
    let path = directory.join("pid");
    let open = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = open.map_err(AgentError::io("open", &path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(AgentError::Occupied {
            home: layout.home().to_owned(),
        });
    }
    let written = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(AgentError::io("write", &path))?;
    Ok(file)
}
