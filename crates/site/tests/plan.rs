//! What a plan does, and in which order.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may

mod common;

use common::*;
use wright_model::{HostState, InstanceId, Name, Traffic};
use wright_site::{Action, lint, plan, plan_down, without_host};

#[test]
fn a_first_build_creates_everything_and_gates_starts_on_readiness() {
    let plan = planned(SHOP, &observed(3));
    assert_eq!(lint(&plan), []);
    assert!(
        plan.instances
            .values()
            .all(|planned| planned.action == Action::Create)
    );
    let start = step(&plan, "start", "catalog-2");
    let ready = &step(&plan, "ready", "postgres-1").name;
    assert!(start.needs.contains(ready), "{:?}", start.needs);
    let install = &step(&plan, "install", "catalog-2").name;
    assert!(
        !after(&plan, install, ready),
        "what comes before the start overlaps"
    );
    let undo = |verb: &str| {
        step(&plan, verb, "catalog-2")
            .undo
            .as_ref()
            .map(|u| u.verb.clone())
    };
    let undos = ["install", "configure", "start", "serve"].map(undo);
    assert_eq!(
        undos,
        [
            Some("uninstall".into()),
            None,
            Some("stop".into()),
            Some("drain".into())
        ]
    );
}

#[test]
fn a_need_that_does_not_gate_is_not_awaited() {
    let text = SHOP.replace("env: {", "verify: [{ tcp: { port: http } }]\nenv: {");
    let plan = planned(&text, &observed(3));
    let ready = &step(&plan, "ready", "catalog-1").name;
    let verify = step(&plan, "verify", "web-1");
    assert!(!after(&plan, &step(&plan, "serve", "web-1").name, ready));
    assert_eq!(verify.input["checks"].as_array().map(Vec::len), Some(1));
}

#[test]
fn apps_that_need_each_other_are_updated_where_one_of_them_does_not_wait() {
    let text = SHOP
        .replace(
            "needs: [postgres]",
            "needs: [postgres, { app: web, gate: false }]",
        )
        .replace("{ app: catalog, gate: false }", "catalog")
        .replace("page-size: 10", "page-size: 20");
    let before = built(&text, 4);
    let changed = text
        .replace("page-size: 20", "page-size: 30")
        .replace("env: {", "env: { MORE: \"1\", ");
    let plan = planned(&changed, &before);
    assert_eq!(
        (verb(&plan, "catalog-2"), verb(&plan, "web-2")),
        ("update", "update")
    );
    assert_eq!(lint(&plan), []);
}

#[test]
fn rendered_files_hold_tokens_for_secrets_and_directories() {
    let plan = planned(SHOP, &observed(3));
    let content = &plan.instances["catalog-1"].spec.files[0].content;
    let host = &plan.instances["postgres-1"].spec.address;
    let expected = format!(
        "name = \"catalog-1\"\nsize = 10\ndatabase = \"{host}:5432\"\npassword = \"@wright{{secret:postgres/password}}\"\ndata = \"@wright{{path:data}}\"\ncurrency = \"EUR\"\n"
    );
    assert_eq!(*content, expected);
    let web = &plan.instances["web-1"].spec;
    assert_eq!(
        web.env["LOOKUP"],
        format!("http://{}:7070/v1/sites/shop/services", web.address)
    );
}

#[test]
fn a_second_plan_of_a_built_site_does_nothing() {
    let plan = planned(SHOP, &built(SHOP, 3));
    assert!(plan.is_empty(), "{:?}", plan.steps);
    assert!(
        plan.instances
            .values()
            .all(|planned| planned.action == Action::Keep)
    );
}

#[test]
fn a_changed_parameter_updates_one_app_instance_by_instance() {
    let plan = planned(
        &SHOP.replace("page-size: 10", "page-size: 20"),
        &built(SHOP, 3),
    );
    assert_eq!(lint(&plan), []);
    let Action::Update { why } = &plan.instances["catalog-1"].action else {
        panic!("no update")
    };
    assert_eq!(why, &["configuration etc/catalog.toml"]);
    assert_eq!(
        (verb(&plan, "postgres-1"), verb(&plan, "web-1")),
        ("keep", "keep")
    );
    let verbs: Vec<_> = plan.steps.iter().map(|step| step.verb.as_str()).collect();
    let chain = [
        "drain",
        "stop",
        "configure",
        "start",
        "ready",
        "verify",
        "serve",
    ];
    assert_eq!(verbs, [chain, chain].concat());
    let second = step(&plan, "drain", "catalog-2");
    assert!(
        second
            .needs
            .contains(&step(&plan, "serve", "catalog-1").name)
    );
    assert!(plan.steps.iter().all(|step| step.scope == "app/catalog"));
}

