//! A plan before its steps are written out.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use wright_model::{Diagnostic, Digest, InstanceSpec, Name};
use wright_workflow::Step;

use super::{
    critical::{Critical, Link, Stretch},
    decide,
    part::{Part, Setting, Way},
    slots::Placed,
    steps::{self, Labelled, Staying},
    summary::{PlanSummary, Tally},
    types::{Observed, Plan, Planned, PlannedApp, World},
};
use crate::{
    desired::Desired,
    graph,
    lint::{self, Whole},
    pieces::{KnownApp, Parts, Pieces, digest_of},
};

/// A plan whose steps are counted and not written out: what people are shown, and what a [`Plan`] is
/// made of where it is to be carried out.
pub struct Draft<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    parent: u64,
    placed: Arc<Placed>,
    apps: Vec<Drafted>,
    /// The places of the apps in `apps`, each after those that gate it.
    order: Vec<usize>,
    removed: Vec<Labelled>,
    removals: Vec<Step>,
    forget: Vec<Name>,
    warnings: Vec<Diagnostic>,
    step_count: usize,
    expected_ms: u64,
    critical_path: Vec<String>,
    digest: Digest,
}

/// An app and its pieces.
struct Drafted {
    known: Arc<KnownApp>,
    part: Arc<Part>,
    /// The places of the apps that gate it.
    gates: Vec<usize>,
    way: Arc<Way>,
}

/// Plans the way from what is there to what is desired, with what is kept of the last plan. It costs
/// what has changed since, and a little for every app and host.
///
/// # Errors
/// See [`crate::plan()`].
pub fn draft<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    parent: u64,
    pieces: &mut Pieces,
) -> Result<Draft<'a>, Vec<Diagnostic>> {
    let draft = draft_of(desired, observed, parent, pieces);
    let made = draft.is_ok();
    pieces.known.end(made);
    pieces.placed.end(made);
    pieces.parts.end(made);
    pieces.ways.end(made);
    draft
}

fn draft_of<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    parent: u64,
    pieces: &mut Pieces,
) -> Result<Draft<'a>, Vec<Diagnostic>> {
    let world = World::of(observed);
    let known = pieces.known(desired.apps.values());
    let places: HashMap<&Name, usize> = known
        .iter()
        .enumerate()
        .map(|(place, known)| (&known.app.name, place))
        .collect();
    let placed = placed(desired, &known, &world, pieces)?;
    let parts = parts(desired, &known, &places, &placed, &world, pieces)?;
    let gates = |app: &KnownApp| {
        let needs = app.app.needs.iter().filter(|need| need.gate);
        needs
            .filter_map(|need| places.get(&need.app).copied())
            .collect::<Vec<usize>>()
    };
    let gates: Vec<Vec<usize>> = known.iter().map(|app| gates(app)).collect();
    let ways = ways(observed, &known, &parts, &gates, pieces);
    let mut order: Vec<usize> = (0..known.len()).collect();
    order.sort_by_key(|place| known[*place].app.layer);
    let apps = known.into_iter().zip(parts).zip(gates).zip(ways);
    let apps = apps.map(|(((known, part), gates), way)| Drafted {
        known,
        part,
        gates,
        way,
    });
    let mut removal = decide::removals(desired, &world);
    removal
        .warnings
        .extend(decide::lost_stores(desired, &world));
    let removed = removal.planned.into_values().map(Labelled::new);
    let mut draft = Draft {
        desired,
        observed,
        parent,
        placed,
        apps: apps.collect(),
        order,
        removed: removed.collect(),
        removals: Vec::new(),
        forget: removal.forget,
        warnings: removal.warnings,
        step_count: 0,
        expected_ms: 0,
        critical_path: Vec::new(),
        digest: Digest::of(b""),
    };
    draft.remove();
    draft.count();
    (draft.expected_ms, draft.critical_path) = draft.critical();
    draft.digest = draft.seal();
    Ok(draft)
}

fn placed(
    desired: &Desired,
    known: &[Arc<KnownApp>],
    world: &World<'_>,
    pieces: &mut Pieces,
) -> Result<Arc<Placed>, Vec<Diagnostic>> {
    let key = Placed::key(known, world);
    if let Some(placed) = pieces.placed.get(key) {
        return Ok(placed);
    }
    let placed = Arc::new(Placed::of(desired, world)?);
    pieces.placed.put(key, placed.clone());
    Ok(placed)
}

