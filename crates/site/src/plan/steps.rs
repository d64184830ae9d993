//! The graph: which steps, after which, and what takes them back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use wright_model::{Digest, InstanceId, Name, PackageId, Span};
use wright_workflow::{Retry, Step, Undo};

use super::types::{Action, Planned, PlannedApp};

/// The verbs of a site's steps: deadline of an attempt and attempts, and how long one is expected
/// to take where nothing was measured.
pub(crate) const VERBS: [(&str, u64, u32, u64); 10] = [
    ("fetch", 120, 4, 300),
    ("install", 120, 4, 300),
    ("configure", 30, 4, 60),
    ("start", 60, 4, 150),
    ("ready", 60, 1, 1_000),
    ("verify", 60, 1, 150),
    ("serve", 30, 3, 40),
    ("drain", 30, 3, 60),
    ("stop", 60, 3, 500),
    ("uninstall", 60, 3, 150),
];

/// How much longer than a start may take its `ready` step waits for the agent's answer.
const READY_SLACK: Span = Span::from_secs(10);

/// How long verbs took in earlier runs, milliseconds.
pub(super) type Durations = BTreeMap<String, u64>;

/// How long a step of a verb is expected to take, milliseconds.
pub(super) fn expected_ms(verb: &str, durations: &Durations) -> u64 {
    let row = VERBS.iter().find(|row| row.0 == verb);
    let measured = durations.get(verb).copied();
    measured.unwrap_or(row.map_or(100, |row| row.3))
}

/// One instance of a plan, and what the names of its steps are made of.
#[derive(Debug)]
pub(crate) struct Labelled {
    pub planned: Planned,
    /// Of its specification.
    pub digest: Digest,
    /// What the names of its steps have in common.
    label: String,
}

impl Labelled {
    pub fn new(planned: Planned) -> Self {
        let spec = &planned.spec;
        let digest = spec.digest();
        let label = format!("{}@{}#{}", spec.id.name, spec.host, digest.short());
        Labelled {
            planned,
            digest,
            label,
        }
    }

    /// Whether it gets a new `ready` and `serve`.
    pub fn is_set_up(&self) -> bool {
        !matches!(self.planned.action, Action::Keep | Action::Remove)
    }

    /// The name of one of its steps.
    pub fn step(&self, verb: &str) -> String {
        format!("{verb}/{}", self.label)
    }
}

fn input(host: &Name, instance: &InstanceId, spec: Option<Digest>) -> Value {
    match spec {
        Some(spec) => json!({ "host": host, "instance": instance, "spec": spec }),
        None => json!({ "host": host, "instance": instance }),
    }
}

/// A package that a host must have: one step, whoever needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub host: Name,
    pub package: PackageId,
    pub layer: u32,
}

impl Fetch {
    pub fn name(&self) -> String {
        let Fetch { host, package, .. } = self;
        format!("fetch/{package}@{host}#{}", package.digest.short())
    }

    pub fn step(&self, durations: &Durations) -> Step {
        let Fetch { host, package, .. } = self;
        let about = About {
            verb: "fetch",
            host,
            layer: self.layer,
            deadline: None,
        };
        let input = json!({ "host": host, "package": package });
        let scope = format!("fetch/{host}/{package}");
        about.step(self.name(), input, Vec::new(), scope, None, durations)
    }
}

/// What of a step follows from its verb and its place.
struct About<'a> {
    verb: &'a str,
    host: &'a Name,
    layer: u32,
    /// Where it is not the verb's.
    deadline: Option<Span>,
}

impl About<'_> {
    fn step(
        self,
        name: String,
        input: Value,
        mut needs: Vec<String>,
        scope: String,
        undo: Option<Undo>,
        durations: &Durations,
    ) -> Step {
        needs.sort();
        needs.dedup();
        let row = VERBS.iter().find(|row| row.0 == self.verb);
        let (_, deadline, attempts, _) = row.copied().unwrap_or(("", 60, 1, 100));
        Step {
            name,
            verb: self.verb.to_owned(),
            input,
            needs,
            scope,
            target: Some(self.host.to_string()),
            layer: self.layer,
            deadline: self.deadline.unwrap_or(Span::from_secs(deadline)),
            retry: Retry {
                attempts,
                ..Retry::default()
            },
            undo,
            expected_ms: expected_ms(self.verb, durations),
        }
    }
}

