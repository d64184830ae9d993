use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wright_model::{Host, InstanceId, InstanceRecord, InstanceStatus, Name, Traffic};
use wright_workflow::{JobOutline, StepOutline, StepState};

use super::tree::{installs, instances};
use crate::Label;

/// Why one instance does not run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The instance.
    pub instance: Name,
    /// Why.
    #[serde(flatten)]
    pub why: Why,
}

/// Why something does not run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Why {
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

/// What is known of a site whose instances are explained.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The site.
    pub site: &'a Name,
    /// Its last job.
    pub job: Option<&'a JobOutline>,
    /// Its instances as recorded; for one explanation that one's is enough.
    pub records: &'a BTreeMap<Name, InstanceRecord>,
    /// Hosts; for one explanation that instance's is enough.
    pub hosts: &'a BTreeMap<Name, Host>,
    /// What an agent last said of an instance.
    pub status: &'a (dyn Fn(&InstanceId) -> Option<InstanceStatus> + Sync),
}

/// What is done on an instance: the verbs of its steps.
const VERBS: [&str; 9] = [
    "install",
    "configure",
    "start",
    "ready",
    "verify",
    "serve",
    "drain",
    "stop",
    "uninstall",
];

impl<'a> Scene<'a> {
    /// The host of an instance that shall run; `None` where no such instance is known.
    pub fn host_of(&self, instance: &Name) -> Option<Name> {
        let prefix = format!("install/{instance}@");
        let job = self.unfinished().into_iter();
        let installed = job
            .flat_map(|job| job.named(&prefix))
            .filter(|step| !step.dropped && step.state != StepState::Undone)
            .max_by_key(|step| step.place);
        let planned = installed.and_then(|step| Label::of(&step.name).host.parse().ok());
        let record = self.records.get(instance);
        planned.or_else(|| record.map(|record| record.spec.host.clone()))
    }

    /// Why one instance, which shall run on this host, is not ready; `None` where it is. What it
    /// costs goes with the steps of that instance and of those it waits for, not with the job.
    pub fn explain(&self, instance: &Name, host: &Name) -> Option<Explanation> {
        let prefixes = VERBS.map(|verb| format!("{verb}/{instance}@"));
        let job = self.job.into_iter();
        let steps = job.flat_map(|job| prefixes.iter().flat_map(|prefix| job.named(prefix)));
        self.tell(instance, host, first_open(steps))
    }

    /// Every instance that shall run and is not ready, by name.
    pub fn explain_all(&self) -> Vec<Explanation> {
        let mut steps: HashMap<&str, Vec<&StepOutline>> = HashMap::new();
        for step in self.job.into_iter().flat_map(JobOutline::steps) {
            let label = Label::of(&step.name);
            if VERBS.contains(&label.verb) {
                steps.entry(label.what).or_default().push(step);
            }
        }
        let told = |(name, host): (Name, Name)| {
            let own = steps.get(name.as_str()).into_iter().flatten().copied();
            self.tell(&name, &host, first_open(own))
        };
        instances(installs(self.job), self.records)
            .into_iter()
            .filter_map(told)
            .collect()
    }

    fn unfinished(&self) -> Option<&'a JobOutline> {
        self.job.filter(|job| !job.summary().state.is_final())
    }

    fn tell(&self, name: &Name, host: &Name, open: Option<&StepOutline>) -> Option<Explanation> {
        let id = InstanceId {
            site: self.site.clone(),
            name: name.clone(),
        };
        let seen = (self.status)(&id);
        let served = self
            .records
            .get(name)
            .is_some_and(|record| record.traffic == Traffic::On);
        let last_error = seen.as_ref().map(|seen| seen.last_error.clone());
        let mut why = Why {
            last_error: last_error.unwrap_or_default(),
            ..Why::default()
        };
        let out = &mut why;
        let wrong = self.host(out, self.hosts.get(host))
            || self.step(out, open)
            || self.seen(out, seen.as_ref(), served);
        wrong.then(|| Explanation {
            instance: name.clone(),
            why,
        })
    }
}

/// The step of an instance that tells most of why it is not ready: the first in the plan that is not
/// done. What runs or failed says more than what merely comes first.
fn first_open<'a>(steps: impl Iterator<Item = &'a StepOutline>) -> Option<&'a StepOutline> {
    let silent = |step: &StepOutline| matches!(step.state, StepState::Waiting | StepState::Skipped);
    steps
        .filter(|step| !step.dropped && !step.is_satisfied())
        .min_by_key(|step| (silent(step), step.place))
}
