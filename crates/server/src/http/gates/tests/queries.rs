//! Queries and search, as callers see them.

use serde_json::json;

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
async fn a_query_is_answered_to_those_who_may_read_all_that_it_looks_at() {
    let bed = facilities().await;
    let rules = json!([{ "kinds": ["rack"], "acts": ["read"] }]);
    let racks = bed.holder("ada", rules, None).await;
    let own = json!({ "kind": "rack", "filter": "rack.units > 40" });
    assert_eq!(bed.ask(&racks, "POST", "/query", own).await.status, 200);
    for beyond in [
        json!({ "kind": "rack", "filter": "rack.room.name == 'b2'" }),
        json!({ "kind": "rack", "select": ["room.site"] }),
        json!({ "kind": "rack", "sort": ["-room.site"] }),
        json!({ "kind": "room" }),
        json!({ "group-by": ["status"] }),
    ] {
        let answer = bed.ask(&racks, "POST", "/query", beyond).await;
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    assert_eq!(bed.get(&racks, "/search?q=b2").await.json(), json!([]));

    let rules = json!([{ "kinds": ["rack"], "acts": ["read"], "fields": ["units"] }]);
    let units = bed.holder("grace", rules, None).await;
    let own = json!({ "kind": "rack", "filter": "rack.units > 40" });
    assert_eq!(bed.ask(&units, "POST", "/query", own).await.status, 403);
    bed.stop().await;
}
