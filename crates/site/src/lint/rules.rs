//! One function for each invariant: what breaks it, in words.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
};

use wright_model::{Digest, InstanceId, InstanceSpec, Name, token};
use wright_workflow::Step;

use crate::{
    input::kinds::inner_path,
    lint::{Sight, Whole},
    plan::{Action, Planned, VERBS, order},
};

/// Instances that are there when the plan is done.
fn staying<'a>(instances: &'a [&'a Planned]) -> impl Iterator<Item = &'a Planned> {
    let planned = instances.iter().copied();
    planned.filter(|planned| planned.action != Action::Remove)
}

/// The same by app.
fn by_app<'a>(instances: &'a [&'a Planned]) -> BTreeMap<&'a Name, Vec<&'a Planned>> {
    let mut apps: BTreeMap<&Name, Vec<&Planned>> = BTreeMap::new();
    for planned in staying(instances) {
        apps.entry(&planned.spec.app).or_default().push(planned);
    }
    apps
}

fn instance_of(step: &Step) -> Option<&str> {
    step.input.get("instance")?.as_str()
}

/// The step of a verb on each instance.
fn steps_of<'a>(steps: &'a [Step], verb: &str) -> HashMap<&'a str, &'a Step> {
    let steps = steps.iter().filter(|step| step.verb == verb);
    steps
        .filter_map(|step| Some((instance_of(step)?, step)))
        .collect()
}

pub(super) fn duplicate_step(steps: &[Step]) -> Vec<String> {
    let mut seen = HashSet::with_capacity(steps.len());
    let twice = steps.iter().filter(|step| !seen.insert(&step.name));
    twice
        .map(|step| format!("step {} is there twice", step.name))
        .collect()
}

pub(super) fn unknown_step(steps: &[Step]) -> Vec<String> {
    let known: HashSet<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    let mut found = Vec::new();
    for step in steps {
        for need in step
            .needs
            .iter()
            .filter(|need| !known.contains(need.as_str()))
        {
            found.push(format!(
                "step {} needs {need}, which is not there",
                step.name
            ));
        }
    }
    found
}

pub(super) fn step_cycle(steps: &[Step]) -> Vec<String> {
    let mut walked = vec![false; steps.len()];
    for index in order(steps) {
        walked[index] = true;
    }
    let left = steps.iter().zip(walked).filter(|(_, walked)| !walked);
    let left: Vec<&str> = left.map(|(step, _)| step.name.as_str()).collect();
    if left.is_empty() {
        Vec::new()
    } else {
        vec![format!("steps wait for each other: {}", left.join(", "))]
    }
}

pub(super) fn unknown_verb(sight: &Sight<'_>) -> Vec<String> {
    let known = |step: &&Step| VERBS.iter().any(|row| row.0 == step.verb);
    let unknown = sight.steps.iter().filter(|step| !known(step));
    unknown
        .map(|step| format!("step {} has the verb {:?}", step.name, step.verb))
        .collect()
}

pub(super) fn start_order(sight: &Sight<'_>) -> Vec<String> {
    let configures = steps_of(sight.steps, "configure");
    let starts = sight.steps.iter().filter(|step| step.verb == "start");
    let starts = starts.filter_map(|step| Some((instance_of(step)?, step)));
    let unconfigured = starts.filter(|(instance, start)| {
        !configures
            .get(instance)
            .is_some_and(|configure| start.needs.contains(&configure.name))
    });
    unconfigured
        .map(|(instance, _)| format!("{instance} starts without being configured before"))
        .collect()
}

pub(super) fn gate(sight: &Sight<'_>) -> Vec<String> {
    let (starts, ready) = (
        steps_of(sight.steps, "start"),
        steps_of(sight.steps, "ready"),
    );
    let mut found = Vec::new();
    let apps = by_app(&sight.instances);
    let elsewhere = sight.gates.iter();
    let elsewhere = elsewhere.map(|(other, ready)| (other.clone(), ready.as_str()));
    for (name, instances) in &apps {
        let needs = sight.apps.get(*name).into_iter().flat_map(|app| &app.needs);
        let gates: Vec<(String, &str)> = needs
            .filter(|need| need.gate)
            .flat_map(|need| apps.get(&need.app).into_iter().flatten())
            .filter_map(|other| {
                let id = other.spec.id.to_string();
                let ready = ready.get(id.as_str())?.name.as_str();
                Some((id, ready))
            })
            .chain(elsewhere.clone())
            .collect();
        for planned in instances {
            let id = planned.spec.id.to_string();
            let Some(start) = starts.get(id.as_str()) else {
                continue;
            };
            let needs: BTreeSet<&str> = start.needs.iter().map(String::as_str).collect();
            let missing = gates.iter().filter(|(_, ready)| !needs.contains(ready));
            found.extend(
                missing.map(|(other, _)| format!("{id} starts without waiting for {other}")),
            );
        }
    }
    found
}

