//! Hosts.

use std::collections::BTreeMap;

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
};
use jiff::Timestamp;
use wright_fleet::AgentView;
use wright_inventory::{Event, InventoryError, Put};
use wright_model::{Host, HostState, Name};
use wright_store::{Guard, MAX_OPERATIONS};

use super::{Rooms, Shared, answer::Refusal, auth::Actor, groups::OfGroup};
use crate::{
    api::{HostView, HostsAdded, NewHost, NewHosts, OperationAnswer},
    records::{self, kind},
    rights::Known,
};

fn view(agent: Option<&AgentView>, host: Host, instances: usize) -> HostView {
    HostView {
        connected: agent.is_some(),
        instances,
        agent_resident_bytes: agent.map_or(0, |agent| agent.resident_bytes),
        agent_cpu_ms: agent.map_or(0, |agent| agent.cpu_ms),
        host,
    }
}

/// All hosts.
#[utoipa::path(get, path = "/hosts", params(("group" = Option<String>, Query, description = "Only members of this group.")), responses((status = 200, description = "The hosts.", body = serde_json::Value), (status = 404, description = "No such group.", body = serde_json::Value), (status = 422, description = "The group is of another kind.", body = serde_json::Value)))]
pub async fn list(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Query(OfGroup { group }): Query<OfGroup>,
) -> Result<Json<Vec<HostView>>, Refusal> {
    let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
    for record in records::instances(&rooms.inventory)
        .await
        .map_err(Refusal::internal)?
    {
        *counts.entry(record.spec.host).or_default() += 1;
    }
    let mut hosts = records::hosts(&rooms.inventory)
        .await
        .map_err(Refusal::internal)?;
    if let Some(group) = group {
        let members = rooms.members(&known, &group, Some(kind::HOST)).await?;
        hosts.retain(|host| members.names.contains(host.name.as_str()));
    }
    let agents = agents(&rooms);
    let view = |host: Host| {
        let count = counts.get(&host.name).copied().unwrap_or(0);
        view(agents.get(&host.name), host, count)
    };
    Ok(Json(hosts.into_iter().map(view).collect()))
}

fn agents(rooms: &Rooms) -> BTreeMap<Name, AgentView> {
    let agents = rooms.fleet.agents().into_iter();
    agents.map(|agent| (agent.host.clone(), agent)).collect()
}

/// Hosts that go into one commit: each is three of its operations, and one a guard.
const TOGETHER: usize = MAX_OPERATIONS / 4;

/// Makes hosts known that come by themselves; their agents may call from now on. Those that are
/// known already stay as they are.
#[utoipa::path(post, path = "/hosts", request_body = serde_json::Value, responses((status = 200, description = "How many are new.", body = serde_json::Value), (status = 409, description = "One of them was given up: it never comes back under its name.", body = serde_json::Value)))]
pub async fn add(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Json(wanted): Json<NewHosts>,
) -> Result<Json<HostsAdded>, Refusal> {
    let known = records::hosts(&rooms.inventory)
        .await
        .map_err(Refusal::internal)?;
    let known: BTreeMap<Name, HostState> = known
        .into_iter()
        .map(|host| (host.name, host.state))
        .collect();
    if let Some(dead) = wanted
        .hosts
        .iter()
        .find(|host| known.get(&host.name) == Some(&HostState::Dead))
    {
        return Err(Refusal::new(
            409,
            "host-dead",
            "the host was given up",
            format!(
                "host {} was given up and never comes back under its name: choose another",
                dead.name
            ),
        ));
    }
    let all = wanted.hosts.len();
    let new: BTreeMap<Name, NewHost> = wanted
        .hosts
        .into_iter()
        .filter(|host| !known.contains_key(&host.name))
        .map(|host| (host.name.clone(), host))
        .collect();
    let added = new.len();
    let new: Vec<NewHost> = new.into_values().collect();
    for some in new.chunks(TOGETHER) {
        let (mut guards, mut operations) = (Vec::new(), Vec::new());
        for host in some {
            let put = made(host, &wanted.provider).map_err(Refusal::internal)?;
            guards.push(Guard::Absent(put.key().into()));
            operations.extend(put.operations().map_err(Refusal::internal)?);
            let event = Event::new(
                &actor.0,
                "host-added",
                &format!("host/{}", host.name),
                &format!("at {}, from {}", host.address, wanted.provider),
            );
            operations.push(event.operation().map_err(Refusal::internal)?);
        }
        rooms
            .store
            .commit(guards, operations)
            .await
            .map_err(Refusal::internal)?;
    }
    let known = all - added;
    Ok(Json(HostsAdded { added, known }))
}

fn made(host: &NewHost, provider: &Name) -> Result<Put, InventoryError> {
    let host = Host {
        name: host.name.clone(),
        address: host.address,
        provider: provider.clone(),
        capacity: host.capacity,
        state: HostState::Joining,
        since: Timestamp::now(),
        reason: String::new(),
    };
    Put::new(kind::HOST, host.name.as_str(), &host)
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
    Ok(Json(view(agents(&rooms).get(&name), host, count)))
}

/// Pull the plug: the host dies at once and for good.
#[utoipa::path(post, path = "/hosts/{host}/kill", params(("host" = String, Path)), responses((status = 200, description = "It is dead.", body = serde_json::Value), (status = 409, description = "This server makes no hosts, so it cannot end one.")))]
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
