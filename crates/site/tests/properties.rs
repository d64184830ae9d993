//! What holds for every site.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may

mod common;

use std::fmt::Write as _;

use common::*;
use proptest::prelude::*;
use wright_site::{Pieces, draft, lint, plan, resolve, resolve_with};

const APPS: [&str; 6] = ["a", "b", "c", "cart", "web", "pricing"];

#[derive(Debug, Clone)]
struct RandomApp {
    instances: u32,
    fixed_port: bool,
    store: bool,
    /// For each app before it: not needed, needed, needed with a gate.
    needs: Vec<u8>,
    away: Option<usize>,
    memory: u32,
}

fn random_app() -> impl Strategy<Value = RandomApp> {
    let needs = prop::collection::vec(0_u8..3, APPS.len());
    (
        1_u32..4,
        any::<bool>(),
        any::<bool>(),
        needs,
        prop::option::of(0..APPS.len()),
        8_u32..64,
    )
        .prop_map(
            |(instances, fixed_port, store, needs, away, memory)| RandomApp {
                instances,
                fixed_port,
                store,
                needs,
                away,
                memory,
            },
        )
}

fn random_site() -> impl Strategy<Value = Vec<RandomApp>> {
    prop::collection::vec(random_app(), 1..=APPS.len())
}

fn text(site: &[RandomApp]) -> String {
    let mut text = "--- site.yaml\nsite: shop\nbaselines: [apps.yaml]\n--- apps.yaml\n".to_owned();
    for (index, app) in site.iter().enumerate() {
        let _ = write!(
            text,
            "app: {0}\npackage: {0}@1\ninstances: {1}\nstore: {2}\nresources: {{ cpu: 0.1, memory: {3}MiB }}\n",
            APPS[index], app.instances, app.store, app.memory
        );
        let port = if app.fixed_port {
            (8000 + index).to_string()
        } else {
            "auto".to_owned()
        };
        let needs = app
            .needs
            .iter()
            .enumerate()
            .take(index)
            .filter(|(_, sort)| **sort > 0);
        let needs: Vec<String> = needs
            .map(|(need, sort)| format!("{{ app: {}, gate: {} }}", APPS[need], *sort == 2))
            .collect();
        let _ = writeln!(
            text,
            "ports: {{ http: {port} }}\nneeds: [{}]",
            needs.join(", ")
        );
        if let Some(away) = app.away.filter(|away| *away < index) {
            let _ = writeln!(text, "away-from: [{}]", APPS[away]);
        }
        let _ = writeln!(text, "---");
    }
    text.trim_end_matches("---\n").to_owned()
}

fn desired_of(site: &[RandomApp]) -> wright_site::Desired {
    let bundle = bundle(&text(site));
    resolve(&bundle, &offers()).unwrap_or_else(|found| panic!("{found:?}\n{}", text(site)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_plan_breaks_no_invariant_and_once_carried_out_leaves_nothing_to_do(
        site in random_site(), hosts in 3_u8..8,
    ) {
        let desired = desired_of(&site);
        let before = observed(hosts);
        // A site that does not fit is refused, never planned badly.
        let plan = plan(&desired, &before, 1);
        prop_assume!(plan.is_ok());
        let plan = plan.unwrap();
        prop_assert_eq!(lint(&plan), vec![]);
        let again = wright_site::plan(&desired, &carry_out(&plan, &before), 2).unwrap();
        prop_assert!(again.is_empty(), "{:?}", again.steps);
    }

    #[test]
    fn a_change_of_a_built_site_breaks_no_invariant(
        old in random_site(), new in random_site(), hosts in 4_u8..8,
    ) {
        let before = observed(hosts);
        let built = plan(&desired_of(&old), &before, 1);
        prop_assume!(built.is_ok());
        let built = built.unwrap();
        let before = carry_out(&built, &before);
        let change = plan(&desired_of(&new), &before, 2);
        prop_assume!(change.is_ok());
        let change = change.unwrap();
        prop_assert_eq!(lint(&change), vec![]);
        let again = plan(&desired_of(&new), &carry_out(&change, &before), 3).unwrap();
        prop_assert!(again.is_empty(), "{:?}", again.steps);
    }

    #[test]
    fn the_order_of_hosts_and_of_other_sites_does_not_change_a_plan(
        site in random_site(), other in random_site(), hosts in 3_u8..8, turn in 0_usize..8,
    ) {
        let desired = desired_of(&site);
        let mut one = observed(hosts);
        if let Ok(other) = plan(&desired_of(&other), &one, 1) {
            one.others = other.instances.into_values().map(|planned| planned.spec).collect();
            for spec in &mut one.others {
                spec.id.site = name("other");
            }
        }
        let mut two = one.clone();
        two.hosts.rotate_left(turn % usize::from(hosts));
        two.others.reverse();
        let (one, two) = (plan(&desired, &one, 1), plan(&desired, &two, 1));
        prop_assert_eq!(
            serde_json::to_string(&one.ok()).unwrap(),
            serde_json::to_string(&two.ok()).unwrap()
        );
    }

    #[test]
    fn what_is_kept_of_other_plans_changes_nothing(
        sites in prop::collection::vec((random_site(), any::<bool>(), 3_u8..8), 2..5),
    ) {
        let mut pieces = Pieces::default();
        let mut there = observed(8);
        for (site, carried_out, hosts) in sites {
            there.hosts = common::hosts(hosts);
            let desired = resolve_with(&bundle(&text(&site)), &offers(), &mut pieces).unwrap();
            prop_assert_eq!(&desired, &desired_of(&site));
            let alone = plan(&desired, &there, 1);
            let kept = draft(&desired, &there, 1, &mut pieces);
            prop_assert_eq!(alone.as_ref().err(), kept.as_ref().err());
            let (Ok(alone), Ok(kept)) = (alone, kept) else {
                continue;
            };
            let said = |found: Vec<wright_model::Diagnostic>| {
                let said = found.iter().map(ToString::to_string);
                said.collect::<std::collections::BTreeSet<_>>()
            };
            prop_assert_eq!(said(kept.lint()), said(lint(&alone)));
            prop_assert_eq!(kept.summary(), alone.summary());
            prop_assert_eq!(
                serde_json::to_string(&kept.whole()).unwrap(),
                serde_json::to_string(&alone).unwrap()
            );
            prop_assert_eq!(alone.step_count, alone.steps.len());
            if carried_out {
                there = carry_out(&alone, &there);
            }
        }
    }

    #[test]
    fn the_critical_path_is_a_longest_chain_of_steps(
        old in random_site(), new in random_site(), hosts in 4_u8..8, built in any::<bool>(),
    ) {
        let mut before = observed(hosts);
        if built && let Ok(plan) = plan(&desired_of(&old), &before, 1) {
            before = carry_out(&plan, &before);
        }
        let plan = plan(&desired_of(&new), &before, 2);
        prop_assume!(plan.is_ok());
        let plan = plan.unwrap();
        let (_, longest) = wright_workflow::expected_critical_path(&plan.steps);
        prop_assert_eq!(plan.expected_ms, longest);
        let step = |name: &String| plan.steps.iter().find(|step| step.name == *name).unwrap();
        let path: Vec<_> = plan.critical_path.iter().map(step).collect();
        prop_assert_eq!(path.iter().map(|step| step.expected_ms).sum::<u64>(), longest);
        for pair in path.windows(2) {
            prop_assert!(pair[1].needs.contains(&pair[0].name), "{:?}", plan.critical_path);
        }
    }
}
