use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use wright_model::Name;

/// The weight of an endpoint of which nothing else is said.
pub const DEFAULT_WEIGHT: u32 = 100;

/// Every service of every site, as of one revision of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Table {
    /// The revision of the store that it was computed from.
    pub revision: u64,
    /// Endpoints by site and service, each list in the order of the instances' ordinals.
    pub sites: BTreeMap<Name, BTreeMap<Name, Vec<Endpoint>>>,
}

/// One instance that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The instance's name within its site.
    pub instance: Name,
    /// The host it runs on.
    pub host: Name,
    /// Where it listens.
    pub address: IpAddr,
    /// Its ports by name.
    pub ports: BTreeMap<Name, u16>,
    /// How much of the service's traffic it should get, in proportion to the others' weights.
    #[serde(default = "default_weight")]
    pub weight: u32,
}

/// What a lookup is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The service that was asked for.
    pub service: Name,
    /// The revision of the table.
    pub revision: u64,
    /// Who serves it; at least one.
    pub endpoints: Vec<Endpoint>,
}

fn default_weight() -> u32 {
    DEFAULT_WEIGHT
}

impl Table {
    /// Who provides a service of a site; `None` where nobody does. Names are compared as they are:
    /// a text that is no name is one that nobody provides.
    pub fn lookup(&self, site: &str, service: &str) -> Option<Answer> {
        let (service, endpoints) = self.sites.get(site)?.get_key_value(service)?;
        Some(Answer {
            service: service.clone(),
            revision: self.revision,
            endpoints: endpoints.clone(),
        })
    }

    /// The names of a site's services, in order; none for a site that is not known.
    pub fn services(&self, site: &str) -> impl Iterator<Item = &Name> {
        self.sites.get(site).into_iter().flat_map(BTreeMap::keys)
    }

    /// The table as it goes to agents and into `services.json`.
    ///
    /// # Errors
    /// None in practice: every key is text.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads what [`Table::to_json`] wrote.
    ///
    /// # Errors
    /// Where it is not a table.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let endpoint = Endpoint {
            instance: "catalog-1".parse().unwrap(),
            host: "h3".parse().unwrap(),
            address: "127.77.0.3".parse().unwrap(),
            ports: BTreeMap::from([("http".parse().unwrap(), 8080)]),
            weight: DEFAULT_WEIGHT,
        };
        let services = BTreeMap::from([("catalog".parse().unwrap(), vec![endpoint])]);
        Table {
            revision: 812,
            sites: BTreeMap::from([("shop".parse().unwrap(), services)]),
        }
    }

    #[test]
    fn an_answer_reads_as_the_route_lookup_promises() {
        let answer = table().lookup("shop", "catalog").unwrap();
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"service":"catalog","revision":812,"endpoints":[{"instance":"catalog-1","host":"h3","address":"127.77.0.3","ports":{"http":8080},"weight":100}]}"#
        );
    }

    #[test]
    fn what_nobody_provides_has_no_answer() {
        for (site, service) in [("shop", "pricing"), ("other", "catalog"), ("", "../etc")] {
            assert_eq!(table().lookup(site, service), None);
        }
        assert_eq!(table().services("other").count(), 0);
    }

    #[test]
    fn survives_its_json() {
        assert_eq!(
            Table::from_json(&table().to_json().unwrap()).unwrap(),
            table()
        );
    }
}
