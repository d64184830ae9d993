//! Resources over HTTP.

use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::http::gates::tests::bed::Bed;

async fn furnished() -> (Bed, String) {
    let bed = Bed::start().await;
    let token = bed.token(&["administrator"]).await;
    for (kind, body) in [
        (
            "site",
            json!({ "name": "berlin", "body": { "city": "Berlin" } }),
        ),
        (
            "room",
            json!({ "name": "b2", "body": { "site": "berlin" } }),
        ),
    ] {
        let made = bed
            .ask(&token, "POST", &format!("/resources/{kind}"), body)
            .await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    (bed, token)
}

#[tokio::test]
async fn a_resource_is_made_read_changed_and_removed_by_its_etag() {
    let (bed, token) = furnished().await;
    let rack = json!({ "body": { "room": "b2", "units": 40 } });
    let made = bed.send(&token, "PUT", "/resources/rack/r1", rack).await;
    assert_eq!(made.status(), 201);
    let tag = made.headers()[header::ETAG].to_str().unwrap().to_owned();

    let read = bed.get(&token, "/resources/rack/r1").await.json();
    assert_eq!(read["body"]["status"], "active", "the kind's default");
    assert_eq!(format!("\"{}\"", read["revision"]), tag);

    let mut changed = read.clone();
    changed["body"]["units"] = json!(41);
    let put = bed
        .ask(&token, "PUT", "/resources/rack/r1", changed.clone())
        .await;
    assert_eq!(put.status, 200, "{put:?}");
    let late = bed.ask(&token, "PUT", "/resources/rack/r1", changed).await;
    assert_eq!(
        late.status, 412,
        "what was read was sent back twice: {late:?}"
    );
    assert!(
        late.text.contains("somebody changed it meanwhile"),
        "{late:?}"
    );

    let patch = bed
        .ask(
            &token,
            "PATCH",
            "/resources/rack/r1",
            json!({ "body": { "units": null } }),
        )
        .await;
    assert_eq!(patch.json()["body"]["units"], 42);
    let gone = bed
        .ask(&token, "DELETE", "/resources/rack/r1", Value::Null)
        .await;
    assert_eq!(gone.json()["outcomes"][0]["action"], "deleted");
    let history = bed.get(&token, "/resources/rack/r1/history").await.json();
    let units: Vec<&Value> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|past| &past["body"]["units"])
        .collect();
    assert_eq!(units, [&json!(40), &json!(41), &json!(42), &Value::Null]);

    let at = history[0]["revision"].to_string();
    let was = bed
        .get(&token, &format!("/resources/rack/r1?at={at}"))
        .await
        .json();
    assert_eq!(was["body"]["units"], 40);
    let restored = bed
        .ask(
            &token,
            "POST",
            "/resources/rack/r1/restore",
            json!({ "at": at }),
        )
        .await;
    assert_eq!(
        (restored.status, &restored.json()["body"]),
        (StatusCode::CREATED, &was["body"])
    );
    let history = bed.get(&token, "/resources/rack/r1/history").await.json();
    assert_eq!(history[4]["by"]["why"], format!("restored as of {at}"));
    bed.stop().await;
}