/// What sets up the instances of one app.
#[derive(Debug, Default)]
pub(crate) struct AppSteps {
    /// What their hosts must have.
    pub fetches: Vec<Fetch>,
    /// In an order in which they could be walked.
    pub steps: Vec<Step>,
}

/// The steps that set up the instances of one app, given by ordinal; `gates` are the `ready` steps
/// of the apps whose readiness its starts wait for.
pub(super) fn app_steps(
    app: &PlannedApp,
    instances: &[Labelled],
    gates: &[String],
    durations: &Durations,
) -> AppSteps {
    let mut making = Making {
        app,
        checks: (!app.verify.is_empty()).then(|| json!(app.verify)),
        gates,
        durations,
        made: AppSteps::default(),
    };
    let mut former: Option<String> = None;
    for instance in instances {
        match &instance.planned.action {
            Action::Keep | Action::Remove => {}
            Action::Update { .. } if instance.planned.before.is_some() => {
                former = Some(making.update(instance, former.take()));
            }
            Action::Create | Action::Move { .. } | Action::Update { .. } => making.create(instance),
        }
    }
    making.made
}

struct Making<'a> {
    app: &'a PlannedApp,
    /// The app's checks, as its `verify` steps carry them.
    checks: Option<Value>,
    gates: &'a [String],
    durations: &'a Durations,
    made: AppSteps,
}

/// What one step of an instance is made of, beside the instance.
struct Part<'s> {
    verb: &'s str,
    needs: Vec<String>,
    scope: &'s str,
    undo: Option<Undo>,
}

impl Making<'_> {
    fn create(&mut self, instance: &Labelled) {
        let planned = &instance.planned;
        let id = &planned.spec.id;
        let scope = format!("instance/{}", id.name);
        let undo = |verb: &str| {
            Some(Undo {
                verb: verb.to_owned(),
                input: input(&planned.spec.host, id, None),
            })
        };
        // The record says that it was there before: its data may be, so only a first make is taken
        // back entirely.
        let made = !matches!(planned.action, Action::Update { .. }) || !planned.spec.store;
        let fetch = self.fetch(planned);
        let part = |verb, needs, undo| Part {
            verb,
            needs,
            scope: &scope,
            undo,
        };
        let undo_install = if made { undo("uninstall") } else { None };
        let install = self.push(instance, part("install", vec![fetch], undo_install));
        let configure = self.push(instance, part("configure", vec![install], None));
        let needs = [&[configure], self.gates].concat();
        let start = self.push(instance, part("start", needs, undo("stop")));
        let checked = self.checks(instance, start, &scope);
        self.push(instance, part("serve", vec![checked], undo("drain")));
    }

    /// Takes an instance out of service, changes it and puts it back. Every undo is the inverse of
    /// its step, so that undoing in reverse order brings back what served before.
    fn update(&mut self, instance: &Labelled, former: Option<String>) -> String {
        let planned = &instance.planned;
        let spec = &planned.spec;
        let scope = format!("app/{}", spec.app);
        let undo = |verb: &str, spec_digest: Option<Digest>| {
            let input = input(&spec.host, &spec.id, spec_digest);
            Some(Undo {
                verb: verb.to_owned(),
                input,
            })
        };
        let part = |verb, needs, undo| Part {
            verb,
            needs,
            scope: &scope,
            undo,
        };
        let mut needs: Vec<String> = former.into_iter().collect();
        if planned.new_package {
            let fetch = self.fetch(planned);
            needs.push(self.push(instance, part("install", vec![fetch], None)));
        }
        needs.extend(self.gates.iter().cloned());
        let before = planned.before;
        let drain = self.push(instance, part("drain", needs, undo("serve", before)));
        let stop = self.push(instance, part("stop", vec![drain], undo("start", before)));
        let undo_configure = undo("configure", before);
        let configure = self.push(instance, part("configure", vec![stop], undo_configure));
        let needs = [&[configure], self.gates].concat();
        let start = self.push(instance, part("start", needs, undo("stop", None)));
        let checked = self.checks(instance, start, &scope);
        self.push(instance, part("serve", vec![checked], undo("drain", None)))
    }

    /// `ready` and, where the baseline has checks, `verify`.
    fn checks(&mut self, instance: &Labelled, start: String, scope: &str) -> String {
        let part = |verb, needs| Part {
            verb,
            needs,
            scope,
            undo: None,
        };
        let ready = self.push(instance, part("ready", vec![start]));
        let Some(checks) = self.checks.clone() else {
            return ready;
        };
        let verify = self.push(instance, part("verify", vec![ready]));
        let within = self.app.verify.iter().map(|check| check.within.millis());
        let within = Span::from_millis(within.sum());
        if let Some(step) = self.made.steps.last_mut() {
            step.deadline = step.deadline.max(within);
            if let Value::Object(input) = &mut step.input {
                input.insert("checks".to_owned(), checks);
            }
        }
        verify
    }

    fn fetch(&mut self, planned: &Planned) -> String {
        let fetch = Fetch {
            host: planned.spec.host.clone(),
            package: planned.spec.package.clone(),
            layer: planned.layer,
        };
        let name = fetch.name();
        if !self.made.fetches.contains(&fetch) {
            self.made.fetches.push(fetch);
        }
        name
    }

    fn push(&mut self, instance: &Labelled, part: Part<'_>) -> String {
        let spec = &instance.planned.spec;
        let about = About {
            verb: part.verb,
            host: &spec.host,
            layer: instance.planned.layer,
            deadline: (part.verb == "ready")
                .then(|| Span::from_millis(spec.ready_within.millis() + READY_SLACK.millis())),
        };
        let digest = match part.verb {
            "drain" | "stop" => None,
            _ => Some(instance.digest),
        };
        let name = instance.step(part.verb);
        let input = input(&spec.host, &spec.id, digest);
        let scope = part.scope.to_owned();
        let step = about.step(
            name.clone(),
            input,
            part.needs,
            scope,
            part.undo,
            self.durations,
        );
        self.made.steps.push(step);
        name
    }
}

