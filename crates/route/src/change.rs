use std::collections::BTreeMap;

use wright_model::Name;

use crate::{Endpoint, Table};

/// How one service differs between two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    /// The site.
    pub site: Name,
    /// The service.
    pub service: Name,
    /// Instances that serve now and did not.
    pub joined: Vec<Name>,
    /// Instances that served and do not now.
    pub left: Vec<Name>,
    /// Instances that serve as before, but elsewhere or with another weight.
    pub moved: Vec<Name>,
}

impl Table {
    /// Whether both answer every lookup with the same endpoints; revisions may differ.
    pub fn serves_same(&self, other: &Table) -> bool {
        self.sites == other.sites
    }

    /// What is different from an older table, by site and service. Empty exactly when
    /// [`Table::serves_same`].
    pub fn changes_since(&self, older: &Table) -> Vec<ServiceChange> {
        let (now, before) = (self.by_service(), older.by_service());
        let mut keys: Vec<_> = now.keys().chain(before.keys()).collect();
        keys.sort();
        keys.dedup();
        let change = |&(site, service): &(&Name, &Name)| {
            let now = now.get(&(site, service)).copied().unwrap_or_default();
            let before = before.get(&(site, service)).copied().unwrap_or_default();
            (now != before).then(|| ServiceChange {
                site: site.clone(),
                service: service.clone(),
                joined: names(now, |e| find(before, e).is_none()),
                left: names(before, |e| find(now, e).is_none()),
                moved: names(now, |e| find(before, e).is_some_and(|old| old != e)),
            })
        };
        keys.into_iter().filter_map(change).collect()
    }

    fn by_service(&self) -> BTreeMap<(&Name, &Name), &[Endpoint]> {
        let sites = self.sites.iter();
        sites
            .flat_map(|(site, services)| {
                services
                    .iter()
                    .map(move |(service, list)| ((site, service), list.as_slice()))
            })
            .collect()
    }
}

fn find<'a>(list: &'a [Endpoint], wanted: &Endpoint) -> Option<&'a Endpoint> {
    list.iter()
        .find(|endpoint| endpoint.instance == wanted.instance)
}

fn names(list: &[Endpoint], keep: impl Fn(&Endpoint) -> bool) -> Vec<Name> {
    list.iter()
        .filter(|endpoint| keep(endpoint))
        .map(|e| e.instance.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(revision: u64, hosts: &[(&str, &str)]) -> Table {
        let endpoint = |(instance, host): &(&str, &str)| json!({ "instance": instance, "host": host, "address": "127.77.0.1", "ports": {} });
        let endpoints: Vec<_> = hosts.iter().map(endpoint).collect();
        let table = json!({ "revision": revision, "sites": { "shop": { "web": endpoints } } });
        serde_json::from_value(table).unwrap()
    }

    #[test]
    fn a_new_revision_of_the_same_endpoints_is_no_change() {
        let (old, new) = (table(1, &[("web-1", "h1")]), table(9, &[("web-1", "h1")]));
        assert!(new.serves_same(&old));
        assert!(new.changes_since(&old).is_empty());
    }

    #[test]
    fn a_change_tells_who_joined_left_and_moved() {
        let old = table(1, &[("web-1", "h1"), ("web-2", "h2")]);
        let new = table(2, &[("web-2", "h9"), ("web-3", "h3")]);
        let name = |text: &str| text.parse::<Name>().unwrap();
        let change = ServiceChange {
            site: name("shop"),
            service: name("web"),
            joined: vec![name("web-3")],
            left: vec![name("web-1")],
            moved: vec![name("web-2")],
        };
        assert_eq!(new.changes_since(&old), [change]);
    }

    #[test]
    fn a_service_that_vanished_has_lost_everybody() {
        let old = table(1, &[("web-1", "h1")]);
        let change = Table::default().changes_since(&old).remove(0);
        assert_eq!((change.left.len(), change.joined.len()), (1, 0));
    }
}
