use jiff::Timestamp;
use wright_model::{Host, HostState, InstanceId, InstanceStatus, Phase};
use wright_workflow::{StepOutline, StepState};

use super::{
    scene::{Scene, Why},
    tree::on_instance,
};
use crate::Label;

/// `since 12:30:00`, after a space; nothing where it is not known.
pub(super) fn clock(at: Option<Timestamp>) -> String {
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
    pub(super) fn host(&self, out: &mut Why, host: Option<&Host>) -> bool {
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

    pub(super) fn step(&self, out: &mut Why, open: Option<&StepOutline>) -> bool {
        let Some(record) = open else {
            return false;
        };
        if let Some(error) = &record.error {
            error.message.clone_into(&mut out.last_error);
        }
        out.since = record.started_at.or(record.ready_at);
        let doing = doing(&record.verb);
        match record.state {
            StepState::Running => {
                out.cause = format!("it is {doing}{}", clock(out.since));
                if record.verb == "ready" {
                    out.help = "look at its log: wright instance logs".to_owned();
                }
            }
            StepState::Backoff => {
                out.cause = format!(
                    "{} failed {} of {} times{} and is tried again",
                    record.verb,
                    record.attempts,
                    record.attempts_allowed,
                    clock(out.since)
                );
                out.help = "mend the cause; the next attempt comes by itself".to_owned();
            }
            StepState::Failed => {
                out.since = record.ended_at.or(out.since);
                out.cause = format!("{} failed for good", record.verb);
                out.help = "mend the cause and run `wright site up` again".to_owned();
            }
            StepState::Waiting => self.waiting(out, record),
            StepState::Skipped => {
                let cause = self
                    .job
                    .map(|job| job.summary().cause.as_str())
                    .unwrap_or_default();
                out.cause = format!("the job ended before {} could begin: {cause}", record.verb);
                out.help = "mend the cause and run `wright site up` again".to_owned();
            }
            StepState::Undoing => out.cause = format!("{} is being taken back", record.verb),
            StepState::Undone => out.cause = format!("{} was taken back", record.verb),
            StepState::Stuck => {
                out.cause = format!("taking back {} failed", record.verb);
                out.help = "look at the host, then run `wright job retry`".to_owned();
            }
            StepState::Succeeded => return false,
        }
        true
    }

    /// Follows what a step waits for down to what runs, failed or waits for time.
    fn waiting(&self, out: &mut Why, record: &StepOutline) {
        let Some(job) = self.job else { return };
        if let Some(paused) = &job.summary().paused {
            out.since = Some(paused.at);
            out.cause = format!("the job was paused by {}{}", paused.actor, clock(out.since));
            out.help = "run `wright job resume`".to_owned();
            return;
        }
        let met = job.needs_of(record).filter(|need| need.is_satisfied());
        let last = met.filter_map(|need| need.ended_at).max();
        out.since = Some(last.unwrap_or(job.summary().created_at));
        let unmet = |step| job.needs_of(step).find(|need| !need.is_satisfied());
        let Some(mut at) = unmet(record) else {
            out.since = record.ready_at.or(out.since);
            out.cause = format!("its {} waits for its turn{}", record.verb, clock(out.since));
            out.help = "the server or its host is busy; the turn comes by itself".to_owned();
            return;
        };
        // Every turn goes one step down a graph without cycles.
        // A step that follows another on its host runs, and does nothing before that one has ended.
        while matches!(at.state, StepState::Waiting | StepState::Running)
            && let Some(next) = unmet(at)
        {
            at = next;
        }
        self.blame(out, at);
    }

    /// Says that it is this step that is waited for.
    fn blame(&self, out: &mut Why, at: &StepOutline) {
        let Label {
            what: whom, host, ..
        } = Label::of(&at.name);
        let began = clock(at.started_at);
        let state = match at.state {
            StepState::Running => format!("{}{began}", doing(&at.verb)),
            StepState::Backoff => format!("its {} is tried again", at.verb),
            StepState::Failed => format!("its {} failed", at.verb),
            _ => format!("its {} has not begun", at.verb),
        };
        let since = clock(out.since);
        out.cause = match on_instance(&at.name) {
            Some(_) => format!("waits for {whom}{since} ({state})"),
            None => format!("waits for {whom} on {host}{since} ({state})"),
        };
        let seen = on_instance(&at.name).and_then(|(name, _)| {
            let site = self.site.clone();
            (self.status)(&InstanceId { site, name })
        });
        let seen = seen
            .map(|seen| seen.last_error)
            .filter(|error| !error.is_empty());
        let told = at.error.as_ref().map(|error| error.message.clone());
        if let Some(why) = told.or(seen) {
            out.cause = format!("{} because {why}", out.cause);
            out.last_error = why;
        }
        out.help = match on_instance(&at.name) {
            Some(_) => format!(
                "see why {whom} is not ready: wright site explain {} {whom}",
                self.site
            ),
            None => format!("look at host {host}: wright host show {host}"),
        };
    }

    pub(super) fn seen(&self, out: &mut Why, seen: Option<&InstanceStatus>, served: bool) -> bool {
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
