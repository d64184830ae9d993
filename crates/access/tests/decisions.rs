//! Who may do what, case by case.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use serde_json::{Value, json};
use wright_access::{
    Act, Binding, Decision, Identity, Policy, Role, Scope, Sources, Target, Team, User, allows,
};
use wright_query::{Document, Index, Query, Schema, Shown, Sight, Sort};

fn role(rules: Value) -> Role {
    serde_json::from_value(json!({ "rules": rules })).unwrap()
}

fn binding(value: Value) -> Binding {
    serde_json::from_value(value).unwrap()
}

/// ada: viewer everywhere and developer in team web, of which she is; grace: clerk of racks in b2, who may write small ones;
/// group `ops`: operator; eve: viewer, disabled; mallory: a role whose filter is no CEL.
fn policy() -> Policy {
    let mut sources = Sources::default();
    let clerk = json!([{ "kinds": ["rack"], "acts": ["read", "write"],
        "filter": "rack.room == 'b2' && rack.units < 10" },
        { "kinds": ["rack"], "acts": ["read"], "filter": "self.room == 'b2'", "except": ["cost"] }]);
    sources.roles.insert("clerk".into(), role(clerk));
    let broken = json!([{ "kinds": ["*"], "acts": ["read"], "filter": "((" }]);
    sources.roles.insert("broken".into(), role(broken));
    sources
        .roles
        .insert("administrator".into(), role(json!([])));
    for value in [
        json!({ "role": "viewer", "users": ["ada", "eve"] }),
        json!({ "role": "developer", "teams": ["web"], "team": "web" }),
        json!({ "role": "clerk", "users": ["grace"] }),
        json!({ "role": "viewer", "users": ["gone"] }),
        json!({ "role": "operator", "groups": ["ops"] }),
        json!({ "role": "broken", "users": ["mallory"] }),
        json!({ "role": "nobody-wrote-it", "users": ["mallory"] }),
    ] {
        sources.bindings.push(binding(value));
    }
    let members = vec!["ada".to_owned()];
    sources.teams.insert("web".into(), Team { members });
    for user in ["ada", "grace", "olga", "mallory"] {
        sources.users.insert(user.into(), User::default());
    }
    let disabled = User {
        disabled: true,
        ..User::default()
    };
    sources.users.insert("eve".into(), disabled);
    let (policy, faults) = Policy::compile(sources, &Arc::default());
    assert_eq!(faults.len(), 2, "{faults:?}");
    policy
}

fn in_group(group: &str) -> Identity {
    Identity {
        groups: [group.to_owned()].into(),
        ..Identity::user("olga")
    }
}

fn program(roles: &[&str]) -> Identity {
    Identity {
        name: "ci".to_owned(),
        roles: roles.iter().map(ToString::to_string).collect(),
        ..Identity::default()
    }
}

#[test]
fn decisions_follow_the_table() {
    use Act::{Administer, Approve, Operate, Read, SeeSecrets, Write};
    use Decision::{Allowed, Forbidden, Hidden};
    let policy = policy();
    let near = json!({ "room": "b2", "cost": 5 });
    let far = json!({ "room": "b3" });
    let webs = json!({ "team": "web" });
    let rack = |body| Target::new("rack", "r1").body(body);
    let site = |body| Target::new("site", "shop").body(body);
    let (ada, grace) = (Identity::user("ada"), Identity::user("grace"));
    for (who, act, target, expected) in [
        (ada.clone(), Read, rack(&far), Allowed),
        (ada.clone(), Write, rack(&far), Forbidden),
        (ada.clone(), Operate, site(&webs), Allowed),
        (ada.clone(), Operate, site(&far), Forbidden),
        (ada.clone(), Read, Target::kind("audit"), Hidden),
        (ada.clone(), Read, Target::kind("token"), Hidden),
        (ada.clone(), Write, Target::new("role", "viewer"), Forbidden),
        (ada.clone(), SeeSecrets, site(&webs), Forbidden),
        (grace.clone(), Read, rack(&near), Allowed),
        (grace.clone(), Read, rack(&far), Hidden),
        (grace.clone(), Write, rack(&far), Hidden),
        // The filter of her other rule cannot be told, for there are no units: it allows nothing.
        (grace.clone(), Write, rack(&near), Forbidden),
        (grace.clone(), Read, Target::new("rack", "gone"), Hidden),
        (grace, Read, Target::new("host", "h1"), Hidden),
        (in_group("ops"), Approve, Target::new("job", "j"), Allowed),
        (
            in_group("ops"),
            Write,
            Target::new("binding", "b"),
            Forbidden,
        ),
        (in_group("sales"), Read, Target::new("job", "j"), Hidden),
        (Identity::user("eve"), Read, rack(&far), Hidden),
        (Identity::user("gone"), Read, rack(&far), Hidden),
        (Identity::user("mallory"), Read, rack(&far), Hidden),
        (Identity::default(), Read, rack(&far), Hidden),
        (program(&["viewer"]), Read, rack(&far), Allowed),
        (program(&["viewer"]), Operate, site(&webs), Forbidden),
        (
            program(&["administrator"]),
            Administer,
            Target::kind("role"),
            Allowed,
        ),
        (
            program(&["administrator"]),
            Write,
            Target::new("role", "x"),
            Allowed,
        ),
        (
            program(&["administrator"]),
            Read,
            Target::kind("audit"),
            Allowed,
        ),
    ] {
        let caller = policy.caller(&who);
        assert_eq!(
            allows(&caller, act, &target),
            expected,
            "{who:?} {act} {target:?}"
        );
    }
}

