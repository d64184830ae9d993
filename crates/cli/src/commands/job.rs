//! `wright job …`

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use jiff::Timestamp;
use serde::Serialize;
use wright_server::api::{Reason, StepAnswer};
use wright_site::Label;
use wright_workflow::{
    Decision, JobId, JobOutline, JobState, JobSummary, JobView, Progress, StepRecord, StepState,
    Verdict,
};

use super::Context;
use crate::{
    args::{Format, JobCommand},
    failure::Failure,
    output,
    progress::Screen,
};

/// Does it.
pub async fn run(context: Context, mut command: JobCommand) -> Result<(), Failure> {
    if let Some(job) = command.job_mut() {
        *job = identified(&context, job).await?;
    }
    match command {
        JobCommand::List => {
            let jobs: Vec<JobSummary> = context.client.get("/jobs").await?;
            output::print(context.format, &jobs, |jobs| {
                let head = ["JOB", "WHAT", "STATE", "AGE", "BY", "CAUSE"];
                let rows = jobs.iter().map(|job| {
                    let age = output::age(job.created_at);
                    [
                        job.id.to_string(),
                        job.title.clone(),
                        state(job),
                        age,
                        job.actor.clone(),
                        job.cause.clone(),
                    ]
                });
                output::table(head, rows)
            })
        }
        JobCommand::Show { job } => {
            let job: JobView = context.client.get(&format!("/jobs/{job}")).await?;
            output::print(context.format, &job, graph)
        }
        JobCommand::Watch { job } => {
            let job = watch(&context, &job).await?;
            if context.format != Format::Table {
                output::print(context.format, job.summary(), |_| String::new())?;
            }
            judge(&job)
        }
        JobCommand::Retry { job, step, reason } => {
            let step = match step {
                Some(step) => Some(named(&context, &job, step).await?),
                None => None,
            };
            step_in(&context, &job, "retry", &Reason { reason, step }).await
        }
        JobCommand::Skip { job, step, reason } => {
            let step = Some(named(&context, &job, step).await?);
            step_in(&context, &job, "skip", &Reason { reason, step }).await
        }
        JobCommand::Pause { job, reason } => {
            step_in(&context, &job, "pause", &of_job(reason)).await
        }
        JobCommand::Resume { job, reason } => {
            step_in(&context, &job, "resume", &of_job(reason)).await
        }
        JobCommand::Cancel { job, reason } => {
            step_in(&context, &job, "cancel", &of_job(reason)).await
        }
        JobCommand::Approve {
            job,
            step,
            reason,
            value,
        } => {
            let verdict = Verdict::Approved;
            let decision = Decision { verdict, value };
            answer(&context, &job, step, decision, reason).await
        }
        JobCommand::Refuse { job, step, reason } => {
            let (verdict, value) = (Verdict::Refused, serde_json::Value::Null);
            let decision = Decision { verdict, value };
            answer(&context, &job, step, decision, reason).await
        }
    }
}

/// The whole id of a job that is told by its id's beginning or end.
async fn identified(context: &Context, told: &str) -> Result<String, Failure> {
    if told.parse::<JobId>().is_ok() {
        return Ok(told.to_owned());
    }
    let jobs: Vec<JobSummary> = context.client.get("/jobs").await?;
    let part = told.trim_matches('…').to_lowercase();
    let ids = jobs.into_iter().map(|job| job.id.to_string());
    let mut fitting: Vec<String> = ids
        .filter(|id| !part.is_empty() && (id.starts_with(&part) || id.ends_with(&part)))
        .collect();
    match (fitting.pop(), fitting.len()) {
        (Some(id), 0) => Ok(id),
        (Some(id), more) => Err(Failure::usage(format!(
            "{told} may be job {id} or {more} more\n  help: write more of its id; its end tells jobs apart best"
        ))),
        (None, _) => Err(Failure::failed(format!(
            "there is no job {told}; see `wright job list`"
        ))),
    }
}

fn of_job(reason: String) -> Reason {
    Reason { reason, step: None }
}

async fn answer(
    context: &Context,
    job: &str,
    step: String,
    decision: Decision,
    reason: String,
) -> Result<(), Failure> {
    let answer = StepAnswer {
        step: named(context, job, step).await?,
        decision,
        reason,
    };
    step_in(context, job, "answer", &answer).await
}

