//! Groups, and lists of what is asked for.

use http::StatusCode;
use serde_json::{Value, json};

use super::bed::Bed;

async fn facilities() -> (Bed, String) {
    let bed = Bed::start().await;
    bed.put("room", "b2", json!({ "site": "berlin" })).await;
    bed.put("room", "b3", json!({ "site": "berlin" })).await;
    for (name, room, units) in [
        ("r1", "b2", 42),
        ("r2", "b2", 40),
        ("r3", "b3", 42),
        ("r4", "b2", 47),
    ] {
        bed.put("rack", name, json!({ "room": room, "units": units }))
            .await;
    }
    for (host, rack) in [("h1", "r1"), ("h2", "r2"), ("h3", "r3")] {
        bed.put("host", host, json!({ "rack": rack, "state": "lost" }))
            .await;
    }
    let token = bed.token(&["administrator"]).await;
    (bed, token)
}

async fn group(bed: &Bed, token: &str, name: &str, body: Value) -> StatusCode {
    let path = format!("/resources/group/{name}");
    bed.ask(token, "PUT", &path, json!({ "body": body }))
        .await
        .status
}

fn names(list: &Value) -> Vec<&str> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_group_is_refused_with_the_column_at_which_its_filter_is_wrong() {
    let (bed, token) = facilities().await;
    let wrong = json!({ "kind": "rack", "filter": "rack.room.name == 'b2' && rack.unit > 40" });
    let body = json!({ "name": "large", "body": wrong });
    let refused = bed.ask(&token, "POST", "/resources/group", body).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.text.contains("column 32"), "{refused:?}");
    assert!(refused.text.contains("did you mean units?"), "{refused:?}");
    for wrong in [
        json!({ "kind": "rack" }),
        json!({ "kind": "rack", "filter": "true", "members": ["r1"] }),
        json!({ "kind": "rak", "members": ["r1"] }),
    ] {
        assert_eq!(group(&bed, &token, "wrong", wrong).await, 422);
    }
    bed.stop().await;
}

#[tokio::test]
async fn a_groups_members_are_those_for_which_it_is_true_now() {
    let (bed, token) = facilities().await;
    let large =
        json!({ "kind": "rack", "filter": "rack.room.name == 'b2' && rack.units > 40 // large" });
    assert_eq!(group(&bed, &token, "large", large).await, 201);
    let fixed = json!({ "kind": "rack", "members": ["r3", "r1", "gone"] });
    assert_eq!(group(&bed, &token, "fixed", fixed).await, 201);
    let ask = async |query: Value| bed.ask(&token, "POST", "/query", query).await.json();
    let found = ask(json!({ "group": "large" })).await;
    assert_eq!(names(&found["rows"]), ["r1", "r4"], "{found}");
    let found = ask(json!({ "group": "large", "filter": "rack.units < 45 || false" })).await;
    assert_eq!(names(&found["rows"]), ["r1"], "{found}");
    let found = ask(json!({ "group": "fixed", "kind": "rack", "sort": ["-name"] })).await;
    assert_eq!(names(&found["rows"]), ["r3", "r1"], "{found}");
    let other = bed
        .ask(
            &token,
            "POST",
            "/query",
            json!({ "group": "fixed", "kind": "host" }),
        )
        .await;
    assert_eq!(other.status, 422, "{other:?}");
    let none = bed
        .ask(&token, "POST", "/query", json!({ "group": "none" }))
        .await;
    assert_eq!(none.status, 404, "{none:?}");

    bed.put("rack", "r4", json!({ "room": "b3", "units": 47 }))
        .await;
    let listed = bed.get(&token, "/resources/rack?group=large").await.json();
    assert_eq!(names(&listed), ["r1"]);
    let text = bed.get(&token, "/export/rack?group=fixed").await.text;
    assert!(
        text.contains("\"r1\"") && text.contains("\"r3\"") && !text.contains("\"r2\""),
        "{text}"
    );
    bed.stop().await;
}

#[tokio::test]
async fn groups_of_hosts_are_groups_of_ansible() {
    let (bed, token) = facilities().await;
    let near = json!({ "kind": "host", "filter": "host.rack.room.name == 'b2'" });
    assert_eq!(group(&bed, &token, "near-by", near).await, 201);
    let racks = json!({ "kind": "rack", "members": ["r1"] });
    assert_eq!(group(&bed, &token, "racks", racks).await, 201);
    let all = bed.get(&token, "/discovery/ansible").await.json();
    assert_eq!(all["group_near_by"]["hosts"], json!(["h1", "h2"]), "{all}");
    assert_eq!(all["all"]["hosts"], json!(["h1", "h2", "h3"]));
    let some = bed
        .get(&token, "/discovery/ansible?group=near-by")
        .await
        .json();
    assert_eq!(some["all"]["hosts"], json!(["h1", "h2"]));
    for path in [
        "/discovery/ansible?group=racks",
        "/discovery/prometheus?group=racks",
        "/instances?group=racks",
    ] {
        assert_eq!(bed.get(&token, path).await.status, 422, "{path}");
    }
    assert_eq!(
        bed.get(&token, "/discovery/prometheus?group=near-by")
            .await
            .status,
        200
    );
    bed.stop().await;
}

