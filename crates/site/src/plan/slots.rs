use std::collections::{BTreeMap, BTreeSet};

use wright_model::{ByteSize, Capacity, CpuShare, Diagnostic, Host, HostState, Limits, Name};
use wright_placement::{HostOffer, Refusal, Rule, Spread, Want, place};

use super::{
    decide,
    types::{Observed, PlannedHost},
};
use crate::{
    desired::{App, Desired, Place, PortWant},
    render::{Slot, Topology},
};

/// Ports handed out where a baseline says `auto`.
const AUTO_PORTS: std::ops::RangeInclusive<u16> = 20_000..=29_999;

/// Live hosts and what other sites have taken of them.
pub(super) fn hosts(observed: &Observed) -> BTreeMap<Name, PlannedHost> {
    let mut hosts: BTreeMap<Name, PlannedHost> = BTreeMap::new();
    for (name, host) in observed.live_hosts() {
        let taken = Limits {
            cpu: CpuShare::default(),
            memory: ByteSize::default(),
        };
        let ports = BTreeMap::new();
        let host = PlannedHost {
            address: host.address,
            capacity: host.capacity,
            taken,
            ports,
        };
        hosts.insert(name.clone(), host);
    }
    for other in &observed.others {
        let Some(host) = hosts.get_mut(&other.host) else {
            continue;
        };
        let (taken, asked) = (host.taken, other.limits);
        host.taken = Limits {
            cpu: CpuShare::from_millis(taken.cpu.millis().saturating_add(asked.cpu.millis())),
            memory: ByteSize::from_bytes(taken.memory.bytes().saturating_add(asked.memory.bytes())),
        };
        let ports = other
            .ports
            .values()
            .map(|port| (*port, other.id.to_string()));
        host.ports.extend(ports);
    }
    hosts
}

fn offers(hosts: &BTreeMap<Name, PlannedHost>, observed: &Observed) -> Vec<HostOffer> {
    let live = observed.live_hosts();
    let open = |name: &Name| {
        live.get(name)
            .is_some_and(|h: &&Host| h.state == HostState::Ready)
    };
    let offer = |(name, host): (&Name, &PlannedHost)| HostOffer {
        name: name.clone(),
        address: host.address,
        capacity: host.capacity,
        free: Capacity {
            cpu: CpuShare::from_millis(
                host.capacity
                    .cpu
                    .millis()
                    .saturating_sub(host.taken.cpu.millis()),
            ),
            memory: ByteSize::from_bytes(
                host.capacity
                    .memory
                    .bytes()
                    .saturating_sub(host.taken.memory.bytes()),
            ),
        },
        used_ports: host.ports.clone(),
        apps: BTreeMap::new(),
        open: open(name),
    };
    hosts.iter().map(offer).collect()
}

/// The host an instance must stay on: where an earlier plan of this job put it, or where it is.
fn pin(name: &Name, observed: &Observed, hosts: &BTreeMap<Name, PlannedHost>) -> Option<Name> {
    let record = observed.records.get(name).map(|record| &record.spec.host);
    let candidates = [observed.pins.get(name), record];
    candidates
        .into_iter()
        .flatten()
        .find(|host| hosts.contains_key(*host))
        .cloned()
}

/// Places every instance and gives it its ports.
pub(super) fn slots(desired: &Desired, observed: &Observed) -> Result<Topology, Vec<Diagnostic>> {
    let hosts = hosts(observed);
    let mut wants = Vec::new();
    let mut of_instance: BTreeMap<Name, (&App, u32)> = BTreeMap::new();
    for app in desired.apps.values() {
        for (ordinal, name) in app.instance_names() {
            let Ok(name) = name.parse::<Name>() else {
                continue;
            };
            if of_instance.insert(name.clone(), (app, ordinal)).is_some() {
                let message = format!("two instances would be called `{name}`");
                let help = "rename one of the apps";
                return Err(vec![app.place.error("duplicate-app", message).help(help)]);
            }
            if decide::is_lost(&name, observed) {
                continue;
            }
            let pinned = pin(&name, observed, &hosts);
            wants.push(want(app, name, pinned));
        }
    }
    let placed = place(&offers(&hosts, observed), &wants).map_err(|refusals| {
        let place = |r: &Refusal| {
            of_instance
                .get(&r.instance)
                .map(|(app, _)| app.place.clone())
        };
        let found = refusals
            .iter()
            .map(|r| refusal(r, &place(r).unwrap_or_default()));
        found.collect::<Vec<_>>()
    })?;
    let mut topology: Topology = BTreeMap::new();
    for placed in placed {
        let Some((app, ordinal)) = of_instance.get(&placed.instance) else {
            continue;
        };
        let slot = Slot {
            name: placed.instance,
            ordinal: *ordinal,
            host: placed.host,
            address: placed.address,
            ports: fixed(app).collect(),
        };
        topology.entry(app.name.clone()).or_default().push(slot);
    }
    for (name, (app, ordinal)) in of_instance
        .iter()
        .filter(|(name, _)| decide::is_lost(name, observed))
    {
        topology
            .entry(app.name.clone())
            .or_default()
            .extend(slot_there(name, *ordinal, observed));
    }
    for slots in topology.values_mut() {
        slots.sort_by_key(|slot| slot.ordinal);
    }
    auto_ports(desired, observed, &hosts, &mut topology)?;
    Ok(topology)
}

