//! Every rule of the linter finds the plan that breaks it.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may

mod common;

use common::*;
use wright_model::{ByteSize, ConfigFile, Digest};
use wright_site::{Action, Need, Plan, RULES, lint};

/// A good plan: two catalogs that need one postgres, and web.
fn good() -> Plan {
    planned(SHOP, &observed(4))
}

fn index(plan: &Plan, verb: &str, instance: &str) -> usize {
    let name = step(plan, verb, instance).name.clone();
    plan.steps
        .iter()
        .position(|step| step.name == name)
        .unwrap()
}

/// Asserts that a change of a good plan breaks a rule.
fn breaks(rule: &str, change: impl FnOnce(&mut Plan)) {
    let mut plan = good();
    assert_eq!(lint(&plan), []);
    change(&mut plan);
    let found = lint(&plan);
    assert!(
        found.iter().any(|finding| finding.code == rule),
        "{rule}: {found:?}"
    );
}

#[test]
fn every_rule_has_a_plan_that_breaks_it() {
    let tested = [
        "duplicate-step",
        "unknown-step",
        "step-cycle",
        "unknown-verb",
        "start-order",
        "gate",
        "provider",
        "app-cycle",
        "unknown-host",
        "port",
        "capacity",
        "apart",
        "store-spread",
        "store-data",
        "unpinned-package",
        "path",
        "token",
        "action",
    ];
    let rules: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(rules, tested);
}

#[test]
fn graphs() {
    breaks("duplicate-step", |plan| {
        plan.steps.push(plan.steps[0].clone())
    });
    breaks("unknown-step", |plan| {
        plan.steps[3].needs.push("start/nobody@h1".to_owned())
    });
    breaks("step-cycle", |plan| {
        let serve = step(plan, "serve", "web-1").name.clone();
        let install = index(plan, "install", "web-1");
        plan.steps[install].needs.push(serve);
    });
    breaks("unknown-verb", |plan| {
        plan.steps[0].verb = "explode".to_owned()
    });
    breaks("start-order", |plan| {
        let start = index(plan, "start", "web-1");
        plan.steps[start].needs.clear();
    });
    breaks("gate", |plan| {
        let start = index(plan, "start", "catalog-1");
        plan.steps[start]
            .needs
            .retain(|need| !need.starts_with("ready/"));
    });
    breaks("action", |plan| {
        plan.instances.get_mut("web-1").unwrap().action = Action::Keep;
    });
}

#[test]
fn apps() {
    breaks("provider", |plan| {
        plan.instances.remove("postgres-1");
    });
    breaks("app-cycle", |plan| {
        let need = Need {
            app: name("catalog"),
            gate: true,
        };
        plan.apps.get_mut("postgres").unwrap().needs.push(need);
    });
    breaks("unpinned-package", |plan| {
        plan.instances.get_mut("web-1").unwrap().spec.package.digest = Digest::of(b"");
    });
}

#[test]
fn hosts() {
    breaks("unknown-host", |plan| {
        plan.instances.get_mut("web-1").unwrap().spec.host = name("nowhere");
    });
    breaks("port", |plan| {
        let host = plan.instances["web-1"].spec.host.clone();
        plan.hosts
            .get_mut(&host)
            .unwrap()
            .ports
            .insert(8080, "other/x-1".to_owned());
    });
    breaks("capacity", |plan| {
        plan.instances.get_mut("web-1").unwrap().spec.limits.memory = ByteSize::from_bytes(1 << 40);
    });
    breaks("apart", |plan| {
        let spec = plan.instances["web-1"].spec.clone();
        plan.instances.get_mut("postgres-1").unwrap().spec.host = spec.host;
        plan.apps
            .get_mut("web")
            .unwrap()
            .away_from
            .push(name("postgres"));
    });
    breaks("store-spread", |plan| {
        let mut second = plan.instances["postgres-1"].clone();
        second.spec.id.name = name("postgres-2");
        plan.instances.insert(name("postgres-2"), second);
    });
}

#[test]
fn data_and_secrets() {
    breaks("store-data", |plan| {
        plan.instances.get_mut("postgres-1").unwrap().action = Action::Update { why: vec![] };
    });
    let with_file = |path: &str, content: &str| {
        let file = ConfigFile {
            path: path.to_owned(),
            content: content.to_owned(),
        };
        move |plan: &mut Plan| {
            plan.instances
                .get_mut("web-1")
                .unwrap()
                .spec
                .files
                .push(file)
        }
    };
    breaks("path", with_file("../x", ""));
    breaks(
        "token",
        with_file("etc/x", "@wright{secret:postgres/password}"),
    );
    breaks("token", with_file("etc/x", "@wright{secret:web/unasked}"));
}
