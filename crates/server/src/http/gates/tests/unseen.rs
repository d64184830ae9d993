//! Callers with random rights never see what they may not: everything planted carries a marker of its
//! own, and every answer of every endpoint is searched for those that should not be in it.

use std::sync::Arc;

use serde_json::{Value, json};
use wright_workflow::JobId;

use super::{
    bed::Bed,
    endpoints::operations,
    planted::{Planted, callers, encoded, plant, random_rights, rule_of_all, visible, write},
};

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
    if template == "/export/{kind}" {
        let kinds = ["host", "rack", "site", "instance", "package"];
        let formats = ["jsonl", "csv", "yaml"];
        let of = |kind: &str| formats.map(|format| format!("/export/{kind}?format={format}"));
        return kinds.into_iter().flat_map(of).collect();
    }
    if template == "/watch" {
        let filters = [
            "has(self.cost)",
            "!has(self.reason)",
            "self.name != 'x'",
            "!has(self.rack.power.deep)",
            "size(self.instances) < 9",
        ];
        let watch = |filter: &str| format!("/watch?kind=host&from=1&filter={}", encoded(filter));
        return filters.into_iter().map(watch).collect();
    }
    if template == "/import" {
        return vec!["/import?dry-run=true".to_owned()];
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

/// What every caller is answered, whatever his rights: with what he may see.
const ANSWERED: [&str; 5] = ["/query", "/search", "/export/{kind}", "/watch", "/import"];

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
                    json!({ "kind": kind, "select": ["power", "labels.site", "spec"], "sort": [field] }),
                    json!({ "kind": kind, "group-by": [field] }),
                    json!({ "kind": kind, "filter": format!("has(self.{field})"), "explain": true }),
                    json!({ "kind": kind, "filter": format!("!has(self.{field})"), "select": ["size"] }),
                    json!({ "kind": kind, "text": "mark", "select": [field] }),
                ]
            };
            let all = [
                json!({ "group-by": ["description"] }),
                json!({ "group-by": ["kind"] }),
            ];
            fields.into_iter().flat_map(of).chain(all).collect()
        }
        (_, "/import?dry-run=true") => {
            let row = |(line, (kind, name)): (usize, (&str, &str))| {
                json!({
                    "line": line, "kind": kind, "name": name, "body": { "reason": null, "cost": null, "team": null },
                })
            };
            let named = [
                ("host", "hweb"),
                ("host", "hdata"),
                ("host", "hnone"),
                ("rack", "mark-rack-web-name-x"),
            ];
            let rows: Vec<Value> = named.into_iter().enumerate().map(row).collect();
            vec![json!({ "rows": rows })]
        }
        _ => vec![json!({})],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_holds_what_its_caller_may_not_see() {
    let bed = Bed::start().await;
    let mut planted = plant();
    write(&bed, &mut planted).await;
    let kinds = Arc::new(bed.rooms.inventory.schemas().await.unwrap());
    let all = visible(&planted, &[rule_of_all()], None, &kinds);
    let (mut answers, mut shown) = (0, 0);
    for seed in 0..callers() {
        let (rules, team) = random_rights(seed);
        let may_see = visible(&planted, &rules, team, &kinds);
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
                    let sent = body.to_string();
                    let answer = bed.ask(&token, &method, &asked, body).await;
                    assert!(
                        answer.status.as_u16() < 500 || answer.status == 503,
                        "{method} {path}: {answer:?}"
                    );
                    answers += 1;
                    assert!(
                        answer.status != 403 || !ANSWERED.contains(&template.as_str()),
                        "{method} {path} is refused: {answer:?}"
                    );
                    for marker in &all {
                        // What was sent may be said back.
                        let is_sent = path.contains(*marker) || sent.contains(*marker);
                        if !answer.text.contains(*marker) || is_sent {
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