/// The slot of an instance as it is recorded.
fn slot_there(name: &Name, ordinal: u32, observed: &Observed) -> Option<Slot> {
    let spec = &observed.records.get(name)?.spec;
    let (host, address, ports) = (spec.host.clone(), spec.address, spec.ports.clone());
    Some(Slot {
        name: name.clone(),
        ordinal,
        host,
        address,
        ports,
    })
}

fn fixed(app: &App) -> impl Iterator<Item = (Name, u16)> {
    app.ports.iter().filter_map(|(name, port)| match port {
        PortWant::Fixed(number) => Some((name.clone(), *number)),
        PortWant::Auto => None,
    })
}

fn want(app: &App, instance: Name, pinned: Option<Name>) -> Want {
    Want {
        instance,
        app: app.name.clone(),
        cpu: app.limits.cpu,
        memory: app.limits.memory,
        ports: fixed(app).map(|(_, number)| number).collect(),
        away_from: app.away_from.iter().cloned().collect(),
        // Two copies of the data on one host would be lost together.
        spread: if app.store {
            Spread::Require
        } else {
            Spread::Prefer
        },
        pinned,
    }
}

fn refusal(refusal: &Refusal, place: &Place) -> Diagnostic {
    let help = match refusal.rule {
        Rule::Memory => "lower `resources.memory`, remove instances, or add hosts",
        Rule::Cpu => "lower `resources.cpu`, remove instances, or add hosts",
        Rule::Port => "write another port or `auto`, lower `instances`, or add hosts",
        Rule::AwayFrom => "remove the app from `away-from`, or add hosts",
        Rule::Spread => "lower `instances`, or add hosts: instances of a store never share one",
        Rule::Closed if refusal.hosts.is_empty() => "add a host",
        Rule::Closed => "wait until a host is ready, or add one",
        Rule::Pinned => "bring the host back, or remove the instance first",
    };
    place.error("no-host", refusal.to_string()).help(help)
}

/// Gives every `auto` port a number: the one it has, or the lowest that is free on its host.
fn auto_ports(
    desired: &Desired,
    observed: &Observed,
    hosts: &BTreeMap<Name, PlannedHost>,
    topology: &mut Topology,
) -> Result<(), Vec<Diagnostic>> {
    let mut taken: BTreeMap<Name, BTreeSet<u16>> = hosts
        .iter()
        .map(|(name, host)| (name.clone(), host.ports.keys().copied().collect()))
        .collect();
    for slot in topology.values().flatten() {
        taken
            .entry(slot.host.clone())
            .or_default()
            .extend(slot.ports.values());
    }
    let autos = |app: &App| {
        let autos = app
            .ports
            .iter()
            .filter(|(_, port)| **port == PortWant::Auto);
        autos.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    // First what is kept, so that nobody new takes it.
    for (name, app) in &desired.apps {
        for slot in topology.get_mut(name).into_iter().flatten() {
            for port in autos(app) {
                let Some(number) = kept_port(observed, slot, &port) else {
                    continue;
                };
                if taken.entry(slot.host.clone()).or_default().insert(number) {
                    slot.ports.insert(port, number);
                }
            }
        }
    }
    for (name, app) in &desired.apps {
        for slot in topology.get_mut(name).into_iter().flatten() {
            for port in autos(app) {
                if slot.ports.contains_key(&port) {
                    continue;
                }
                let taken = taken.entry(slot.host.clone()).or_default();
                let Some(number) = AUTO_PORTS
                    .into_iter()
                    .find(|number| !taken.contains(number))
                else {
                    let message = format!("host {} has no free port for {}", slot.host, slot.name);
                    return Err(vec![app.place.error("no-host", message).help("add hosts")]);
                };
                taken.insert(number);
                slot.ports.insert(port, number);
            }
        }
    }
    Ok(())
}

fn kept_port(observed: &Observed, slot: &Slot, port: &Name) -> Option<u16> {
    let there = &observed.records.get(&slot.name)?.spec;
    let number = there
        .ports
        .get(port)
        .copied()
        .filter(|_| there.host == slot.host);
    number.filter(|number| AUTO_PORTS.contains(number))
}