pub(super) fn provider(whole: &Whole<'_>) -> Vec<String> {
    let there = staying(whole.instances).map(|planned| &planned.spec.app);
    let there: HashSet<&Name> = there.collect();
    let mut found = Vec::new();
    for (name, app) in whole.apps {
        for need in app.needs.iter().filter(|need| !there.contains(&need.app)) {
            found.push(format!(
                "{name} needs {}, of which there is no instance",
                need.app
            ));
        }
    }
    found
}

pub(super) fn app_cycle(whole: &Whole<'_>) -> Vec<String> {
    // An app's layer is above those of what gates it; on a cycle, one is not.
    let mut found = Vec::new();
    for (name, app) in whole.apps {
        for need in app.needs.iter().filter(|need| need.gate) {
            if whole
                .apps
                .get(&need.app)
                .is_some_and(|other| other.layer >= app.layer)
            {
                found.push(format!(
                    "{name} waits for {}, which is not in a layer below",
                    need.app
                ));
            }
        }
    }
    found
}

pub(super) fn unknown_host(whole: &Whole<'_>) -> Vec<String> {
    // What is left as it is may be a store whose host is gone.
    let touched = whole.instances.iter();
    let touched = touched.filter(|planned| planned.action != Action::Keep);
    let elsewhere = touched.map(|planned| &planned.spec).filter(|spec| {
        whole
            .hosts
            .get(&spec.host)
            .is_none_or(|host| host.address != spec.address)
    });
    elsewhere
        .map(|spec| {
            format!(
                "{} is on {} ({}), which is no host of the plan",
                spec.id, spec.host, spec.address
            )
        })
        .collect()
}

/// Whose a port is.
enum Claim<'a> {
    Other(&'a str),
    Own(&'a InstanceId),
}

impl fmt::Display for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claim::Other(owner) => f.write_str(owner),
            Claim::Own(instance) => fmt::Display::fmt(instance, f),
        }
    }
}

pub(super) fn port(whole: &Whole<'_>) -> Vec<String> {
    let mut claims: HashMap<(&Name, u16), Claim<'_>> = HashMap::new();
    for (name, host) in whole.hosts {
        let others = host.ports.iter();
        claims.extend(others.map(|(port, owner)| ((name, *port), Claim::Other(owner))));
    }
    let mut found = Vec::new();
    for planned in staying(whole.instances) {
        let spec = &planned.spec;
        for port in spec.ports.values() {
            let claim = Claim::Own(&spec.id);
            if let Some(other) = claims.insert((&spec.host, *port), claim) {
                found.push(format!(
                    "{other} and {} both claim port {port} of {}",
                    spec.id, spec.host
                ));
            }
        }
    }
    found
}

pub(super) fn capacity(whole: &Whole<'_>) -> Vec<String> {
    let mut used: HashMap<&Name, (u64, u64)> = HashMap::new();
    for planned in staying(whole.instances) {
        let (cpu, memory) = used.entry(&planned.spec.host).or_default();
        *cpu += u64::from(planned.spec.limits.cpu.millis());
        *memory += planned.spec.limits.memory.bytes();
    }
    let mut found = Vec::new();
    for (name, (cpu, memory)) in used {
        let Some(host) = whole.hosts.get(name) else {
            continue;
        };
        if cpu + u64::from(host.taken.cpu.millis()) > u64::from(host.capacity.cpu.millis()) {
            found.push(format!(
                "{name} has {} processors and more are asked",
                host.capacity.cpu
            ));
        }
        if memory.saturating_add(host.taken.memory.bytes()) > host.capacity.memory.bytes() {
            found.push(format!(
                "{name} has {} of memory and more is asked",
                host.capacity.memory
            ));
        }
    }
    found
}

