use std::collections::{BTreeMap, BTreeSet};

use wright_model::Name;

use crate::{HostOffer, HostRefusal, Rule, Spread, Want};

/// A host's load: the fuller of processors and memory in thousandths, then instances, then the
/// host's rank by name. Ordered, so that the emptiest host comes first.
type Load = (u32, u32, usize);

/// What is left of every host while instances are placed.
pub(crate) struct Ledger<'a> {
    hosts: Vec<Left<'a>>,
    rank: BTreeMap<&'a Name, usize>,
    by_load: BTreeSet<Load>,
    /// The hosts that have an app, fewest instances first.
    by_app: BTreeMap<&'a Name, BTreeSet<(u32, Load)>>,
    /// Pairs of apps that must not share a host, both ways.
    apart: BTreeMap<&'a Name, BTreeSet<&'a Name>>,
}

struct Left<'a> {
    offer: &'a HostOffer,
    cpu: u32,
    memory: u64,
    placed: u32,
    ports: BTreeMap<u16, String>,
    apps: BTreeMap<&'a Name, u32>,
}

fn permille(free: u64, capacity: u64) -> u32 {
    if capacity == 0 {
        return 1000;
    }
    let used = u128::from(capacity.saturating_sub(free)) * 1000 / u128::from(capacity);
    u32::try_from(used).unwrap_or(1000)
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(offers: &'a [HostOffer], wants: &'a [Want]) -> Self {
        let mut sorted: Vec<_> = offers.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        let mut apart: BTreeMap<&Name, BTreeSet<&Name>> = BTreeMap::new();
        for want in wants {
            for other in &want.away_from {
                apart.entry(&want.app).or_default().insert(other);
                apart.entry(other).or_default().insert(&want.app);
            }
        }
        let mut ledger = Ledger {
            hosts: Vec::with_capacity(sorted.len()),
            rank: sorted
                .iter()
                .enumerate()
                .map(|(rank, host)| (&host.name, rank))
                .collect(),
            by_load: BTreeSet::new(),
            by_app: BTreeMap::new(),
            apart,
        };
        for (rank, offer) in sorted.into_iter().enumerate() {
            ledger.hosts.push(Left {
                offer,
                cpu: offer.free.cpu.millis(),
                memory: offer.free.memory.bytes(),
                placed: 0,
                ports: offer.used_ports.clone(),
                apps: offer
                    .apps
                    .iter()
                    .map(|(app, count)| (app, *count))
                    .collect(),
            });
            ledger.index(rank);
        }
        ledger
    }

    pub(crate) fn rank_of(&self, host: &Name) -> Option<usize> {
        self.rank.get(host).copied()
    }

    pub(crate) fn offer(&self, rank: usize) -> &'a HostOffer {
        self.hosts[rank].offer
    }

    /// Hosts without an instance of the app, emptiest first.
    pub(crate) fn without(&self, app: &'a Name) -> impl Iterator<Item = usize> {
        let ranks = self.by_load.iter().map(|load| load.2);
        ranks.filter(move |rank| !self.hosts[*rank].apps.contains_key(app))
    }

    /// Hosts with an instance of the app, fewest of it first, then emptiest.
    pub(crate) fn with(&self, app: &'a Name) -> impl Iterator<Item = usize> {
        self.by_app
            .get(app)
            .into_iter()
            .flatten()
            .map(|(_, load)| load.2)
    }

    pub(crate) fn all(&self) -> std::ops::Range<usize> {
        0..self.hosts.len()
    }

    /// The first rule by which a host refuses an instance.
    pub(crate) fn refusal(&self, rank: usize, want: &Want) -> Option<HostRefusal> {
        let left = &self.hosts[rank];
        let (rule, detail) = self.broken(left, want)?;
        Some(HostRefusal {
            host: left.offer.name.clone(),
            rule,
            detail,
        })
    }

    fn broken(&self, left: &Left<'_>, want: &Want) -> Option<(Rule, String)> {
        if want.pinned.is_none() && !left.offer.open {
            return Some((Rule::Closed, "takes no new instances now".to_owned()));
        }
        if let Some((port, owner)) = want.ports.iter().find_map(|p| left.ports.get_key_value(p)) {
            return Some((Rule::Port, format!("port {port} is taken by {owner}")));
        }
        let apart = self.apart.get(&want.app).into_iter().flatten();
        if let Some(app) = apart.copied().find(|app| left.apps.contains_key(*app)) {
            return Some((
                Rule::AwayFrom,
                format!("{app} is there, and they must be apart"),
            ));
        }
        if want.spread == Spread::Require && left.apps.contains_key(&want.app) {
            let detail = format!(
                "{} is there already, and it needs a host for each",
                want.app
            );
            return Some((Rule::Spread, detail));
        }
        if left.memory < want.memory.bytes() {
            let free = wright_model::ByteSize::from_bytes(left.memory);
            return Some((Rule::Memory, format!("{free} free, {} asked", want.memory)));
        }
        if left.cpu < want.cpu.millis() {
            let free = wright_model::CpuShare::from_millis(left.cpu);
            return Some((
                Rule::Cpu,
                format!("{free} processors free, {} asked", want.cpu),
            ));
        }
        None
    }

    /// Takes what an instance wants from a host that does not refuse it.
    pub(crate) fn take(&mut self, rank: usize, want: &'a Want) {
        self.unindex(rank);
        let left = &mut self.hosts[rank];
        left.cpu = left.cpu.saturating_sub(want.cpu.millis());
        left.memory = left.memory.saturating_sub(want.memory.bytes());
        left.placed += 1;
        left.ports.extend(
            want.ports
                .iter()
                .map(|port| (*port, want.instance.to_string())),
        );
        *left.apps.entry(&want.app).or_default() += 1;
        self.index(rank);
    }

    fn load(&self, rank: usize) -> Load {
        let left = &self.hosts[rank];
        let capacity = &left.offer.capacity;
        let cpu = permille(u64::from(left.cpu), u64::from(capacity.cpu.millis()));
        let memory = permille(left.memory, capacity.memory.bytes());
        (cpu.max(memory), left.placed, rank)
    }

    fn index(&mut self, rank: usize) {
        let load = self.load(rank);
        self.by_load.insert(load);
        for (app, count) in &self.hosts[rank].apps {
            self.by_app.entry(app).or_default().insert((*count, load));
        }
    }

    fn unindex(&mut self, rank: usize) {
        let load = self.load(rank);
        self.by_load.remove(&load);
        for (app, count) in &self.hosts[rank].apps {
            if let Some(hosts) = self.by_app.get_mut(app) {
                hosts.remove(&(*count, load));
            }
        }
    }
}