#[test]
fn undoing_an_update_in_reverse_brings_the_old_specification_back() {
    let before = built(SHOP, 3);
    let plan = planned(&SHOP.replace("page-size: 10", "page-size: 20"), &before);
    let old = before.records["catalog-1"].spec_digest.to_string();
    let undo = |verb: &str| {
        let undo = step(&plan, verb, "catalog-1").undo.clone().unwrap();
        (undo.verb, undo.input["spec"].as_str().map(str::to_owned))
    };
    let old = Some(old);
    let undone = ["serve", "start", "configure", "stop", "drain"].map(undo);
    let expected = [
        ("drain", None),
        ("stop", None),
        ("configure", old.clone()),
        ("start", old.clone()),
        ("serve", old),
    ];
    assert_eq!(undone, expected.map(|(verb, spec)| (verb.to_owned(), spec)));
}

#[test]
fn a_new_package_is_installed_before_anything_is_drained() {
    let plan = planned(
        &SHOP.replace("catalog@1.4.0", "catalog@1.4"),
        &built(SHOP, 3),
    );
    let Action::Update { why } = &plan.instances["catalog-1"].action else {
        panic!("no update")
    };
    assert_eq!(why, &["package catalog@1.4.0 -> catalog@1.4.1"]);
    let drain = step(&plan, "drain", "catalog-2");
    assert!(
        drain
            .needs
            .contains(&step(&plan, "install", "catalog-2").name)
    );
    assert!(step(&plan, "install", "catalog-2").undo.is_none());
}

#[test]
fn fewer_instances_remove_the_highest_ordinals_and_more_create_new_ones() {
    let fewer = planned(
        &SHOP.replace(
            "instances: 2\nports: { http: 8080 }",
            "instances: 1\nports: { http: 8080 }",
        ),
        &built(SHOP, 3),
    );
    assert_eq!(
        (verb(&fewer, "web-1"), verb(&fewer, "web-2")),
        ("keep", "remove")
    );
    let verbs: Vec<_> = fewer.steps.iter().map(|step| step.verb.as_str()).collect();
    assert_eq!(verbs, ["drain", "stop", "uninstall"]);
    let more = planned(
        &SHOP.replace(
            "instances: 2\nports: { http: 8080 }",
            "instances: 3\nports: { http: 8080 }",
        ),
        &built(SHOP, 3),
    );
    assert_eq!(
        (verb(&more, "web-2"), verb(&more, "web-3")),
        ("keep", "create")
    );
}

#[test]
fn an_app_that_is_gone_from_the_site_is_removed_and_its_data_warned_of() {
    let before = built(SHOP, 3);
    let only_web = "
--- site.yaml
site: shop
baselines: [web.yaml]
--- web.yaml
app: web
package: web@1
instances: 2
ports: { http: 8080 }
env: { LOOKUP: \"{{ lookup }}\" }
";
    let plan = planned(only_web, &before);
    assert_eq!(lint(&plan), []);
    assert_eq!(
        (verb(&plan, "postgres-1"), verb(&plan, "catalog-2")),
        ("remove", "remove")
    );
    assert_eq!(verb(&plan, "web-1"), "keep");
    assert!(
        plan.warnings
            .iter()
            .any(|w| w.message.contains("postgres-1 keeps data"))
    );
    let drain = step(&plan, "drain", "postgres-1").name.clone();
    assert!(after(&plan, &drain, &step(&plan, "stop", "catalog-1").name));
}

#[test]
fn taking_down_stops_dependents_before_what_they_need() {
    let plan = plan_down(&name("shop"), &built(SHOP, 3), 9);
    assert!(
        plan.instances
            .values()
            .all(|planned| planned.action == Action::Remove)
    );
    let drain = step(&plan, "drain", "postgres-1").name.clone();
    assert!(after(&plan, &drain, &step(&plan, "stop", "catalog-2").name));
    assert!(!after(&plan, &drain, &step(&plan, "stop", "web-1").name));
}

#[test]
fn what_was_on_a_dead_host_moves_and_the_rest_stays() {
    let mut before = built(SHOP, 4);
    let dead = before.records["web-1"].spec.host.clone();
    let others: Vec<_> = before
        .records
        .values()
        .filter(|r| r.spec.host == dead)
        .map(|r| r.spec.id.name.clone())
        .collect();
    assert!(
        others
            .iter()
            .all(|instance| instance.as_str() != "postgres-1"),
        "{others:?}"
    );
    before
        .hosts
        .iter_mut()
        .find(|host| host.name == dead)
        .unwrap()
        .state = HostState::Dead;
    let plan = planned(SHOP, &before);
    assert_eq!(lint(&plan), []);
    assert_eq!(
        plan.instances["web-1"].action,
        Action::Move { from: dead.clone() }
    );
    assert!(
        plan.steps
            .iter()
            .all(|step| step.target.as_deref() != Some(dead.as_str()))
    );
    let stays = plan
        .instances
        .iter()
        .filter(|(name, _)| !others.contains(name));
    assert!(
        stays
            .into_iter()
            .all(|(_, planned)| planned.action == Action::Keep)
    );
}

#[test]
fn a_store_that_served_is_not_moved_away_from_its_data() {
    let mut before = built(SHOP, 4);
    let dead = before.records["postgres-1"].spec.host.clone();
    before.hosts.retain(|host| host.name != dead);
    let others: Vec<Name> = before
        .records
        .iter()
        .filter(|(_, record)| record.spec.host == dead)
        .map(|(name, _)| name.clone())
        .collect();
    let planned = plan(&desired(SHOP), &before, 7).unwrap();
    let found = &planned.warnings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].code.as_str(), found[0].file.as_str()),
        ("store-lost", "baselines/postgres.yaml")
    );
    assert!(found[0].help.contains(&format!("bring {dead} back")));
    assert_eq!(planned.instances["postgres-1"].action, Action::Keep);
    assert!(lint(&planned).is_empty(), "{:?}", lint(&planned));
    for other in others.iter().filter(|name| name.as_str() != "postgres-1") {
        assert!(
            matches!(planned.instances[other].action, Action::Move { .. }),
            "{other} is not moved"
        );
    }
    before.records.get_mut("postgres-1").unwrap().traffic = Traffic::Off;
    let made_anew = plan(&desired(SHOP), &before, 7).unwrap();
    assert_eq!(
        made_anew.instances["postgres-1"].action,
        Action::Move { from: dead }
    );
}