/// The whole name of a step that is told by its name's beginning or as `job show` tells it.
async fn named(context: &Context, job: &str, told: String) -> Result<String, Failure> {
    let job: JobView = context.client.get(&format!("/jobs/{job}")).await?;
    let names = |fits: &dyn Fn(&StepRecord) -> bool| {
        let fitting = job.steps.iter().filter(|record| fits(record));
        let names: Vec<String> = fitting.map(|record| record.step.name.clone()).collect();
        names
    };
    let exact = names(&|record| {
        record.step.name == told || Label::of(&record.step.name).to_string() == told
    });
    let mut found = match exact.as_slice() {
        [] => names(&|record| !record.dropped && record.step.name.starts_with(&told)),
        _ => exact,
    };
    match (found.pop(), found.len()) {
        (Some(name), 0) => Ok(name),
        (Some(name), more) => Err(Failure::failed(format!(
            "{told} may be {name} or {more} more\n  help: write more of its name"
        ))),
        (None, _) => Err(Failure::failed(format!(
            "job {} has no step {told}",
            job.summary.id
        ))),
    }
}

async fn step_in<T: Serialize>(
    context: &Context,
    job: &str,
    what: &str,
    body: &T,
) -> Result<(), Failure> {
    let summary: JobSummary = context
        .client
        .post(&format!("/jobs/{job}/{what}"), body)
        .await?;
    output::print(context.format, &summary, |summary| {
        format!("{}: {}", summary.id, state(summary))
    })
}

/// Where a job is, for people.
fn state(job: &JobSummary) -> String {
    let state = format!("{:?}", job.state).to_lowercase();
    match &job.paused {
        Some(_) => format!("{state}, paused"),
        None => state,
    }
}

/// Success, or the job's one cause.
pub fn judge(job: &JobOutline) -> Result<(), Failure> {
    let summary = job.summary();
    if summary.state == JobState::Succeeded {
        return Ok(());
    }
    let mut message = format!(
        "{} {}: {}",
        summary.title,
        format!("{:?}", summary.state).to_lowercase(),
        summary.cause
    );
    let failed = job
        .steps()
        .iter()
        .find(|step| matches!(step.state, StepState::Failed | StepState::Stuck));
    let evidence = failed.or_else(|| {
        let undone = job.steps().iter().filter(|step| step.error.is_some());
        undone.min_by_key(|step| step.ended_at)
    });
    if let Some(error) = evidence.and_then(|step| step.error.as_ref()) {
        for line in &error.evidence {
            message.push_str(&format!("\n  | {line}"));
        }
    }
    message.push_str(&format!("\n  help: see `wright job show {}`", summary.id));
    Err(Failure::failed(message))
}

