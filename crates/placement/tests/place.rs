//! Where instances go, and why they do not.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use proptest::prelude::*;
use wright_model::{ByteSize, Capacity, CpuShare, Name};
use wright_placement::{HostOffer, Rule, Spread, Want, place};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn host(number: u8, cpu: u32, mebibytes: u64) -> HostOffer {
    let all = Capacity {
        cpu: CpuShare::from_millis(cpu),
        memory: ByteSize::from_bytes(mebibytes << 20),
    };
    HostOffer {
        name: name(&format!("h{number}")),
        address: Ipv4Addr::new(127, 77, 0, number).into(),
        capacity: all,
        free: all,
        used_ports: BTreeMap::new(),
        apps: BTreeMap::new(),
        open: true,
    }
}

fn want(instance: &str, mebibytes: u64) -> Want {
    let (app, _) = instance.rsplit_once('-').unwrap();
    Want {
        instance: name(instance),
        app: name(app),
        cpu: CpuShare::from_millis(100),
        memory: ByteSize::from_bytes(mebibytes << 20),
        ports: BTreeSet::new(),
        away_from: BTreeSet::new(),
        spread: Spread::Prefer,
        pinned: None,
    }
}

fn hosts_of(hosts: &[HostOffer], wants: &[Want]) -> BTreeMap<String, String> {
    let placed = place(hosts, wants).unwrap();
    placed
        .into_iter()
        .map(|p| (p.instance.to_string(), p.host.to_string()))
        .collect()
}

fn refused(hosts: &[HostOffer], wants: &[Want]) -> (Rule, String) {
    let refusal = place(hosts, wants).unwrap_err().remove(0);
    (refusal.rule, refusal.to_string())
}

#[test]
fn instances_of_one_app_go_to_different_hosts_and_load_is_balanced() {
    let hosts = [host(1, 4000, 1024), host(2, 4000, 1024)];
    let wants = [
        want("a-1", 100),
        want("a-2", 100),
        want("b-1", 300),
        want("c-1", 100),
    ];
    let placed = hosts_of(&hosts, &wants);
    assert_ne!(placed["a-1"], placed["a-2"]);
    assert_ne!(placed["b-1"], placed["c-1"]);
}

#[test]
fn with_fewer_hosts_than_instances_they_share() {
    let hosts = [host(1, 4000, 1024), host(2, 4000, 1024)];
    let wants: Vec<Want> = (1..=4).map(|n| want(&format!("a-{n}"), 10)).collect();
    let placed = hosts_of(&hosts, &wants);
    assert_eq!(placed.values().filter(|host| *host == "h1").count(), 2);
}

#[test]
fn a_pinned_instance_stays_and_is_refused_where_its_host_is_gone() {
    let hosts = [host(1, 4000, 1024), host(2, 4000, 1024)];
    let mut pinned = want("a-1", 100);
    pinned.pinned = Some(name("h2"));
    assert_eq!(hosts_of(&hosts, &[pinned.clone()])["a-1"], "h2");
    let (rule, text) = refused(&hosts[..1], &[pinned]);
    assert_eq!(rule, Rule::Pinned);
    assert_eq!(
        text,
        "no host takes a-1 (rule: pinned): h2: it must stay there, and the host is gone"
    );
}

#[test]
fn each_rule_is_explained_for_its_host() {
    let two = [host(1, 4000, 300), host(2, 50, 1024)];
    let (rule, text) = refused(&two, &[want("a-1", 512)]);
    assert_eq!(rule, Rule::Memory);
    assert_eq!(
        text,
        "no host takes a-1 (rule: memory): h1: 300MiB free, 512MiB asked; h2: 0.05 processors free, 0.1 asked"
    );
}

#[test]
fn a_taken_port_names_its_owner() {
    let mut taken = host(1, 4000, 1024);
    taken.used_ports.insert(8080, "shop/catalog-1".to_owned());
    let mut wants = want("a-1", 10);
    wants.ports.insert(8080);
    let (rule, text) = refused(&[taken], &[wants]);
    assert_eq!(rule, Rule::Port);
    assert!(
        text.ends_with("h1: port 8080 is taken by shop/catalog-1"),
        "{text}"
    );
}

#[test]
fn away_from_holds_both_ways() {
    let hosts = [host(1, 4000, 1024)];
    for (first, second) in [(200, 100), (100, 200)] {
        let mut replica = want("replica-1", first);
        replica.away_from.insert(name("primary"));
        let (rule, _) = refused(&hosts, &[replica, want("primary-1", second)]);
        assert_eq!(rule, Rule::AwayFrom);
    }
}

#[test]
fn required_spread_and_closed_hosts_are_refused() {
    let mut wants = [want("a-1", 10), want("a-2", 10)];
    wants
        .iter_mut()
        .for_each(|want| want.spread = Spread::Require);
    assert_eq!(refused(&[host(1, 4000, 1024)], &wants).0, Rule::Spread);
    let mut closed = host(1, 4000, 1024);
    closed.open = false;
    assert_eq!(
        refused(&[closed.clone()], &[want("a-1", 10)]).0,
        Rule::Closed
    );
    let mut pinned = want("a-1", 10);
    pinned.pinned = Some(name("h1"));
    assert_eq!(hosts_of(&[closed], &[pinned])["a-1"], "h1");
    assert_eq!(
        refused(&[], &[want("a-1", 10)]).1,
        "no host takes a-1 (rule: closed): there is no host"
    );
}

proptest! {
    #[test]
    fn no_host_is_overfull_no_port_is_shared_and_order_does_not_matter(
        sizes in prop::collection::vec((1_u64..200, 0_u16..4), 1..40),
        hosts in 1_u8..8,
        turn in 0_usize..40,
    ) {
        let offers: Vec<HostOffer> = (1..=hosts).map(|n| host(n, 2000, 1024)).collect();
        let mut wants: Vec<Want> = sizes.iter().enumerate().map(|(index, (memory, port))| {
            let mut want = want(&format!("app{}-{index}", index % 5), *memory);
            if *port > 0 {
                want.ports.insert(8000 + port);
            }
            want
        }).collect();
        let first = place(&offers, &wants);
        if let Ok(placed) = &first {
            for offer in &offers {
                let here = placed.iter().filter(|placed| placed.host == offer.name);
                let here: Vec<&Want> = here
                    .filter_map(|placed| wants.iter().find(|want| want.instance == placed.instance))
                    .collect();
                let memory: u64 = here.iter().map(|want| want.memory.bytes()).sum();
                prop_assert!(memory <= offer.free.memory.bytes());
                let ports: Vec<u16> = here.iter().flat_map(|want| want.ports.iter().copied()).collect();
                let distinct: BTreeSet<u16> = ports.iter().copied().collect();
                prop_assert_eq!(ports.len(), distinct.len());
            }
        }
        let length = wants.len();
        wants.rotate_left(turn % length);
        let mut turned = offers.clone();
        turned.reverse();
        prop_assert_eq!(first, place(&turned, &wants));
    }
}
