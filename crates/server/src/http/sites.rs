//! Sites.

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    response::{Html, IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use wright_access::Act;
use wright_model::Name;
use wright_site::{Bundle, Causes, Explanation, SiteStatus};
use wright_workflow::JobId;

use super::{Rooms, Shared, answer::Refusal, auth::Actor, gates::require};
use crate::{
    api::{UpAnswer, UpRequest},
    control::ControlError,
    records::{SiteRecord, kind},
    rights::Known,
};

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        let detail = error.to_string();
        match error {
            ControlError::Findings { title, diagnostics } => Refusal::findings(&title, diagnostics),
            ControlError::Busy(_) => Refusal::new(409, "busy", "the site is being changed", detail),
            ControlError::Stale => Refusal::new(409, "stale", "the plan is old", detail),
            ControlError::Overtaken { .. } => {
                Refusal::new(409, "overtaken", "the job is old", detail)
            }
            ControlError::Alive { .. } => {
                Refusal::new(409, "alive", "the instance is not lost", detail)
            }
            ControlError::DataLost { .. } => {
                Refusal::new(409, "data-lost", "its data is not there", detail)
            }
            ControlError::Host { .. } => {
                Refusal::new(409, "operation", "the operation failed", detail)
            }
            ControlError::Workflow(error) => error.into(),
            ControlError::NotFound(what) => Refusal::not_found(what),
            error => Refusal::internal(error),
        }
    }
}

/// How much of a plan is wanted.
#[derive(Debug, Deserialize)]
pub struct Detail {
    #[serde(default = "yes")]
    steps: bool,
    #[serde(default)]
    summary: bool,
}

fn yes() -> bool {
    true
}

/// What `up` would do; changes nothing. With `steps=false` without its steps, most of a large plan; with `summary=true` as people are shown it.
#[utoipa::path(post, path = "/plans", params(("steps" = Option<bool>, Query), ("summary" = Option<bool>, Query)), request_body = serde_json::Value, responses((status = 200, description = "The plan.", body = serde_json::Value), (status = 422, description = "Findings.", body = serde_json::Value)))]
pub async fn plan(
    State(rooms): Shared,
    Extension(known): Extension<Known>,
    Query(detail): Query<Detail>,
    Json(bundle): Json<Bundle>,
) -> Result<Response, Refusal> {
    may_operate(&rooms, &known, &bundle).await?;
    if detail.summary {
        return Ok(Json(rooms.control.preview(&bundle).await?).into_response());
    }
    let plan = rooms.control.plan(&bundle).await?;
    let plan = match detail.steps {
        true => plan,
        false => plan.without_steps(),
    };
    Ok(Json(plan).into_response())
}

/// Build a site or change it to what its files say.
#[utoipa::path(post, path = "/sites", request_body = serde_json::Value, responses((status = 200, description = "The job and its plan.", body = serde_json::Value), (status = 409, description = "A job of the site runs, or the plan shown is old.", body = serde_json::Value), (status = 422, description = "Findings.", body = serde_json::Value)))]
pub async fn up(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Extension(known): Extension<Known>,
    Json(request): Json<UpRequest>,
) -> Result<Json<UpAnswer>, Refusal> {
    may_operate(&rooms, &known, &request.bundle).await?;
    Ok(Json(rooms.control.up(request, &actor.0).await?))
}

/// Which site it is, only its files say.
async fn may_operate(rooms: &Rooms, known: &Known, bundle: &Bundle) -> Result<(), Refusal> {
    if known.caller.may_all(Act::Operate, kind::SITE) {
        return Ok(());
    }
    let site = rooms.control.site_of(bundle).await?;
    require(
        &rooms.rights,
        known,
        Act::Operate,
        kind::SITE,
        site.as_str(),
    )
    .await
}

/// Take a site down.
#[utoipa::path(post, path = "/sites/{site}/down", params(("site" = String, Path)), responses((status = 200, description = "The job and its plan.", body = serde_json::Value), (status = 404, description = "No such site.", body = serde_json::Value), (status = 409, description = "A job of the site runs.")))]
pub async fn down(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path(site): Path<Name>,
) -> Result<Json<UpAnswer>, Refusal> {
    Ok(Json(rooms.control.down(&site, &actor.0).await?))
}

/// One line of the list of sites.
#[derive(Debug, Serialize)]
pub struct SiteLine {
    site: String,
    job: Option<JobId>,
    plan: u64,
    served: bool,
}

/// All sites.
#[utoipa::path(get, path = "/sites", responses((status = 200, description = "The sites.", body = serde_json::Value)))]
pub async fn list(State(rooms): Shared) -> Result<Json<Vec<SiteLine>>, Refusal> {
    let sites: Vec<(String, SiteRecord)> = rooms
        .inventory
        .list_named_as(kind::SITE)
        .await
        .map_err(Refusal::internal)?;
    let line = |(site, record): (String, SiteRecord)| SiteLine {
        site,
        job: record.job,
        plan: record.plan,
        served: record.stood.is_some(),
    };
    Ok(Json(sites.into_iter().map(line).collect()))
}

/// A tree of apps and instances.
#[utoipa::path(get, path = "/sites/{site}", params(("site" = String, Path)), responses((status = 200, description = "The tree.", body = serde_json::Value)))]
pub async fn status(
    State(rooms): Shared,
    Path(site): Path<Name>,
) -> Result<Json<SiteStatus>, Refusal> {
    Ok(Json(rooms.control.status(&site).await?))
}

/// Why instances do not run, by cause, and what would help.
#[utoipa::path(get, path = "/sites/{site}/explain", params(("site" = String, Path)), responses((status = 200, description = "The causes of the most instances, with the first of each.", body = serde_json::Value)))]
pub async fn causes(State(rooms): Shared, Path(site): Path<Name>) -> Result<Json<Causes>, Refusal> {
    Ok(Json(rooms.control.causes(&site).await?))
}

/// Why one instance does not run, and what would help; null where it is ready.
#[utoipa::path(get, path = "/sites/{site}/explain/{instance}", params(("site" = String, Path), ("instance" = String, Path)), responses((status = 200, description = "The explanation.", body = serde_json::Value), (status = 404, description = "No such instance.", body = serde_json::Value)))]
pub async fn explain(
    State(rooms): Shared,
    Path((site, instance)): Path<(Name, Name)>,
) -> Result<Json<Option<Explanation>>, Refusal> {
    Ok(Json(rooms.control.explain(&site, &instance).await?))
}

/// How the report is wanted.
#[derive(Debug, Deserialize)]
pub struct Form {
    #[serde(default)]
    format: Option<String>,
    #[serde(default = "yes")]
    timeline: bool,
}

/// The report of the site's last job, as JSON (with `timeline=false` without every step) or, with `format=html`, as one self-contained page.
#[utoipa::path(get, path = "/sites/{site}/report", params(("site" = String, Path), ("format" = Option<String>, Query), ("timeline" = Option<bool>, Query)), responses((status = 200, description = "The report.", body = serde_json::Value)))]
pub async fn report(
    State(rooms): Shared,
    Path(site): Path<Name>,
    Query(form): Query<Form>,
) -> Result<Response, Refusal> {
    let report = rooms.control.report(&site).await?;
    match form.format.as_deref() {
        None | Some("json") if !form.timeline => {
            Ok(Json(report.without_timeline()).into_response())
        }
        None | Some("json") => Ok(Json(report).into_response()),
        Some("html") => Ok(Html(report.html()).into_response()),
        Some(other) => Err(Refusal::new(
            400,
            "bad-format",
            "unknown format",
            format!("{other:?}: `json` or `html` was expected"),
        )),
    }
}
