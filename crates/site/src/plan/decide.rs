use std::collections::BTreeMap;

use wright_model::{Diagnostic, InstanceRecord, InstanceSpec, Name, Severity, Traffic};

use super::types::{Action, Planned, World};
use crate::{
    desired::{App, Desired},
    render::Slot,
};

/// Says which stores are lost, and what can be done.
pub(super) fn lost_stores(desired: &Desired, world: &World<'_>) -> Vec<Diagnostic> {
    let records = &world.observed.records;
    let mut found = Vec::new();
    if !records.values().any(|record| world.has_lost(record)) {
        return found;
    }
    for app in desired.apps.values() {
        let names = app
            .instance_names()
            .filter_map(|(_, name)| name.parse::<Name>().ok());
        for name in names.filter(|name| world.is_lost(name)) {
            let Some(record) = records.get(&name) else {
                continue;
            };
            let host = &record.spec.host;
            let message = format!("the data of {name} was on host {host}, which is gone");
            let help = format!(
                "bring {host} back; or, if the data may be lost or stands elsewhere, forget it: wright instance forget {}",
                record.spec.id
            );
            let mut warning = app.place.error("store-lost", message).help(help);
            warning.severity = Severity::Warning;
            found.push(warning);
        }
    }
    found
}

/// What is done with an instance that is wanted.
pub(super) fn wanted(app: &App, slot: &Slot, spec: InstanceSpec, world: &World<'_>) -> Planned {
    let record = world.observed.records.get(&slot.name);
    let mut planned = Planned {
        spec,
        action: Action::Create,
        before: None,
        new_package: true,
        layer: app.layer,
    };
    let Some(record) = record else { return planned };
    if world.has_lost(record) {
        planned.spec = record.spec.clone();
        planned.action = Action::Keep;
        planned.new_package = false;
        return planned;
    }
    if record.spec.host != planned.spec.host {
        planned.action = Action::Move {
            from: record.spec.host.clone(),
        };
        return planned;
    }
    if record.traffic != Traffic::On {
        planned.action = Action::Update {
            why: vec!["it is not in service".to_owned()],
        };
    } else if record.spec == planned.spec {
        planned.action = Action::Keep;
        planned.new_package = false;
    } else {
        planned.before = Some(record.spec_digest);
        planned.new_package = record.spec.package != planned.spec.package;
        planned.action = Action::Update {
            why: differences(&record.spec, &planned.spec),
        };
    }
    planned
}

fn differences(old: &InstanceSpec, new: &InstanceSpec) -> Vec<String> {
    let mut why = Vec::new();
    if old.package != new.package {
        let same_version = old.package.version == new.package.version;
        why.push(match same_version {
            true => format!("package {} with other content", new.package),
            false => format!("package {} -> {}", old.package, new.package),
        });
    }
    let content = |spec: &InstanceSpec| -> BTreeMap<String, String> {
        spec.files
            .iter()
            .map(|file| (file.path.clone(), file.content.clone()))
            .collect()
    };
    changed_keys("configuration", &content(old), &content(new), &mut why);
    changed_keys("environment", &old.env, &new.env, &mut why);
    let ports = |spec: &InstanceSpec| -> BTreeMap<String, String> {
        spec.ports
            .iter()
            .map(|(name, port)| (name.to_string(), port.to_string()))
            .collect()
    };
    changed_keys("port", &ports(old), &ports(new), &mut why);
    if old.limits != new.limits {
        why.push("resources".to_owned());
    }
    if (&old.ready, old.ready_within) != (&new.ready, new.ready_within) {
        why.push("readiness check".to_owned());
    }
    if old.address != new.address {
        why.push(format!("address {} -> {}", old.address, new.address));
    }
    if old.store != new.store {
        why.push("whether it keeps data".to_owned());
    }
    why
}

/// Names what differs, never the values: they may hold what people consider private.
fn changed_keys(
    what: &str,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    why: &mut Vec<String>,
) {
    for key in new.keys().filter(|key| old.get(*key) != new.get(*key)) {
        why.push(format!("{what} {key}"));
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        why.push(format!("{what} {key} removed"));
    }
}

/// Instances that are there and no longer wanted.
pub(super) struct Removal {
    pub planned: BTreeMap<Name, Planned>,
    pub forget: Vec<Name>,
    pub warnings: Vec<Diagnostic>,
}

/// Whether a site wants an instance of this name.
fn is_wanted(name: &Name, desired: &Desired) -> bool {
    let Some((app, ordinal)) = name.as_str().rsplit_once('-') else {
        return false;
    };
    let number = ordinal.parse::<u32>().ok();
    // Written as names are: `web-01` is none.
    let number = number.filter(|number| number.to_string() == ordinal);
    let app = desired.apps.get(app);
    number
        .zip(app)
        .is_some_and(|(number, app)| (1..=app.instances).contains(&number))
}

pub(super) fn removals(desired: &Desired, world: &World<'_>) -> Removal {
    let records = world.observed.records.iter();
    remove(records.filter(|(name, _)| !is_wanted(name, desired)), world)
}

pub(super) fn remove<'a>(
    records: impl Iterator<Item = (&'a Name, &'a InstanceRecord)>,
    world: &World<'_>,
) -> Removal {
    let mut removal = Removal {
        planned: BTreeMap::new(),
        forget: Vec::new(),
        warnings: Vec::new(),
    };
    for (name, record) in records {
        if !world.live.contains_key(&record.spec.host) {
            removal.forget.push(name.clone());
            continue;
        }
        if record.spec.store {
            let message = format!(
                "{name} keeps data on {}: it is deleted with it",
                record.spec.host
            );
            let mut warning = Diagnostic::error("store-removed", message)
                .help("save what is needed before you agree");
            warning.severity = Severity::Warning;
            removal.warnings.push(warning);
        }
        let layer = world
            .observed
            .apps
            .get(&record.spec.app)
            .map_or(0, |app| app.layer);
        let spec = record.spec.clone();
        let planned = Planned {
            spec,
            action: Action::Remove,
            before: None,
            new_package: false,
            layer,
        };
        removal.planned.insert(name.clone(), planned);
    }
    removal
}
