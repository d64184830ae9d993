//! Instances: what runs, its operations and its log.

use std::{io, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use futures::{StreamExt as _, stream};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use wright_inventory::Event;
use wright_model::{InstanceId, InstanceRecord, Name, Operation};
use wright_protocol::{Blame, Fault, Task};

use super::{Rooms, Shared, answer::Refusal, auth::Actor, groups::OfGroup};
use crate::{
    api::{InstanceView, OperationAnswer},
    records,
    rights::Known,
};

/// How long an operation that a person asks for may take.
const OPERATION: Duration = Duration::from_secs(120);

fn from_fault(fault: Fault) -> Refusal {
    let status = match fault.blame {
        Blame::Request => 404,
        Blame::Deadline | Blame::Passing => 503,
        _ => 409,
    };
    let mut detail = fault.message;
    for line in &fault.evidence {
        detail.push_str("\n  | ");
        detail.push_str(line);
    }
    Refusal::new(status, "operation", "the operation failed", detail)
}

/// All instances.
#[utoipa::path(get, path = "/instances", params(("group" = Option<String>, Query, description = "Only members of this group, or what is on its hosts.")), responses((status = 200, description = "The instances.", body = serde_json::Value), (status = 404, description = "No such group.", body = serde_json::Value), (status = 422, description = "The group is of another kind.", body = serde_json::Value)))]
pub async fn list(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Query(OfGroup { group }): Query<OfGroup>,
) -> Result<Json<Vec<InstanceView>>, Refusal> {
    let statuses = rooms.fleet.statuses();
    let mut records = records::instances(&rooms.inventory)
        .await
        .map_err(Refusal::internal)?;
    if let Some(group) = group {
        let members = rooms.members(&known, &group, None).await?;
        members.of_instances(&group)?;
        records.retain(|record| members.have(record));
    }
    let view = |record: InstanceRecord| InstanceView {
        status: statuses.get(&record.spec.id).cloned(),
        record,
    };
    Ok(Json(records.into_iter().map(view).collect()))
}

async fn known(rooms: &Rooms, site: Name, name: Name) -> Result<InstanceRecord, Refusal> {
    let id = InstanceId { site, name };
    let record = records::instance(&rooms.inventory, &id)
        .await
        .map_err(Refusal::internal)?;
    record.ok_or_else(|| Refusal::not_found(format!("instance {id}")))
}

/// One of the eight operations that a person may ask of an instance.
#[utoipa::path(post, path = "/instances/{site}/{name}/{operation}", params(("site" = String, Path), ("name" = String, Path), ("operation" = String, Path)), responses((status = 200, description = "It was done.", body = serde_json::Value), (status = 409, description = "It failed.", body = serde_json::Value), (status = 503, description = "Its host does not answer, or took too long.")))]
pub async fn operate(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path((site, name, operation)): Path<(Name, Name, Operation)>,
) -> Result<Json<OperationAnswer>, Refusal> {
    if matches!(operation, Operation::Install | Operation::Uninstall) {
        let detail = "installing and uninstalling is for `wright site up` and `down`";
        return Err(Refusal::new(409, "operation", "not by hand", detail));
    }
    let record = known(&rooms, site, name).await?;
    let id = record.spec.id;
    let key = format!("operate/{}", uuid::Uuid::now_v7());
    let task = Task::Operate {
        instance: id.clone(),
        operation,
    };
    let deadline = Instant::now() + OPERATION;
    let answer = rooms
        .fleet
        .submit(
            &record.spec.host,
            &key,
            task,
            deadline,
            CancellationToken::new(),
        )
        .await;
    if !matches!(operation, Operation::Monitor | Operation::Checksum) {
        let message = answer.as_ref().map_or_else(
            |fault| fault.message.clone(),
            |answer| answer.message.clone(),
        );
        let event = Event::new(
            &actor.0,
            &format!("instance-{operation}"),
            &format!("instance/{id}"),
            &message,
        );
        rooms
            .inventory
            .record(&event)
            .await
            .map_err(Refusal::internal)?;
    }
    let answer = answer.map_err(from_fault)?;
    Ok(Json(OperationAnswer {
        message: answer.message,
        lines: answer.lines,
    }))
}

/// Give up an instance with its data where its host is gone for good; it is set up anew elsewhere.
#[utoipa::path(delete, path = "/instances/{site}/{name}", params(("site" = String, Path), ("name" = String, Path)), responses((status = 200, description = "It is forgotten.", body = serde_json::Value), (status = 409, description = "Its host is not dead.", body = serde_json::Value)))]
pub async fn forget(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path((site, name)): Path<(Name, Name)>,
) -> Result<Json<OperationAnswer>, Refusal> {
    let id = InstanceId { site, name };
    rooms.control.forget_instance(&id, &actor.0).await?;
    Ok(Json(OperationAnswer {
        message: format!("{id} is forgotten; it is set up anew where there is a host for it"),
        lines: Vec::new(),
    }))
}

/// Which part of a log.
#[derive(Debug, Deserialize)]
pub struct Part {
    #[serde(default = "hundred")]
    lines: u32,
    #[serde(default)]
    follow: bool,
}

fn hundred() -> u32 {
    100
}

/// The last lines of an instance's log; with `follow=true`, what comes after, too.
#[utoipa::path(get, path = "/instances/{site}/{name}/logs", params(("site" = String, Path), ("name" = String, Path), ("lines" = Option<u32>, Query), ("follow" = Option<bool>, Query)), responses((status = 200, description = "Lines.", content_type = "text/plain")))]
pub async fn logs(
    State(rooms): Shared,
    Path((site, name)): Path<(Name, Name)>,
    Query(part): Query<Part>,
) -> Result<Response, Refusal> {
    let record = known(&rooms, site, name).await?;
    let key = format!("logs/{}", uuid::Uuid::now_v7());
    let task = Task::Logs {
        instance: record.spec.id,
        lines: part.lines,
        follow: part.follow,
    };
    let (output, end) = rooms.fleet.stream(&record.spec.host, &key, task);
    let pieces = ReceiverStream::new(output).map(Ok::<_, io::Error>);
    // What went wrong comes as the last line: the status has long been sent.
    let end = stream::once(end)
        .filter_map(async |end| end.err().map(|fault| Ok(format!("{fault}\n").into())));
    let body = Body::from_stream(pieces.chain(end));
    Ok((
        [(http::header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        body,
    )
        .into_response())
}