#[tokio::test]
async fn everything_that_is_wrong_is_a_finding_of_one_problem() {
    let (bed, token) = furnished().await;
    let rack = json!({ "name": "r1", "body": { "rom": "b2", "units": 0 } });
    let refused = bed.ask(&token, "POST", "/resources/rack", rack).await;
    assert_eq!(refused.status, 422);
    let problem = refused.json();
    let messages: Vec<&str> = problem["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["message"].as_str())
        .collect();
    assert_eq!(messages.len(), 3, "{problem}");
    assert!(
        problem.to_string().contains("did you mean room?"),
        "{problem}"
    );
    for (method, path, body, status, says) in [
        (
            "GET",
            "/resources/rak",
            Value::Null,
            404,
            "did you mean rack?",
        ),
        ("GET", "/kinds/rak", Value::Null, 404, "did you mean rack?"),
        (
            "POST",
            "/resources/rack",
            json!({ "body": {} }),
            422,
            "a name was expected",
        ),
        (
            "PUT",
            "/resources/rack/r1",
            json!({ "bdy": {} }),
            422,
            "bdy",
        ),
        (
            "PUT",
            "/resources/rack/r1",
            json!({ "name": "r2" }),
            422,
            "in the path r1",
        ),
        (
            "POST",
            "/resources/rack",
            json!({ "name": "r1", "body": { "room": "b9" } }),
            409,
            "room/b9",
        ),
        (
            "DELETE",
            "/resources/room/b3",
            Value::Null,
            404,
            "there is no room b3",
        ),
        (
            "DELETE",
            "/resources/site/berlin",
            Value::Null,
            409,
            "room/b2",
        ),
        (
            "POST",
            "/transactions",
            json!({ "writes": [] }),
            422,
            "writes something",
        ),
        (
            "GET",
            "/resources/room/b2?at=yesterday",
            Value::Null,
            400,
            "neither a revision nor a time",
        ),
    ] {
        let answer = bed.ask(&token, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(answer.text.contains(says), "{says}: {answer:?}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn what_managers_apply_is_theirs() {
    let (bed, token) = furnished().await;
    let apply = async |manager: &str, force: bool, body: Value| {
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!(
                "/api/v1/resources/rack/r1?manager={manager}&force={force}"
            ))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/apply-patch+json")
            .body(json!({ "body": body }).to_string().into())
            .unwrap();
        bed.answer(request).await
    };
    assert_eq!(
        apply("anna", false, json!({ "room": "b2", "units": 40 }))
            .await
            .status,
        201
    );
    assert_eq!(
        apply("finder", false, json!({ "serial": "s1" }))
            .await
            .status,
        200
    );
    let contested = apply("finder", false, json!({ "serial": "s1", "units": 41 })).await;
    assert_eq!(contested.status, 409);
    assert!(
        contested
            .text
            .contains("units is 40 by anna, 41 was applied"),
        "{contested:?}"
    );
    assert_eq!(
        apply("finder", true, json!({ "units": 41 })).await.json()["owners"]["units"],
        json!(["finder"])
    );
    bed.stop().await;
}

#[tokio::test]
async fn a_kind_is_defined_while_the_server_runs() {
    let (bed, token) = furnished().await;
    let kind = json!({ "body": { "fields": { "room": { "type": "reference", "to": "room" } }, "unique": [["room"]] } });
    let made = bed.ask(&token, "PUT", "/resources/kind/lamp", kind).await;
    assert_eq!(made.status, 201, "{made:?}");
    let writes = json!({ "why": "CHG-1", "writes": [
        { "op": "create", "kind": "lamp", "name": "l1", "body": { "room": "b2" } },
        { "op": "create", "kind": "lamp", "name": "l2", "body": { "room": "b2" } },
    ] });
    let taken = bed.ask(&token, "POST", "/transactions", writes).await;
    assert_eq!(taken.status, 409, "{taken:?}");
    let kinds = bed.get(&token, "/kinds").await.json();
    let names: Vec<&str> = kinds
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|kind| kind["name"].as_str())
        .collect();
    assert!(
        names.contains(&"lamp") && names.contains(&"rack"),
        "{names:?}"
    );
    let schema = bed.get(&token, "/kinds/lamp/schema").await.json();
    assert_eq!(schema["properties"]["room"]["x-wright-reference"], "room");
    bed.stop().await;
}

#[tokio::test]
async fn who_may_write_some_fields_of_a_team_writes_no_others() {
    let (bed, admin) = furnished().await;
    for team in ["net", "data"] {
        let made = bed
            .ask(&admin, "PUT", &format!("/resources/team/{team}"), json!({}))
            .await;
        assert_eq!(made.status, 201, "{made:?}");
        let device = json!({ "body": { "team": team, "role": "switch", "password": "hunter2" } });
        let made = bed
            .ask(
                &admin,
                "PUT",
                &format!("/resources/device/of-{team}"),
                device,
            )
            .await;
        assert_eq!(made.status, 201, "{made:?}");
        assert!(!made.text.contains("hunter2"), "{made:?}");
    }
    let rules =
        json!([{ "kinds": ["device"], "acts": ["read", "write"], "except": ["role", "password"] }]);
    let anna = bed.holder("anna", rules, Some("net")).await;
    for (method, path, body, status) in [
        (
            "PATCH",
            "/resources/device/of-net",
            json!({ "body": { "software": "v2" } }),
            200,
        ),
        (
            "PATCH",
            "/resources/device/of-net",
            json!({ "body": { "role": "router" } }),
            403,
        ),
        (
            "PATCH",
            "/resources/device/of-net",
            json!({ "body": { "team": "data" } }),
            403,
        ),
        (
            "PATCH",
            "/resources/device/of-data",
            json!({ "body": { "software": "v2" } }),
            404,
        ),
        (
            "PUT",
            "/resources/device/new",
            json!({ "body": { "team": "net" } }),
            201,
        ),
        (
            "PUT",
            "/resources/device/other",
            json!({ "body": { "team": "data" } }),
            403,
        ),
        ("DELETE", "/resources/device/of-net", Value::Null, 403),
        ("DELETE", "/resources/device/new", Value::Null, 200),
        ("PUT", "/resources/kind/lamp", json!({}), 403),
        (
            "GET",
            "/resources/device/of-net/secrets/password",
            Value::Null,
            403,
        ),
    ] {
        let answer = bed.ask(&anna, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    let secret = bed
        .get(&admin, "/resources/device/of-net/secrets/password")
        .await;
    assert_eq!(secret.json()["value"], "hunter2");
    let audit = bed.get(&admin, "/audit").await;
    assert!(audit.text.contains("see-secrets"), "{audit:?}");
    bed.stop().await;
}

/// A host of which other things are declared than were discovered.
async fn drifting() -> (Bed, String) {
    let (bed, token) = furnished().await;
    let inventory = &bed.rooms.inventory;
    let made = json!({ "state": "ready" });
    inventory.put_as("host", "h1", &made).await.unwrap();
    let declared = json!({ "body": { "serial": "S1", "cpus": 8 } });
    let patched = bed
        .ask(&token, "PATCH", "/resources/host/h1", declared)
        .await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let facts = json!({ "serial": "S2", "cpu": { "count": 8 }, "memory": "4GiB" });
    let by = wright_inventory::Author::new("agent");
    let found = wright_inventory::discovery_operations("host", "h1", "facts", &facts, &by);
    inventory.commit(found.unwrap()).await.unwrap();
    (bed, token)
}

#[tokio::test]
async fn what_differs_is_shown_with_both_values_and_taken_over() {
    let (bed, token) = drifting().await;
    for path in ["/drift", "/drift?kind=host", "/drift?kind=host&name=h1"] {
        let drift = bed.get(&token, path).await.json();
        assert_eq!(drift.as_array().unwrap().len(), 1, "{drift}");
        let one = &drift[0];
        assert_eq!(
            (&one["field"], &one["declared"], &one["discovered"]),
            (&json!("serial"), &json!("S1"), &json!("S2"))
        );
        assert!(one["since"].is_string(), "{one}");
    }
    let all = bed.get(&token, "/drift?kind=host&all=true").await.json();
    assert!(
        all.to_string().contains("4GiB"),
        "nobody declared it: {all}"
    );

    let path = "/resources/host/h1/drift";
    let accept = json!({ "field": "serial", "act": "accept", "why": "CHG-1" });
    let done = bed.ask(&token, "POST", path, accept.clone()).await;
    assert_eq!(done.status, 200, "{done:?}");
    let host = bed.get(&token, "/resources/host/h1").await.json();
    assert_eq!(host["body"]["serial"], "S2");
    let last = bed
        .get(&token, "/resources/host/h1/history?newest=1")
        .await
        .json();
    assert_eq!(last[0]["by"]["why"], "CHG-1");
    assert_eq!(bed.get(&token, "/drift").await.json(), json!([]));
    let again = bed.ask(&token, "POST", path, accept).await;
    assert_eq!(again.status, 404, "{again:?}");
}

#[tokio::test]
async fn what_may_differ_is_no_drift_and_what_cannot_be_put_back_is_told_plainly() {
    let (bed, token) = drifting().await;
    let path = "/resources/host/h1/drift";
    let resolve = async |body: Value| bed.ask(&token, "POST", path, body).await;
    let revert = resolve(json!({ "field": "serial", "act": "revert" })).await;
    assert_eq!(revert.status, 409, "{revert:?}");
    assert!(revert.text.contains("cannot change"), "{revert:?}");
    let silent = resolve(json!({ "field": "serial", "act": "tolerate" })).await;
    assert_eq!(silent.status, 422, "{silent:?}");
    let tolerate = json!({ "field": "serial", "act": "tolerate", "why": "label is wrong" });
    let done = resolve(tolerate).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(bed.get(&token, "/drift").await.json(), json!([]));
    let all = bed
        .get(&token, "/drift?kind=host&name=h1&all=true")
        .await
        .json();
    assert!(all.to_string().contains("label is wrong"), "{all}");
}

#[tokio::test]
async fn a_history_is_answered_in_pages() {
    let (bed, token) = furnished().await;
    for units in 1..6 {
        let body = json!({ "body": { "room": "b2", "units": units } });
        bed.ask(&token, "PUT", "/resources/rack/r1", body).await;
    }
    let path = "/resources/rack/r1/history";
    let first = bed.get(&token, &format!("{path}?limit=2")).await.json();
    let after = first[1]["id"].as_str().unwrap();
    let rest = format!("{path}?limit=9&after={after}");
    let rest = bed.get(&token, &rest).await.json();
    let units = |page: &Value| -> Vec<u64> {
        let page = page.as_array().unwrap().iter();
        page.map(|past| past["body"]["units"].as_u64().unwrap())
            .collect()
    };
    assert_eq!((units(&first), units(&rest)), (vec![1, 2], vec![3, 4, 5]));
    let newest = bed.get(&token, &format!("{path}?newest=2")).await.json();
    assert_eq!(units(&newest), [4, 5]);
}
