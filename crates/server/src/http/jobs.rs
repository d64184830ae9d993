//! Jobs.

use axum::{
    Extension, Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use wright_workflow::{JobError, JobFilter, JobId, JobSummary, JobView};

use super::{Shared, answer::Refusal, auth::Actor, events};
use crate::api::Reason;

/// How many jobs a list shows.
const LISTED: usize = 100;

impl From<JobError> for Refusal {
    fn from(error: JobError) -> Self {
        let detail = error.to_string();
        match error {
            JobError::Unknown(_) => Refusal::new(404, "not-found", "not found", detail),
            JobError::Store(_) | JobError::Record { .. } => Refusal::internal(detail),
            _ => Refusal::new(409, "job", "the job cannot do that now", detail),
        }
    }
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/jobs", responses((status = 200, description = "The jobs.", body = serde_json::Value)))]
pub async fn list(State(rooms): Shared) -> Result<Json<Vec<JobSummary>>, Refusal> {
    Ok(Json(
        rooms.engine.list(LISTED, &JobFilter::default()).await?,
    ))
}

/// One job with its steps.
#[utoipa::path(get, path = "/jobs/{job}", params(("job" = String, Path)), responses((status = 200, description = "The job.", body = serde_json::Value)))]
pub async fn show(State(rooms): Shared, Path(job): Path<JobId>) -> Result<Json<JobView>, Refusal> {
    Ok(Json(rooms.engine.show(job).await?))
}

/// A job as it is, then every change until it has ended.
#[utoipa::path(get, path = "/jobs/{job}/watch", params(("job" = String, Path)), responses((status = 200, description = "Server-sent events.", content_type = "text/event-stream")))]
pub async fn watch(State(rooms): Shared, Path(job): Path<JobId>) -> Result<Response, Refusal> {
    let news = rooms.engine.watch(job).await?.into_stream();
    let news = news
        .take_while(|delta| std::future::ready(delta.is_ok()))
        .filter_map(async |delta| delta.ok());
    Ok(events(Box::pin(news)).into_response())
}

/// Try the failed steps again.
#[utoipa::path(post, path = "/jobs/{job}/retry", params(("job" = String, Path)), request_body = serde_json::Value, responses((status = 200, description = "The job.", body = serde_json::Value)))]
pub async fn retry(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path(job): Path<JobId>,
    Json(reason): Json<Reason>,
) -> Result<Json<JobSummary>, Refusal> {
    Ok(Json(
        rooms.control.retry(job, &reason.reason, &actor.0).await?,
    ))
}

/// Stop a job; what is half made is taken back.
#[utoipa::path(post, path = "/jobs/{job}/cancel", params(("job" = String, Path)), request_body = serde_json::Value, responses((status = 200, description = "The job.", body = serde_json::Value)))]
pub async fn cancel(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path(job): Path<JobId>,
    Json(reason): Json<Reason>,
) -> Result<Json<JobSummary>, Refusal> {
    rooms.engine.cancel(job, &reason.reason, &actor.0).await?;
    Ok(Json(rooms.engine.summary(job).await?))
}
