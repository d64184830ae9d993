//! Callers with random rights never see what they may not: everything planted carries a marker of its
//! own, and every answer of every endpoint is searched for those that should not be in it.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};
use wright_access::{Act, Policy, Role, Rule, Sources, Target, User};
use wright_inventory::{Event, Put};
use wright_workflow::{JobId, JobSpec};

use super::{bed::Bed, endpoints::operations};

/// Callers of the generated test. More with `WRIGHT_CALLERS`.
const CALLERS: u64 = 12;

/// Something planted: what it is, and its markers, each with the field it is in.
struct Planted {
    kind: &'static str,
    name: String,
    team: Option<&'static str>,
    site: Option<&'static str>,
    body: Value,
    markers: Vec<(&'static str, String)>,
}

impl Planted {
    fn target<'a>(&'a self, labels: &'a BTreeMap<String, String>) -> Target<'a> {
        Target::new(self.kind, &self.name)
            .team(self.team)
            .labels(labels)
            .body(&self.body)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let site = self.site.map(|site| ("site".to_owned(), site.to_owned()));
        site.into_iter().collect()
    }
}

fn spec(site: &str, name: &str, marker: &str) -> Value {
    json!({
        "id": format!("{site}/{name}"), "app": "web", "host": "nowhere",
        "package": { "name": "web", "version": "1.0.0", "digest": "0".repeat(64) },
        "address": "127.0.0.1", "ports": {}, "limits": { "cpu": 0.5, "memory": "64MiB" },
        "files": [], "env": { "KEY": marker }, "store": false,
        "ready": { "check": "monitor", "every": "5s", "timeout": "5s" }, "ready_within": "5s",
    })
}

fn plant() -> Vec<Planted> {
    let mut planted = Vec::new();
    for (number, team) in [Some("web"), Some("data"), None].into_iter().enumerate() {
        let own = ["web", "data", "none"][number];
        let mark = |field: &str, kind: &str| format!("mark-{kind}-{own}-{field}-x");
        let [reason, cost, found] = ["reason", "cost", "found"].map(|field| mark(field, "host"));
        planted.push(Planted {
            kind: "host",
            name: format!("h{own}"),
            team,
            site: None,
            body: json!({ "name": format!("h{own}"), "address": "127.0.0.1", "provider": "local",
                "capacity": { "cpu": 4, "memory": "1GiB", "disk": "1GiB" }, "state": "ready",
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
async fn write(bed: &Bed, planted: &mut Vec<Planted>) {
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

fn random_rules(random: &mut StdRng) -> Vec<Rule> {
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

/// The markers that somebody with these rules may see.
fn visible<'a>(planted: &'a [Planted], rules: &[Rule], team: Option<&str>) -> Vec<&'a str> {
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
    let policy = Policy::compile(sources).0;
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

/// Every path that an operation's path may stand for.
fn paths(template: &str, planted: &[Planted]) -> Vec<String> {
    let named = |kind: &str| -> Vec<String> {
        let of_kind = planted.iter().filter(|one| one.kind == kind);
        of_kind.map(|one| one.name.clone()).collect()
    };
    if template.contains("/resources/{kind}") {
        let of = |one: &Planted| {
            template
                .replace("{kind}", one.kind)
                .replace("{name}", &one.name)
        };
        let mut paths: Vec<String> = planted.iter().map(of).collect();
        paths.dedup();
        return paths;
    }
    if template == "/search" {
        let all = ["mark", "hweb", "x"].map(|words| format!("/search?limit=1000&q={words}"));
        return all.to_vec();
    }
    let mut paths = vec![template.to_owned()];
    for (param, values) in [
        ("{site}", named("site")),
        ("{host}", named("host")),
        ("{job}", named("job")),
        ("{instance}", vec!["web-1".to_owned()]),
        ("{operation}", vec!["monitor".to_owned()]),
        ("{user}", vec!["ada".to_owned()]),
        ("{token}", vec!["x".to_owned()]),
        (
            "{name}",
            match template.starts_with("/packages") {
                true => ["pweb", "pdata", "pnone"].map(str::to_owned).to_vec(),
                false => vec!["web-1".to_owned()],
            },
        ),
    ] {
        if paths[0].contains(param) {
            let fill = |path: &String| {
                values
                    .iter()
                    .map(|value| path.replace(param, value))
                    .collect::<Vec<_>>()
            };
            paths = paths.iter().flat_map(fill).collect();
        }
    }
    paths
}

/// What is sent.
fn bodies(method: &str, path: &str) -> Vec<Value> {
    match (method, path) {
        ("GET", _) => vec![Value::Null],
        (_, "/query") => {
            let fields = [
                ("host", "cost"),
                ("host", "reason"),
                ("host", "facts.serial"),
                ("host", "drift"),
                ("rack", "room"),
                ("rack", "power.deep"),
                ("rack", "room.name"),
                ("site", "unrepaired"),
                ("package", "description"),
                ("instance", "spec.host.reason"),
            ];
            let of = |(kind, field): (&str, &str)| {
                [
                    json!({ "kind": kind, "select": [field] }),
                    json!({ "kind": kind, "group-by": [field] }),
                    json!({ "kind": kind, "filter": format!("has(self.{field})"), "explain": true }),
                ]
            };
            let all = [json!({ "group-by": ["description"] }), json!({})];
            fields.into_iter().flat_map(of).chain(all).collect()
        }
        _ => vec![json!({})],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_holds_what_its_caller_may_not_see() {
    let callers = std::env::var("WRIGHT_CALLERS")
        .ok()
        .and_then(|text| text.parse().ok());
    let bed = Bed::start().await;
    let mut planted = plant();
    write(&bed, &mut planted).await;
    let all = visible(&planted, &[rule_of_all()], None);
    let (mut answers, mut shown) = (0, 0);
    for seed in 0..callers.unwrap_or(CALLERS) {
        let mut random = StdRng::seed_from_u64(seed);
        let rules = random_rules(&mut random);
        let team = [None, Some("web"), Some("data")]
            .choose(&mut random)
            .copied()
            .flatten();
        let may_see = visible(&planted, &rules, team);
        let token = bed
            .holder("ada", serde_json::to_value(&rules).unwrap(), team)
            .await;
        // Whoever logs out sees nothing more.
        let all_others = operations()
            .into_iter()
            .filter(|(_, path)| path != "/logout");
        for (method, template) in all_others {
            for path in paths(&template, &planted) {
                // Nobody changes what was planted.
                let asked = match method != "GET" && path.starts_with("/resources/") {
                    true => format!("{path}?dry_run=true"),
                    false => path.clone(),
                };
                for body in bodies(&method, &path) {
                    let answer = bed.ask(&token, &method, &asked, body).await;
                    assert!(
                        answer.status.as_u16() < 500 || answer.status == 503,
                        "{method} {path}: {answer:?}"
                    );
                    answers += 1;
                    for marker in &all {
                        // A path that names what is hidden may be said back.
                        if !answer.text.contains(*marker) || path.contains(*marker) {
                            continue;
                        }
                        shown += 1;
                        assert!(
                            may_see.contains(marker),
                            "seed {seed}: {method} {path} shows {marker} to {team:?} with {rules:#?}: {}",
                            answer.text
                        );
                    }
                }
            }
        }
    }
    assert!(
        answers > 1000 && shown > 500,
        "{answers} answers showed {shown} markers: too few to mean much"
    );
    bed.stop().await;
}

fn rule_of_all() -> Rule {
    Rule {
        kinds: vec!["*".to_owned()],
        acts: vec![Act::Read],
        ..Rule::default()
    }
}

#[tokio::test]
async fn what_may_be_seen_is_seen() {
    let bed = Bed::start().await;
    let mut planted = plant();
    write(&bed, &mut planted).await;
    let rules = json!([{ "kinds": ["rack"], "acts": ["read"], "except": ["cost"] },
        { "kinds": ["host"], "acts": ["read"], "fields": ["name", "reason"] }]);
    let webs = bed.holder("ada", rules, Some("web")).await;
    let racks = bed.get(&webs, "/resources/rack").await.json();
    let room = "mark-rack-web-room-x";
    let body = json!({ "room": room, "power": { "deep": "mark-rack-web-deep-x" }, "size": 0, "team": "web" });
    assert_eq!(racks.as_array().unwrap().len(), 1, "{racks}");
    assert_eq!(racks[0]["body"], body);
    let history = bed
        .get(&webs, "/resources/rack/mark-rack-web-name-x/history")
        .await
        .json();
    assert_eq!(history[1]["body"], body);
    let hosts = bed.get(&webs, "/hosts").await.json();
    assert_eq!(
        hosts,
        json!([{ "name": "hweb", "reason": "mark-host-web-reason-x" }])
    );
    assert_eq!(
        bed.get(&webs, "/resources/rack/mark-rack-data-name-x")
            .await
            .status,
        404
    );
    assert_eq!(bed.get(&webs, "/health").await.json()["hosts"], 1);
    assert_eq!(bed.get(&webs, "/jobs").await.json(), json!([]));
    bed.stop().await;
}

#[tokio::test]
async fn a_watch_tells_only_what_may_be_seen() {
    let bed = Bed::start().await;
    let rules = json!([{ "kinds": ["host"], "acts": ["read"] }]);
    let webs = bed.holder("ada", rules, Some("web")).await;
    let response = bed
        .send(&webs, "GET", "/watch?kind=host", Value::Null)
        .await;
    let mut frames = response.into_body().into_data_stream();
    for one in plant().iter().filter(|one| one.kind == "host") {
        bed.rooms
            .inventory
            .put_as("host", &one.name, &one.body)
            .await
            .unwrap();
    }
    let last = json!({ "name": "end", "reason": "the end", "team": "web" });
    bed.rooms
        .inventory
        .put_as("host", "end", &last)
        .await
        .unwrap();
    let mut seen = String::new();
    while !seen.contains("the end") {
        use futures::StreamExt as _;
        seen.push_str(&String::from_utf8_lossy(
            &frames.next().await.unwrap().unwrap(),
        ));
    }
    assert!(seen.contains("mark-host-web-reason-x"), "{seen}");
    assert!(!seen.contains("mark-host-data"), "{seen}");
    assert!(!seen.contains("hdata"), "{seen}");
    bed.stop().await;
}

/// Jobs are named by ids; one that is not there is as one that may not be seen.
#[tokio::test]
async fn a_job_that_may_not_be_seen_is_one_that_is_not_there() {
    let bed = Bed::start().await;
    let mut planted = plant();
    write(&bed, &mut planted).await;
    let rules = json!([{ "kinds": ["job"], "acts": ["read"] }]);
    let webs = bed.holder("ada", rules, Some("web")).await;
    let jobs = bed.get(&webs, "/jobs").await.json();
    assert_eq!(jobs.as_array().unwrap().len(), 1, "{jobs}");
    let hidden = planted
        .iter()
        .find(|one| one.kind == "job" && one.team == Some("data"))
        .unwrap();
    let there = bed.get(&webs, &format!("/jobs/{}", hidden.name)).await;
    let gone = JobId(uuid::Uuid::nil());
    let nowhere = bed.get(&webs, &format!("/jobs/{gone}")).await;
    assert_eq!(
        (there.status, nowhere.status),
        (nowhere.status, there.status)
    );
    let text = there.json()["detail"]
        .as_str()
        .unwrap()
        .replace(&hidden.name, "ID");
    let other = nowhere.json()["detail"]
        .as_str()
        .unwrap()
        .replace(&gone.to_string(), "ID");
    assert_eq!(text, other);
    let own = jobs[0]["id"].as_str().unwrap();
    assert_eq!(
        bed.ask(&webs, "POST", &format!("/jobs/{own}/cancel"), json!({}))
            .await
            .status,
        403
    );
    bed.stop().await;
}
