//! What a job did and how long it took, for people and programs.

mod gantt;
mod html;
mod text;

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wright_workflow::{
    JobId, JobState, JobView, PathPart, Step, StepRecord, StepState, VerbStatistics, longest_path,
    statistics,
};

use crate::graph::Topology;

/// What a job did and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The job.
    pub job: JobId,
    /// What it was about, such as `site/shop`.
    pub subject: String,
    /// One line for people.
    pub title: String,
    /// How it ended, or that it runs.
    pub state: JobState,
    /// Why it failed, was cancelled or is stuck.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// When it was submitted.
    pub began_at: Timestamp,
    /// From the submission to the end, milliseconds; of a running job, to the last end of a step.
    pub wall_ms: u64,
    /// The longest chain of steps by the time each took: no order of work could be faster.
    pub critical_ms: u64,
    /// `wall_ms / critical_ms`; 1 where nothing was done.
    pub ratio: f64,
    /// The parts of that chain, first to last.
    pub critical_path: Vec<PathPart>,
    /// How the steps of each verb went.
    pub operations: Vec<VerbStatistics>,
    /// When each app was begun and done.
    pub apps: Vec<AppTimeline>,
    /// Every step that was begun, by host, instance and start. Most of a large report, and left out
    /// where nobody looks at it.
    #[serde(default)]
    pub timeline: Vec<Bar>,
    /// Who needs whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
}

/// When an app was begun and done. Milliseconds since the job's submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppTimeline {
    /// The app.
    pub app: String,
    /// Its layer.
    pub layer: u32,
    /// Its instances that the job changed.
    pub instances: usize,
    /// When its first step began.
    pub from_ms: u64,
    /// When its last instance was ready; `None`: not yet, or not part of the job.
    pub ready_ms: Option<u64>,
    /// When its last step ended.
    pub to_ms: u64,
}

/// A step on the timeline. Milliseconds since the job's submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// The step's name.
    pub step: String,
    /// Its verb.
    pub verb: String,
    /// Where it acted.
    pub host: String,
    /// The instance, or the package of a fetch.
    pub what: String,
    /// Its layer.
    pub layer: u32,
    /// When everything it needed was done.
    pub due_ms: u64,
    /// When its first attempt began.
    pub from_ms: u64,
    /// When it ended; of a running step, the end of the timeline.
    pub to_ms: u64,
    /// Attempts begun.
    pub attempts: u32,
    /// Where it is.
    pub state: StepState,
    /// Whether it is on the critical path.
    pub critical: bool,
    /// The error of its last failed attempt.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}

/// The instance of a step, or the package of a fetch.
fn subject_of(step: &Step) -> String {
    let instance = step.input.get("instance").and_then(|value| value.as_str());
    if let Some(id) = instance {
        return id.rsplit('/').next().unwrap_or(id).to_owned();
    }
    let text = |name: &str| step.input.get("package")?.get(name)?.as_str();
    match (text("name"), text("version")) {
        (Some(name), Some(version)) => format!("{name}@{version}"),
        _ => step.name.clone(),
    }
}

fn took(record: &StepRecord) -> u64 {
    match (record.started_at, record.ended_at) {
        (Some(from), Some(to)) => millis(from, to),
        _ => 0,
    }
}

/// The longest chain by what each step took.
fn critical(records: &[&StepRecord]) -> (Vec<PathPart>, u64) {
    let measured: Vec<(&Step, u64)> = records
        .iter()
        .map(|record| (record.step.as_ref(), took(record)))
        .collect();
    let (mut parts, length) = longest_path(&measured);
    let on_path: HashMap<String, usize> = parts
        .iter()
        .enumerate()
        .map(|(place, part)| (part.step.clone(), place))
        .collect();
    for record in records {
        let place = on_path.get(record.step.name.as_str());
        if let (Some(place), Some(due), Some(from)) = (place, record.ready_at, record.started_at) {
            parts[*place].waiting_ms = millis(due, from);
        }
    }
    (parts, length)
}

