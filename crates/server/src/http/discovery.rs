//! For Ansible and Prometheus.

use axum::{
    Json,
    extract::{Query, State},
};
use serde::Deserialize;
use serde_json::Value;
use wright_inventory::Resource;
use wright_model::InstanceRecord;

use super::{Rooms, Shared, answer::Refusal, feed::condition};
use crate::{
    discovery::{self, Targets},
    records::kind,
};

/// A dynamic inventory of Ansible: what a script answers to `--list`.
#[utoipa::path(get, path = "/discovery/ansible", responses((status = 200, description = "Groups, and the variables of every host in `_meta`.", body = serde_json::Value)))]
pub async fn ansible(State(rooms): Shared) -> Result<Json<Value>, Refusal> {
    let hosts = rooms.inventory.resources(kind::HOST, None, 0, None).await?;
    let instances: Vec<InstanceRecord> = rooms.inventory.list_as(kind::INSTANCE).await?;
    Ok(Json(discovery::ansible(&hosts.resources, &instances)))
}

/// Which instances.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    #[serde(default)]
    filter: String,
}

/// Targets in the form of Prometheus' HTTP service discovery: each port of each instance that serves.
#[utoipa::path(get, path = "/discovery/prometheus", params(("filter" = Option<String>, Query, description = "CEL over the instance, such as `instance.spec.app == \"catalog\"`.")), responses((status = 200, description = "The targets, with `__meta_wright_…` labels.", body = serde_json::Value), (status = 400, description = "No filter.", body = serde_json::Value)))]
pub async fn prometheus(
    State(rooms): Shared,
    Query(which): Query<Which>,
) -> Result<Json<Vec<Targets>>, Refusal> {
    let instances = instances(&rooms, &which.filter).await?;
    Ok(Json(discovery::prometheus(&instances)))
}

async fn instances(
    rooms: &Rooms,
    filter: &str,
) -> Result<Vec<(Resource, InstanceRecord)>, Refusal> {
    let filter = condition(&rooms.inventory, &[kind::INSTANCE], filter).await?;
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