fn parts(
    desired: &Desired,
    known: &[Arc<KnownApp>],
    places: &HashMap<&Name, usize>,
    placed: &Placed,
    world: &World<'_>,
    pieces: &mut Pieces,
) -> Result<Vec<Arc<Part>>, Vec<Diagnostic>> {
    let site = digest_of(&(&desired.site, &desired.parameters));
    let key = |app: &Arc<KnownApp>| {
        let needs = app.app.needs.iter();
        let needs = needs.filter_map(|need| places.get(&need.app));
        let needs = needs.map(|place| known[*place].as_ref());
        Part::key(site, app, needs, placed, world)
    };
    pieces.parts.all(known, key, |app| {
        Ok(Arc::new(Part::of(desired, &app.app, placed, world)?))
    })
}

fn ways(
    observed: &Observed,
    known: &[Arc<KnownApp>],
    parts: &[Arc<Part>],
    gates: &[Vec<usize>],
    pieces: &mut Pieces,
) -> Vec<Arc<Way>> {
    let durations = digest_of(&observed.durations);
    let planned: BTreeMap<&Name, &PlannedApp> = known
        .iter()
        .map(|known| (&known.app.name, &known.planned))
        .collect();
    // What rules ask of the apps that an app needs.
    let told: HashMap<&Name, Digest> = known
        .iter()
        .map(|known| (&known.app.name, known.told))
        .collect();
    let key = |place: &usize| {
        let app = &known[*place];
        let mut key = Parts::of("way")
            .digest(durations)
            .digest(app.told)
            .digest(parts[*place].digest);
        for gate in &gates[*place] {
            key.add(parts[*gate].digest.as_bytes());
        }
        key.add(b"needs");
        for need in &app.app.needs {
            key.name(&need.app);
            key.add(told.get(&need.app).map_or(&[], |told| told.as_bytes()));
        }
        key.seal()
    };
    let order: Vec<usize> = (0..known.len()).collect();
    let ways = pieces.ways.all(&order, key, |place| -> Result<_, Vec<()>> {
        let gates: Vec<&Part> = gates[*place]
            .iter()
            .map(|gate| parts[*gate].as_ref())
            .collect();
        let setting = Setting {
            app: &known[*place].planned,
            part: &parts[*place],
            gates: &gates,
            durations: &observed.durations,
        };
        Ok(Arc::new(setting.way(&planned)))
    });
    ways.unwrap_or_default()
}

