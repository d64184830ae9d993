//! The inventory in the words of other programs: pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;
use serde_json::{Map, Value, json};
use wright_inventory::Resource;
use wright_model::{InstanceRecord, Traffic};

/// A dynamic inventory of Ansible, as a script answers `--list`: the inventory's own groups, groups by
/// label, state, provider, rack, model, site and app, and in `_meta` the variables of every host. Group names have only
/// letters, digits and `_`.
pub fn ansible(
    hosts: &[Resource],
    own: &BTreeMap<String, HashSet<String>>,
    instances: &[InstanceRecord],
) -> Value {
    let mut groups: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut variables = Map::new();
    for host in hosts {
        let mut join = |group: &str, value: &str| {
            let group = format!("{}_{}", word(group), word(value));
            groups.entry(group).or_default().insert(&host.name);
        };
        for (group, _) in own.iter().filter(|(_, names)| names.contains(&host.name)) {
            join("group", group);
        }
        for (label, value) in &host.labels {
            join(&format!("label_{label}"), value);
        }
        for field in ["state", "status", "provider", "rack", "model", "team"] {
            if let Some(value) = host.body.get(field).and_then(Value::as_str) {
                join(field, value);
            }
        }
        let here = |instance: &&InstanceRecord| instance.spec.host.as_str() == host.name;
        let mut running = Vec::new();
        for instance in instances.iter().filter(here) {
            let spec = &instance.spec;
            join("site", spec.id.site.as_str());
            join("app", spec.app.as_str());
            running.push(json!({
                "site": spec.id.site, "name": spec.id.name, "app": spec.app,
                "version": spec.package.version, "ports": spec.ports,
            }));
        }
        let mut own = json!({
            "wright_host": host.body, "wright_labels": host.labels, "wright_instances": running,
        });
        if let Some(address) = host.body.get("address") {
            own["ansible_host"] = address.clone();
        }
        variables.insert(host.name.clone(), own);
    }
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    let mut inventory = json!({
        "_meta": { "hostvars": variables },
        "all": { "hosts": names, "children": groups.keys().collect::<Vec<_>>() },
    });
    for (group, hosts) in groups {
        inventory[group] = json!({ "hosts": hosts });
    }
    inventory
}

/// Letters, digits and `_`: what Ansible takes in names of groups.
fn word(text: &str) -> String {
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '_'
        }
    };
    text.chars().map(letter).collect()
}

/// Targets of Prometheus (HTTP service discovery).
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Targets {
    targets: Vec<String>,
    labels: BTreeMap<String, String>,
}

/// Each port of each instance that serves, with what is known of it as `__meta_wright_…`.
pub fn prometheus(instances: &[(Resource, InstanceRecord)]) -> Vec<Targets> {
    let serves = |(_, record): &&(Resource, InstanceRecord)| record.traffic == Traffic::On;
    let mut all = Vec::new();
    for (resource, record) in instances.iter().filter(serves) {
        let spec = &record.spec;
        for (port, number) in &spec.ports {
            let known = [
                ("site", spec.id.site.to_string()),
                ("app", spec.app.to_string()),
                ("instance", spec.id.name.to_string()),
                ("host", spec.host.to_string()),
                ("package", spec.package.name.to_string()),
                ("version", spec.package.version.to_string()),
                ("port", port.to_string()),
            ];
            let mut labels: BTreeMap<String, String> = known
                .into_iter()
                .map(|(name, value)| (format!("__meta_wright_{name}"), value))
                .collect();
            for (label, value) in &resource.labels {
                labels.insert(
                    format!("__meta_wright_label_{}", word(label)),
                    value.clone(),
                );
            }
            all.push(Targets {
                targets: vec![std::net::SocketAddr::new(spec.address, *number).to_string()],
                labels,
            });
        }
    }
    all
}
