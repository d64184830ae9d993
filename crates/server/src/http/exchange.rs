//! Import and export.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, Query, State},
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, stream};
use http::{HeaderValue, header};
use serde::Deserialize;
use wright_access::{Act, Caller};
use wright_inventory::{
    Author, Inventory, Refused, Resource, Write, Written,
    exchange::{Commit, Deed as RowDeed, Format, Report, RowDifference, Writer},
};
use wright_model::Name;
use wright_store::Revision;

use super::{Rooms, Shared, answer::Refusal, auth::Actor};
use crate::{
    api::ImportRequest,
    rights::{Known, Rights},
};

/// How many resources are read at once for an export.
const PAGE: usize = 1000;

/// How to import.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct How {
    #[serde(default, rename = "dry-run")]
    dry_run: bool,
}

/// Write resources in large commits; rows that cannot be written are told with their lines, and the
/// others are written. With `dry-run`, nothing is, and the answer has every difference.
#[utoipa::path(post, path = "/import", params(("dry-run" = Option<bool>, Query, description = "Only say what would change.")), request_body = serde_json::Value, responses((status = 200, description = "What was done, and every error.", body = serde_json::Value)))]
pub async fn import(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Extension(known): Extension<Known>,
    Query(how): Query<How>,
    Json(request): Json<ImportRequest>,
) -> Result<Json<Report>, Refusal> {
    let kinds: BTreeSet<&str> = request.rows.iter().map(|row| row.kind.as_str()).collect();
    // The report tells what there was.
    let acts = [Act::Read, Act::Write];
    let free = kinds.iter().all(|kind| {
        rooms.rights.quotas(kind).is_empty()
            && acts.iter().all(|act| known.caller.may_all(*act, kind))
    });
    let author = Author {
        actor: actor.0,
        through: "import".to_owned(),
        why: request.why,
    };
    let inventory = &rooms.inventory;
    let report = match free {
        true => inventory.import(request.rows, &author, how.dry_run).await,
        false => {
            let held = Held {
                rooms: &rooms,
                known: &known,
            };
            let import = inventory.import_through(&held, request.rows, &author, how.dry_run);
            import.await
        }
    };
    let mut report = report.map_err(Refusal::internal)?;
    if !free {
        for difference in &mut report.differences {
            show(&rooms, &known, difference).await?;
        }
    }
    Ok(Json(report))
}

/// Writes what the caller may write, row by row.
struct Held<'a> {
    rooms: &'a Rooms,
    known: &'a Known,
}

#[async_trait]
impl Commit for Held<'_> {
    async fn commit(
        &self,
        writes: &[Write],
        author: &Author,
        dry: bool,
    ) -> Result<Written, Refused> {
        super::inventory::write_held(self.rooms, self.known, writes.to_vec(), author, dry).await
    }
}

/// Leaves in a difference what the caller may read of what there is.
async fn show(rooms: &Rooms, known: &Known, told: &mut RowDifference) -> Result<(), Refusal> {
    let (kind, name) = told.resource.split_once('/').unwrap_or_default();
    let subject = rooms.rights.subject(kind, name).await?;
    let fields = known.caller.fields(Act::Read, &subject.target());
    told.fields.retain(|one| {
        let path = one.field.strip_prefix("body.").unwrap_or(&one.field);
        // What is made is what he sent.
        told.deed == RowDeed::New || fields.cover(path)
    });
    Ok(())
}

/// In which form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    group: Option<String>,
}

/// All resources of a kind that the caller may read, at one revision, so that importing them changes
/// nothing.
#[utoipa::path(get, path = "/export/{kind}", params(("kind" = String, Path), ("format" = Option<String>, Query, description = "`csv`, `yaml` or `jsonl`, which is the default."), ("group" = Option<String>, Query, description = "Only members of this group.")), responses((status = 200, description = "The resources.", content((String = "application/jsonl"), (String = "application/yaml"), (String = "text/csv"))), (status = 400, description = "No such format.", body = serde_json::Value), (status = 404, description = "No such kind or group.", body = serde_json::Value)))]
pub async fn export(
    State(rooms): Shared,
    Extension(caller): Extension<Known>,
    Path(kind): Path<Name>,
    Query(form): Query<Form>,
) -> Result<Response, Refusal> {
    let format = form.format.as_deref().unwrap_or("jsonl").parse::<Format>();
    let format = format.map_err(|error| Refusal::new(400, "format", "no format", error))?;
    let known = rooms.inventory.kind(kind.as_str()).await?;
    let known = known.ok_or_else(|| Refusal::not_found(format!("kind {kind}")))?;
    let members = match &form.group {
        Some(group) => Some(rooms.members(&caller, group, Some(kind.as_str())).await?),
        None => None,
    };
    let export = Export {
        caller: caller.caller,
        rights: rooms.rights.clone(),
        inventory: rooms.inventory.clone(),
        writer: Writer::new(format, known),
        kind: kind.to_string(),
        after: None,
        at: members.as_ref().map(|members| members.revision),
        members: members.map(|members| members.names),
    };
    let mut response = Response::new(Body::from_stream(text(export)));
    let content = match format {
        Format::Csv => "text/csv; charset=utf-8",
        Format::Yaml => "application/yaml",
        Format::JsonLines => "application/jsonl",
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    Ok(response)
}

/// An export on its way: the next page is after this name, at this revision.
struct Export {
    caller: Arc<Caller>,
    rights: Arc<Rights>,
    inventory: Arc<Inventory>,
    writer: Writer,
    kind: String,
    after: Option<String>,
    at: Option<Revision>,
    /// Only these; none: all.
    members: Option<HashSet<String>>,
}

/// The pages' text. One that cannot be read breaks the answer off, so that nobody takes a part for the
/// whole.
fn text(export: Export) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::unfold(Some(export), async |export| {
        let mut export = export?;
        match export.page().await {
            Ok((text, true)) => Some((Ok(text), Some(export))),
            Ok((text, false)) => Some((Ok(text), None)),
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Export {
    /// The next page's text, and whether there is more.
    async fn page(&mut self) -> std::io::Result<(Bytes, bool)> {
        let read = self
            .inventory
            .resources(&self.kind, self.after.as_deref(), PAGE, self.at);
        let page = read.await.map_err(std::io::Error::other)?;
        self.at = Some(page.revision);
        self.after = page.resources.last().map(|last| last.name.clone());
        let more = page.more && self.after.is_some();
        let meant = |resource: &Resource| {
            let members = self.members.as_ref();
            members.is_none_or(|names| names.contains(&resource.name))
        };
        let seen = |resource| self.rights.seen(&self.caller, resource);
        let meant = page.resources.into_iter().filter(meant);
        let seen: Vec<Resource> = meant.filter_map(seen).collect();
        Ok((self.writer.text(&seen)?.into(), more))
    }
}