impl Draft<'_> {
    fn drafted(&self, app: &Name) -> Option<&Drafted> {
        let found = self
            .apps
            .binary_search_by(|drafted| drafted.known.app.name.cmp(app));
        found.ok().and_then(|place| self.apps.get(place))
    }

    /// The steps of the app at a place.
    fn app_steps(&self, place: usize) -> steps::AppSteps {
        let app = &self.apps[place];
        let gates = app.gates.iter().map(|gate| self.apps[*gate].part.as_ref());
        Setting {
            app: &app.known.planned,
            part: &app.part,
            gates: &gates.collect::<Vec<_>>(),
            durations: &self.observed.durations,
        }
        .steps()
    }

    fn remove(&mut self) {
        if self.removed.is_empty() {
            return;
        }
        let served = |app: &Name| {
            let part = self.drafted(app).map(|drafted| &drafted.part);
            part.map(|part| part.steps("serve").collect())
                .unwrap_or_default()
        };
        let staying = Staying {
            has: &|app| self.desired.apps.contains_key(app),
            served: &served,
        };
        let Observed {
            apps, durations, ..
        } = self.observed;
        self.removals = steps::removals(&self.removed, apps, &staying, durations);
    }

    fn count(&mut self) {
        let mut fetched = HashSet::new();
        for drafted in &self.apps {
            let fetches = drafted.way.fetches.iter();
            fetched.extend(fetches.map(|fetch| (&fetch.host, fetch.package.digest)));
        }
        let of_apps: usize = self.apps.iter().map(|drafted| drafted.way.steps).sum();
        self.step_count = fetched.len() + of_apps + self.removals.len();
    }

    fn critical(&self) -> (u64, Vec<String>) {
        let mut at = vec![0; self.apps.len()];
        for (number, place) in self.order.iter().enumerate() {
            at[*place] = number;
        }
        let stretch = |place: &usize| {
            let drafted = &self.apps[*place];
            Stretch {
                name: &drafted.known.app.name,
                way: &drafted.way,
                gates: drafted.gates.iter().map(|gate| at[*gate]).collect(),
            }
        };
        let stretches = self.order.iter().map(stretch).collect();
        let Observed {
            apps, durations, ..
        } = self.observed;
        let stays = |app: &Name| self.desired.apps.contains_key(app);
        let critical = Critical::of(stretches, &self.removed, apps, &stays, durations);
        let (length, links) = critical.path();
        let mut path = Vec::new();
        for link in links {
            match link {
                Link::Steps(steps) => path.extend(steps),
                Link::App(number, chain) => {
                    let made = self.app_steps(self.order[number]);
                    let name = |place: &usize| match made.fetches.get(*place) {
                        Some(fetch) => Some(fetch.name()),
                        None => {
                            let step = made.steps.get(place - made.fetches.len());
                            step.map(|step| step.name.clone())
                        }
                    };
                    path.extend(chain.steps.iter().filter_map(name));
                }
            }
        }
        (length, path)
    }

    /// The address of everything in the plan but the steps, which follow from it.
    fn seal(&self) -> Digest {
        let mut parts = Parts::of("plan")
            .text(self.desired.site.as_str())
            .number(self.parent)
            .digest(self.placed.digest)
            .number(self.expected_ms);
        for drafted in &self.apps {
            parts.name(&drafted.known.app.name);
            parts.add(drafted.known.told.as_bytes());
            parts.add(drafted.part.digest.as_bytes());
        }
        let removed = self.removed.iter().map(|removed| &removed.planned);
        let removed: Vec<&Planned> = removed.collect();
        parts
            .digest(digest_of(&(removed, &self.forget, &self.warnings)))
            .seal()
    }

    fn instances(&self) -> impl Iterator<Item = &Planned> {
        let parts = self.apps.iter().flat_map(|drafted| &drafted.part.instances);
        parts.chain(&self.removed).map(|one| &one.planned)
    }

    /// The specifications of all instances, those to remove included.
    pub fn specs(&self) -> impl Iterator<Item = &InstanceSpec> {
        self.instances().map(|planned| &planned.spec)
    }

    /// The plan as people are shown it.
    pub fn summary(&self) -> PlanSummary {
        let Tally {
            counts,
            touched,
            layers,
        } = Tally::of(self.instances());
        PlanSummary {
            site: self.desired.site.clone(),
            digest: self.digest,
            counts,
            touched,
            layers,
            step_count: self.step_count,
            expected_ms: self.expected_ms,
            critical_path: self.critical_path.clone(),
            warnings: self.warnings.clone(),
        }
    }

    /// Every way in which the plan breaks an invariant of [`crate::lint()`], but for those of the
    /// whole graph of steps: they are not written out yet, and whoever walks them looks at that graph
    /// again.
    pub fn lint(&self) -> Vec<Diagnostic> {
        let apps = self.apps.iter();
        let apps: BTreeMap<&Name, &PlannedApp> = apps
            .map(|drafted| (&drafted.known.app.name, &drafted.known.planned))
            .collect();
        let instances: Vec<&Planned> = self.instances().collect();
        let mut found: Vec<Diagnostic> = self
            .apps
            .iter()
            .flat_map(|drafted| drafted.way.broken.iter().cloned())
            .collect();
        found.extend(lint::whole(&Whole {
            hosts: &self.placed.hosts,
            instances: &instances,
            apps: &apps,
        }));
        found
    }

    /// All steps, in an order in which they could be walked.
    pub fn steps(&self) -> Vec<Step> {
        let made = crate::together::map(&self.order, |place| self.app_steps(*place));
        let mut steps = Vec::with_capacity(self.step_count);
        let mut fetched = HashSet::new();
        for made in made {
            // The first that needs a package has the lowest layer.
            for fetch in &made.fetches {
                if fetched.insert((fetch.host.clone(), fetch.package.digest)) {
                    steps.push(fetch.step(&self.observed.durations));
                }
            }
            steps.extend(made.steps);
        }
        steps.extend(self.removals.iter().cloned());
        steps
    }

    /// The plan with all that is in it.
    pub fn whole(&self) -> Plan {
        let named = |planned: &Planned| (planned.spec.id.name.clone(), planned.clone());
        let apps = self.apps.iter().map(|drafted| &drafted.known);
        Plan {
            site: self.desired.site.clone(),
            parent: self.parent,
            digest: self.digest,
            hosts: self.placed.hosts.clone(),
            instances: self.instances().map(named).collect(),
            apps: apps
                .map(|known| (known.app.name.clone(), known.planned.clone()))
                .collect(),
            topology: graph::topology(self.desired),
            step_count: self.step_count,
            steps: self.steps(),
            expected_ms: self.expected_ms,
            critical_path: self.critical_path.clone(),
            forget: self.forget.clone(),
            warnings: self.warnings.clone(),
        }
    }

    /// What is desired.
    pub fn desired(&self) -> &Desired {
        self.desired
    }

    /// What is there.
    pub fn observed(&self) -> &Observed {
        self.observed
    }

    /// See [`Plan::digest`].
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// See [`Plan::step_count`].
    pub fn step_count(&self) -> usize {
        self.step_count
    }

    /// See [`Plan::forget`].
    pub fn forget(&self) -> &[Name] {
        &self.forget
    }

    /// See [`Plan::warnings`].
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.step_count == 0 && self.forget.is_empty()
    }
}
