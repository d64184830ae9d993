use std::collections::BTreeMap;

use wright_model::{Digest, Name};

use super::{
    decide, path, slots, steps,
    types::{Observed, Plan},
};

/// Plans the end of a site: everything is drained, stopped and uninstalled, dependents before what
/// they need.
///
/// Who needs whom is taken from [`Observed::apps`]; apps that are not in it are taken down at once.
pub fn plan_down(site: &Name, observed: &Observed, parent: u64) -> Plan {
    let removal = decide::remove(observed.records.iter(), observed);
    let steps = steps::steps(site, &removal.planned, &BTreeMap::new(), observed);
    let (expected_ms, critical_path) = path::critical(&steps);
    let mut plan = Plan {
        site: site.clone(),
        parent,
        digest: Digest::of(b""),
        hosts: slots::hosts(observed),
        instances: removal.planned,
        apps: BTreeMap::new(),
        steps,
        expected_ms,
        critical_path,
        forget: removal.forget,
        warnings: removal.warnings,
    };
    plan.seal();
    plan
}
