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