#[tokio::test]
async fn a_group_is_for_who_may_read_it_and_holds_what_he_may_read() {
    let (bed, token) = facilities().await;
    let large = json!({ "kind": "rack", "filter": "rack.units > 40" });
    assert_eq!(group(&bed, &token, "large", large).await, 201);
    let racks = json!([{ "kinds": ["rack"], "acts": ["read"], "filter": "self.room == 'b2'" }]);
    let blind = bed.holder("ada", racks, None).await;
    assert_eq!(
        bed.get(&blind, "/resources/rack?group=large").await.status,
        404
    );
    let both = json!([{ "kinds": ["rack"], "acts": ["read"], "filter": "self.room == 'b2'" },
        { "kinds": ["group"], "acts": ["read"] }]);
    let near = bed.holder("grace", both, None).await;
    let listed = bed.get(&near, "/resources/rack?group=large").await.json();
    assert_eq!(names(&listed), ["r1", "r4"]);
    bed.stop().await;
}

#[tokio::test]
async fn a_list_is_narrowed_ordered_and_read_page_by_page_as_it_was() {
    let (bed, token) = facilities().await;
    let label = json!({ "labels": { "tier": "gold" }, "body": { "room": "b2", "units": 40 } });
    bed.ask(&token, "PUT", "/resources/rack/r2", label).await;
    let gold = bed
        .get(&token, "/resources/rack?label=tier%3Dgold")
        .await
        .json();
    assert_eq!(names(&gold), ["r2"]);
    let path = "/resources/rack?filter=rack.room.name%20%3D%3D%20%27b2%27&sort=-units&select=units&limit=2";
    let response = bed.send(&token, "GET", path, Value::Null).await;
    assert_eq!(response.headers()["x-total-count"], "3");
    let link = response.headers()["link"].to_str().unwrap().to_owned();
    let next = link
        .strip_prefix("</api/v1")
        .unwrap()
        .split('>')
        .next()
        .unwrap();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    let page: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(names(&page), ["r4", "r1"]);
    assert_eq!(page[0]["body"], json!({ "units": 47 }));
    // What is written now is of no page that was begun before.
    bed.put("rack", "r2", json!({ "room": "b3", "units": 7 }))
        .await;
    let page = bed.get(&token, next).await.json();
    assert_eq!(names(&page), ["r2"]);
    assert_eq!(page[0]["body"], json!({ "units": 40 }));
    for (wrong, status) in [
        ("label=x", 400),
        ("filter=rack.unit%3D%3D1", 422),
        ("cursor=gone", 410),
        ("limits=1", 400),
    ] {
        let answer = bed.get(&token, &format!("/resources/rack?{wrong}")).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn a_watch_of_a_group_tells_what_enters_and_leaves_it() {
    use futures::StreamExt as _;
    let (bed, token) = facilities().await;
    let large = json!({ "kind": "rack", "filter": "rack.units > 40" });
    assert_eq!(group(&bed, &token, "large", large).await, 201);
    let response = bed
        .send(
            &token,
            "GET",
            "/watch?group=large&filter=rack.room%3D%3D%27b2%27",
            Value::Null,
        )
        .await;
    assert_eq!(response.status(), 200);
    let mut frames = response.into_body().into_data_stream();
    bed.put("rack", "r2", json!({ "room": "b2", "units": 48 }))
        .await;
    bed.put("rack", "r3", json!({ "room": "b3", "units": 48 }))
        .await;
    bed.put("rack", "r1", json!({ "room": "b2", "units": 12 }))
        .await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let frame = frames.next().await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&frame).into_owned();
        let data = text.lines().find_map(|line| line.strip_prefix("data: "));
        let Some(change) = data.and_then(|data| serde_json::from_str::<Value>(data).ok()) else {
            continue;
        };
        if change.get("kind").is_some() {
            told.push(format!("{} {}", change["name"], change["what"]));
        }
    }
    assert_eq!(told, [r#""r2" "entered""#, r#""r1" "left""#]);
    bed.stop().await;
}
