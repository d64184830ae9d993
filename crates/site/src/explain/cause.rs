use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wright_model::{
    Host, HostState, InstanceId, InstanceRecord, InstanceStatus, Name, Phase, Traffic,
};
use wright_workflow::{JobView, StepRecord, StepState};

use super::tree::{instances, on_instance};

/// Why one instance does not run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The instance.
    pub instance: Name,
    /// What it waits for, since when, and why.
    pub cause: String,
    /// Since when, where it is known.
    pub since: Option<Timestamp>,
    /// The last thing that went wrong; may be empty.
    #[serde(default)]
    pub last_error: String,
    /// What would help; may be empty.
    #[serde(default)]
    pub help: String,
}

struct Scene<'a> {
    site: &'a Name,
    job: Option<&'a JobView>,
    by_name: BTreeMap<&'a str, &'a StepRecord>,
    statuses: &'a BTreeMap<InstanceId, InstanceStatus>,
}

/// Explains every instance that shall run and is not ready, by name.
pub fn explain(
    site: &Name,
    job: Option<&JobView>,
    records: &BTreeMap<Name, InstanceRecord>,
    statuses: &BTreeMap<InstanceId, InstanceStatus>,
    hosts: &[Host],
) -> Vec<Explanation> {
    let steps = job
        .into_iter()
        .flat_map(|job| &job.steps)
        .filter(|record| !record.dropped);
    let by_name = steps
        .map(|record| (record.step.name.as_str(), record))
        .collect();
    let scene = Scene {
        site,
        job,
        by_name,
        statuses,
    };
    let mut all = Vec::new();
    for (name, host) in instances(job, records) {
        let id = InstanceId {
            site: site.clone(),
            name: name.clone(),
        };
        let host = hosts.iter().find(|known| known.name == host);
        let seen = statuses.get(&id);
        let served = records
            .get(&name)
            .is_some_and(|record| record.traffic == Traffic::On);
        let mut explanation = Explanation {
            instance: name.clone(),
            cause: String::new(),
            since: None,
            last_error: seen.map(|seen| seen.last_error.clone()).unwrap_or_default(),
            help: String::new(),
        };
        let done = scene.host(&mut explanation, host)
            || scene.step(&mut explanation, &name)
            || scene.seen(&mut explanation, seen, served);
        if done {
            all.push(explanation);
        }
    }
    all
}

fn clock(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| {
        format!(" since {}", at.strftime("%H:%M:%S"))
    })
}

/// What a verb does, as in "it is being …".
fn doing(verb: &str) -> &str {
    match verb {
        "fetch" => "fetching its package",
        "install" => "being installed",
        "configure" => "being configured",
        "start" => "being started",
        "ready" => "starting",
        "verify" => "being verified",
        "serve" => "being put into service",
        "drain" => "being taken out of service",
        "stop" => "being stopped",
        "uninstall" => "being removed",
        _ => "being changed",
    }
}

