use std::collections::{BTreeMap, BTreeSet};

use wright_model::{InstanceId, InstanceRecord, InstanceStatus, Name, Phase, Traffic};

use crate::{DEFAULT_WEIGHT, Endpoint, Table};

impl Table {
    /// Computes the table as of `revision`.
    ///
    /// A service's name is its app's; an instance without ports cannot be called and is left out.
    /// Who counts: instances whose record says [`Traffic::On`], not on a host in `dead_hosts`.
    /// Of these, those that are [`Phase::Ready`] are in the table; where none is, all are.
    ///
    /// `statuses` is the last thing heard of each instance. An instance whose agent is away keeps
    /// the health it had; one of which nothing was heard yet (after a restart of the server) was
    /// ready when its record was written and counts as ready.
    pub fn from_instances<'a>(
        records: impl IntoIterator<Item = &'a InstanceRecord>,
        statuses: &BTreeMap<InstanceId, InstanceStatus>,
        dead_hosts: &BTreeSet<Name>,
        revision: u64,
    ) -> Self {
        let mut candidates: BTreeMap<&Name, BTreeMap<&Name, Vec<&InstanceRecord>>> =
            BTreeMap::new();
        for record in records {
            let spec = &record.spec;
            let counts = record.traffic == Traffic::On
                && !dead_hosts.contains(&spec.host)
                && !spec.ports.is_empty();
            if counts {
                let services = candidates.entry(&spec.id.site).or_default();
                services.entry(&spec.app).or_default().push(record);
            }
        }
        let is_ready = |record: &InstanceRecord| {
            statuses
                .get(&record.spec.id)
                .is_none_or(|status| status.phase == Phase::Ready)
        };
        let sites = candidates.into_iter().map(|(site, services)| {
            let services = services
                .into_iter()
                .map(|(service, instances)| (service.clone(), endpoints(instances, is_ready)));
            (site.clone(), services.collect())
        });
        Table {
            revision,
            sites: sites.collect(),
        }
    }
}

fn endpoints(
    mut instances: Vec<&InstanceRecord>,
    is_ready: impl Fn(&InstanceRecord) -> bool,
) -> Vec<Endpoint> {
    let panic = !instances.iter().any(|record| is_ready(record));
    instances.retain(|record| panic || is_ready(record));
    // The same app's names differ in their ordinals only, so the shorter one is the smaller.
    instances.sort_by_key(|record| (record.spec.id.name.as_str().len(), &record.spec.id.name));
    let endpoint = |record: &InstanceRecord| Endpoint {
        instance: record.spec.id.name.clone(),
        host: record.spec.host.clone(),
        address: record.spec.address,
        ports: record.spec.ports.clone(),
        weight: DEFAULT_WEIGHT,
    };
    instances.into_iter().map(endpoint).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use wright_model::Digest;

    use super::*;

    fn record(id: &str, host: &str, traffic: Traffic) -> InstanceRecord {
        let app = id
            .split_once('/')
            .and_then(|(_, name)| name.rsplit_once('-'))
            .unwrap()
            .0;
        let spec = json!({
            "id": id, "app": app, "host": host, "address": "127.77.0.1", "ports": { "http": 8080 },
            "package": { "name": app, "version": "1.0.0", "digest": Digest::of(b"").to_string() },
            "limits": { "cpu": 0.1, "memory": "16MiB" }, "files": [], "env": {}, "store": false,
            "ready": { "check": { "tcp": "http" }, "every": "1s", "timeout": "1s" },
            "ready_within": "60s",
        });
        let spec: wright_model::InstanceSpec = serde_json::from_value(spec).unwrap();
        InstanceRecord {
            spec_digest: spec.digest(),
            spec,
            written_by: String::new(),
            traffic,
        }
    }

    fn statuses(phases: &[(&str, Phase)]) -> BTreeMap<InstanceId, InstanceStatus> {
        let status = |(id, phase): &(&str, Phase)| {
            let id: InstanceId = id.parse().unwrap();
            let status = InstanceStatus::new(id.clone(), *phase, Timestamp::UNIX_EPOCH);
            (id, status)
        };
        phases.iter().map(status).collect()
    }

    /// The instances of `shop` that are in the table, in order.
    fn serving(records: &[InstanceRecord], phases: &[(&str, Phase)], dead: &[&str]) -> Vec<String> {
        let dead = dead.iter().map(|host| host.parse().unwrap()).collect();
        let table = Table::from_instances(records, &statuses(phases), &dead, 7);
        assert_eq!(table.revision, 7);
        let services = table.sites.into_values().flatten();
        services
            .flat_map(|(_, list)| list)
            .map(|e| e.instance.to_string())
            .collect()
    }

    #[test]
    fn only_instances_with_traffic_that_are_ready_serve() {
        let records = [
            record("shop/web-1", "h1", Traffic::On),
            record("shop/web-2", "h2", Traffic::On),
            record("shop/web-3", "h3", Traffic::Draining),
            record("shop/web-4", "h4", Traffic::Off),
        ];
        let phases = [
            ("shop/web-1", Phase::Ready),
            ("shop/web-2", Phase::Unready),
            ("shop/web-3", Phase::Ready),
            ("shop/web-4", Phase::Ready),
        ];
        assert_eq!(serving(&records, &phases, &[]), ["web-1"]);
    }

    #[test]
    fn health_alone_never_empties_a_service() {
        let records = [
            record("shop/web-1", "h1", Traffic::On),
            record("shop/web-2", "h2", Traffic::On),
        ];
        let phases = [
            ("shop/web-1", Phase::Unready),
            ("shop/web-2", Phase::Backoff),
        ];
        assert_eq!(serving(&records, &phases, &[]), ["web-1", "web-2"]);
    }

    #[test]
    fn nobody_is_sent_to_a_dead_host_even_if_the_service_is_empty_then() {
        let records = [
            record("shop/web-1", "h1", Traffic::On),
            record("shop/db-1", "h2", Traffic::On),
        ];
        let phases = [("shop/web-1", Phase::Ready), ("shop/db-1", Phase::Ready)];
        assert_eq!(serving(&records, &phases, &["h1"]), ["db-1"]);
        let dead = BTreeSet::from(["h1".parse().unwrap()]);
        let table = Table::from_instances(&records, &statuses(&phases), &dead, 1);
        assert_eq!(table.lookup("shop", "web"), None);
    }

    #[test]
    fn an_instance_not_heard_of_yet_counts_as_it_was_recorded() {
        let records = [
            record("shop/web-1", "h1", Traffic::On),
            record("shop/web-2", "h2", Traffic::On),
        ];
        assert_eq!(
            serving(&records, &[("shop/web-1", Phase::Unready)], &[]),
            ["web-2"]
        );
    }

    #[test]
    fn the_order_is_that_of_the_ordinals_whatever_the_order_of_the_records() {
        let mut records: Vec<_> = (1..=11)
            .map(|n| record(&format!("shop/web-{n}"), "h1", Traffic::On))
            .collect();
        let expected: Vec<_> = (1..=11).map(|n| format!("web-{n}")).collect();
        assert_eq!(serving(&records, &[], &[]), expected);
        records.reverse();
        assert_eq!(serving(&records, &[], &[]), expected);
    }

    #[test]
    fn what_has_no_port_is_no_service() {
        let mut worker = record("shop/worker-1", "h1", Traffic::On);
        worker.spec.ports.clear();
        assert!(serving(&[worker], &[], &[]).is_empty());
    }
}
