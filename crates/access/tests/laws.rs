//! What holds whatever the roles are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};
use wright_access::{
    Act, Binding, Caller, Decision, Identity, Policy, Role, Rule, Scope, Sources, Target, User,
    allows,
};
use wright_query::{Document, Index, Query, Sight};

const KINDS: [&str; 4] = ["*", "rack", "host", "audit"];
const FIELDS: [&str; 5] = ["a", "b", "b.c", "b.d", "e"];
const FILTERS: [&str; 5] = [
    "self.a == 1",
    "self.b.c == 'x'",
    "self.name == 'n'",
    "!(self.b.gone == 1)",
    "((",
];
const TEAMS: [&str; 2] = ["web", "data"];

fn some(of: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    vec(select(of).prop_map(str::to_owned), 0..=most)
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = (
        some(&KINDS, 2),
        some(&FIELDS, 2),
        some(&FIELDS, 2),
        option::of(select(&FILTERS[..]).prop_map(str::to_owned)),
        vec(select(&Act::ALL[..]), 0..3),
    );
    let rule = rule.prop_map(|(kinds, fields, except, filter, acts)| Rule {
        kinds,
        fields,
        except,
        filter,
        acts,
    });
    vec(rule, 0..4)
}

fn bodies() -> impl Strategy<Value = Value> {
    let team = option::of(select(&TEAMS[..]));
    (0..3, select(&["x", "y"][..]), team).prop_map(|(a, c, team)| {
        json!({ "a": a, "b": { "c": c, "d": [{ "f": 1 }, 2] }, "e": "secret", "team": team })
    })
}

fn caller(rules: Vec<Rule>, team: Option<&str>, scope: Scope) -> Caller {
    let mut sources = Sources::default();
    let role = Role {
        rules,
        ..Role::default()
    };
    sources.roles.insert("some".to_owned(), role);
    sources.bindings.push(Binding {
        role: "some".to_owned(),
        users: vec!["ada".to_owned()],
        team: team.map(str::to_owned),
        ..Binding::default()
    });
    sources.users.insert("ada".to_owned(), User::default());
    let identity = Identity {
        scope,
        ..Identity::user("ada")
    };
    Policy::compile(sources, &Arc::default())
        .0
        .caller(&identity)
}

fn target<'a>(kind: &'a str, body: &'a Value) -> Target<'a> {
    Target::new(kind, "n").body(body)
}

