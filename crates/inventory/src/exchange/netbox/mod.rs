//! NetBox: what its database has, as resources of the kinds that ship. Pure.
//!
//! Read are dumps of PostgreSQL (`pg_dump`, plain, as the public demo data are) and of Django
//! (`manage.py dumpdata`). Tenants become teams, manufacturers suppliers, device types models,
//! locations rooms, VLANs networks, VRFs the spaces of prefixes and addresses; devices, their
//! interfaces and the cables between them, clusters and virtual machines are what they are there. What
//! has no counterpart is counted and left out.

mod dcim;
mod dump;
mod ipam;
mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use dump::Dump;

use self::names::Names;
use super::{LineError, Row};

/// What a dump is made into.
#[derive(Debug, Default)]
pub struct Converted {
    /// What others refer to comes before them.
    pub rows: Vec<Row>,
    /// What is to be said of interfaces once all of them are there: which leads to which.
    pub links: Vec<Row>,
    /// How many objects of each model were left out.
    pub left_out: BTreeMap<String, usize>,
}

/// Reads a dump.
///
/// # Errors
/// Where it is neither a dump of PostgreSQL nor of Django, or broken.
pub fn read(text: &str) -> Result<Converted, LineError> {
    let dump = Dump::read(text)?;
    let mut names = Names::default();
    let mut rows = dcim::places(&dump, &mut names);
    rows.extend(ipam::networks(&dump, &mut names));
    rows.extend(dcim::machines(&dump, &mut names));
    rows.extend(ipam::addresses(&dump, &mut names));
    let (cables, links) = dcim::cables(&dump, &names);
    rows.extend(cables);
    let left_out = dump
        .models()
        .filter(|(model, _)| !MADE.contains(model) && is_inventory(model));
    let left_out = left_out
        .map(|(model, count)| (model.to_owned(), count))
        .collect();
    Ok(Converted {
        rows,
        links,
        left_out,
    })
}

/// Models that become resources or parts of them.
const MADE: [&str; 26] = [
    "tenancy.tenant",
    "dcim.manufacturer",
    "dcim.devicetype",
    "dcim.region",
    "dcim.sitegroup",
    "dcim.site",
    "dcim.location",
    "dcim.rackrole",
    "dcim.rack",
    "dcim.devicerole",
    "dcim.platform",
    "dcim.device",
    "dcim.interface",
    "dcim.cable",
    "dcim.cabletermination",
    "dcim.macaddress",
    "ipam.vrf",
    "ipam.role",
    "ipam.vlangroup",
    "ipam.vlan",
    "ipam.prefix",
    "ipam.ipaddress",
    "virtualization.clustertype",
    "virtualization.cluster",
    "virtualization.virtualmachine",
    "virtualization.vminterface",
];

/// Whether a model is about what there is, and not about NetBox itself.
fn is_inventory(model: &str) -> bool {
    let app = model.split('.').next().unwrap_or_default();
    [
        "dcim",
        "ipam",
        "virtualization",
        "circuits",
        "tenancy",
        "wireless",
        "vpn",
    ]
    .contains(&app)
}
