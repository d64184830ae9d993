//! Sites as text: files are sections that begin with `--- path`.
#![allow(dead_code)] // each test file uses its part

use std::{collections::BTreeMap, net::Ipv4Addr};

use jiff::Timestamp;
use wright_model::{
    Capacity, CpuShare, Digest, Host, HostState, InstanceRecord, Name, PackageId, Traffic,
};
use wright_site::{Action, Bundle, Desired, Observed, Offer, Plan, plan, resolve};

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The files of a fixture; what comes before the first section is a comment.
pub fn bundle(text: &str) -> Bundle {
    let mut files = BTreeMap::new();
    let mut path = None;
    for line in text.split_inclusive('\n') {
        if let Some(begins) = line.strip_prefix("--- ") {
            path = Some(begins.trim_end().to_owned());
            files.insert(begins.trim_end().to_owned(), String::new());
        } else if let Some(path) = &path {
            files.get_mut(path).unwrap().push_str(line);
        }
    }
    Bundle {
        root: "site.yaml".to_owned(),
        files,
    }
}

pub fn offer(name: &str, version: &str, platform: &str) -> Offer {
    let digest = Digest::of(format!("{name}@{version}").as_bytes());
    let id = PackageId {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        digest,
    };
    Offer {
        id,
        platform: platform.to_owned(),
    }
}

/// What the tests' package store holds.
pub fn offers() -> Vec<Offer> {
    let mut offers: Vec<Offer> = [
        "catalog", "postgres", "web", "cart", "pricing", "a", "b", "c",
    ]
    .map(|n| offer(n, "1.0.0", "any"))
    .into();
    offers.push(offer("catalog", "1.4.0", "any"));
    offers.push(offer("catalog", "1.4.1", "any"));
    offers.push(offer("alien", "1.0.0", "windows-arm64"));
    offers
}

pub fn host(number: u8, memory: &str) -> Host {
    Host {
        name: name(&format!("h{number}")),
        address: Ipv4Addr::new(127, 77, 0, number).into(),
        provider: name("local"),
        capacity: Capacity {
            cpu: CpuShare::from_millis(4000),
            memory: memory.parse().unwrap(),
        },
        state: HostState::Ready,
        since: Timestamp::UNIX_EPOCH,
        reason: String::new(),
    }
}

pub fn hosts(count: u8) -> Vec<Host> {
    (1..=count).map(|number| host(number, "2GiB")).collect()
}

pub fn observed(count: u8) -> Observed {
    Observed {
        hosts: hosts(count),
        ..Observed::default()
    }
}

pub const SHOP: &str = "
--- site.yaml
site: shop
baselines: [baselines]
parameters: { currency: EUR }
--- baselines/postgres.yaml
app: postgres
package: postgres@1
resources: { cpu: 0.5, memory: 256MiB }
ports: { sql: 5432 }
provides: [sql]
store: true
secrets: { password: {} }
ready: { tcp: { port: sql } }
--- baselines/catalog.yaml
app: catalog
package: catalog@1.4.0
instances: 2
ports: { http: auto }
provides: [http]
needs: [postgres]
parameters: { page-size: 10 }
config: { file: etc/catalog.toml, template: catalog.toml.j2 }
ready: { http: { path: /healthz }, within: 30s }
verify:
  - http: { path: /products, expect: { status: 200, json: \"size(body) == 1\" } }
--- templates/catalog.toml.j2
name = \"{{ instance.name }}\"
size = {{ parameters['page-size'] }}
database = \"{{ needs.postgres.address }}:{{ needs.postgres.ports.sql }}\"
password = \"{{ needs.postgres.secrets.password }}\"
data = \"{{ paths.data }}\"
currency = \"{{ site.parameters.currency }}\"
--- baselines/web.yaml
app: web
package: web@1
instances: 2
ports: { http: 8080 }
needs: [{ app: catalog, gate: false }]
env: { LOOKUP: \"{{ lookup }}\" }
";

pub fn desired(text: &str) -> Desired {
    resolve(&bundle(text), &offers()).unwrap_or_else(|found| {
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

pub fn planned(text: &str, observed: &Observed) -> Plan {
    plan(&desired(text), observed, 7).unwrap_or_else(|found| panic!("{found:?}"))
}

/// What is there after a plan was carried out.
pub fn carry_out(plan: &Plan, before: &Observed) -> Observed {
    let mut after = before.clone();
    for gone in &plan.forget {
        after.records.remove(gone);
    }
    for (name, planned) in &plan.instances {
        if planned.action == Action::Remove {
            after.records.remove(name);
            continue;
        }
        let record = InstanceRecord {
            spec: planned.spec.clone(),
            spec_digest: planned.spec.digest(),
            written_by: "test".to_owned(),
            traffic: Traffic::On,
        };
        after.records.insert(name.clone(), record);
    }
    after.apps.clone_from(&plan.apps);
    after
}

/// The site after a first build on so many hosts.
pub fn built(text: &str, hosts: u8) -> Observed {
    let before = observed(hosts);
    carry_out(&planned(text, &before), &before)
}

pub fn verb(plan: &Plan, name: &str) -> &'static str {
    plan.instances[name].action.verb()
}

/// The step of a verb on an instance.
pub fn step<'a>(plan: &'a Plan, verb: &str, instance: &str) -> &'a wright_workflow::Step {
    let prefix = format!("{verb}/{instance}@");
    plan.steps
        .iter()
        .find(|step| step.name.starts_with(&prefix))
        .unwrap_or_else(|| {
            let names: Vec<_> = plan.steps.iter().map(|step| step.name.as_str()).collect();
            panic!("no {prefix} in {names:#?}")
        })
}

/// Whether a step comes after another, by any way through the graph.
pub fn after(plan: &Plan, later: &str, earlier: &str) -> bool {
    let mut open = vec![later.to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(at) = open.pop() {
        if at == earlier {
            return true;
        }
        if let Some(step) = plan
            .steps
            .iter()
            .find(|step| step.name == at)
            .filter(|_| seen.insert(at))
        {
            open.extend(step.needs.iter().cloned());
        }
    }
    false
}
