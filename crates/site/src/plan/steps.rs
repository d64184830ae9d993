//! The graph: which steps, after which, and what takes them back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use wright_model::{Digest, InstanceId, InstanceSpec, Name, Span};
use wright_workflow::{Retry, Step, Undo};

use super::{
    path,
    types::{Action, Observed, Planned, PlannedApp},
};

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

pub(super) fn steps(
    site: &Name,
    instances: &BTreeMap<Name, Planned>,
    apps: &BTreeMap<Name, PlannedApp>,
    observed: &Observed,
) -> Vec<Step> {
    let mut graph = Graph {
        site,
        instances,
        apps,
        observed,
        labels: instances
            .iter()
            .map(|(name, planned)| {
                let digest = planned.spec.digest();
                (name, (digest, label(&planned.spec, digest)))
            })
            .collect(),
        checks: apps
            .iter()
            .filter(|(_, app)| !app.verify.is_empty())
            .map(|(name, app)| (name, json!(app.verify)))
            .collect(),
        steps: Vec::new(),
        fetched: BTreeMap::new(),
    };
    let mut by_app: BTreeMap<(u32, &Name), Vec<&Planned>> = BTreeMap::new();
    for planned in instances.values() {
        by_app
            .entry((planned.layer, &planned.spec.app))
            .or_default()
            .push(planned);
    }
    for planned in by_app.values_mut() {
        planned.sort_by_key(|p| ordinal(&p.spec.id.name));
    }
    for planned in by_app.values() {
        graph.app(planned);
    }
    for planned in by_app.values() {
        graph.removals(planned);
    }
    path::in_order(graph.steps)
}

/// The number at the end of an instance's name.
fn ordinal(name: &Name) -> u32 {
    name.as_str()
        .rsplit('-')
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// What the names of an instance's steps have in common.
fn label(spec: &InstanceSpec, digest: Digest) -> String {
    format!("{}@{}#{}", spec.id.name, spec.host, digest.short())
}

fn input(host: &Name, instance: &InstanceId, spec: Option<Digest>) -> Value {
    match spec {
        Some(spec) => json!({ "host": host, "instance": instance, "spec": spec }),
        None => json!({ "host": host, "instance": instance }),
    }
}

struct Graph<'a> {
    site: &'a Name,
    instances: &'a BTreeMap<Name, Planned>,
    apps: &'a BTreeMap<Name, PlannedApp>,
    observed: &'a Observed,
    /// Of every instance the digest of its specification and its label: asked for again and again.
    labels: BTreeMap<&'a Name, (Digest, String)>,
    /// The checks of every app that has some, as its `verify` steps carry them.
    checks: BTreeMap<&'a Name, Value>,
    steps: Vec<Step>,
    /// The index of the fetch of a package to a host.
    fetched: BTreeMap<(Name, Digest), usize>,
}

/// What one step of an instance is made of, beside the instance.
struct Part<'s> {
    verb: &'s str,
    needs: Vec<String>,
    scope: &'s str,
    undo: Option<Undo>,
}

