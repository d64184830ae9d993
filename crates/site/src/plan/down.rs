use std::collections::BTreeMap;

use wright_model::{Digest, Name};
use wright_workflow::Step;

use crate::graph::Topology;

use super::{
    decide, path, slots,
    steps::{self, Labelled},
    types::{Observed, Plan, World},
};

/// Plans the end of a site: everything is drained, stopped and uninstalled, dependents before what
/// they need.
///
/// Who needs whom is taken from [`Observed::apps`]; apps that are not in it are taken down at once.
pub fn plan_down(site: &Name, observed: &Observed, parent: u64) -> Plan {
    let world = World::of(observed);
    let removal = decide::remove(observed.records.iter(), &world);
    let nothing = steps::Staying {
        has: &|_| false,
        served: &|_| Vec::new(),
    };
    let removed: Vec<Labelled> = removal
        .planned
        .values()
        .cloned()
        .map(Labelled::new)
        .collect();
    let steps = steps::removals(&removed, &observed.apps, &nothing, &observed.durations);
    let (expected_ms, critical_path) = path::critical(&steps);
    let mut plan = Plan {
        site: site.clone(),
        parent,
        digest: Digest::of(b""),
        hosts: slots::hosts(&world),
        instances: removal.planned,
        apps: BTreeMap::new(),
        topology: Topology::default(),
        step_count: steps.len(),
        steps,
        expected_ms,
        critical_path,
        forget: removal.forget,
        warnings: removal.warnings,
    };
    plan.seal();
    plan
}

/// What is left of a graph when a host is gone for good: without its steps, in the same order.
pub fn without_host(steps: Vec<Step>, host: &Name) -> Vec<Step> {
    let on_host = |step: &Step| step.target.as_deref() == Some(host.as_str());
    // What a step on the host needed, its followers need instead.
    let mut instead: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut kept = Vec::with_capacity(steps.len());
    let order = path::order(&steps);
    let mut by_index: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    for mut step in order.into_iter().filter_map(|index| by_index[index].take()) {
        let mut needs = Vec::new();
        for need in std::mem::take(&mut step.needs) {
            match instead.get(&need) {
                Some(others) => needs.extend(others.iter().cloned()),
                None => needs.push(need),
            }
        }
        needs.sort();
        needs.dedup();
        if on_host(&step) {
            instead.insert(step.name, needs);
        } else {
            step.needs = needs;
            kept.push(step);
        }
    }
    kept
}