/// Follows a job to its end, over lost links and restarted servers. Ctrl-C ends the looking on, not
/// the job.
pub async fn watch(context: &Context, id: &str) -> Result<JobOutline, Failure> {
    let mut screen = Screen::new();
    let mut job = None;
    let mut patience = 0;
    loop {
        let followed = tokio::select! {
            followed = follow(context, id, &mut job, &mut screen, &mut patience) => followed,
            _ = tokio::signal::ctrl_c() => {
                return Err(Failure::interrupted(format!(
                    "the job goes on without you\n  help: `wright job watch {id}` follows it again, `wright job cancel {id}` takes it back"
                )));
            }
        };
        match followed {
            Ok(job) => {
                let ended = job.summary().ended_at;
                screen.draw(&job, ended.unwrap_or_else(Timestamp::now));
                return Ok(job);
            }
            Err(failure) if failure.is_unreachable() && patience < 240 => {
                patience += 1;
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Err(failure) => {
                screen.erase();
                return Err(failure);
            }
        }
    }
}

/// The time between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// What drawing may take of all time: one part in so many.
const SHARE: u32 = 10;

/// Follows a job as far as the link holds; what is known of it stays in `known`.
async fn follow(
    context: &Context,
    id: &str,
    known: &mut Option<JobOutline>,
    screen: &mut Screen,
    patience: &mut u32,
) -> Result<JobOutline, Failure> {
    let path = format!("/jobs/{id}/watch?outline=true");
    let mut news = context.client.events(&path).await?;
    let mut tick = tokio::time::interval(FRAME);
    loop {
        tokio::select! {
            event = news.next() => {
                let Some(event) = event else {
                    return Err(Failure::link("it was closed"));
                };
                *patience = 0;
                let event = serde_json::from_str(&event?).map_err(|error| Failure::failed(error.to_string()))?;
                let changed = take(known, event);
                let Some(job) = known else { continue };
                if job.summary().state.is_final() {
                    return Ok(job.clone());
                }
                if !screen.is_live() {
                    screen.tell(job, &changed);
                }
            }
            _ = tick.tick(), if screen.is_live() => {
                if let Some(job) = known {
                    let begun = Instant::now();
                    screen.draw(job, Timestamp::now());
                    // A frame of a large job takes long; what is new must be read meanwhile.
                    tick.reset_after(FRAME.max(begun.elapsed() * SHARE));
                }
            }
        }
    }
}

/// Takes in what is new of a job; the places of the steps that changed.
fn take(known: &mut Option<JobOutline>, news: Progress) -> Vec<usize> {
    match (news, known) {
        (Progress::Whole(whole), known) => {
            let all = (0..whole.steps().len()).collect();
            *known = Some(*whole);
            all
        }
        (Progress::Changed { summary, steps }, Some(job)) => job.take(*summary, steps),
        (Progress::Changed { .. }, None) => Vec::new(),
    }
}

/// What people did to a job, whom it waits for, and which jobs it belongs to.
fn around(job: &JobView) -> Vec<String> {
    let summary = &job.summary;
    let mut lines = Vec::new();
    if let Some(parent) = &summary.parent {
        lines.push(format!("part of job {}: step {}", parent.job, parent.step));
    }
    for child in &job.children {
        let step = child.parent.as_ref().map_or("", |parent| &parent.step);
        let (id, title, state) = (child.id, &child.title, state(child));
        lines.push(format!("step {step} is job {id}: {title}, {state}"));
    }
    if summary.forgotten {
        lines.push("its steps are no longer kept".to_owned());
    }
    for event in &job.history {
        let action = format!("{:?}", event.action).to_lowercase();
        let step = event.step.as_ref();
        let step = step.map_or_else(String::new, |step| format!(" {step}"));
        let (at, actor) = (event.at, &event.actor);
        let reason = match event.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        lines.push(format!("{at:.0}  {action}{step} by {actor}{reason}"));
    }
    for question in job.questions.iter().filter(|q| q.closed.is_none()) {
        let (step, wait) = (&question.step, &question.wait);
        lines.push(format!(
            "{step} waits for {} since {:.0}, until {:.0}: {}",
            wait.from, question.since, question.until, wait.what
        ));
        lines.push(format!(
            "  answer with: wright job approve|refuse {} {step} --reason …",
            summary.id
        ));
    }
    lines
}

/// The steps with their states, what they need, and how long they took.
fn graph(job: &JobView) -> String {
    let summary = &job.summary;
    let mut lines = vec![
        format!("{}  {}", summary.title, state(summary)),
        format!(
            "job {}  plan {}  by {}",
            summary.id, summary.plan, summary.actor
        ),
    ];
    if !summary.cause.is_empty() {
        lines.push(format!("cause: {}", summary.cause));
    }
    lines.extend(around(job));
    let head = ["LAYER", "STEP", "STATE", "TRIES", "TOOK", "NEEDS", "ERROR"];
    let rows = job.steps.iter().map(|record| {
        let took = match (record.started_at, record.ended_at) {
            (Some(started), Some(ended)) => {
                format!(
                    "{:.2} s",
                    (ended - started).total(jiff::Unit::Second).unwrap_or(0.0)
                )
            }
            _ => String::new(),
        };
        let needs: Vec<String> = record
            .step
            .needs
            .iter()
            .map(|need| Label::of(need))
            .map(|need| format!("{} {}", need.verb, need.what))
            .collect();
        let needs = match needs.len() {
            0..=3 => needs.join(", "),
            more => format!("{} and {} more", needs[..2].join(", "), more - 2),
        };
        let state = format!("{:?}", record.state).to_lowercase();
        let dropped = match &record.waived {
            Some(event) => format!(" (waived by {}: {})", event.actor, event.reason),
            None if record.dropped => " (dropped)".to_owned(),
            None => String::new(),
        };
        [
            record.step.layer.to_string(),
            Label::of(&record.step.name).to_string(),
            format!("{state}{dropped}"),
            record.attempts.to_string(),
            took,
            needs,
            record
                .error
                .as_ref()
                .map(|error| error.message.clone())
                .unwrap_or_default(),
        ]
    });
    lines.push(String::new());
    lines.push(output::table(head, rows));
    lines.join("\n")
}
