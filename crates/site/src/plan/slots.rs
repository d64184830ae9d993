use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use wright_model::{ByteSize, Capacity, CpuShare, Diagnostic, Digest, HostState, Limits, Name};
use wright_placement::{HostOffer, Refusal, Rule, Spread, Want, place};

use super::types::{Observed, PlannedHost, World};
use crate::{
    desired::{App, Desired, Place, PortWant},
    pieces::{KnownApp, Parts, digest_of},
    render::{Slot, Topology},
};

/// Where every instance is, and what hosts there are.
#[derive(Debug)]
pub(crate) struct Placed {
    pub hosts: BTreeMap<Name, PlannedHost>,
    /// Of the hosts.
    pub digest: Digest,
    pub topology: Topology,
    /// Of each app's slots.
    pub digests: BTreeMap<Name, Digest>,
}

impl Placed {
    /// Places every instance and gives it its ports.
    pub fn of(desired: &Desired, world: &World<'_>) -> Result<Self, Vec<Diagnostic>> {
        let hosts = hosts(world);
        let topology = slots(desired, world, &hosts)?;
        let digest = |(name, slots): (&Name, &Vec<Slot>)| {
            let mut parts = Parts::of("slots");
            for slot in slots {
                parts.name(&slot.name);
                parts.name(&slot.host);
                parts.address(slot.address);
                parts.add(&slot.ports.len().to_le_bytes());
                for (port, number) in &slot.ports {
                    parts.name(port);
                    parts.add(&number.to_le_bytes());
                }
            }
            (name.clone(), parts.seal())
        };
        Ok(Placed {
            digest: digest_of(&hosts),
            digests: topology.iter().map(digest).collect(),
            hosts,
            topology,
        })
    }

    /// The digest of all that decides where instances are.
    pub fn key(known: &[Arc<KnownApp>], world: &World<'_>) -> Digest {
        let Observed {
            hosts,
            others,
            records,
            pins,
            ..
        } = world.observed;
        let mut parts = Parts::of("placed");
        for app in known {
            parts.name(&app.app.name);
            parts.add(app.wants.as_bytes());
        }
        parts.add(b"hosts");
        for host in hosts {
            let Capacity { cpu, memory } = host.capacity;
            parts.name(&host.name);
            parts.address(host.address);
            parts.add(&u64::from(cpu.millis()).to_le_bytes());
            parts.add(&memory.bytes().to_le_bytes());
            parts.add(&[host.state as u8]);
        }
        parts.add(b"others");
        for spec in others {
            let Limits { cpu, memory } = spec.limits;
            parts.add(spec.id.to_string().as_bytes());
            parts.name(&spec.host);
            parts.add(&u64::from(cpu.millis()).to_le_bytes());
            parts.add(&memory.bytes().to_le_bytes());
            parts.add(&spec.ports.len().to_le_bytes());
            for port in spec.ports.values() {
                parts.add(&port.to_le_bytes());
            }
        }
        parts.add(b"records");
        for (name, record) in records {
            parts.name(name);
            parts.add(record.spec_digest.as_bytes());
            parts.add(&[record.traffic as u8]);
        }
        parts.add(b"pins");
        for (name, host) in pins {
            parts.name(name);
            parts.name(host);
        }
        parts.seal()
    }
}

/// Ports handed out where a baseline says `auto`.
const AUTO_PORTS: std::ops::RangeInclusive<u16> = 20_000..=29_999;

/// Live hosts and what other sites have taken of them.
pub(super) fn hosts(world: &World<'_>) -> BTreeMap<Name, PlannedHost> {
    let mut hosts: BTreeMap<Name, PlannedHost> = BTreeMap::new();
    for (name, host) in &world.live {
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
        hosts.insert((*name).clone(), host);
    }
    for other in &world.observed.others {
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

fn offers(hosts: &BTreeMap<Name, PlannedHost>, world: &World<'_>) -> Vec<HostOffer> {
    let open = |name: &Name| {
        let host = world.live.get(name);
        host.is_some_and(|host| host.state == HostState::Ready)
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
fn slots(
    desired: &Desired,
    world: &World<'_>,
    hosts: &BTreeMap<Name, PlannedHost>,
) -> Result<Topology, Vec<Diagnostic>> {
    let observed = world.observed;
    let mut wants = Vec::new();
    let mut of_instance: BTreeMap<Name, (&App, u32)> = BTreeMap::new();
    for app in desired.apps.values() {
        let app: &App = app;
        for (ordinal, name) in app.instance_names() {
            let Ok(name) = name.parse::<Name>() else {
                continue;
            };
            if of_instance.insert(name.clone(), (app, ordinal)).is_some() {
                let message = format!("two instances would be called `{name}`");
                let help = "rename one of the apps";
                return Err(vec![app.place.error("duplicate-app", message).help(help)]);
            }
            if world.is_lost(&name) {
                continue;
            }
            let pinned = pin(&name, observed, hosts);
            wants.push(want(app, name, pinned));
        }
    }
    let placed = place(&offers(hosts, world), &wants)
        .map_err(|refusals| refused(&refusals, &of_instance))?;
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
    for (name, (app, ordinal)) in of_instance.iter().filter(|(name, _)| world.is_lost(name)) {
        topology
            .entry(app.name.clone())
            .or_default()
            .extend(slot_there(name, *ordinal, observed));
    }
    for slots in topology.values_mut() {
        slots.sort_by_key(|slot| slot.ordinal);
    }
    auto_ports(desired, observed, hosts, &mut topology)?;
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

/// One finding for each app that does not fit, by the first of its instances that no host takes.
fn refused(refusals: &[Refusal], of_instance: &BTreeMap<Name, (&App, u32)>) -> Vec<Diagnostic> {
    let mut by_app: BTreeMap<&Name, (&App, &Refusal, usize)> = BTreeMap::new();
    for refusal in refusals {
        if let Some((app, _)) = of_instance.get(&refusal.instance) {
            let entry = by_app.entry(&app.name).or_insert((app, refusal, 0));
            entry.2 += 1;
        }
    }
    let finding = |(app, refusal, count)| refusal_of(app, refusal, count);
    by_app.into_values().map(finding).collect()
}

/// What is said of this many instances of an app that no host takes, the first of them refused so.
fn refusal_of(app: &App, refusal: &Refusal, count: usize) -> Diagnostic {
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
    let more = match count {
        0 | 1 => String::new(),
        count => format!("; nor {} more of {}", count - 1, app.name),
    };
    let place: &Place = &app.place;
    place
        .error("no-host", format!("{refusal}{more}"))
        .help(help)
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