impl Report {
    /// The report of a job, as far as it is.
    pub fn new(job: &JobView, topology: Option<Topology>) -> Self {
        let began_at = job.summary.created_at;
        let begun: Vec<&StepRecord> = job
            .steps
            .iter()
            .filter(|record| record.started_at.is_some())
            .collect();
        let last = begun
            .iter()
            .filter_map(|record| record.ended_at.max(record.started_at))
            .max();
        let ended = job.summary.ended_at.or(last).unwrap_or(began_at);
        let wall_ms = millis(began_at, ended);
        let (critical_path, critical_ms) = critical(&begun);
        let ratio = if critical_ms == 0 {
            1.0
        } else {
            wall_ms as f64 / critical_ms as f64
        };
        let on_path: HashSet<&str> = critical_path
            .iter()
            .map(|part| part.step.as_str())
            .collect();
        let since = |at: Option<Timestamp>, or: u64| at.map_or(or, |at| millis(began_at, at));
        let mut timeline: Vec<Bar> = begun
            .iter()
            .map(|record| {
                let from_ms = since(record.started_at, 0);
                Bar {
                    step: record.step.name.clone(),
                    verb: record.step.verb.clone(),
                    host: record.step.target.clone().unwrap_or_default(),
                    what: subject_of(&record.step),
                    layer: record.step.layer,
                    due_ms: since(record.ready_at, from_ms),
                    from_ms,
                    to_ms: since(record.ended_at, wall_ms).max(from_ms),
                    attempts: record.attempts,
                    state: record.state,
                    critical: on_path.contains(record.step.name.as_str()),
                    error: record
                        .error
                        .as_ref()
                        .map(|e| e.message.clone())
                        .unwrap_or_default(),
                }
            })
            .collect();
        // What a host fetched stands above the instances that needed it.
        let instance = |bar: &Bar| bar.verb != "fetch";
        timeline.sort_by(|a, b| {
            let (of_a, of_b) = (
                (&a.host, instance(a), &a.what),
                (&b.host, instance(b), &b.what),
            );
            of_a.cmp(&of_b)
                .then_with(|| (a.from_ms, &a.step).cmp(&(b.from_ms, &b.step)))
        });
        Report {
            job: job.summary.id,
            subject: job.summary.subject.clone(),
            title: job.summary.title.clone(),
            state: job.summary.state,
            cause: job.summary.cause.clone(),
            began_at,
            wall_ms,
            critical_ms,
            ratio,
            critical_path,
            operations: statistics(&job.steps),
            apps: apps(&timeline),
            timeline,
            topology,
        }
    }

    /// Without every step.
    #[must_use]
    pub fn without_timeline(self) -> Self {
        let timeline = Vec::new();
        Report { timeline, ..self }
    }

    /// The report for a terminal.
    pub fn text(&self) -> String {
        text::write(self)
    }

    /// The report as one HTML page that needs nothing beside it.
    pub fn html(&self) -> String {
        html::write(self)
    }
}

fn apps(timeline: &[Bar]) -> Vec<AppTimeline> {
    let mut by_app: BTreeMap<&str, Vec<&Bar>> = BTreeMap::new();
    for bar in timeline.iter().filter(|bar| bar.verb != "fetch") {
        let app = bar
            .what
            .rsplit_once('-')
            .map_or(bar.what.as_str(), |(app, _)| app);
        by_app.entry(app).or_default().push(bar);
    }
    let line = |(app, bars): (&str, Vec<&Bar>)| {
        let mut instances: Vec<&str> = bars.iter().map(|bar| bar.what.as_str()).collect();
        instances.sort_unstable();
        instances.dedup();
        let ready = bars
            .iter()
            .filter(|bar| bar.verb == "ready" && bar.state == StepState::Succeeded);
        AppTimeline {
            app: app.to_owned(),
            layer: bars.iter().map(|bar| bar.layer).max().unwrap_or(0),
            instances: instances.len(),
            from_ms: bars.iter().map(|bar| bar.from_ms).min().unwrap_or(0),
            ready_ms: ready.map(|bar| bar.to_ms).max(),
            to_ms: bars.iter().map(|bar| bar.to_ms).max().unwrap_or(0),
        }
    };
    let mut apps: Vec<AppTimeline> = by_app.into_iter().map(line).collect();
    apps.sort_by(|a, b| (a.layer, a.from_ms, &a.app).cmp(&(b.layer, b.from_ms, &b.app)));
    apps
}
