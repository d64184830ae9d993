//! From the start of a server to its end.

use crate::{ServerError, Settings, development, doing, start::start, stop::Stop};

/// Serves until SIGINT, SIGTERM or the end of its terminal; with local hosts, takes them down then.
/// `say` is given the few lines that people should see.
///
/// # Errors
/// Where the data directory, the store, a port or the hosts cannot be had.
pub async fn run(settings: Settings, say: impl Fn(&str)) -> Result<(), ServerError> {
    let mut stop = Stop::new().map_err(doing("listening for signals"))?;
    let mut server = start(&settings).await?;
    say(&format!("API        {}", settings.api_url()));
    say(&format!("agents     https://{}", settings.agents));
    say(&format!("data       {}", settings.data.display()));
    if let Some(store) = &settings.store {
        say(&format!("store      {store}"));
    }
    if let Some(local) = settings.hosts {
        tokio::select! {
            ready = development::hosts_ready(&server.rooms, local.count) => {
                let ready = ready.map_err(doing("making hosts"))?;
                say(&format!("{ready} hosts are ready"));
            }
            () = stop.asked() => {}
        }
    }
    stop.wait().await;
    if settings.hosts.is_some() {
        say("taking everything down (again: at once)");
        tokio::select! {
            () = development::take_down(&server.rooms) => {}
            () = stop.again() => {}
        }
        development::destroy_hosts(&server.rooms).await;
    }
    server.shutdown.cancel();
    while server.tasks.join_next().await.is_some() {}
    Ok(())
}
