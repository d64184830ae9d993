use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};
use wright_model::{
    Capacity, Check, Diagnostic, Digest, Host, HostState, InstanceRecord, InstanceSpec, Limits,
    Name, Traffic,
};
use wright_workflow::Step;

use crate::{
    desired::{Need, SecretWant},
    graph::Topology,
};

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// Every host.
    pub hosts: Vec<Host>,
    /// What other sites have on them.
    pub others: Vec<InstanceSpec>,
    /// The records of this site's instances.
    pub records: BTreeMap<Name, InstanceRecord>,
    /// The apps of the plan that made these records ([`Plan::apps`]): says who needed whom among
    /// apps that the site no longer has.
    pub apps: BTreeMap<Name, PlannedApp>,
    /// Hosts that instances must stay on: where an earlier plan of the same job put them
    /// ([`Plan::pins`]). With `records` as they were when the job began, planning anew gives
    /// the same steps for everything that need not change.
    pub pins: BTreeMap<Name, Name>,
    /// How long a verb took in earlier runs, milliseconds.
    pub durations: BTreeMap<String, u64>,
}

/// What will be created, changed, left and removed, and the steps that do it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The site.
    pub site: Name,
    /// The revision of what was observed.
    pub parent: u64,
    /// The address of everything else in the plan but the steps, which follow from it.
    pub digest: Digest,
    /// The hosts that instances may be on.
    pub hosts: BTreeMap<Name, PlannedHost>,
    /// Every instance, those to remove included.
    pub instances: BTreeMap<Name, Planned>,
    /// Every app of the site.
    pub apps: BTreeMap<Name, PlannedApp>,
    /// Who needs whom, for drawing.
    pub topology: Topology,
    /// How many steps there are, also where they are left out.
    pub step_count: usize,
    /// The graph, in an order in which it could be walked. Most of a large plan's weight, and left
    /// out where nobody looks at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// How long the critical path is expected to take, milliseconds.
    pub expected_ms: u64,
    /// The names of the steps on the expected critical path, first to last.
    pub critical_path: Vec<String>,
    /// Instances whose host is gone for good and whose records whoever executes the plan removes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<Name>,
    /// What somebody should know before agreeing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Diagnostic>,
}

/// A host that instances may be on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedHost {
    /// Where its programs listen.
    pub address: IpAddr,
    /// What it can carry.
    pub capacity: Capacity,
    /// What other sites have taken of it.
    pub taken: Limits,
    /// Ports that other sites have taken, and by whom.
    pub ports: BTreeMap<u16, String>,
}

/// One instance in a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// What it shall run with; for one to remove, what it runs with.
    pub spec: InstanceSpec,
    /// What is done.
    pub action: Action,
    /// What it served with before, and goes back to if this fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
    /// Whether the package it ran before is another one.
    #[serde(default)]
    pub new_package: bool,
    /// Its app's layer; 0: needs nothing.
    pub layer: u32,
}

/// What is done with an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Update {
        /// What differs, such as `package catalog@1.4.0 -> catalog@1.4.1`.
        why: Vec<String>,
    },
    /// It stays as it is.
    Keep,
    /// Its host is gone: it is made on another one.
    Move {
        /// The host that is gone.
        from: Name,
    },
    /// It is removed.
    Remove,
}

/// One app in a plan: what graphs, reports and checks need to know of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedApp {
    /// `NAME@VERSION`.
    pub package: String,
    /// How many.
    pub instances: u32,
    /// 0: needs nothing.
    pub layer: u32,
    /// What it needs.
    pub needs: Vec<Need>,
    /// Ports by which others reach it.
    pub provides: Vec<Name>,
    /// Apps that must not be on its hosts.
    pub away_from: Vec<Name>,
    /// Secrets it asks for.
    pub secrets: BTreeMap<Name, SecretWant>,
    /// Whether it keeps data.
    pub store: bool,
    /// Checks made once an instance is ready.
    pub verify: Vec<Check>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.step_count == 0 && self.forget.is_empty()
    }

    /// Without its steps.
    #[must_use]
    pub fn without_steps(self) -> Self {
        let steps = Vec::new();
        Plan { steps, ..self }
    }

    /// How many instances are created, updated, kept, moved and removed.
    pub fn counts(&self) -> [(&'static str, usize); 5] {
        let count = |verb: &str| {
            self.instances
                .values()
                .filter(|p| p.action.verb() == verb)
                .count()
        };
        ["create", "update", "keep", "move", "remove"].map(|verb| (verb, count(verb)))
    }

    /// Where every instance that stays or comes is.
    pub fn pins(&self) -> BTreeMap<Name, Name> {
        let stays = self
            .instances
            .iter()
            .filter(|(_, planned)| planned.action != Action::Remove);
        stays
            .map(|(name, planned)| (name.clone(), planned.spec.host.clone()))
            .collect()
    }

    /// Computes the digest anew from everything else but the steps.
    pub(super) fn seal(&mut self) {
        self.digest = Digest::of(b"");
        let steps = std::mem::take(&mut self.steps);
        self.digest = Digest::of_json(self).unwrap_or(self.digest);
        self.steps = steps;
    }
}

impl Action {
    /// The action in one word.
    pub fn verb(&self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update { .. } => "update",
            Action::Keep => "keep",
            Action::Move { .. } => "move",
            Action::Remove => "remove",
        }
    }
}

/// What is there, with its live hosts by name.
pub(crate) struct World<'a> {
    pub observed: &'a Observed,
    /// Those that are not given up.
    pub live: HashMap<&'a Name, &'a Host>,
}

impl<'a> World<'a> {
    pub fn of(observed: &'a Observed) -> Self {
        let live = observed
            .hosts
            .iter()
            .filter(|host| host.state != HostState::Dead);
        World {
            observed,
            live: live.map(|host| (&host.name, host)).collect(),
        }
    }

    /// Whether an instance is a store that has served and whose host is gone. It is not made anew
    /// elsewhere: that would be an empty one. It is left as it is, for a person to decide.
    pub fn has_lost(&self, record: &InstanceRecord) -> bool {
        let serves = record.spec.store && record.traffic == Traffic::On;
        serves && !self.live.contains_key(&record.spec.host)
    }

    /// The same by the instance's name.
    pub fn is_lost(&self, instance: &Name) -> bool {
        let record = self.observed.records.get(instance);
        record.is_some_and(|record| self.has_lost(record))
    }
}
