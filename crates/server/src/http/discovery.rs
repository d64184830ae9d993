//! For Ansible and Prometheus.

use std::collections::{BTreeMap, HashSet};

use axum::{
    Extension, Json,
    extract::{Query, State},
};
use serde::Deserialize;
use serde_json::Value;
use wright_inventory::{GROUP, Resource, feed::Filter as _};
use wright_model::InstanceRecord;

use super::{Rooms, Shared, answer::Refusal, feed::condition, groups::OfGroup};
use crate::{
    discovery::{self, Targets},
    records::kind,
    rights::Known,
};

/// A dynamic inventory of Ansible: what a script answers to `--list`.
/// A group of hosts that the caller may read is a group named `group_…`.
#[utoipa::path(get, path = "/discovery/ansible", params(("group" = Option<String>, Query, description = "Only members of this group.")), responses((status = 200, description = "Groups, and the variables of every host in `_meta`.", body = serde_json::Value), (status = 404, description = "No such group.", body = serde_json::Value), (status = 422, description = "The group is of another kind.", body = serde_json::Value)))]
pub async fn ansible(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Query(OfGroup { group }): Query<OfGroup>,
) -> Result<Json<Value>, Refusal> {
    let hosts = rooms.inventory.resources(kind::HOST, None, 0, None).await?;
    let mut hosts = hosts.resources;
    if let Some(group) = group {
        let members = rooms.members(&known, &group, Some(kind::HOST)).await?;
        hosts.retain(|host| members.names.contains(&host.name));
    }
    let groups = groups(&rooms, &known).await?;
    let instances: Vec<InstanceRecord> = rooms.inventory.list_as(kind::INSTANCE).await?;
    Ok(Json(discovery::ansible(&hosts, &groups, &instances)))
}

/// The members of each group of hosts, by its name.
async fn groups(
    rooms: &Rooms,
    known: &Known,
) -> Result<BTreeMap<String, HashSet<String>>, Refusal> {
    let all = rooms.inventory.resources(GROUP, None, 0, None).await?;
    let mut groups = BTreeMap::new();
    for group in all.resources {
        if group.body.get("kind").and_then(Value::as_str) != Some(kind::HOST) {
            continue;
        }
        match rooms.members(known, &group.name, Some(kind::HOST)).await {
            Ok(members) => {
                groups.insert(group.name, members.names);
            }
            // One that he may not read, or that names what there is no more.
            Err(Refusal(problem)) if problem.status < 500 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(groups)
}

/// Which instances.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    #[serde(default)]
    filter: String,
    group: Option<String>,
}

/// Targets in the form of Prometheus' HTTP service discovery: each port of each instance that serves.
#[utoipa::path(get, path = "/discovery/prometheus", params(("filter" = Option<String>, Query, description = "CEL over the instance, such as `instance.spec.app == \"catalog\"`."), ("group" = Option<String>, Query, description = "Only members of this group, or what is on its hosts.")), responses((status = 200, description = "The targets, with `__meta_wright_…` labels.", body = serde_json::Value), (status = 400, description = "No filter.", body = serde_json::Value), (status = 404, description = "No such group.", body = serde_json::Value), (status = 422, description = "The group is of another kind.", body = serde_json::Value)))]
pub async fn prometheus(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Query(which): Query<Which>,
) -> Result<Json<Vec<Targets>>, Refusal> {
    let mut instances = instances(&rooms, &which.filter).await?;
    if let Some(group) = which.group {
        let members = rooms.members(&known, &group, None).await?;
        members.of_instances(&group)?;
        instances.retain(|(_, record)| members.have(record));
    }
    Ok(Json(discovery::prometheus(&instances)))
}

async fn instances(
    rooms: &Rooms,
    filter: &str,
) -> Result<Vec<(Resource, InstanceRecord)>, Refusal> {
    let filter = condition(&rooms.inventory, kind::INSTANCE, filter).await?;
    let page = rooms
        .inventory
        .resources(kind::INSTANCE, None, 0, None)
        .await?;
    let mut wanted = page.resources;
    wanted.retain(|resource| {
        filter
            .as_ref()
            .is_none_or(|filter| filter.matches(resource))
    });
    let read = wanted.into_iter().map(|resource| {
        let record = resource.clone().body_as::<InstanceRecord>()?;
        Ok((resource, record))
    });
    read.collect()
}
