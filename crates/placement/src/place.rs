use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};
use wright_model::{ByteSize, Capacity, CpuShare, Name};

use crate::{HostRefusal, Refusal, Rule, ledger::Ledger};

/// What one host offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostOffer {
    /// Unique among the offers.
    pub name: Name,
    /// Where its programs listen.
    pub address: IpAddr,
    /// All it can carry.
    pub capacity: Capacity,
    /// What is left of it, without the instances that are placed now.
    pub free: Capacity,
    /// Ports that are taken, and by whom.
    pub used_ports: BTreeMap<u16, String>,
    /// Apps that are there and are not placed now, with the number of their instances.
    pub apps: BTreeMap<Name, u32>,
    /// Whether it takes new instances; those pinned to it stay in any case.
    pub open: bool,
}

/// Whether two instances of one app may share a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// They go to different hosts as long as there are some.
    Prefer,
    /// They never do.
    Require,
}

/// What one instance wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Unique among the wants.
    pub instance: Name,
    /// The app it is an instance of.
    pub app: Name,
    /// Processors.
    pub cpu: CpuShare,
    /// Memory.
    pub memory: ByteSize,
    /// Fixed ports.
    pub ports: BTreeSet<u16>,
    /// Apps that must not be on its host.
    pub away_from: BTreeSet<Name>,
    /// Whether it may share a host with another of its app.
    pub spread: Spread,
    /// The host it must be on.
    pub pinned: Option<Name>,
}

/// Where one instance goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The instance.
    pub instance: Name,
    /// Its host.
    pub host: Name,
    /// The host's address.
    pub address: IpAddr,
}

/// Places every instance, or says for each that fits nowhere why every host refuses it.
///
/// Pinned instances first, then the largest. Each goes to the host with the fewest instances of
/// its app, among those to the least loaded, among those to the first by name. The answer is in
/// the order of instance names.
///
/// With `n` hosts and `m` instances this takes about `m log n`, as long as most hosts that have
/// room take an instance.
///
/// # Errors
/// One [`Refusal`] for every instance that fits nowhere.
pub fn place(hosts: &[HostOffer], wants: &[Want]) -> Result<Vec<Placed>, Vec<Refusal>> {
    let mut ledger = Ledger::new(hosts, wants);
    let mut order: Vec<&Want> = wants.iter().collect();
    order.sort_by_key(|w| {
        (
            w.pinned.is_none(),
            Reverse((w.memory, w.cpu)),
            &w.app,
            &w.instance,
        )
    });

    let mut placed = Vec::with_capacity(wants.len());
    let mut refusals = Vec::new();
    // Apps for which every host without an instance of theirs has refused: hosts only get fuller
    // and instances of one app want the same, so asking again would give the same answer.
    let mut no_fresh_host: BTreeSet<(&Name, CpuShare, ByteSize)> = BTreeSet::new();
    for want in order {
        let chosen = match &want.pinned {
            Some(host) => pinned(&ledger, want, host),
            None => free(&ledger, want, &mut no_fresh_host),
        };
        match chosen {
            Ok(rank) => {
                ledger.take(rank, want);
                let offer = ledger.offer(rank);
                placed.push(Placed {
                    instance: want.instance.clone(),
                    host: offer.name.clone(),
                    address: offer.address,
                });
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    if !refusals.is_empty() {
        refusals.sort_by(|a, b| a.instance.cmp(&b.instance));
        return Err(refusals);
    }
    placed.sort_by(|a, b| a.instance.cmp(&b.instance));
    Ok(placed)
}

fn pinned(ledger: &Ledger<'_>, want: &Want, host: &Name) -> Result<usize, Refusal> {
    let refusal = match ledger.rank_of(host) {
        Some(rank) => match ledger.refusal(rank, want) {
            None => return Ok(rank),
            Some(refusal) => refusal,
        },
        None => HostRefusal {
            host: host.clone(),
            rule: Rule::Pinned,
            detail: "it must stay there, and the host is gone".to_owned(),
        },
    };
    Err(Refusal::new(want.instance.clone(), vec![refusal]))
}

fn free<'a>(
    ledger: &Ledger<'a>,
    want: &'a Want,
    no_fresh_host: &mut BTreeSet<(&'a Name, CpuShare, ByteSize)>,
) -> Result<usize, Refusal> {
    let takes = |rank: &usize| ledger.refusal(*rank, want).is_none();
    let shape = (&want.app, want.cpu, want.memory);
    if !no_fresh_host.contains(&shape) {
        if let Some(rank) = ledger.without(&want.app).find(takes) {
            return Ok(rank);
        }
        no_fresh_host.insert(shape);
    }
    ledger.with(&want.app).find(takes).ok_or_else(|| {
        let hosts = ledger
            .all()
            .filter_map(|rank| ledger.refusal(rank, want))
            .collect();
        Refusal::new(want.instance.clone(), hosts)
    })
}
