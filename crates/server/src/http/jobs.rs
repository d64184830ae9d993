//! Jobs.

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use futures::{Stream, StreamExt as _};
use serde::Deserialize;
use wright_inventory::Event;
use wright_workflow::{JobError, JobFilter, JobId, JobSummary, JobView, Verdict};

use super::{Rooms, Shared, answer::Refusal, auth::Actor, events};
use crate::api::{Reason, StepAnswer};

/// How many jobs a list shows.
const LISTED: usize = 100;

impl From<JobError> for Refusal {
    fn from(error: JobError) -> Self {
        let detail = error.to_string();
        match error {
            JobError::Unknown(_) => Refusal::new(404, "not-found", "not found", detail),
            JobError::Store(_) | JobError::Record { .. } => Refusal::internal(detail),
            JobError::NoReason => Refusal::new(400, "reason", "a reason is missing", detail),
            _ => Refusal::new(409, "job", "the job cannot do that now", detail),
        }
    }
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/jobs", responses((status = 200, description = "The jobs.", body = Vec<JobSummary>)))]
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

/// How a job is to be told.
#[derive(Debug, Deserialize)]
pub struct Telling {
    #[serde(default)]
    outline: bool,
}

/// A job as it is, then every change until it has ended; with `outline=true` without what its steps are made of.
#[utoipa::path(get, path = "/jobs/{job}/watch", params(("job" = String, Path), ("outline" = Option<bool>, Query)), responses((status = 200, description = "Server-sent events.", content_type = "text/event-stream")))]
pub async fn watch(
    State(rooms): Shared,
    Path(job): Path<JobId>,
    Query(telling): Query<Telling>,
) -> Result<Response, Refusal> {
    if telling.outline {
        let news = rooms.engine.progress(job).await?;
        return Ok(events(Box::pin(until_wrong(news))).into_response());
    }
    let news = rooms.engine.watch(job).await?.into_stream();
    Ok(events(Box::pin(until_wrong(news))).into_response())
}

/// News as long as there are some: a client asks again where they end before the job.
fn until_wrong<T>(news: impl Stream<Item = Result<T, JobError>>) -> impl Stream<Item = T> {
    news.take_while(|news| std::future::ready(news.is_ok()))
        .filter_map(async |news| news.ok())
}

/// Try the failed steps of a job again, or one of them while the job runs.
#[utoipa::path(post, path = "/jobs/{job}/retry", params(("job" = String, Path)), request_body = serde_json::Value, responses((status = 200, description = "The job.", body = JobSummary), (status = 400, description = "A reason or a step is missing."), (status = 409, description = "The job cannot do that now.")))]
pub async fn retry(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path(job): Path<JobId>,
    Json(Reason { reason, step }): Json<Reason>,
) -> Result<Json<JobSummary>, Refusal> {
    match &step {
        None => drop(rooms.control.retry(job, None, &reason, &actor.0).await?),
        Some(step) => {
            let engine = &rooms.engine;
            engine.retry_step(job, step, &reason, &actor.0).await?;
        }
    }
    told(&rooms, job, &actor, "retried", step.as_deref(), &reason).await
}

/// Go on as if a failed step had succeeded; a job that has ended is begun again without it.
#[utoipa::path(post, path = "/jobs/{job}/skip", params(("job" = String, Path)), request_body = serde_json::Value, responses((status = 200, description = "The job.", body = JobSummary), (status = 400, description = "A reason or a step is missing."), (status = 409, description = "The job cannot do that now.")))]
pub async fn skip(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path(job): Path<JobId>,
    Json(Reason { reason, step }): Json<Reason>,
) -> Result<Json<JobSummary>, Refusal> {
    let Some(step) = step else {
        let detail = "name the step in `step`";
        return Err(Refusal::new(400, "step", "a step is missing", detail));
    };
    if rooms.engine.summary(job).await?.state.is_final() {
        let control = &rooms.control;
        control.retry(job, Some(&step), &reason, &actor.0).await?;
    } else {
        rooms.engine.skip(job, &step, &reason, &actor.0).await?;
    }
    told(&rooms, job, &actor, "skipped", Some(&step), &reason).await
}

/// Start nothing more of a job; what runs goes on.
#[utoipa::path(post, path = "/jobs/{job}/pause", params(("job" = String, Path)), request_body = serde_json::Value, responses((status = 200, description = "The job.", body = JobSummary), (status = 400, description = "A reason or a step is missing."), (status = 409, description = "The job cannot do that now.")))]
pub async fn pause(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path(job): Path<JobId>,
    Json(Reason { reason, .. }): Json<Reason>,
) -> Result<Json<JobSummary>, Refusal> {
    rooms.engine.pause(job, &reason, &actor.0).await?;
    told(&rooms, job, &actor, "paused", None, &reason).await
}

/// Go on with a paused job.
#[utoipa::path(post, path = "/jobs/{job}/resume", params(("job" = String, Path)), request_body = serde_json::Value, responses((status = 200, description = "The job.", body = JobSummary), (status = 400, description = "A reason or a step is missing."), (status = 409, description = "The job cannot do that now.")))]
pub async fn resume(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path(job): Path<JobId>,
    Json(Reason { reason, .. }): Json<Reason>,
) -> Result<Json<JobSummary>, Refusal> {
    rooms.engine.resume(job, &reason, &actor.0).await?;
    told(&rooms, job, &actor, "resumed", None, &reason).await
}

/// Answer what a step waits for: it succeeds or fails with that.
#[utoipa::path(post, path = "/jobs/{job}/answer", params(("job" = String, Path)), request_body = serde_json::Value, responses((status = 200, description = "The job.", body = JobSummary), (status = 400, description = "A reason or a step is missing."), (status = 409, description = "The job cannot do that now.")))]
pub async fn answer(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path(job): Path<JobId>,
    Json(answer): Json<StepAnswer>,
) -> Result<Json<JobSummary>, Refusal> {
    let what = match answer.decision.verdict {
        Verdict::Approved => "approved",
        Verdict::Refused => "refused",
    };
    let StepAnswer {
        step,
        decision,
        reason,
    } = answer;
    let engine = &rooms.engine;
    engine
        .answer(job, &step, decision, &reason, &actor.0)
        .await?;
    told(&rooms, job, &actor, what, Some(&step), &reason).await
}

/// Stop a job; what is half made is taken back.
#[utoipa::path(post, path = "/jobs/{job}/cancel", params(("job" = String, Path)), request_body = serde_json::Value, responses((status = 200, description = "The job.", body = JobSummary), (status = 400, description = "A reason or a step is missing."), (status = 409, description = "The job cannot do that now.")))]
pub async fn cancel(
    State(rooms): Shared,
    Extension(actor): Extension<Actor>,
    Path(job): Path<JobId>,
    Json(Reason { reason, .. }): Json<Reason>,
) -> Result<Json<JobSummary>, Refusal> {
    rooms.engine.cancel(job, &reason, &actor.0).await?;
    told(&rooms, job, &actor, "cancelled", None, &reason).await
}

/// Writes down that somebody stepped in; the job as it is now.
async fn told(
    rooms: &Rooms,
    job: JobId,
    actor: &Actor,
    what: &str,
    step: Option<&str>,
    reason: &str,
) -> Result<Json<JobSummary>, Refusal> {
    let summary = rooms.engine.summary(job).await?;
    let to = step.map_or_else(|| summary.title.clone(), |step| format!("step {step}"));
    let message = match reason {
        "" => format!("{to} was {what}"),
        reason => format!("{to} was {what}: {reason}"),
    };
    let event = Event::new(&actor.0, "job", &format!("job/{job}"), &message);
    let recorded = rooms.inventory.record(&event).await;
    recorded.map_err(Refusal::internal)?;
    Ok(Json(summary))
}
