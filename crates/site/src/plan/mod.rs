//! From what is desired and what is there to a graph of steps.

mod decide;
mod down;
mod label;
mod path;
mod slots;
mod steps;
mod types;

use std::collections::BTreeMap;

pub use down::{plan_down, without_host};
pub use label::Label;
pub(crate) use path::order;
pub(crate) use steps::VERBS;
pub use types::{Action, Observed, Plan, Planned, PlannedApp, PlannedHost};
use wright_model::{Diagnostic, Digest, InstanceId, InstanceSpec, Name};

use crate::{
    desired::{App, Desired},
    graph,
    render::{Renderer, Slot, Topology},
};

/// Plans the way from what is there to what is desired.
///
/// `parent` is the revision of what was observed; a plan whose parent is no longer the newest is
/// refused by whoever executes it. The same input gives the byte-identical plan.
///
/// # Errors
/// Instances that no host takes, with the rule each host breaks; templates that cannot be rendered with the real addresses.
pub fn plan(desired: &Desired, observed: &Observed, parent: u64) -> Result<Plan, Vec<Diagnostic>> {
    let topology = slots::slots(desired, observed)?;
    let specs = specs(desired, &topology)?;
    let apps = apps(desired);
    let mut instances = BTreeMap::new();
    for (app, slot, spec) in specs {
        let planned = decide::wanted(app, slot, spec, observed);
        instances.insert(slot.name.clone(), planned);
    }
    let mut removal = decide::removals(&instances, observed);
    removal
        .warnings
        .extend(decide::lost_stores(desired, observed));
    instances.extend(removal.planned);
    let steps = steps::steps(&desired.site, &instances, &apps, observed);
    let (expected_ms, critical_path) = path::critical(&steps);
    let mut plan = Plan {
        site: desired.site.clone(),
        parent,
        digest: Digest::of(b""),
        hosts: slots::hosts(observed),
        instances,
        apps,
        topology: graph::topology(desired),
        step_count: steps.len(),
        steps,
        expected_ms,
        critical_path,
        forget: removal.forget,
        warnings: removal.warnings,
    };
    plan.seal();
    Ok(plan)
}

/// What an instance shall run with, beside its app and its place.
type Specified<'a> = (&'a App, &'a Slot, InstanceSpec);

/// The specifications of all instances, by app. Apps do not see each other's: they are rendered by
/// all processors, and joined in their order.
fn specs<'a>(
    desired: &'a Desired,
    topology: &'a Topology,
) -> Result<Vec<Specified<'a>>, Vec<Diagnostic>> {
    let apps: Vec<(&Name, &App)> = desired.apps.iter().collect();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = apps.len().div_ceil(processors).max(1);
    let shares = std::thread::scope(|scope| {
        let running: Vec<_> = apps
            .chunks(share)
            .map(|apps| scope.spawn(move || specs_of(desired, topology, apps)))
            .collect();
        let ended = running.into_iter().map(crate::together::ended);
        ended.collect::<Vec<_>>()
    });
    let (mut specs, mut found) = (Vec::new(), Vec::new());
    for share in shares {
        match share {
            Ok(share) => specs.extend(share),
            Err(errors) => found.extend(errors),
        }
    }
    if found.is_empty() {
        Ok(specs)
    } else {
        Err(found)
    }
}

fn specs_of<'a>(
    desired: &'a Desired,
    topology: &'a Topology,
    apps: &[(&'a Name, &'a App)],
) -> Result<Vec<Specified<'a>>, Vec<Diagnostic>> {
    let mut specs = Vec::new();
    let mut found = Vec::new();
    for &(name, app) in apps {
        let renderer = match Renderer::new(desired, topology, app) {
            Ok(renderer) => renderer,
            Err(errors) => {
                found.extend(errors);
                continue;
            }
        };
        for slot in topology.get(name).into_iter().flatten() {
            match renderer.render(slot) {
                Ok(rendered) => specs.push((app, slot, spec(&desired.site, app, slot, rendered))),
                Err(errors) => found.extend(errors),
            }
        }
    }
    if found.is_empty() {
        Ok(specs)
    } else {
        Err(found)
    }
}

fn spec(site: &Name, app: &App, slot: &Slot, rendered: crate::render::Rendered) -> InstanceSpec {
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

/// What graphs, checks and later plans need to know of a site's apps; see [`Observed::apps`].
pub fn apps(desired: &Desired) -> BTreeMap<Name, PlannedApp> {
    let planned = |app: &App| PlannedApp {
        package: app.package.to_string(),
        instances: app.instances,
        layer: app.layer,
        needs: app.needs.clone(),
        provides: app.provides.clone(),
        away_from: app.away_from.clone(),
        secrets: app.secrets.clone(),
        store: app.store,
        verify: app.verify.clone(),
    };
    desired
        .apps
        .iter()
        .map(|(name, app)| (name.clone(), planned(app)))
        .collect()
}