proptest! {
    #[test]
    fn without_a_rule_nothing_exists(body in bodies(), act in select(&Act::ALL[..])) {
        let nobody = caller(Vec::new(), None, Scope::default());
        prop_assert_eq!(allows(&nobody, act, &target("rack", &body)), Decision::Hidden);
    }

    #[test]
    fn a_rule_more_never_allows_less(
        rules in rules(), body in bodies(), kind in select(&KINDS[1..]), act in select(&Act::ALL[..])
    ) {
        let all = caller(rules.clone(), None, Scope::default());
        let fewer = caller(rules.into_iter().skip(1).collect(), None, Scope::default());
        let target = target(kind, &body);
        if allows(&fewer, act, &target) == Decision::Allowed {
            prop_assert_eq!(allows(&all, act, &target), Decision::Allowed);
        }
        for field in FIELDS {
            let covered = fewer.fields(act, &target).cover(field);
            prop_assert!(!covered || all.fields(act, &target).cover(field));
        }
    }

    #[test]
    fn a_scope_or_a_team_never_allows_more(
        rules in rules(), body in bodies(), kind in select(&KINDS[1..]), act in select(&Act::ALL[..]),
        kinds in some(&KINDS[1..], 2), teams in some(&TEAMS, 2), team in option::of(select(&TEAMS[..]))
    ) {
        let wide = caller(rules.clone(), None, Scope::default());
        let scope = Scope {
            kinds: kinds.into_iter().collect(),
            teams: teams.into_iter().collect(),
            ..Scope::default()
        };
        let narrow = caller(rules, team, scope);
        let target = target(kind, &body);
        if allows(&narrow, act, &target) == Decision::Allowed {
            prop_assert_eq!(allows(&wide, act, &target), Decision::Allowed);
        }
    }

    #[test]
    fn what_is_pruned_holds_only_covered_fields(rules in rules(), body in bodies()) {
        let caller = caller(rules, None, Scope::default());
        let target = target("rack", &body);
        let fields = caller.fields(Act::Read, &target);
        let mut seen = body.clone();
        fields.prune(&mut seen);
        for (pointer, path) in [("/a", "a"), ("/b/c", "b.c"), ("/b/d/0/f", "b.d.f"), ("/e", "e")] {
            let shown = seen.pointer(pointer).is_some();
            prop_assert_eq!(shown, fields.is_all() || fields.cover(path), "{} of {}", path, seen);
        }
    }

    #[test]
    fn a_change_that_is_no_trespass_changes_covered_fields_only(
        rules in rules(), before in bodies(), after in bodies()
    ) {
        let caller = caller(rules, None, Scope::default());
        let fields = caller.fields(Act::Write, &target("rack", &before));
        if fields.trespass(Some(&before), Some(&after)).is_none() {
            for (pointer, path) in [("/a", "a"), ("/b/c", "b.c"), ("/e", "e"), ("/team", "team")] {
                let same = before.pointer(pointer) == after.pointer(pointer);
                prop_assert!(same || fields.is_all() || fields.cover(path));
            }
        }
    }

    #[test]
    fn a_query_shows_of_each_resource_what_reading_it_shows(
        rules in rules(), bodies in vec(bodies(), 1..6), team in option::of(select(&TEAMS[..]))
    ) {
        let caller = caller(rules, team, Scope::default());
        let sites = BTreeMap::from([("s".to_owned(), "web".to_owned())]);
        let labels = BTreeMap::from([("site".to_owned(), "s".to_owned())]);
        let mut index = Index::default();
        for (at, body) in bodies.iter().enumerate() {
            let name = format!("n{at}");
            index.put(&Document { kind: "rack", name: &name, labels: &labels, body }, 1);
        }
        let mut sight = Sight::default();
        sight.show("rack", caller.shown(Act::Read, "rack", &sites));
        let seen = index.seen(Some(&sight));
        let query = |filter: Option<String>| Query {
            kind: Some("rack".to_owned()),
            filter,
            ..Query::default()
        };
        let found = |query: &Query| -> Vec<String> {
            let rows = seen.find(query).map(|found| found.rows).unwrap_or_default();
            seen.page("rack", &rows, &[]).unwrap().into_iter().map(|row| row.name).collect()
        };
        let fields = |at: usize| {
            let body = &bodies[at];
            // As the server says whose it is.
            let team = body["team"].as_str().or(Some("web"));
            let name = format!("n{at}");
            let target = Target::new("rack", &name).team(team).labels(&labels).body(body);
            let fields = caller.fields(Act::Read, &target);
            let covered = |path: &str| fields.cover(path);
            (!fields.is_none(), ["a", "b.c", "e", "labels.site"].map(covered))
        };
        let shown = |is: &dyn Fn(usize) -> bool| -> Vec<String> {
            let all = (0..bodies.len()).filter(|at| is(*at));
            all.map(|at| format!("n{at}")).collect()
        };
        prop_assert_eq!(found(&query(None)), shown(&|at| fields(at).0));
        for (number, path) in ["a", "b.c", "e", "labels.site"].into_iter().enumerate() {
            let with = found(&query(Some(format!("has(self.{path})"))));
            prop_assert_eq!(&with, &shown(&|at| fields(at).1[number]), "{}", path);
            let without = found(&query(Some(format!("!has(self.{path})"))));
            let missing = shown(&|at| fields(at).0 && !fields(at).1[number]);
            // Refused where it may be read of no resource at all.
            prop_assert!(without == missing || with.is_empty(), "{}", path);
        }
    }
}