/// What stays while instances are removed.
pub(super) struct Staying<'a> {
    /// Whether an app stays.
    pub has: &'a dyn Fn(&Name) -> bool,
    /// The `serve` steps of an app.
    pub served: &'a dyn Fn(&Name) -> Vec<String>,
}

/// Who needed whom among the apps that were there: of each, those whose starts waited for it.
pub(super) fn dependents(apps: &BTreeMap<Name, PlannedApp>) -> BTreeMap<&Name, BTreeSet<&Name>> {
    let mut dependents: BTreeMap<&Name, BTreeSet<&Name>> = BTreeMap::new();
    for (name, app) in apps {
        for need in app.needs.iter().filter(|need| need.gate) {
            dependents.entry(&need.app).or_default().insert(name);
        }
    }
    dependents
}

/// Instances to remove, by app.
pub(super) fn removed_by_app(removed: &[Labelled]) -> BTreeMap<&Name, Vec<&Labelled>> {
    let mut by_app: BTreeMap<&Name, Vec<&Labelled>> = BTreeMap::new();
    for instance in removed {
        let app = &instance.planned.spec.app;
        by_app.entry(app).or_default().push(instance);
    }
    by_app
}

/// The steps that remove instances: whoever stays of the app is in service first, and whoever needed
/// it is gone or changed. `apps` are those of the plan that made the instances.
pub(super) fn removals(
    removed: &[Labelled],
    apps: &BTreeMap<Name, PlannedApp>,
    staying: &Staying<'_>,
    durations: &Durations,
) -> Vec<Step> {
    let by_app = removed_by_app(removed);
    let dependents = dependents(apps);
    let mut steps = Vec::new();
    for (app, instances) in &by_app {
        let mut before: BTreeSet<String> = (staying.served)(app).into_iter().collect();
        for other in dependents.get(app).into_iter().flatten() {
            before.extend((staying.served)(other));
            if !(staying.has)(app) {
                let gone = by_app.get(other).into_iter().flatten();
                before.extend(gone.map(|instance| instance.step("stop")));
            }
        }
        for instance in instances {
            let (spec, layer) = (&instance.planned.spec, instance.planned.layer);
            let mut needs: Vec<String> = before.iter().cloned().collect();
            for verb in ["drain", "stop", "uninstall"] {
                let about = About {
                    verb,
                    host: &spec.host,
                    layer,
                    deadline: None,
                };
                let name = instance.step(verb);
                let needs = std::mem::replace(&mut needs, vec![name.clone()]);
                let input = input(&spec.host, &spec.id, None);
                let scope = format!("instance/{}", spec.id.name);
                steps.push(about.step(name, input, needs, scope, None, durations));
            }
        }
    }
    super::path::in_order(steps)
}
