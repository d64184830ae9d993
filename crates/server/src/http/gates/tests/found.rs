//! Queries, filtered watches, imports and exports of callers with random rights: what they find is what
//! they may see.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    bed::Bed,
    planted::{Planted, callers, encoded, plant, random_rights, visible, write},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_query_finds_what_its_asker_may_not_see_and_each_what_he_may() {
    let bed = Bed::start().await;
    let mut planted = plant();
    write(&bed, &mut planted).await;
    let kinds = Arc::new(bed.rooms.inventory.schemas().await.unwrap());
    let (mut found, mut hidden) = (0, 0);
    for seed in 0..callers() {
        let (rules, team) = random_rights(seed);
        let may_see = visible(&planted, &rules, team, &kinds);
        let token = bed
            .holder("ada", serde_json::to_value(&rules).unwrap(), team)
            .await;
        for one in planted.iter().filter(|one| one.kind != "job") {
            for (field, marker) in &one.markers {
                match probe(&bed, &token, one, field, marker, &may_see).await {
                    true => found += 1,
                    false => hidden += 1,
                }
            }
        }
    }
    assert!(
        found > 20 && hidden > 100,
        "{found} markers were found and {hidden} not: too few to mean much"
    );
    bed.stop().await;
}

/// Asks for a marker by queries that do not show it: they find it where the caller may see it, and
/// nothing elsewhere. Whether it may be seen.
async fn probe(
    bed: &Bed,
    token: &str,
    one: &Planted,
    field: &str,
    marker: &str,
    may_see: &[&str],
) -> bool {
    let seen = may_see.contains(&marker);
    // Events are not found by queries, and neither are the files and variables of instances.
    if field == "*" || one.kind == "instance" {
        return false;
    }
    let count = |filter: String| json!({ "kind": one.kind, "filter": filter, "count": true });
    for filter in [
        format!("self.{field} == {marker:?}"),
        format!("has(self.{field}) && self.{field}.startsWith({marker:?})"),
        format!("self.{field} in [{marker:?}]"),
        format!("!(self.{field} != {marker:?})"),
        format!("(has(self.{field}) ? self.{field} : self.name) == {marker:?}"),
    ] {
        let answer = bed
            .ask(token, "POST", "/query", count(filter.clone()))
            .await;
        let total = match answer.status.as_u16() {
            200 => answer.json()["total"].as_u64().unwrap(),
            // It may be read of no resource of the kind.
            _ => 0,
        };
        assert_eq!(total, u64::from(seen), "{filter}: {answer:?}");
    }
    let grouped = json!({ "kind": one.kind, "group-by": [field] });
    let grouped = bed.ask(token, "POST", "/query", grouped).await;
    let groups = grouped.text.contains(marker) && grouped.status == 200;
    assert_eq!(groups, seen, "{grouped:?}");
    // Names of others are no words, and neither is what agents found.
    if !["room", "facts.serial"].contains(&field) {
        let hits = bed.get(token, &format!("/search?q={marker}")).await.json();
        let found = !hits.as_array().unwrap().is_empty();
        assert_eq!(found, seen, "{marker}: {hits}");
    }
    seen
}

#[tokio::test]
async fn a_filtered_watch_knows_only_what_its_reader_may_see() {
    let bed = Bed::start().await;
    let rules = json!([{ "kinds": ["host"], "acts": ["read"], "except": ["cost"] }]);
    let webs = bed.holder("ada", rules, Some("web")).await;
    let filter = encoded("!has(self.cost) && self.reason != 'gone'");
    let path = format!("/watch?kind=host&filter={filter}");
    let response = bed.send(&webs, "GET", &path, Value::Null).await;
    assert_eq!(response.status(), 200);
    let mut frames = response.into_body().into_data_stream();
    let put = async |name: &str, team: &str, cost: &str, reason: &str| {
        let body = json!({ "team": team, "cost": cost, "reason": reason });
        bed.rooms
            .inventory
            .put_as("host", name, &body)
            .await
            .unwrap();
    };
    put("h1", "web", "much", "new").await;
    put("h1", "web", "more", "new").await;
    put("h2", "data", "much", "new").await;
    put("h1", "data", "more", "new").await;
    put("end", "web", "much", "end").await;
    let mut seen = String::new();
    while !seen.contains("\"end\"") {
        use futures::StreamExt as _;
        seen.push_str(&String::from_utf8_lossy(
            &frames.next().await.unwrap().unwrap(),
        ));
    }
    let told: Vec<(Value, Value)> = seen
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .filter(|told: &Value| told.get("kind").is_some())
        .map(|told| (told["name"].clone(), told["what"].clone()))
        .collect();
    // That the cost is another is no change for him.
    let expected = [("h1", "entered"), ("h1", "left"), ("end", "entered")];
    assert_eq!(
        told,
        expected.map(|(name, what)| (json!(name), json!(what)))
    );
    assert!(!seen.contains("much") && !seen.contains("h2"), "{seen}");
    bed.stop().await;
}

#[tokio::test]
async fn import_and_export_are_of_what_a_caller_may_read_and_write() {
    let bed = Bed::start().await;
    let rules = json!([
        { "kinds": ["shelf"], "acts": ["read"], "except": ["description"] },
        { "kinds": ["shelf"], "acts": ["write"], "fields": ["title", "team"] },
    ]);
    let webs = bed.holder("ada", rules, Some("web")).await;
    let fields = json!({ "title": { "type": "text" }, "description": { "type": "text" }, "team": { "type": "text" } });
    bed.put("kind", "shelf", json!({ "fields": fields })).await;
    for (name, team) in [("r1", "web"), ("r2", "data")] {
        let body = json!({ "team": team, "title": "old", "description": "hidden" });
        bed.put("shelf", name, body).await;
    }
    let text = bed.get(&webs, "/export/shelf").await.text;
    assert!(
        text.contains("r1") && !text.contains("r2") && !text.contains("hidden"),
        "{text}"
    );

    let row = |line: usize, name: &str, body: Value| json!({ "line": line, "kind": "shelf", "name": name, "body": body });
    let rows = json!({ "rows": [
        row(1, "r1", json!({ "title": "new" })),
        row(2, "r2", json!({ "title": "new" })),
        row(3, "r3", json!({ "title": "made", "team": "web" })),
        row(4, "r4", json!({ "title": "made", "team": "data" })),
        row(5, "r1b", json!({ "title": "made", "team": "web", "description": "said" })),
    ] });
    for path in ["/import?dry-run=true", "/import"] {
        let report = bed.ask(&webs, "POST", path, rows.clone()).await.json();
        assert_eq!(
            (&report["created"], &report["changed"]),
            (&json!(1), &json!(1)),
            "{report}"
        );
        let lines: Vec<&Value> = report["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| &error["line"])
            .collect();
        assert_eq!(lines, [2, 4, 5], "{report}");
        assert!(!report.to_string().contains("hidden"), "{report}");
    }
    let all = bed
        .rooms
        .inventory
        .resources("shelf", None, 0, None)
        .await
        .unwrap();
    let titles: Vec<_> = all
        .resources
        .iter()
        .map(|shelf| (shelf.name.as_str(), shelf.body["title"].as_str()))
        .collect();
    assert_eq!(
        titles,
        [
            ("r1", Some("new")),
            ("r2", Some("old")),
            ("r3", Some("made"))
        ]
    );
    bed.stop().await;
}
