//! The pieces of one app: its instances, and how far its steps take it.

use std::collections::BTreeMap;

use wright_model::{Diagnostic, Digest, InstanceId, InstanceSpec, Name};

use super::{
    decide,
    path::{Reach, reaches},
    slots::Placed,
    steps::{AppSteps, Durations, Fetch, Labelled, app_steps},
    types::{Planned, PlannedApp, World},
};
use crate::{
    desired::{App, Desired},
    lint::{self, Sight},
    pieces::{KnownApp, Parts, digest_of},
    render::{Rendered, Renderer, Slot},
};

/// The instances of an app that stay or come, by ordinal.
#[derive(Debug)]
pub(crate) struct Part {
    pub instances: Vec<Labelled>,
    /// Of all of them.
    pub digest: Digest,
}

impl Part {
    /// The digest of all that an app's instances are made from.
    pub fn key<'a>(
        site: Digest,
        app: &KnownApp,
        needs: impl Iterator<Item = &'a KnownApp>,
        placed: &Placed,
        world: &World<'_>,
    ) -> Digest {
        let slots = |app: &Name| placed.digests.get(app).copied();
        let nowhere = Digest::of(b"");
        let name = &app.app.name;
        let mut parts = Parts::of("part")
            .digest(site)
            .digest(app.whole)
            .digest(slots(name).unwrap_or(nowhere));
        for need in needs {
            parts.name(&need.app.name);
            parts.add(need.seen.as_bytes());
            parts.add(slots(&need.app.name).unwrap_or(nowhere).as_bytes());
        }
        let records = &world.observed.records;
        if !records.is_empty() {
            for slot in placed.topology.get(name).into_iter().flatten() {
                let Some(record) = records.get(&slot.name) else {
                    continue;
                };
                parts.name(&slot.name);
                parts.add(record.spec_digest.as_bytes());
                parts.add(&[record.traffic as u8, u8::from(world.has_lost(record))]);
            }
        }
        parts.seal()
    }

    /// Renders what the instances run with, and decides what is done with each.
    pub fn of(
        desired: &Desired,
        app: &App,
        placed: &Placed,
        world: &World<'_>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let topology = &placed.topology;
        let renderer = Renderer::new(desired, topology, app)?;
        let mut instances = Vec::new();
        for slot in topology.get(&app.name).into_iter().flatten() {
            // What is wrong with one template is wrong for all instances: it is told of the first.
            let spec = spec(&desired.site, app, slot, renderer.render(slot)?);
            let planned = decide::wanted(app, slot, spec, world);
            instances.push(Labelled::new(planned));
        }
        let mut parts = Parts::of("instances");
        for instance in &instances {
            parts.add(instance.digest.as_bytes());
            parts.add(digest_of(&decided(&instance.planned)).as_bytes());
        }
        Ok(Part {
            digest: parts.seal(),
            instances,
        })
    }

    /// The steps of a verb on the instances that are set up.
    pub fn steps<'a>(&'a self, verb: &'a str) -> impl Iterator<Item = String> + 'a {
        let set_up = self.instances.iter().filter(|one| one.is_set_up());
        set_up.map(move |one| one.step(verb))
    }
}

/// What is planned beside the specification, as it is written.
fn decided(planned: &Planned) -> impl serde::Serialize + '_ {
    let Planned {
        action,
        before,
        new_package,
        layer,
        ..
    } = planned;
    (action, before, new_package, layer)
}

fn spec(site: &Name, app: &App, slot: &Slot, rendered: Rendered) -> InstanceSpec {
    InstanceSpec {
        id: InstanceId {
            site: site.clone(),
            name: slot.name.clone(),
        },
        app: app.name.clone(),
        package: app.package.clone(),
        host: slot.host.clone(),
        address: slot.address,
        ports: slot.ports.clone(),
        limits: app.limits,
        files: rendered.files,
        env: rendered.env,
        store: app.store,
        ready: app.ready.clone(),
        ready_within: app.ready_within,
    }
}

/// What the steps of an app come to: enough for a plan that nobody carries out.
#[derive(Debug)]
pub(crate) struct Way {
    /// How many steps it has, fetches apart.
    pub steps: usize,
    pub fetches: Vec<Fetch>,
    /// To its last `ready`.
    pub ready: Reach,
    /// To its end.
    pub done: Reach,
    /// Invariants that its instances and steps break.
    pub broken: Vec<Diagnostic>,
}

/// What an app's steps are made from.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub app: &'a PlannedApp,
    pub part: &'a Part,
    /// The instances of the apps that its starts wait for.
    pub gates: &'a [&'a Part],
    pub durations: &'a Durations,
}

impl Setting<'_> {
    fn waits_for(&self) -> Vec<String> {
        self.gates
            .iter()
            .flat_map(|part| part.steps("ready"))
            .collect()
    }

    /// The app's steps.
    pub fn steps(&self) -> AppSteps {
        let gates = self.waits_for();
        app_steps(self.app, &self.part.instances, &gates, self.durations)
    }

    /// Makes the app's steps, looks at them and drops them.
    pub fn way(&self, apps: &BTreeMap<&Name, &PlannedApp>) -> Way {
        let gates = self.waits_for();
        let made = app_steps(self.app, &self.part.instances, &gates, self.durations);
        let (ready, done) = reaches(&made, &gates, self.durations);
        let gated = self.gates.iter().flat_map(|part| &part.instances);
        let sight = Sight {
            instances: self.part.instances.iter().map(|one| &one.planned).collect(),
            apps,
            steps: &made.steps,
            gates: gated
                .filter(|other| other.is_set_up())
                .map(|other| (other.planned.spec.id.to_string(), other.step("ready")))
                .collect(),
        };
        Way {
            steps: made.steps.len(),
            ready,
            done,
            broken: lint::app(&sight),
            fetches: made.fetches,
        }
    }
}
