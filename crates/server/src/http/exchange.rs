//! Import and export.

use std::{collections::BTreeSet, sync::Arc};

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
use wright_access::Act;
use wright_inventory::{
    Author, Inventory,
    exchange::{Format, Report, Writer},
};
use wright_model::Name;
use wright_store::Revision;

use super::{Shared, answer::Refusal, auth::Actor};
use crate::{
    api::ImportRequest,
    rights::{Known, SOURCES},
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
    for kind in kinds {
        // The report tells what there was.
        let mut acts = vec![Act::Read, Act::Write];
        if SOURCES.contains(&kind) {
            acts.push(Act::Administer);
        }
        for act in acts {
            known.whole(act, kind)?;
        }
    }
    let author = Author {
        actor: actor.0,
        through: "import".to_owned(),
        why: request.why,
    };
    let import = rooms.inventory.import(request.rows, &author, how.dry_run);
    Ok(Json(import.await.map_err(Refusal::internal)?))
}

/// In which form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    #[serde(default)]
    format: Option<String>,
}

/// All resources of a kind at one revision, so that importing them changes nothing.
#[utoipa::path(get, path = "/export/{kind}", params(("kind" = String, Path), ("format" = Option<String>, Query, description = "`csv`, `yaml` or `jsonl`, which is the default.")), responses((status = 200, description = "The resources.", content_type = "text/plain"), (status = 400, description = "No such format.", body = serde_json::Value), (status = 404, description = "No such kind.", body = serde_json::Value)))]
pub async fn export(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Path(kind): Path<Name>,
    Query(form): Query<Form>,
) -> Result<Response, Refusal> {
    known.whole(Act::Read, kind.as_str())?;
    let format = form.format.as_deref().unwrap_or("jsonl").parse::<Format>();
    let format = format.map_err(|error| Refusal::new(400, "format", "no format", error))?;
    let known = rooms.inventory.kind(kind.as_str()).await?;
    let known = known.ok_or_else(|| Refusal::not_found(format!("kind {kind}")))?;
    let export = Export {
        inventory: rooms.inventory.clone(),
        writer: Writer::new(format, known),
        kind: kind.to_string(),
        after: None,
        at: None,
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
    inventory: Arc<Inventory>,
    writer: Writer,
    kind: String,
    after: Option<String>,
    at: Option<Revision>,
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
        Ok((self.writer.text(&page.resources)?.into(), more))
    }
}