#[test]
fn a_scope_narrows_to_kinds_and_teams() {
    let policy = policy();
    let scope = Scope {
        kinds: ["rack".to_owned()].into(),
        ..Scope::default()
    };
    let narrow = policy.caller(&Identity {
        scope,
        ..program(&["administrator"])
    });
    assert_eq!(
        allows(&narrow, Act::Write, &Target::new("rack", "r1")),
        Decision::Allowed
    );
    assert_eq!(
        allows(&narrow, Act::Read, &Target::new("host", "h1")),
        Decision::Hidden
    );
    assert!(!narrow.reads_everything());
    let scope = Scope {
        teams: ["web".to_owned()].into(),
        ..Scope::default()
    };
    let webs = policy.caller(&Identity {
        scope,
        ..program(&["administrator"])
    });
    let (own, other) = (json!({ "team": "web" }), json!({ "team": "data" }));
    let site = |body| Target::new("site", "s").body(body);
    assert_eq!(allows(&webs, Act::Operate, &site(&own)), Decision::Allowed);
    assert_eq!(allows(&webs, Act::Operate, &site(&other)), Decision::Hidden);
    assert!(
        policy
            .caller(&program(&["administrator"]))
            .reads_everything()
    );
    assert!(!policy.caller(&program(&["viewer"])).reads_everything());
}

#[test]
fn a_filter_that_follows_references_or_names_what_no_kind_has_grants_nothing() {
    let mut kinds = Index::default();
    kinds.declare(Schema::new("rack", [("room", Sort::Text)]));
    kinds.declare(Schema::new(
        "host",
        [("rack", Sort::reference("rack", "hosts"))],
    ));
    let rules = json!([
        { "kinds": ["host"], "acts": ["read"], "filter": "self.rack.room == 'b2'" },
        { "kinds": ["rack"], "acts": ["read"], "filter": "size(self.hosts) == 0" },
        { "kinds": ["rack"], "acts": ["read"], "filter": "!has(self.rom)" },
        { "kinds": ["host", "rack"], "acts": ["read"], "filter": "rack.room == 'b2'" },
    ]);
    let mut sources = Sources::default();
    sources.roles.insert("some".into(), role(rules));
    let (policy, faults) = Policy::compile(sources, &Arc::new(kinds));
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("follows references"), "{told:?}");
    assert!(told[2].contains("rack has no field rom"), "{told:?}");
    let caller = policy.caller(&program(&["some"]));
    let body = json!({ "room": "b2", "rack": "r1" });
    let read = |kind| allows(&caller, Act::Read, &Target::new(kind, "x").body(&body));
    assert_eq!(
        (read("rack"), read("host")),
        (Decision::Allowed, Decision::Hidden)
    );
}

#[test]
fn what_names_no_team_belongs_to_its_sites() {
    let policy = policy();
    let sites = [("shop".to_owned(), "web".to_owned())].into();
    let ada = policy.caller(&Identity::user("ada"));
    assert_eq!(ada.shown(Act::Read, "rack", &sites), Shown::All);
    assert_eq!(
        ada.shown(Act::Read, "audit", &sites),
        Shown::Ways(Vec::new())
    );
    let sight = {
        let mut sight = Sight::default();
        sight.show("instance", ada.shown(Act::Operate, "instance", &sites));
        sight
    };
    let mut index = Index::default();
    for (name, site, body) in [
        ("a", "shop", json!({})),
        ("b", "shop", json!({ "team": null })),
        ("c", "shop", json!({ "team": "data" })),
        ("d", "other", json!({ "team": "web" })),
        ("e", "other", json!({})),
    ] {
        let labels = [("site".to_owned(), site.to_owned())].into();
        let kind = "instance";
        let document = Document {
            kind,
            name,
            labels: &labels,
            body: &body,
        };
        index.put(&document, 1);
    }
    let all = Query {
        kind: Some("instance".to_owned()),
        ..Query::default()
    };
    let seen = index.seen(Some(&sight));
    let found = seen.find(&all).unwrap();
    let rows = seen.page("instance", &found.rows, &[]).unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "d"]);
}
