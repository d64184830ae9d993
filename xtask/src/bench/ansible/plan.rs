//! What `wright site plan -o json` says of a site, as far as a peer needs it to build the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::Deserialize;
use wright_model::{Check, InstanceSpec, Name};
use wright_route::{DEFAULT_WEIGHT, Endpoint, Table};

/// A site's plan.
#[derive(Debug, Deserialize)]
pub struct Plan {
    /// The site.
    pub site: Name,
    /// Its hosts.
    pub hosts: BTreeMap<Name, Host>,
    /// Its instances.
    pub instances: BTreeMap<Name, Planned>,
    /// Its apps.
    pub apps: BTreeMap<Name, App>,
}

/// A host.
#[derive(Debug, Deserialize)]
pub struct Host {
    /// Where its programs listen.
    pub address: IpAddr,
}

/// An instance.
#[derive(Debug, Deserialize)]
pub struct Planned {
    /// Everything there is to know of it.
    pub spec: InstanceSpec,
    /// Its app's layer; 0: needs nothing.
    pub layer: usize,
}

/// An app.
#[derive(Debug, Deserialize)]
pub struct App {
    /// What it needs.
    pub needs: Vec<Need>,
    /// Ports by which others reach it.
    pub provides: Vec<Name>,
    /// Secrets it asks for.
    pub secrets: BTreeMap<Name, Secret>,
    /// Checks of each of its instances.
    pub verify: Vec<Check>,
}

/// An app that another needs.
#[derive(Debug, Deserialize)]
pub struct Need {
    /// The app.
    pub app: Name,
    /// Whether its readiness is waited for.
    pub gate: bool,
}

/// A secret that an app asks for.
#[derive(Debug, Deserialize)]
pub struct Secret {
    /// Characters.
    pub length: usize,
}

impl Plan {
    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.instances
            .values()
            .map(|planned| planned.layer + 1)
            .max()
            .unwrap_or(0)
    }

    /// The instances that must be ready before an app may start.
    pub fn gates<'a>(&'a self, app: &Name) -> impl Iterator<Item = &'a Planned> {
        let needs = self.apps.get(app).into_iter().flat_map(|app| &app.needs);
        let gates: BTreeSet<_> = needs
            .filter(|need| need.gate)
            .map(|need| need.app.clone())
            .collect();
        self.instances
            .values()
            .filter(move |planned| gates.contains(&planned.spec.app))
    }

    /// The service table of the finished site.
    pub fn table(&self) -> Table {
        let mut services: BTreeMap<Name, Vec<Endpoint>> = BTreeMap::new();
        for (name, planned) in &self.instances {
            let spec = &planned.spec;
            let Some(app) = self.apps.get(&spec.app) else {
                continue;
            };
            let provided = spec
                .ports
                .iter()
                .filter(|(port, _)| app.provides.contains(port));
            services
                .entry(spec.app.clone())
                .or_default()
                .push(Endpoint {
                    instance: name.clone(),
                    host: spec.host.clone(),
                    address: spec.address,
                    ports: provided.map(|(name, port)| (name.clone(), *port)).collect(),
                    weight: DEFAULT_WEIGHT,
                });
        }
        Table {
            revision: 1,
            sites: BTreeMap::from([(self.site.clone(), services)]),
        }
    }
}
