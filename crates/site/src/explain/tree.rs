use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wright_model::{
    Host, HostState, InstanceId, InstanceRecord, InstanceStatus, Name, Phase, Traffic,
};
use wright_workflow::{JobOutline, JobState, StepState};

use crate::Label;

/// A site as it is now: apps, and below each its instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// The site.
    pub site: Name,
    /// In a word: `building`, `changing`, `undoing`, `stuck`, `failed`, `incomplete` (its last job
    /// ended before everything was in service), `degraded`, `healthy`, `empty`.
    pub state: String,
    /// By name.
    pub apps: Vec<AppStatus>,
}

/// An app as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppStatus {
    /// The app.
    pub app: Name,
    /// How many instances there shall be.
    pub want: usize,
    /// How many are ready.
    pub ready: usize,
    /// By ordinal.
    pub instances: Vec<InstanceView>,
}

/// An instance as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its name.
    pub name: Name,
    /// Its host.
    pub host: Name,
    /// Its host's address, where the host is known.
    pub address: Option<IpAddr>,
    /// Its ports by name, once it is installed.
    pub ports: BTreeMap<Name, u16>,
    /// What its agent sees; `None`: nothing yet, or no longer.
    pub phase: Option<Phase>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// How often its agent started it again.
    pub restarts: u32,
    /// Whether it restarts so often that somebody should look.
    pub flapping: bool,
    /// The version of its package, once it is installed.
    pub version: String,
    /// Whether others are sent to it.
    pub traffic: Traffic,
    /// The last thing that went wrong.
    #[serde(default)]
    pub last_error: String,
}

/// The instances that are recorded or that a job installs, with their hosts.
pub(super) fn instances<'a>(
    installs: impl Iterator<Item = (&'a str, StepState)>,
    records: &BTreeMap<Name, InstanceRecord>,
) -> BTreeMap<Name, Name> {
    let mut hosts: BTreeMap<Name, Name> = records
        .iter()
        .map(|(name, record)| (name.clone(), record.spec.host.clone()))
        .collect();
    for (step, state) in installs {
        if let Some((name, host)) = on_instance(step)
            && state != StepState::Undone
        {
            hosts.insert(name, host);
        }
    }
    hosts
}

/// The steps of an unfinished job that install instances.
pub(super) fn installs(job: Option<&JobOutline>) -> impl Iterator<Item = (&str, StepState)> {
    job.filter(|job| !job.summary().state.is_final())
        .into_iter()
        .flat_map(JobOutline::steps)
        .filter(|step| !step.dropped && step.verb == "install")
        .map(|step| (step.name.as_str(), step.state))
}

/// The instance and the host of a step that acts on one.
pub(super) fn on_instance(step: &str) -> Option<(Name, Name)> {
    let label = Label::of(step);
    Some((label.what.parse().ok()?, label.host.parse().ok()?))
}

/// The app of an instance, and its ordinal.
pub(super) fn app_of(instance: &Name) -> (Name, u32) {
    let split = instance.as_str().rsplit_once('-');
    let parsed = split.and_then(|(app, ordinal)| Some((app.parse().ok()?, ordinal.parse().ok()?)));
    parsed.unwrap_or_else(|| (instance.clone(), 1))
}

/// A site as it is now, from what was done, what is being done and what agents see.
///
/// An instance on a host that is not [`HostState::Ready`] has no phase: its agent was last heard
/// of too long ago.
pub fn status(
    site: &Name,
    job: Option<&JobOutline>,
    records: &BTreeMap<Name, InstanceRecord>,
    statuses: &BTreeMap<InstanceId, InstanceStatus>,
    hosts: &[Host],
) -> SiteStatus {
    let hosts: HashMap<&Name, &Host> = hosts.iter().map(|host| (&host.name, host)).collect();
    let mut apps: BTreeMap<Name, Vec<(u32, InstanceView)>> = BTreeMap::new();
    for (name, host) in instances(installs(job), records) {
        let (app, ordinal) = app_of(&name);
        let record = records.get(&name).filter(|record| record.spec.host == host);
        let known_host = hosts.get(&host).copied();
        let heard = known_host.is_some_and(|known| known.state == HostState::Ready);
        let id = InstanceId {
            site: site.clone(),
            name: name.clone(),
        };
        let seen = statuses.get(&id).filter(|_| heard);
        let view = InstanceView {
            name,
            address: known_host.map(|known| known.address),
            ports: record
                .map(|record| record.spec.ports.clone())
                .unwrap_or_default(),
            phase: seen.map(|seen| seen.phase),
            since: seen.map(|seen| seen.since),
            restarts: seen.map_or(0, |seen| seen.restarts),
            flapping: seen.is_some_and(|seen| seen.flapping),
            version: record
                .map(|r| r.spec.package.version.to_string())
                .unwrap_or_default(),
            traffic: record.map_or(Traffic::Off, |record| record.traffic),
            last_error: last_error(seen, known_host, &host),
            host,
        };
        apps.entry(app).or_default().push((ordinal, view));
    }
    let apps: Vec<AppStatus> = apps
        .into_iter()
        .map(|(app, mut instances)| {
            instances.sort_by_key(|(ordinal, _)| *ordinal);
            let instances: Vec<_> = instances.into_iter().map(|(_, view)| view).collect();
            let ready = instances
                .iter()
                .filter(|view| view.phase == Some(Phase::Ready))
                .count();
            AppStatus {
                app,
                want: instances.len(),
                ready,
                instances,
            }
        })
        .collect();
    SiteStatus {
        site: site.clone(),
        state: state(job, records, &apps).to_owned(),
        apps,
    }
}

fn last_error(seen: Option<&InstanceStatus>, host: Option<&Host>, name: &Name) -> String {
    match (seen, host) {
        (Some(seen), _) => seen.last_error.clone(),
        (None, None) => format!("host {name} is not known"),
        (None, Some(host)) => match host.state {
            HostState::Ready => String::new(),
            HostState::Joining => format!("host {name} has not joined yet"),
            HostState::Lost => format!("host {name} is not heard of since {}", host.since),
            HostState::Dead => format!("host {name} is gone"),
        },
    }
}

fn state(
    job: Option<&JobOutline>,
    records: &BTreeMap<Name, InstanceRecord>,
    apps: &[AppStatus],
) -> &'static str {
    let served = apps
        .iter()
        .flat_map(|app| &app.instances)
        .any(|i| i.traffic == Traffic::On);
    match job.map(|job| job.summary().state) {
        Some(JobState::Running) if served => return "changing",
        Some(JobState::Running) => return "building",
        Some(JobState::Undoing) => return "undoing",
        Some(JobState::Stuck) => return "stuck",
        _ => {}
    }
    let failed = job.is_some_and(|job| job.summary().state == JobState::Failed);
    match apps {
        [] if failed => "failed",
        [] => "empty",
        _ if job.is_some_and(|job| lacks(job, records)) => "incomplete",
        _ if apps.iter().any(|app| app.ready < app.want) => "degraded",
        _ => "healthy",
    }
}

/// Whether a job ended without an instance that it was to put into service.
fn lacks(job: &JobOutline, records: &BTreeMap<Name, InstanceRecord>) -> bool {
    let serves = |name: &Name| records.get(name).is_some_and(|r| r.traffic == Traffic::On);
    let asked = job.steps().iter();
    let asked = asked.filter(|step| step.verb == "serve" && !step.dropped && !step.is_satisfied());
    job.summary().state != JobState::Succeeded
        && asked
            .filter_map(|step| on_instance(&step.name))
            .any(|(name, _)| !serves(&name))
}
