//! The HTTP API: `/api/v1`, JSON, problem+json, server-sent events; described by
//! `/api/openapi.json`.

pub mod answer;
mod audit;
pub mod auth;
mod discovery;
mod document;
mod exchange;
pub mod feed;
pub mod gates;
mod groups;
mod grpc;
mod hosts;
mod instances;
mod inventory;
mod jobs;
mod login;
mod oidc;
mod packages;
mod query;
mod sites;
pub mod tls;
mod tokens;
mod users;
mod webhooks;

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, State},
    middleware,
    response::sse::{self, Sse},
    routing::{delete, get, post, put},
};
use futures::Stream;
use serde::Serialize;
use utoipa::OpenApi;
use wright_access::{Act, Decision, allows};
use wright_fleet::Fleet;
use wright_inventory::{
    Inventory,
    catalog::{Catalog, CatalogError, Index, Sight},
    feed::Hub,
};
use wright_model::HostState;
use wright_provision::Provider;
use wright_store::SharedStore;
use wright_workflow::Engine;

use self::answer::Refusal;
use crate::{
    api::Health,
    control::Control,
    library::Library,
    oidc::Oidc,
    records::{self, kind},
    rights::{Known, Rights},
    shelf::Shelf,
};

/// The largest package archive that is taken, bytes.
const MAX_ARCHIVE: usize = 2 << 30;
/// The largest other request body, bytes: a site's files.
const MAX_BODY: usize = 64 << 20;

/// What handlers work with.
pub struct Rooms {
    /// The store.
    pub store: SharedStore,
    /// Who may do what.
    pub rights: Arc<Rights>,
    /// Logins through identity providers.
    pub oidc: Oidc,
    /// Where clients reach this server.
    pub url: String,
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// All resources in memory.
    pub catalog: Arc<Catalog>,
    /// Every change of its resources.
    pub feed: Hub,
    /// The job engine.
    pub engine: Engine,
    /// The agents.
    pub fleet: Fleet,
    /// The package store.
    pub library: Arc<Library>,
    /// The archives, wherever they are.
    pub shelf: Arc<Shelf>,
    /// Site control.
    pub control: Arc<Control>,
    /// Where hosts come from.
    pub provider: Option<Arc<dyn Provider>>,
}

impl Rooms {
    /// What a caller may read of everything in memory, kinds that were just made included; `None`: all
    /// of it.
    ///
    /// # Errors
    /// Where not everything is in memory yet.
    pub async fn sight(&self, known: &Known) -> Result<Option<Arc<Sight>>, CatalogError> {
        let caller = &known.caller;
        if caller.reads_everything() {
            return Ok(None);
        }
        self.catalog.up_to_date().await?;
        let sight = |index: &Index| self.rights.sight(caller, index.kinds().into_iter());
        Ok(self.catalog.read(sight).map(Arc::new))
    }
}

/// What stands in a parameter, with commas between.
fn listed(text: &str) -> Vec<String> {
    let parts = text.split(',').map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

type Shared = State<Arc<Rooms>>;

#[derive(OpenApi)]
#[openapi(
    info(title = "Sitewright", description = "Stands up whole sites and runs them. Errors are problem+json (RFC 9457); watches are server-sent events."),
    servers((url = "/api/v1")),
    paths(
        login::login, login::logout, login::whoami, login::can,
        oidc::begin, oidc::back, tokens::list, tokens::add, tokens::revoke, users::add, users::change, users::password, audit::list,
        health, sites::plan, sites::up, sites::list, sites::status, sites::down, sites::causes, sites::explain, sites::report,
        jobs::list, jobs::show, jobs::watch, jobs::retry, jobs::cancel,
        jobs::pause, jobs::resume, jobs::skip, jobs::answer,
        hosts::list, hosts::add, hosts::show, hosts::kill,
        packages::list, packages::push, packages::versions,
        instances::list, instances::operate, instances::logs, instances::forget,
        inventory::list_kinds, inventory::show_kind, inventory::kind_schema,
        inventory::list, inventory::create, inventory::show, inventory::replace, inventory::patch, inventory::remove,
        inventory::restore, inventory::secret, inventory::transact, inventory::history, inventory::drift, inventory::resolve, inventory::events, inventory::watch_events, feed::watch,
        query::query, query::search,
        exchange::import, exchange::export, discovery::ansible, discovery::prometheus,
        webhooks::list, webhooks::dead, webhooks::replay,
    )
)]
struct Document;

