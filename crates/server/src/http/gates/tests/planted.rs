//! What is planted, each with markers of its own, and who may see which of them.

use std::{collections::BTreeMap, sync::Arc};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};
use wright_access::{Act, Policy, Role, Rule, Sources, Target, User};
use wright_inventory::{Event, Put, catalog::Index};
use wright_workflow::JobSpec;

use super::bed::Bed;

/// Callers of the generated test. More with `WRIGHT_CALLERS`.
pub const CALLERS: u64 = 12;

/// Something planted: what it is, and its markers, each with the field it is in.
pub struct Planted {
    pub kind: &'static str,
    pub name: String,
    pub team: Option<&'static str>,
    pub site: Option<&'static str>,
    pub body: Value,
    pub markers: Vec<(&'static str, String)>,
}

impl Planted {
    pub fn target<'a>(&'a self, labels: &'a BTreeMap<String, String>) -> Target<'a> {
        Target::new(self.kind, &self.name)
            .team(self.team)
            .labels(labels)
            .body(&self.body)
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        let site = self.site.map(|site| ("site".to_owned(), site.to_owned()));
        site.into_iter().collect()
    }
}

pub fn spec(site: &str, name: &str, marker: &str) -> Value {
    json!({
        "id": format!("{site}/{name}"), "app": "web", "host": "nowhere",
        "package": { "name": "web", "version": "1.0.0", "digest": "0".repeat(64) },
        "address": "127.0.0.1", "ports": {}, "limits": { "cpu": 0.5, "memory": "64MiB" },
        "files": [], "env": { "KEY": marker }, "store": false,
        "ready": { "check": "monitor", "every": "5s", "timeout": "5s" }, "ready_within": "5s",
    })
}

pub fn plant() -> Vec<Planted> {
    let mut planted = Vec::new();
    for (number, team) in [Some("web"), Some("data"), None].into_iter().enumerate() {
        let own = ["web", "data", "none"][number];
        let mark = |field: &str, kind: &str| format!("mark-{kind}-{own}-{field}-x");
        let [reason, cost, found] = ["reason", "cost", "found"].map(|field| mark(field, "host"));
        // One that is ready and not connected would be said to be lost, in the middle of the test.
        planted.push(Planted {
            kind: "host",
            name: format!("h{own}"),
            team,
            site: None,
            body: json!({ "name": format!("h{own}"), "address": "127.0.0.1", "provider": "local",
                "capacity": { "cpu": 4, "memory": "1GiB", "disk": "1GiB" }, "state": "lost",
                "since": "2026-01-01T00:00:00Z", "reason": reason, "cost": cost, "team": team,
                "serial": "another", "facts": { "serial": found } }),
            markers: vec![("reason", reason), ("cost", cost), ("facts.serial", found)],
        });
        let [room, cost, deep] = ["room", "cost", "deep"].map(|field| mark(field, "rack"));
        planted.push(Planted {
            kind: "rack",
            name: format!("mark-rack-{own}-name-x"),
            team,
            site: None,
            body: json!({ "room": room, "cost": cost, "power": { "deep": deep }, "size": number, "team": team }),
            markers: vec![("room", room), ("cost", cost), ("power.deep", deep)],
        });
        let site = ["sweb", "sdata", "snone"][number];
        let stuck = mark("unrepaired", "site");
        planted.push(Planted {
            kind: "site",
            name: site.to_owned(),
            team,
            site: None,
            body: json!({ "bundle": "0".repeat(64), "job": null, "plan": 1, "unrepaired": stuck, "team": team }),
            markers: vec![("unrepaired", stuck)],
        });
        let env = mark("env", "instance");
        let spec = spec(site, "web-1", &env);
        planted.push(Planted {
            kind: "instance",
            name: format!("{site}.web-1"),
            team,
            site: Some(site),
            body: json!({ "spec": spec, "spec_digest": "0".repeat(64), "written_by": "", "traffic": "on" }),
            markers: vec![("spec.env", env)],
        });
        let text = mark("description", "package");
        planted.push(Planted {
            kind: "package",
            name: format!("p{own}@1.0.0"),
            team,
            site: None,
            body: json!({ "name": format!("p{own}"), "version": "1.0.0", "digest": "0".repeat(64),
                "description": text, "platform": "any", "size": 1, "key_id": "k",
                "pushed_at": "2026-01-01T00:00:00Z", "team": team }),
            markers: vec![("description", text)],
        });
    }
    planted
}

/// Writes it all, twice, so that there is a history; with events and jobs about it.
pub async fn write(bed: &Bed, planted: &mut Vec<Planted>) {
    for one in planted.iter() {
        for _ in 0..2 {
            let mut put = Put::new(one.kind, &one.name, &one.body).unwrap();
            for (key, value) in one.labels() {
                put = put.label(&key, &value);
            }
            bed.rooms
                .inventory
                .commit(put.operations().unwrap())
                .await
                .unwrap();
        }
    }
    bed.rooms.rights.reload().await.unwrap();
    for (own, team, site) in [
        ("web", Some("web"), "sweb"),
        ("data", Some("data"), "sdata"),
        ("none", None, "snone"),
    ] {
        let title = format!("mark-job-{own}-title-x");
        let spec = JobSpec {
            kind: "site-up".to_owned(),
            subject: format!("site/{site}"),
            title: title.clone(),
            actor: "test".to_owned(),
            ..JobSpec::default()
        };
        let job = bed.rooms.engine.submit(spec).await.unwrap();
        let summary = bed.rooms.engine.summary(job).await.unwrap();
        let body = serde_json::to_value(&summary).unwrap();
        let (name, site) = (job.to_string(), Some(site));
        planted.push(Planted {
            kind: "job",
            name,
            team,
            site,
            body,
            markers: vec![("title", title)],
        });
        let message = format!("mark-event-{own}-x");
        let event = Event::new("test", "host-dead", &format!("host/h{own}"), &message);
        bed.rooms.inventory.record(&event).await.unwrap();
        let host = planted
            .iter_mut()
            .find(|one| one.name == format!("h{own}"))
            .unwrap();
        // Told only to whom nothing of the host is hidden: as if it were in every field.
        host.markers.push(("*", message));
    }
}

pub fn random_rules(random: &mut StdRng) -> Vec<Rule> {
    let kinds = ["host", "rack", "site", "instance", "package", "job", "*"];
    let fields = [
        "room", "cost", "power", "reason", "team", "name", "title", "spec",
    ];
    let filters = [
        "self.size == 1",
        "self.name == 'hweb'",
        "has(self.team) && self.team == 'data'",
    ];
    let mut some = |of: &[&str], least: usize, most: usize, of_ten: u32| -> Vec<String> {
        let count = match random.random_ratio(of_ten, 10) {
            true => random.random_range(least..=most),
            false => least,
        };
        let chosen = (0..count).filter_map(|_| of.choose(random));
        chosen.map(ToString::to_string).collect()
    };
    let mut rules = Vec::new();
    for _ in 0..3 {
        rules.push(Rule {
            kinds: some(&kinds, 1, 3, 10),
            fields: some(&fields, 0, 2, 4),
            except: some(&fields, 0, 1, 4),
            filter: some(&filters, 0, 1, 3).pop(),
            acts: vec![Act::Read, Act::Operate, Act::Write],
        });
    }
    rules
}

/// How many callers.
pub fn callers() -> u64 {
    let asked = std::env::var("WRIGHT_CALLERS");
    let asked = asked.ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(CALLERS)
}

/// Rights, and in which team.
pub fn random_rights(seed: u64) -> (Vec<Rule>, Option<&'static str>) {
    let mut random = StdRng::seed_from_u64(seed);
    let rules = random_rules(&mut random);
    let teams = [None, Some("web"), Some("data")];
    (rules, teams.choose(&mut random).copied().flatten())
}

/// The markers that somebody with these rules may see.
pub fn visible<'a>(
    planted: &'a [Planted],
    rules: &[Rule],
    team: Option<&str>,
    kinds: &Arc<Index>,
) -> Vec<&'a str> {
    let mut sources = Sources::default();
    let role = Role {
        rules: rules.to_vec(),
        ..Role::default()
    };
    sources.roles.insert("r".to_owned(), role);
    sources.users.insert("u".to_owned(), User::default());
    let binding = json!({ "role": "r", "users": ["u"], "team": team });
    sources
        .bindings
        .push(serde_json::from_value(binding).unwrap());
    let policy = Policy::compile(sources, kinds).0;
    let caller = policy.caller(&wright_access::Identity::user("u"));
    let mut seen = Vec::new();
    for one in planted {
        let labels = one.labels();
        let fields = caller.fields(Act::Read, &one.target(&labels));
        for (field, marker) in &one.markers {
            let shown = if *field == "*" {
                fields.is_all()
            } else {
                fields.cover(field)
            };
            if shown {
                seen.push(marker.as_str());
            }
        }
        if !fields.is_none() && one.name.starts_with("mark-") {
            seen.push(&one.name);
        }
    }
    seen
}

/// As part of an address.
pub fn encoded(text: &str) -> String {
    let letter = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(letter).collect()
}

pub fn rule_of_all() -> Rule {
    Rule {
        kinds: vec!["*".to_owned()],
        acts: vec![Act::Read],
        ..Rule::default()
    }
}
