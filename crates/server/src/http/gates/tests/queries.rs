//! Queries and search, as callers see them.

use serde_json::{Value, json};

use super::bed::Bed;

async fn facilities() -> Bed {
    let bed = Bed::start().await;
    bed.put("room", "b2", json!({ "site": "berlin" })).await;
    for (name, units) in [("r1", 42), ("r2", 40), ("r3", 42)] {
        let body = json!({ "room": "b2", "units": units, "label": format!("Rack {name}") });
        bed.put("rack", name, body).await;
    }
    bed
}

#[tokio::test]
async fn what_was_just_written_is_found_counted_and_grouped() {
    let bed = facilities().await;
    let token = bed.token(&["administrator"]).await;
    let filter = "rack.room.name == 'b2' && rack.units > 40";
    let query = json!({ "kind": "rack", "filter": filter, "select": ["room.site", "units"] });
    let found = bed.ask(&token, "POST", "/query", query).await.json();
    assert_eq!(found["total"], 2, "{found}");
    assert_eq!(found["rows"][1]["name"], "r3");
    assert_eq!(found["rows"][1]["values"], json!(["berlin", 42]));

    let query = json!({ "kind": "rack", "group-by": ["units", "room.name"] });
    let found = bed.ask(&token, "POST", "/query", query).await.json();
    let groups =
        json!([{ "values": [42, "b2"], "count": 2 }, { "values": [40, "b2"], "count": 1 }]);
    assert_eq!(found["groups"], groups);

    let query = json!({ "kind": "room", "filter": "size(room.racks) == 3", "count": true });
    assert_eq!(
        bed.ask(&token, "POST", "/query", query).await.json()["total"],
        1
    );
    let hits = bed.get(&token, "/search?q=rack+r2").await.json();
    assert_eq!(
        hits,
        json!([{ "kind": "rack", "name": "r2", "rank": "words" }])
    );
    bed.stop().await;
}

#[tokio::test]
async fn a_wrong_filter_is_refused_with_its_column_and_what_was_meant() {
    let bed = facilities().await;
    let token = bed.token(&["administrator"]).await;
    let query = json!({ "kind": "rack", "filter": "rack.room.name == 'b2' && rack.unit > 40" });
    let refused = bed.ask(&token, "POST", "/query", query).await;
    assert_eq!(refused.status, 422);
    let finding = &refused.json()["diagnostics"][0];
    assert_eq!(
        (&finding["column"], &finding["help"]),
        (&json!(32), &json!("did you mean units?"))
    );
    let query = json!({ "kind": "rak", "count": true });
    assert_eq!(bed.ask(&token, "POST", "/query", query).await.status, 404);
    let gone = json!({ "cursor": "gone" });
    assert_eq!(bed.ask(&token, "POST", "/query", gone).await.status, 410);
    bed.stop().await;
}

#[tokio::test]
async fn a_query_is_answered_with_what_its_asker_may_read() {
    let bed = facilities().await;
    let rules = json!([{ "kinds": ["rack"], "acts": ["read"], "filter": "self.units > 40" }]);
    let large = bed.holder("ada", rules, None).await;
    let ask = async |token: &str, query: Value| bed.ask(token, "POST", "/query", query).await;
    let all = ask(&large, json!({ "kind": "rack", "select": ["label"] }))
        .await
        .json();
    assert_eq!(all["total"], 2, "{all}");
    assert_eq!(all["rows"][1]["values"], json!(["Rack r3"]));
    let others = json!({ "kind": "rack", "filter": "rack.name == 'r2'", "count": true });
    assert_eq!(ask(&large, others).await.json()["total"], 0);
    let groups = ask(&large, json!({ "kind": "rack", "group-by": ["units"] }))
        .await
        .json();
    assert_eq!(groups["groups"], json!([{ "values": [42], "count": 2 }]));
    // Rooms are not his: nothing is found through them, and they are not there.
    for beyond in [
        json!({ "kind": "rack", "filter": "rack.room.site == 'berlin'" }),
        json!({ "kind": "rack", "select": ["room.site"] }),
        json!({ "kind": "rack", "sort": ["-room.site"] }),
    ] {
        let answer = ask(&large, beyond).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        assert!(
            answer.text.contains("site of room is not yours to read"),
            "{answer:?}"
        );
    }
    assert_eq!(
        ask(&large, json!({ "kind": "room" })).await.json()["total"],
        0
    );
    assert_eq!(bed.get(&large, "/search?q=b2").await.json(), json!([]));
    let hits = bed.get(&large, "/search?q=rack").await.json();
    assert_eq!(hits.as_array().unwrap().len(), 2, "{hits}");

    let rules = json!([
        { "kinds": ["rack"], "acts": ["read"], "fields": ["units"] },
        { "kinds": ["room"], "acts": ["read"] },
    ]);
    let units = bed.holder("grace", rules, None).await;
    let found = ask(
        &units,
        json!({ "kind": "rack", "filter": "rack.units > 40" }),
    )
    .await
    .json();
    assert_eq!(found["total"], 2, "{found}");
    // How many racks a room has would tell in which each is.
    let counted = json!({ "kind": "room", "filter": "size(room.racks) > 0" });
    assert_eq!(ask(&units, counted).await.status, 422);
    let hidden = json!({ "kind": "rack", "filter": "rack.label == 'Rack r1'" });
    assert_eq!(ask(&units, hidden).await.status, 422);
    bed.stop().await;
}

#[tokio::test]
async fn a_page_is_for_who_sees_what_the_first_was_made_of() {
    let bed = facilities().await;
    let rules = json!([{ "kinds": ["rack"], "acts": ["read"], "filter": "self.units > 40" }]);
    let large = bed.holder("ada", rules, None).await;
    let everybody = bed.token(&["administrator"]).await;
    let first = json!({ "kind": "rack", "limit": 1 });
    let page = bed
        .ask(&large, "POST", "/query", first.clone())
        .await
        .json();
    let next = json!({ "cursor": page["cursor"] });
    let answer = bed.ask(&everybody, "POST", "/query", next.clone()).await;
    assert_eq!(answer.status, 410, "{answer:?}");
    let page = bed.ask(&large, "POST", "/query", next.clone()).await.json();
    assert_eq!(page["rows"][0]["name"], "r3", "{page}");
    let page = bed.ask(&everybody, "POST", "/query", first).await.json();
    let next = json!({ "cursor": page["cursor"] });
    assert_eq!(bed.ask(&large, "POST", "/query", next).await.status, 410);
    bed.stop().await;
}