/// The whole API.
pub fn router(rooms: Arc<Rooms>) -> Router {
    let watch = grpc::service(rooms.clone());
    let api = Router::new()
        .route("/login", post(login::login))
        .route("/login/oidc", post(oidc::begin))
        .route("/login/oidc/back", post(oidc::back))
        .route("/logout", post(login::logout))
        .route("/whoami", get(login::whoami))
        .route("/can", get(login::can))
        .route("/tokens", get(tokens::list).post(tokens::add))
        .route("/tokens/{token}", delete(tokens::revoke))
        .route("/users", post(users::add))
        .route("/users/{user}", put(users::change))
        .route("/users/{user}/password", put(users::password))
        .route("/audit", get(audit::list))
        .route("/plans", post(sites::plan))
        .route("/sites", post(sites::up).get(sites::list))
        .route("/sites/{site}", get(sites::status))
        .route("/sites/{site}/down", post(sites::down))
        .route("/sites/{site}/explain", get(sites::causes))
        .route("/sites/{site}/explain/{instance}", get(sites::explain))
        .route("/sites/{site}/report", get(sites::report))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{job}", get(jobs::show))
        .route("/jobs/{job}/watch", get(jobs::watch))
        .route("/jobs/{job}/retry", post(jobs::retry))
        .route("/jobs/{job}/cancel", post(jobs::cancel))
        .route("/jobs/{job}/pause", post(jobs::pause))
        .route("/jobs/{job}/resume", post(jobs::resume))
        .route("/jobs/{job}/skip", post(jobs::skip))
        .route("/jobs/{job}/answer", post(jobs::answer))
        .route("/hosts", get(hosts::list).post(hosts::add))
        .route("/hosts/{host}", get(hosts::show))
        .route("/hosts/{host}/kill", post(hosts::kill))
        .route(
            "/packages",
            get(packages::list)
                .post(packages::push)
                .layer(DefaultBodyLimit::max(MAX_ARCHIVE)),
        )
        .route("/packages/{name}", get(packages::versions))
        .route("/instances", get(instances::list))
        .route("/instances/{site}/{name}", delete(instances::forget))
        .route("/instances/{site}/{name}/logs", get(instances::logs))
        .route(
            "/instances/{site}/{name}/{operation}",
            post(instances::operate),
        )
        .route("/kinds", get(inventory::list_kinds))
        .route("/kinds/{kind}", get(inventory::show_kind))
        .route("/kinds/{kind}/schema", get(inventory::kind_schema))
        .route("/transactions", post(inventory::transact))
        .route(
            "/resources/{kind}",
            get(inventory::list).post(inventory::create),
        )
        .route(
            "/resources/{kind}/{name}",
            get(inventory::show)
                .put(inventory::replace)
                .patch(inventory::patch)
                .delete(inventory::remove),
        )
        .route("/resources/{kind}/{name}/restore", post(inventory::restore))
        .route(
            "/resources/{kind}/{name}/secrets/{field}",
            get(inventory::secret),
        )
        .route("/resources/{kind}/{name}/history", get(inventory::history))
        .route("/resources/{kind}/{name}/drift", post(inventory::resolve))
        .route("/drift", get(inventory::drift))
        .route("/query", post(query::query))
        .route("/search", get(query::search))
        .route("/events", get(inventory::events))
        .route("/events/watch", get(inventory::watch_events))
        .route("/watch", get(feed::watch))
        .route("/discovery/ansible", get(discovery::ansible))
        .route("/discovery/prometheus", get(discovery::prometheus))
        .route("/import", post(exchange::import))
        .route("/export/{kind}", get(exchange::export))
        .route("/webhooks", get(webhooks::list))
        .route("/webhooks/{name}/dead", get(webhooks::dead))
        .route("/webhooks/{name}/replay", post(webhooks::replay))
        .route("/health", get(health))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(rooms.clone(), gates::pass))
        .with_state(rooms);
    Router::new()
        .route_service(grpc::PATH, watch)
        .route(
            "/api/openapi.json",
            get(async || Json(&*document::DOCUMENT)),
        )
        .nest("/api/v1", api)
        .fallback(nothing_here)
        .layer(middleware::map_response(answer::as_problem))
}

async fn nothing_here(uri: http::Uri) -> Refusal {
    Refusal::not_found(format!("{}; see /api/openapi.json", uri.path()))
}

/// Whether the server does its work. Counted are the hosts that the caller may read.
#[utoipa::path(get, path = "/health", responses((status = 200, description = "It does.", body = serde_json::Value)))]
async fn health(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
) -> Result<Json<Health>, Refusal> {
    let mut hosts = records::hosts(&rooms.inventory)
        .await
        .map_err(Refusal::internal)?;
    if !known.caller.may_all(Act::Read, kind::HOST) {
        let subjects = rooms.rights.subjects(kind::HOST).await?;
        hosts.retain(|host| {
            let subject = subjects.get(host.name.as_str());
            subject.is_some_and(|host| {
                allows(&known.caller, Act::Read, &host.target()) == Decision::Allowed
            })
        });
    }
    hosts.retain(|host| host.state != HostState::Dead);
    Ok(Json(Health {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hosts_connected: hosts
            .iter()
            .filter(|host| rooms.fleet.is_connected(host.name.as_str()))
            .count(),
        hosts: hosts.len(),
        resident_bytes: resident_bytes(),
    }))
}

/// Resident memory of this process (proc(5), `statm`), bytes; 0 where it is not told.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * procfs::page_size()
}

/// Values as server-sent events, with a comment now and then so that a dead link is noticed.
fn events<T: Serialize>(
    stream: impl Stream<Item = T> + Send + 'static,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    use futures::StreamExt as _;
    let stream = stream.map(|value| {
        let text = serde_json::to_string(&value).unwrap_or_default();
        Ok(sse::Event::default().data(text))
    });
    Sse::new(stream).keep_alive(sse::KeepAlive::default())
}