impl Scene<'_> {
    fn host(&self, out: &mut Explanation, host: Option<&Host>) -> bool {
        let Some(host) = host else {
            out.cause = "its host is not known any more".to_owned();
            out.help = format!("plan the site again: wright site up (site {})", self.site);
            return true;
        };
        let (what, help) = match host.state {
            HostState::Ready => return false,
            HostState::Joining => (
                "has not joined yet",
                "wait for its agent, or look at its log",
            ),
            HostState::Lost => (
                "is not heard of",
                "its programs go on by themselves; look whether the agent runs and reaches the server",
            ),
            HostState::Dead => (
                "is gone",
                "what was there is set up on other hosts by a job of its own; see `wright job list`",
            ),
        };
        out.since = Some(host.since);
        out.cause = format!("its host {} {what}{}", host.name, clock(out.since));
        if !host.reason.is_empty() {
            out.cause = format!("{}: {}", out.cause, host.reason);
        }
        help.clone_into(&mut out.help);
        true
    }

    /// The first step of the instance that is not done.
    fn open_step(&self, instance: &Name) -> Option<&StepRecord> {
        let job = self.job?;
        let open = |record: &&StepRecord| !record.dropped && !record.is_satisfied();
        let own = |record: &&StepRecord| {
            on_instance(&record.step).is_some_and(|(id, _)| id.name == *instance)
        };
        let mut steps = job.steps.iter().filter(open).filter(own);
        let first = steps.next()?;
        // What runs or failed says more than what merely comes first in the plan.
        let telling =
            |record: &&StepRecord| !matches!(record.state, StepState::Waiting | StepState::Skipped);
        Some(
            std::iter::once(first)
                .chain(steps)
                .find(telling)
                .unwrap_or(first),
        )
    }

    fn step(&self, out: &mut Explanation, instance: &Name) -> bool {
        let Some(record) = self.open_step(instance) else {
            return false;
        };
        if let Some(error) = &record.error {
            error.message.clone_into(&mut out.last_error);
        }
        out.since = record.started_at.or(record.ready_at);
        let doing = doing(&record.step.verb);
        match record.state {
            StepState::Running => {
                out.cause = format!("it is {doing}{}", clock(out.since));
                if record.step.verb == "ready" {
                    out.help = "look at its log: wright instance logs".to_owned();
                }
            }
            StepState::Backoff => {
                out.cause = format!(
                    "{} failed {} of {} times and is tried again",
                    record.step.verb, record.attempts, record.step.retry.attempts
                );
                out.help = "mend the cause; the next attempt comes by itself".to_owned();
            }
            StepState::Failed => {
                out.cause = format!("{} failed for good", record.step.verb);
                out.help = "mend the cause and run `wright site up` again".to_owned();
            }
            StepState::Waiting => self.waiting(out, record),
            StepState::Skipped => {
                let cause = self
                    .job
                    .map(|job| job.summary.cause.as_str())
                    .unwrap_or_default();
                out.cause = format!(
                    "the job ended before {} could begin: {cause}",
                    record.step.verb
                );
                out.help = "mend the cause and run `wright site up` again".to_owned();
            }
            StepState::Undoing => out.cause = format!("{} is being taken back", record.step.verb),
            StepState::Undone => out.cause = format!("{} was taken back", record.step.verb),
            StepState::Stuck => {
                out.cause = format!("taking back {} failed", record.step.verb);
                out.help = "look at the host, then run `wright job retry`".to_owned();
            }
            StepState::Succeeded => return false,
        }
        true
    }

    /// Follows what a step waits for down to what runs, failed or waits for time.
    fn waiting(&self, out: &mut Explanation, record: &StepRecord) {
        let mut at = record;
        // Every turn goes one step down a graph without cycles.
        while let Some(next) = at
            .step
            .needs
            .iter()
            .filter_map(|need| self.by_name.get(need.as_str()).copied())
            .find(|need| !need.is_satisfied())
        {
            at = next;
            if at.state != StepState::Waiting {
                break;
            }
        }
        let whom = on_instance(&at.step)
            .map_or_else(|| at.step.name.clone(), |(id, _)| id.name.to_string());
        out.since = at.started_at.or(at.ready_at);
        let state = match at.state {
            StepState::Running => format!("{}{}", doing(&at.step.verb), clock(out.since)),
            StepState::Backoff => format!("its {} is tried again", at.step.verb),
            StepState::Failed => format!("its {} failed", at.step.verb),
            _ => format!("its {} has not begun", at.step.verb),
        };
        out.cause = format!("waits for {whom} ({state})");
        let seen = on_instance(&at.step).and_then(|(id, _)| self.statuses.get(&id));
        let seen = seen
            .map(|seen| seen.last_error.as_str())
            .filter(|error| !error.is_empty());
        if let Some(why) = at.error.as_ref().map(|e| e.message.as_str()).or(seen) {
            out.cause = format!("{} because {why}", out.cause);
            why.clone_into(&mut out.last_error);
        }
        out.help = format!(
            "see why {whom} is not ready: wright site explain {} {whom}",
            self.site
        );
    }

    fn seen(&self, out: &mut Explanation, seen: Option<&InstanceStatus>, served: bool) -> bool {
        let Some(seen) = seen else {
            out.cause = "its agent says nothing of it".to_owned();
            out.help = "run `wright site up` again".to_owned();
            return true;
        };
        out.since = Some(seen.since);
        let since = clock(out.since);
        let (cause, help) = match seen.phase {
            Phase::Ready if !seen.flapping && served => return false,
            Phase::Ready if !served => (
                format!("it is ready{since}, but not in service"),
                "run `wright site up` again",
            ),
            Phase::Ready => (
                format!("it is ready, but was started again {} times", seen.restarts),
                "look at its log: wright instance logs",
            ),
            Phase::Installed => (
                format!("it is installed{since} and was never started"),
                "run `wright site up` again",
            ),
            Phase::Starting => (
                format!("it runs{since} and is not ready yet"),
                "look at its log: wright instance logs",
            ),
            Phase::Unready => (
                format!("it runs, but its checks fail{since}"),
                "look at its log: wright instance logs",
            ),
            Phase::Backoff => (
                format!(
                    "it ended{since} and is started again by itself ({} times so far)",
                    seen.restarts
                ),
                "look at its log: wright instance logs",
            ),
            Phase::Stopped => (
                format!("it was told to stop{since}"),
                "wright instance start",
            ),
        };
        out.cause = cause;
        if let (Some(exit), Phase::Backoff) = (&seen.last_exit, seen.phase) {
            out.cause = format!("{}: it {exit}", out.cause);
        }
        help.clone_into(&mut out.help);
        true
    }
}
