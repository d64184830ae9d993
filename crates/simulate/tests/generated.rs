//! Generated sites are sites: they resolve, can be planned and break no invariant.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::Timestamp;
use wright_model::{Capacity, CpuShare, Digest, Host, HostState, Name, PackageId};
use wright_simulate::{Blueprint, GraphWant, addresses};
use wright_site::{Bundle, Observed, Offer, lint, plan, resolve};

fn offers() -> Vec<Offer> {
    let id = PackageId {
        name: "simulated".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        digest: Digest::of(b"simulated"),
    };
    let platform = "any".to_owned();
    vec![Offer { id, platform }]
}

fn hosts(count: u32) -> Vec<Host> {
    let host = |(number, address): (usize, std::net::Ipv4Addr)| Host {
        name: format!("sim{}", number + 1).parse::<Name>().unwrap(),
        address: address.into(),
        provider: "simulated".parse().unwrap(),
        capacity: Capacity {
            cpu: CpuShare::from_millis(4000),
            memory: "8GiB".parse().unwrap(),
        },
        state: HostState::Ready,
        since: Timestamp::UNIX_EPOCH,
        reason: String::new(),
    };
    addresses(count).enumerate().map(host).collect()
}

fn planned(apps: usize, instances: u32, layers: usize, count: u32) -> wright_site::Plan {
    let seed = 5;
    let want = GraphWant {
        apps,
        instances,
        layers,
        seed,
    };
    let bundle = Bundle {
        root: "site.yaml".to_owned(),
        files: Blueprint::generate(&want).unwrap().files("generated"),
    };
    let desired = resolve(&bundle, &offers()).unwrap_or_else(|found| panic!("{found:#?}"));
    let observed = Observed {
        hosts: hosts(count),
        ..Observed::default()
    };
    plan(&desired, &observed, 0).unwrap_or_else(|found| panic!("{found:#?}"))
}

#[test]
fn a_generated_site_is_planned_and_breaks_no_invariant() {
    let plan = planned(60, 200, 6, 30);
    assert_eq!(plan.instances.len(), 200);
    assert_eq!(lint(&plan), []);
}

#[test]
fn its_package_builds() {
    let directory = tempfile::tempdir().unwrap();
    let want = GraphWant {
        apps: 3,
        instances: 3,
        layers: 2,
        seed: 1,
    };
    let site = Blueprint::generate(&want).unwrap();
    site.write("generated", directory.path()).unwrap();
    let manifest = std::fs::read_to_string(directory.path().join("package/package.toml")).unwrap();
    assert!(wright_package::Manifest::parse(&manifest, "package.toml").is_ok());
    let bundle = wright_site::bundle::collect(&directory.path().join("site.yaml")).unwrap();
    assert_eq!(bundle.files, site.files("generated"));
}
