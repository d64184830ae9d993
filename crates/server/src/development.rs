//! `wright dev`: hosts on this machine, made at the start and taken down at the end.

use std::{io, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use wright_inventory::{Event, InventoryError};
use wright_model::{Host, HostState, Name, NameError};
use wright_package::PrivateKey;
use wright_pki::Authority;
use wright_provision::{HostWant, Local, LocalSettings, Provider, ProvisionError};
use wright_workflow::{JobError, JobFilter, JobId};

use crate::{
    LocalHosts, Settings,
    control::ControlError,
    http::Rooms,
    records::{self, SiteRecord, kind},
};

/// The actor of what `wright dev` does by itself.
const ACTOR: &str = "wright dev";

/// Why hosts could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// The provider failed.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// The inventory failed.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// A host cannot have its name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// The provider of `wright dev`.
pub fn provider(
    settings: &Settings,
    local: LocalHosts,
    authority: &Arc<Authority>,
    keys: &Path,
) -> Arc<dyn Provider> {
    Arc::new(Local::new(LocalSettings {
        directory: settings.data.join("hosts"),
        network: local.network,
        count: local.count,
        server: format!("https://{}", settings.agents),
        authority: authority.clone(),
        keys: keys.to_path_buf(),
    }))
}

/// The key that signs what is built on this machine; made on first use.
///
/// # Errors
/// Where it cannot be read or made.
pub fn own_key(data: &Path) -> Result<PrivateKey, wright_package::Error> {
    let file = data.join("package.key");
    if !file.exists() {
        PrivateKey::generate().save(&file)?;
    }
    PrivateKey::load(&file)
}

/// What is built with this data directory's key may run on its hosts.
pub fn trust_own_key(
    data: &Path,
    keys: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    std::fs::create_dir_all(keys)?;
    own_key(data)?.public().save_in(keys)?;
    Ok(())
}

fn host_name(number: u16) -> Result<Name, NameError> {
    format!("h{number}").parse()
}

/// Makes the hosts that are not there yet, all at once; those that live on are taken over.
pub async fn make_hosts(rooms: &Rooms, count: u16) -> Result<(), DevelopmentError> {
    let Some(provider) = &rooms.provider else {
        return Ok(());
    };
    let mut making = Vec::new();
    for number in 1..=count {
        let name = host_name(number)?;
        let known = rooms
            .inventory
            .get_as::<Host>(kind::HOST, name.as_str())
            .await?;
        if known.is_none_or(|host| host.state != HostState::Dead) {
            making.push(make_host(rooms, provider.as_ref(), name));
        }
    }
    futures::future::try_join_all(making).await?;
    Ok(())
}

async fn make_host(
    rooms: &Rooms,
    provider: &dyn Provider,
    name: Name,
) -> Result<(), DevelopmentError> {
    // Recorded before its agent calls, since strangers are turned away.
    let want = HostWant {
        name: name.clone(),
        capacity: None,
    };
    let offer = provider.describe(&want)?;
    if rooms
        .inventory
        .get_as::<Host>(kind::HOST, name.as_str())
        .await?
        .is_none()
    {
        let host = Host {
            name: name.clone(),
            address: offer.address,
            provider: provider.name(),
            capacity: offer.capacity,
            state: HostState::Joining,
            since: Timestamp::now(),
            reason: String::new(),
        };
        rooms
            .inventory
            .put_as(kind::HOST, name.as_str(), &host)
            .await?;
        let event = Event::new(
            ACTOR,
            "host-made",
            &format!("host/{name}"),
            &format!("at {}", offer.address),
        );
        rooms.inventory.record(&event).await?;
    }
    match provider.create(&want).await {
        // It was fenced, and the server died before that was recorded: it is given up soon.
        Err(ProvisionError::Dead(_)) => Ok(()),
        made => Ok(made.map(drop)?),
    }
}

/// Waits until every host that is not dead is connected; answers how many there are.
pub async fn hosts_ready(rooms: &Rooms, count: u16) -> Result<usize, DevelopmentError> {
    let mut events = rooms.fleet.subscribe();
    loop {
        let mut alive = Vec::new();
        for number in 1..=count {
            let name = host_name(number)?;
            if let Some(host) = rooms
                .inventory
                .get_as::<Host>(kind::HOST, name.as_str())
                .await?
                && host.state != HostState::Dead
            {
                alive.push(host);
            }
        }
        let there = |host: &Host| {
            host.state == HostState::Ready && rooms.fleet.is_connected(host.name.as_str())
        };
        if alive.iter().all(there) {
            return Ok(alive.len());
        }
        // The state follows the connection by a commit; look again then, too.
        let _ = tokio::time::timeout(Duration::from_millis(20), events.recv()).await;
    }
}

/// Takes every site down through the ordinary jobs.
pub async fn take_down(rooms: &Arc<Rooms>) {
    if let Err(error) = take_down_sites(rooms).await {
        tracing::error!(%error, "not every site could be taken down");
    }
}

async fn take_down_sites(
    rooms: &Arc<Rooms>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let unfinished = JobFilter {
        unfinished: Some(true),
        ..JobFilter::default()
    };
    for job in rooms.engine.list(0, &unfinished).await? {
        match rooms
            .engine
            .cancel(job.id, "wright dev was ended", ACTOR)
            .await
        {
            // It ends by itself.
            Ok(()) | Err(JobError::State { .. }) => wait(rooms, job.id).await?,
            Err(error) => return Err(error.into()),
        }
    }
    let sites: Vec<(String, SiteRecord)> = rooms.inventory.list_named_as(kind::SITE).await?;
    for (site, _) in sites {
        let site: Name = site.parse()?;
        match rooms.control.down(&site, ACTOR).await {
            Ok(answer) => {
                if let Some(job) = answer.job {
                    wait(rooms, job).await?;
                }
            }
            // It was going already.
            Err(ControlError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn wait(rooms: &Rooms, job: JobId) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    rooms.engine.ended(job).await?;
    Ok(())
}

/// Ends the hosts and forgets them with what was recorded there.
pub async fn destroy_hosts(rooms: &Rooms) {
    let Some(provider) = &rooms.provider else {
        return;
    };
    let hosts = records::hosts(&rooms.inventory).await.unwrap_or_default();
    let each = hosts
        .iter()
        .map(async |host| match provider.destroy(&host.name).await {
            Ok(()) => rooms
                .inventory
                .delete(kind::HOST, host.name.as_str())
                .await
                .map_err(io::Error::other),
            Err(error) => Err(io::Error::other(error)),
        });
    for outcome in futures::future::join_all(each).await {
        if let Err(error) = outcome {
            tracing::error!(%error, "a host could not be destroyed");
        }
    }
    for record in records::instances(&rooms.inventory)
        .await
        .unwrap_or_default()
    {
        let _ = rooms
            .store
            .commit(Vec::new(), records::delete_instance(&record.spec.id))
            .await;
    }
}
