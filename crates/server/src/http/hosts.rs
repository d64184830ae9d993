//! Hosts.

use std::collections::BTreeMap;

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use wright_inventory::Event;
use wright_model::{Host, Name};

use super::{Rooms, Shared, answer::Refusal, auth::Actor};
use crate::{
    api::{HostView, OperationAnswer},
    records::{self, kind},
};

fn view(rooms: &Rooms, host: Host, instances: usize) -> HostView {
    let agent = rooms
        .fleet
        .agents()
        .into_iter()
        .find(|agent| agent.host == host.name);
    HostView {
        connected: agent.is_some(),
        instances,
        agent_resident_bytes: agent.as_ref().map_or(0, |agent| agent.resident_bytes),
        agent_cpu_ms: agent.as_ref().map_or(0, |agent| agent.cpu_ms),
        host,
    }
}

/// All hosts.
#[utoipa::path(get, path = "/hosts", responses((status = 200, description = "The hosts.", body = serde_json::Value)))]
pub async fn list(State(rooms): Shared) -> Result<Json<Vec<HostView>>, Refusal> {
    let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
    for record in records::instances(&rooms.inventory)
        .await
        .map_err(Refusal::internal)?
    {
        *counts.entry(record.spec.host).or_default() += 1;
    }
    let hosts = records::hosts(&rooms.inventory)
        .await
        .map_err(Refusal::internal)?;
    let count = |host: &Host| counts.get(&host.name).copied().unwrap_or(0);
    Ok(Json(
        hosts
            .into_iter()
            .map(|host| {
                let count = count(&host);
                view(&rooms, host, count)
            })
            .collect(),
    ))
}

/// One host.
#[utoipa::path(get, path = "/hosts/{host}", params(("host" = String, Path)), responses((status = 200, description = "The host.", body = serde_json::Value)))]
pub async fn show(State(rooms): Shared, Path(name): Path<Name>) -> Result<Json<HostView>, Refusal> {
    let host = rooms
        .inventory
        .get_as::<Host>(kind::HOST, name.as_str())
        .await
        .map_err(Refusal::internal)?;
    let host = host.ok_or_else(|| Refusal::not_found(format!("host {name}")))?;
    let records = records::instances(&rooms.inventory)
        .await
        .map_err(Refusal::internal)?;
    let count = records
        .iter()
        .filter(|record| record.spec.host == name)
        .count();
    Ok(Json(view(&rooms, host, count)))
}

/// Pull the plug: the host dies at once and for good.
#[utoipa::path(post, path = "/hosts/{host}/kill", params(("host" = String, Path)), responses((status = 200, description = "It is dead.", body = serde_json::Value)))]
pub async fn kill(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path(name): Path<Name>,
) -> Result<Json<OperationAnswer>, Refusal> {
    let known = rooms
        .inventory
        .get_as::<Host>(kind::HOST, name.as_str())
        .await
        .map_err(Refusal::internal)?;
    if known.is_none() {
        return Err(Refusal::not_found(format!("host {name}")));
    }
    let Some(provider) = &rooms.provider else {
        return Err(Refusal::new(
            409,
            "no-provider",
            "no provider",
            "this server makes no hosts, so it cannot end one",
        ));
    };
    let event = Event::new(
        &actor.0,
        "host-kill",
        &format!("host/{name}"),
        "its plug is pulled",
    );
    rooms
        .inventory
        .record(&event)
        .await
        .map_err(Refusal::internal)?;
    provider.kill(&name).await.map_err(Refusal::internal)?;
    Ok(Json(OperationAnswer {
        message: format!("host {name} is dead"),
        lines: Vec::new(),
    }))
}
