use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wright_model::Name;

use crate::{Endpoint, Table};

/// What is different between two tables: small where much is the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Difference {
    /// The newer table's revision.
    pub revision: u64,
    /// Services whose endpoints differ, by site, with those of the newer table: none where it has no
    /// such service.
    pub sites: BTreeMap<Name, BTreeMap<Name, Vec<Endpoint>>>,
}

impl Difference {
    /// How many services differ.
    pub fn services(&self) -> usize {
        self.sites.values().map(BTreeMap::len).sum()
    }
}

impl Table {
    /// How many services there are, of all sites.
    pub fn services_in_all(&self) -> usize {
        self.sites.values().map(BTreeMap::len).sum()
    }

    /// Whether both answer every lookup with the same endpoints; revisions may differ.
    pub fn serves_same(&self, other: &Table) -> bool {
        self.sites == other.sites
    }

    /// What makes this table of an older one.
    pub fn difference(&self, older: &Table) -> Difference {
        let mut sites: BTreeMap<Name, BTreeMap<Name, Vec<Endpoint>>> = BTreeMap::new();
        let mut differs = |site: &Name, service: &Name, endpoints: &[Endpoint]| {
            let services = sites.entry(site.clone()).or_default();
            services.insert(service.clone(), endpoints.to_vec());
        };
        for (site, service, endpoints) in self.by_service() {
            if older.endpoints(site, service) != endpoints {
                differs(site, service, endpoints);
            }
        }
        for (site, service, _) in older.by_service() {
            if self.endpoints(site, service).is_empty() {
                differs(site, service, &[]);
            }
        }
        Difference {
            revision: self.revision,
            sites,
        }
    }

    /// Makes of this table the newer one that the difference was taken from.
    pub fn take(&mut self, difference: Difference) {
        self.revision = difference.revision;
        for (site, services) in difference.sites {
            let known = self.sites.entry(site.clone()).or_default();
            for (service, endpoints) in services {
                if endpoints.is_empty() {
                    known.remove(&service);
                } else {
                    known.insert(service, endpoints);
                }
            }
            if known.is_empty() {
                self.sites.remove(&site);
            }
        }
    }

    fn endpoints(&self, site: &Name, service: &Name) -> &[Endpoint] {
        let services = self.sites.get(site);
        let endpoints = services.and_then(|services| services.get(service));
        endpoints.map_or(&[], Vec::as_slice)
    }

    fn by_service(&self) -> impl Iterator<Item = (&Name, &Name, &[Endpoint])> {
        self.sites.iter().flat_map(|(site, services)| {
            let services = services.iter();
            services.map(move |(service, list)| (site, service, list.as_slice()))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A service and the hosts of its instances.
    type Service<'a> = (&'a str, &'a [&'a str]);

    /// A table by sites and services.
    fn table(revision: u64, sites: &[(&str, &[Service<'_>])]) -> Table {
        let endpoint = |(n, host): (usize, &&str)| json!({ "instance": format!("i-{}", n + 1), "host": host, "address": "127.77.0.1", "ports": {} });
        let list = |hosts: &[&str]| hosts.iter().enumerate().map(endpoint).collect::<Vec<_>>();
        let services = |services: &[Service<'_>]| -> BTreeMap<String, Vec<_>> {
            let services = services.iter();
            services
                .map(|(name, hosts)| ((*name).to_owned(), list(hosts)))
                .collect()
        };
        let sites: BTreeMap<_, _> = sites
            .iter()
            .map(|(site, of)| (site, services(of)))
            .collect();
        serde_json::from_value(json!({ "revision": revision, "sites": sites })).unwrap()
    }

    #[test]
    fn a_new_revision_of_the_same_endpoints_is_no_difference() {
        let tables = [1, 9].map(|revision| table(revision, &[("shop", &[("web", &["h1"])])]));
        assert!(tables[0].serves_same(&tables[1]));
        assert!(tables[1].difference(&tables[0]).sites.is_empty());
    }

    #[test]
    fn a_difference_has_only_services_that_differ() {
        let old = table(1, &[("shop", &[("db", &["h1"]), ("web", &["h1", "h2"])])]);
        let new = table(2, &[("shop", &[("db", &["h1"]), ("web", &["h1", "h3"])])]);
        let difference = new.difference(&old);
        let services = difference.sites.values().flat_map(BTreeMap::keys);
        let services: Vec<&str> = services.map(Name::as_str).collect();
        assert_eq!(services, ["web"]);
    }

    #[test]
    fn the_older_table_and_the_difference_make_the_newer_one() {
        let tables = [
            Table::default(),
            table(1, &[("shop", &[("web", &["h1"])])]),
            table(2, &[("shop", &[("db", &["h4"]), ("web", &["h1", "h2"])])]),
            table(
                3,
                &[
                    ("shop", &[("web", &["h2"])]),
                    ("store", &[("web", &["h1"])]),
                ],
            ),
            table(4, &[("store", &[("db", &["h3"])])]),
        ];
        for old in &tables {
            for new in &tables {
                let mut made = old.clone();
                let sent = serde_json::to_vec(&new.difference(old)).unwrap();
                made.take(serde_json::from_slice(&sent).unwrap());
                assert_eq!(&made, new);
                assert_eq!(made.to_json().unwrap(), new.to_json().unwrap());
            }
        }
    }
}
