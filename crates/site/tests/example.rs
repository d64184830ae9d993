//! The example site is one that can be planned.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may

mod common;

use std::path::Path;

use common::*;
use wright_model::{Digest, PackageId, Version, VersionReq};
use wright_site::{Catalog, Offer, bundle, lint, plan, resolve};

/// A store that has every package anybody asks for.
struct Everything;

impl Catalog for Everything {
    fn newest(&self, wanted: &VersionReq) -> Option<Offer> {
        let part = |index: usize| wanted.prefix.get(index).copied().unwrap_or(0);
        let version = Version {
            major: part(0),
            minor: part(1),
            patch: part(2),
        };
        let digest = Digest::of(wanted.to_string().as_bytes());
        let id = PackageId {
            name: wanted.name.clone(),
            version,
            digest,
        };
        Some(Offer {
            id,
            platform: "any".to_owned(),
        })
    }

    fn packages(&self) -> Vec<PackageId> {
        Vec::new()
    }
}

#[test]
fn the_shop_is_planned_on_eight_hosts() {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop/site.yaml");
    let said = |found: Vec<wright_model::Diagnostic>| -> String {
        found.iter().map(|finding| format!("{finding}\n")).collect()
    };
    let bundle = bundle::collect(&site).unwrap_or_else(|found| panic!("{}", said(found)));
    let desired = resolve(&bundle, &Everything).unwrap_or_else(|found| panic!("{}", said(found)));
    let observed = observed(8);
    let plan = plan(&desired, &observed, 0).unwrap_or_else(|found| panic!("{}", said(found)));
    assert_eq!(lint(&plan), []);
    assert!(desired.apps.len() >= 16, "{}", desired.apps.len());
    for (name, app) in desired
        .apps
        .iter()
        .filter(|(_, app)| !app.store && app.instances > 1)
    {
        let hosts: std::collections::BTreeSet<_> = plan
            .instances
            .values()
            .filter(|planned| planned.spec.app == *name)
            .map(|planned| &planned.spec.host)
            .collect();
        assert_eq!(hosts.len(), app.instances as usize, "{name} is not spread");
    }
}