pub(super) fn apart(whole: &Whole<'_>) -> Vec<String> {
    let apps = whole.apps.values();
    let away: HashSet<&Name> = apps.flat_map(|app| &app.away_from).collect();
    let mut on: HashMap<(&Name, &Name), &InstanceSpec> = HashMap::new();
    for planned in staying(whole.instances).filter(|planned| away.contains(&planned.spec.app)) {
        on.insert((&planned.spec.host, &planned.spec.app), &planned.spec);
    }
    let mut found = Vec::new();
    for planned in staying(whole.instances).filter(|_| !away.is_empty()) {
        let away = whole
            .apps
            .get(&planned.spec.app)
            .into_iter()
            .flat_map(|app| &app.away_from);
        for other in away.filter_map(|app| on.get(&(&planned.spec.host, app))) {
            found.push(format!(
                "{} and {} are both on {}",
                planned.spec.id, other.id, other.host
            ));
        }
    }
    found
}

pub(super) fn store_spread(whole: &Whole<'_>) -> Vec<String> {
    let mut on: HashMap<(&Name, &Name), &InstanceSpec> = HashMap::new();
    let stores = staying(whole.instances)
        .map(|planned| &planned.spec)
        .filter(|spec| spec.store);
    let mut found = Vec::new();
    for spec in stores {
        if let Some(other) = on.insert((&spec.host, &spec.app), spec) {
            found.push(format!(
                "{} and {} are both on {}",
                other.id, spec.id, spec.host
            ));
        }
    }
    found
}

pub(super) fn store_data(sight: &Sight<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut steps: HashMap<&str, Vec<&Step>> = HashMap::new();
    for step in sight.steps.iter().filter(|step| deletes(step)) {
        if let Some(instance) = instance_of(step) {
            steps.entry(instance).or_default().push(step);
        }
    }
    for planned in staying(&sight.instances).filter(|planned| planned.spec.store) {
        let id = planned.spec.id.to_string();
        if let Some(app) = sight.apps.get(&planned.spec.app).filter(|app| !app.store) {
            found.push(format!(
                "{id} keeps data, and its app ({}) does not",
                app.package
            ));
        }
        let updated = matches!(planned.action, Action::Update { .. } | Action::Keep);
        let own = steps.get(id.as_str()).into_iter().flatten();
        for step in own.filter(|_| updated) {
            found.push(format!("{} would delete the data of {id}", step.name));
        }
    }
    found
}

/// Whether a step, or its undoing, deletes what an instance has.
fn deletes(step: &Step) -> bool {
    let undone = step.undo.as_ref().map(|undo| undo.verb.as_str());
    step.verb == "uninstall" || undone == Some("uninstall")
}

pub(super) fn unpinned_package(sight: &Sight<'_>) -> Vec<String> {
    let unpinned =
        staying(&sight.instances).filter(|planned| planned.spec.package.digest == Digest::of(b""));
    unpinned
        .map(|planned| {
            format!(
                "{} runs {}, whose archive is empty",
                planned.spec.id, planned.spec.package
            )
        })
        .collect()
}

pub(super) fn path(sight: &Sight<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for planned in staying(&sight.instances) {
        for file in &planned.spec.files {
            if let Err(why) = inner_path(&file.path) {
                found.push(format!("{}: {why}", planned.spec.id));
            }
        }
    }
    found
}

/// A secret of an app that is not among an instance's needs, or that no app asks for.
pub(super) fn token(sight: &Sight<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for planned in staying(&sight.instances) {
        let spec = &planned.spec;
        let own = sight.apps.get(&spec.app);
        let texts = spec
            .files
            .iter()
            .map(|file| &file.content)
            .chain(spec.env.values());
        for token in texts.flat_map(|text| token::find(text)) {
            let token::Token::Secret { app, name } = &token else {
                continue;
            };
            let sees = spec.app == *app
                || own.is_some_and(|own| own.needs.iter().any(|need| need.app == *app));
            let asked = sight
                .apps
                .get(app)
                .is_some_and(|other| other.secrets.contains_key(name));
            if !(sees && asked) {
                found.push(format!("{} holds {token}", spec.id));
            }
        }
    }
    found
}

pub(super) fn action(sight: &Sight<'_>) -> Vec<String> {
    let acted: HashSet<&str> = sight.steps.iter().filter_map(instance_of).collect();
    let mut found = Vec::new();
    for planned in &sight.instances {
        let id = planned.spec.id.to_string();
        let has_steps = acted.contains(id.as_str());
        if has_steps == (planned.action == Action::Keep) {
            let what = if has_steps { "has" } else { "has no" };
            found.push(format!(
                "{id} is to {} and {what} steps",
                planned.action.verb()
            ));
        }
    }
    found
}
