//! `wright simulate`

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wright_model::{Capacity, Name};
use wright_pki::Authority;
use wright_server::api::{HostsAdded, NewHost, NewHosts};
use wright_simulate::{Blueprint, GraphWant, Profile, Progress, Settings, addresses};

use super::roles;
use crate::{
    args::{Behaviour, SimulateArgs},
    client::Client,
    failure::Failure,
    output,
};

/// Hosts that are made known with one request.
const TOGETHER: usize = 1000;
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long nobody may be connected before it is said, each time.
const SILENCE: Duration = Duration::from_secs(10);

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::failed(error.to_string())
}

/// Does it.
pub fn run(data: &Path, arguments: SimulateArgs) -> Result<(), Failure> {
    match (arguments.generate, arguments.hosts) {
        (true, _) => generate(&arguments),
        (false, Some(count)) => {
            roles::allow_open_files();
            roles::runtime()?.block_on(hosts(data, arguments, count))
        }
        (false, None) => Err(Failure::usage("either --hosts or --generate is needed")),
    }
}

fn generate(arguments: &SimulateArgs) -> Result<(), Failure> {
    let out = arguments
        .out
        .as_deref()
        .ok_or_else(|| Failure::usage("--out DIR says where to write the site"))?;
    let want = GraphWant {
        apps: arguments.apps,
        instances: arguments
            .instances
            .unwrap_or_else(|| u32::try_from(arguments.apps * 10).unwrap_or(u32::MAX)),
        layers: arguments.layers,
        seed: arguments.seed,
    };
    let site = Blueprint::generate(&want).map_err(|error| Failure::usage(error.to_string()))?;
    site.write(arguments.name.as_str(), out)?;
    let out = out.display();
    output::say(&format!(
        "{} apps, {} instances, {} layers in {out}/site.yaml\n\
         next: wright package build {out}/package --out {out} && wright package push {out}/simulated-1.0.0.wpk && wright site up {out}/site.yaml",
        want.apps, want.instances, want.layers
    ));
    Ok(())
}

async fn hosts(data: &Path, arguments: SimulateArgs, count: u32) -> Result<(), Failure> {
    let authority = arguments
        .authority
        .clone()
        .unwrap_or_else(|| data.join("server/pki"));
    let authority = Arc::new(Authority::load(&authority).map_err(|error| {
        Failure::usage(format!(
            "{error}\n  help: simulated hosts get their identities from the installation's authority: run this beside the server, or name its directory with --authority DIR"
        ))
    })?);
    let settings = Settings {
        hosts: names(&arguments.prefix, count)?,
        servers: arguments.server.clone(),
        profile: profile(&arguments)?,
        seed: arguments.seed,
    };
    make_known(&Client::open(data)?, &arguments, &settings.hosts).await?;
    let progress = Arc::new(Progress::default());
    let shutdown = CancellationToken::new();
    let running = wright_simulate::run(settings, authority, progress.clone(), shutdown.clone());
    let told = async {
        let mut silence = tokio::time::interval_at(Instant::now() + SILENCE, SILENCE);
        while progress.settled() < count as usize {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = silence.tick(), if progress.welcomed() == 0 => {
                    let servers = arguments.server.join(", ");
                    eprintln!("no host is connected yet: do agents call {servers}? (--server)");
                }
            }
        }
        output::say(&format!("{} hosts are connected", progress.welcomed()));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = running => ended.map_err(failed)?,
        () = told => {}
        asked = tokio::signal::ctrl_c() => asked?,
        () = terminated() => {}
    }
    shutdown.cancel();
    Ok(())
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => drop(terminate.recv().await),
        Err(_) => std::future::pending().await,
    }
}

fn names(prefix: &Name, count: u32) -> Result<Vec<Name>, Failure> {
    let name = |number: u32| format!("{prefix}{number}").parse::<Name>();
    (1..=count)
        .map(name)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::usage(error.to_string()))
}

fn profile(arguments: &SimulateArgs) -> Result<Profile, Failure> {
    let Some(file) = &arguments.profile else {
        return Ok(match arguments.behaviour {
            Behaviour::Typical => Profile::typical(),
            Behaviour::Instant => Profile::instant(),
        });
    };
    let named =
        |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
    Profile::from_toml(&text).map_err(|error| named(&error))
}

/// Has the server know the hosts, whose agents it would turn away otherwise.
async fn make_known(
    client: &Client,
    arguments: &SimulateArgs,
    names: &[Name],
) -> Result<(), Failure> {
    let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let capacity = Capacity {
        cpu: arguments.cpu.try_into().map_err(failed)?,
        memory: arguments.memory,
    };
    let hosts: Vec<NewHost> = names
        .iter()
        .zip(addresses(count))
        .map(|(name, address)| NewHost {
            name: name.clone(),
            address: address.into(),
            capacity,
        })
        .collect();
    let mut all = HostsAdded::default();
    for hosts in hosts.chunks(TOGETHER) {
        let wanted = NewHosts {
            provider: "simulated".parse().map_err(failed)?,
            hosts: hosts.to_vec(),
        };
        let answer: HostsAdded = client.post("/hosts", &wanted).await?;
        all.added += answer.added;
        all.known += answer.known;
    }
    output::say(&format!(
        "{} hosts are new, {} were known",
        all.added, all.known
    ));
    Ok(())
}