impl Graph<'_> {
    fn digest(&self, planned: &Planned) -> Digest {
        let known = self.labels.get(&planned.spec.id.name);
        known.map_or_else(|| planned.spec.digest(), |(digest, _)| *digest)
    }

    fn step_name(&self, verb: &str, planned: &Planned) -> String {
        match self.labels.get(&planned.spec.id.name) {
            Some((_, label)) => format!("{verb}/{label}"),
            None => format!("{verb}/{}", label(&planned.spec, planned.spec.digest())),
        }
    }

    fn app(&mut self, planned: &[&Planned]) {
        let mut former: Option<String> = None;
        for planned in planned {
            match &planned.action {
                Action::Keep | Action::Remove => {}
                Action::Update { .. } if planned.before.is_some() => {
                    former = Some(self.update(planned, former.take()));
                }
                Action::Create | Action::Move { .. } | Action::Update { .. } => {
                    self.create(planned)
                }
            }
        }
    }

    fn create(&mut self, planned: &Planned) {
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
        let install = self.push(planned, part("install", vec![fetch], undo_install));
        let configure = self.push(planned, part("configure", vec![install], None));
        let mut needs = vec![configure];
        needs.extend(self.ready_of_needs(planned, true));
        let start = self.push(planned, part("start", needs, undo("stop")));
        let checked = self.checks(planned, start, &scope);
        self.push(planned, part("serve", vec![checked], undo("drain")));
    }

    /// Takes an instance out of service, changes it and puts it back. Every undo is the inverse of
    /// its step, so that undoing in reverse order brings back what served before.
    fn update(&mut self, planned: &Planned, former: Option<String>) -> String {
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
            needs.push(self.push(planned, part("install", vec![fetch], None)));
        }
        let gates = self.ready_of_needs(planned, true);
        needs.extend(gates.iter().cloned());
        let drain = self.push(planned, part("drain", needs, undo("serve", planned.before)));
        let stop = self.push(
            planned,
            part("stop", vec![drain], undo("start", planned.before)),
        );
        let configure = self.push(
            planned,
            part("configure", vec![stop], undo("configure", planned.before)),
        );
        let needs = [vec![configure], gates].concat();
        let start = self.push(planned, part("start", needs, undo("stop", None)));
        let checked = self.checks(planned, start, &scope);
        self.push(planned, part("serve", vec![checked], undo("drain", None)))
    }

    /// `ready` and, where the baseline has checks, `verify`.
    fn checks(&mut self, planned: &Planned, start: String, scope: &str) -> String {
        let part = |verb, needs| Part {
            verb,
            needs,
            scope,
            undo: None,
        };
        let ready = self.push(planned, part("ready", vec![start]));
        let app = self.apps.get(&planned.spec.app);
        let checks = self.checks.get(&planned.spec.app).cloned();
        let (Some(app), Some(checks)) = (app, checks) else {
            return ready;
        };
        let mut needs = vec![ready];
        needs.extend(self.ready_of_needs(planned, false));
        let verify = self.push(planned, part("verify", needs));
        let within: u64 = app.verify.iter().map(|check| check.within.millis()).sum();
        if let Some(step) = self.steps.last_mut() {
            step.deadline = step.deadline.max(Span::from_millis(within));
            if let Value::Object(input) = &mut step.input {
                input.insert("checks".to_owned(), checks);
            }
        }
        verify
    }

    /// The `ready` steps of the needs of an instance that do, or do not, gate its start.
    fn ready_of_needs(&self, planned: &Planned, gate: bool) -> Vec<String> {
        let needs = self
            .apps
            .get(&planned.spec.app)
            .into_iter()
            .flat_map(|app| &app.needs);
        let mut ready = Vec::new();
        for need in needs.filter(|need| need.gate == gate) {
            let names = self.instances_of(&need.app);
            let changed = names.filter(|p| !matches!(p.action, Action::Keep | Action::Remove));
            ready.extend(changed.map(|p| self.step_name("ready", p)));
        }
        ready
    }

    /// The planned instances of an app, by their names.
    fn instances_of<'b>(&'b self, app: &'b Name) -> impl Iterator<Item = &'b Planned> {
        let count = self.apps.get(app).map_or(0, |app| app.instances);
        (1..=count).filter_map(move |n| self.instances.get(format!("{app}-{n}").as_str()))
    }

    fn removals(&mut self, planned: &[&Planned]) {
        for planned in planned.iter().filter(|p| p.action == Action::Remove) {
            let id = &planned.spec.id;
            let scope = format!("instance/{}", id.name);
            let part = |verb, needs| Part {
                verb,
                needs,
                scope: &scope,
                undo: None,
            };
            let needs = self.before_removal(planned);
            let drain = self.push(planned, part("drain", needs));
            let stop = self.push(planned, part("stop", vec![drain]));
            self.push(planned, part("uninstall", vec![stop]));
        }
    }

    /// Whoever stays of the app is in service first, and whoever needed it is gone or changed.
    fn before_removal(&self, planned: &Planned) -> Vec<String> {
        let app = &planned.spec.app;
        let mut needs = BTreeSet::new();
        for stays in self.instances_of(app) {
            if !matches!(stays.action, Action::Keep | Action::Remove) {
                needs.insert(self.step_name("serve", stays));
            }
        }
        let dependents: BTreeSet<&Name> = self
            .observed
            .apps
            .iter()
            .filter(|(_, other)| other.needs.iter().any(|need| need.gate && need.app == *app))
            .map(|(name, _)| name)
            .collect();
        if dependents.is_empty() {
            return needs.into_iter().collect();
        }
        let whole_app = !self.apps.contains_key(app);
        for other in self
            .instances
            .values()
            .filter(|p| dependents.contains(&p.spec.app))
        {
            match other.action {
                Action::Keep => {}
                Action::Remove if whole_app => drop(needs.insert(self.step_name("stop", other))),
                Action::Remove => {}
                _ => drop(needs.insert(self.step_name("serve", other))),
            }
        }
        needs.into_iter().collect()
    }

    fn fetch(&mut self, planned: &Planned) -> String {
        let (host, package) = (&planned.spec.host, &planned.spec.package);
        let key = (host.clone(), package.digest);
        if let Some(step) = self
            .fetched
            .get(&key)
            .and_then(|index| self.steps.get_mut(*index))
        {
            step.layer = step.layer.min(planned.layer);
            return step.name.clone();
        }
        let name = format!("fetch/{package}@{host}#{}", package.digest.short());
        let scope = format!("fetch/{host}/{package}");
        self.fetched.insert(key, self.steps.len());
        let input = json!({ "host": host, "package": package });
        self.add(
            "fetch",
            name.clone(),
            input,
            Vec::new(),
            scope,
            planned,
            None,
        );
        name
    }

    fn push(&mut self, planned: &Planned, part: Part<'_>) -> String {
        let spec = &planned.spec;
        debug_assert_eq!(spec.id.site, *self.site);
        let digest = match part.verb {
            "drain" | "stop" | "uninstall" => None,
            _ => Some(self.digest(planned)),
        };
        let name = self.step_name(part.verb, planned);
        let input = input(&spec.host, &spec.id, digest);
        self.add(
            part.verb,
            name.clone(),
            input,
            part.needs,
            part.scope.to_owned(),
            planned,
            part.undo,
        );
        name
    }

    #[allow(clippy::too_many_arguments)] // the fields of one step, in their order
    fn add(
        &mut self,
        verb: &str,
        name: String,
        input: Value,
        mut needs: Vec<String>,
        scope: String,
        planned: &Planned,
        undo: Option<Undo>,
    ) {
        needs.sort();
        needs.dedup();
        let row = VERBS.iter().find(|row| row.0 == verb);
        let (_, deadline, attempts, expected) = row.copied().unwrap_or(("", 60, 1, 100));
        let deadline = match verb {
            "ready" => Span::from_millis(planned.spec.ready_within.millis() + READY_SLACK.millis()),
            _ => Span::from_secs(deadline),
        };
        self.steps.push(Step {
            name,
            verb: verb.to_owned(),
            input,
            needs,
            scope,
            target: Some(planned.spec.host.to_string()),
            layer: planned.layer,
            deadline,
            retry: Retry {
                attempts,
                ..Retry::default()
            },
            undo,
            expected_ms: self
                .observed
                .durations
                .get(verb)
                .copied()
                .unwrap_or(expected),
        });
    }
}