#[test]
fn planning_a_running_build_anew_keeps_the_names_of_what_need_not_change() {
    let first = planned(SHOP, &observed(4));
    let dead = first.instances["web-1"].spec.host.clone();
    let mut now = observed(4);
    now.hosts.retain(|host| host.name != dead);
    now.pins = first.pins();
    let second = planned(SHOP, &now);
    let names = |plan: &wright_site::Plan| -> std::collections::BTreeSet<String> {
        plan.steps.iter().map(|step| step.name.clone()).collect()
    };
    let on_dead = |step: &&wright_workflow::Step| step.target.as_deref() == Some(dead.as_str());
    let kept: Vec<_> = first
        .steps
        .iter()
        .filter(|step| !on_dead(step))
        .map(|s| s.name.clone())
        .collect();
    assert!(kept.iter().all(|name| names(&second).contains(name)));
}

#[test]
fn an_instance_that_is_not_in_service_is_brought_there() {
    let mut before = built(SHOP, 3);
    before.records.get_mut("postgres-1").unwrap().traffic = Traffic::Off;
    let plan = planned(SHOP, &before);
    assert_eq!(verb(&plan, "postgres-1"), "update");
    assert!(
        step(&plan, "install", "postgres-1").undo.is_none(),
        "its data is not deleted"
    );
    assert_eq!(lint(&plan), []);
}

#[test]
fn an_automatic_port_stays_and_avoids_other_sites() {
    let text = &SHOP.replace("8080", "auto");
    let before = built(text, 1);
    let (one, two) = (
        &before.records["catalog-1"].spec,
        &before.records["catalog-2"].spec,
    );
    assert_eq!((one.ports["http"], two.ports["http"]), (20_000, 20_001));
    let mut other = one.clone();
    other.id = InstanceId {
        site: name("other"),
        name: name("x-1"),
    };
    let mut now = observed(1);
    now.others.push(other);
    assert_eq!(
        planned(text, &now).instances["catalog-1"].spec.ports["http"],
        20_001
    );
    let fewer = planned(&text.replacen("instances: 2", "instances: 1", 1), &before);
    assert_eq!(
        fewer.instances["web-1"].spec.ports,
        before.records["web-1"].spec.ports
    );
}

#[test]
fn a_refused_placement_names_the_rule_for_every_host() {
    let text = SHOP.replace(
        "instances: 2\nports: { http: 8080 }",
        "instances: 3\nports: { http: 8080 }",
    );
    let found = plan(&desired(&text), &observed(2), 7).unwrap_err();
    assert_eq!(found[0].file, "baselines/web.yaml");
    assert_eq!(
        found[0].message,
        "no host takes web-3 (rule: port): h1: port 8080 is taken by web-2; h2: port 8080 is taken by web-1"
    );
}

#[test]
fn steps_of_a_dead_host_are_cut_out_of_a_graph_without_losing_order() {
    let plan = plan_down(&name("shop"), &built(SHOP, 3), 9);
    let host = plan.instances["catalog-1"].spec.host.clone();
    let left = without_host(plan.steps.clone(), &host);
    assert!(
        left.iter()
            .all(|step| step.target.as_deref() != Some(host.as_str()))
    );
    let names: Vec<&str> = left.iter().map(|step| step.name.as_str()).collect();
    assert!(
        left.iter()
            .flat_map(|step| &step.needs)
            .all(|need| names.contains(&need.as_str()))
    );
}

#[test]
fn the_critical_path_goes_through_the_slowest_chain() {
    let plan = planned(SHOP, &observed(3));
    let verbs: Vec<&str> = plan
        .critical_path
        .iter()
        .map(|step| step.split('/').next().unwrap_or_default())
        .collect();
    assert_eq!(
        verbs,
        [
            "fetch",
            "install",
            "configure",
            "start",
            "ready",
            "start",
            "ready",
            "verify",
            "serve"
        ]
    );
    let mut slow = observed(3);
    slow.durations.insert("ready".to_owned(), 5_000);
    assert_eq!(planned(SHOP, &slow).expected_ms, plan.expected_ms + 8_000);
}
