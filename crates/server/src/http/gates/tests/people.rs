use serde_json::{Value, json};
use wright_access::AuditQuery;

use super::bed::Bed;

const PASSWORD: &str = "correct horse battery";

async fn audited(bed: &Bed) -> Vec<Value> {
    let query = AuditQuery {
        limit: 1000,
        ..AuditQuery::default()
    };
    let found = bed.rooms.rights.audit.find(&query).await.unwrap();
    found
        .iter()
        .map(|record| serde_json::to_value(record).unwrap())
        .collect()
}

#[tokio::test]
async fn the_token_of_client_json_is_an_administrators() {
    let bed = Bed::start().await;
    let token = bed.token(&["administrator"]).await;
    let me = bed.get(&token, "/whoami").await.json();
    assert_eq!(
        me["roles"],
        json!([{ "role": "administrator", "teams": null }])
    );
    for act in [
        "read",
        "write",
        "approve",
        "operate",
        "see-secrets",
        "administer",
    ] {
        let can = bed
            .get(&token, &format!("/can?act={act}&kind=role&name=x"))
            .await
            .json();
        assert_eq!(can["allowed"], true, "{can}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn a_local_user_logs_in_works_and_is_shut_out_when_disabled() {
    let bed = Bed::start().await;
    let admin = bed.token(&["administrator"]).await;
    let ada = json!({ "name": "ada", "password": PASSWORD });
    let made = bed.ask(&admin, "POST", "/users", ada.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(bed.ask(&admin, "POST", "/users", ada).await.status, 409);
    let binding = json!({ "role": "viewer", "users": ["ada"] });
    bed.put("binding", "ada", binding).await;

    let login = json!({ "user": "ada", "password": PASSWORD });
    let session = bed.ask("", "POST", "/login", login.clone()).await.json();
    let token = session["token"].as_str().unwrap();
    assert_eq!(bed.get(token, "/whoami").await.json()["user"], "ada");
    let user = bed.get(token, "/resources/user/ada").await;
    assert_eq!(user.status, 200, "{user:?}");
    assert_eq!(
        bed.ask(token, "POST", "/users", json!({ "name": "eve" }))
            .await
            .status,
        403
    );

    let disabled = bed
        .ask(&admin, "PUT", "/users/ada", json!({ "disabled": true }))
        .await;
    assert_eq!(disabled.status, 200, "{disabled:?}");
    assert_eq!(bed.get(token, "/whoami").await.status, 401);
    assert_eq!(bed.ask("", "POST", "/login", login).await.status, 401);
    bed.stop().await;
}

#[tokio::test]
async fn who_guesses_passwords_waits() {
    let bed = Bed::start().await;
    bed.put("user", "ada", json!({})).await;
    bed.rooms
        .rights
        .passwords
        .set("ada", PASSWORD)
        .await
        .unwrap();
    let guess = json!({ "user": "ada", "password": "is it this one?" });
    for _ in 0..5 {
        let answer = bed.ask("", "POST", "/login", guess.clone()).await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    // At once the sixth would be refused; on a slow machine its second may be over.
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = bed.ask("", "POST", "/login", guess.clone()).await;
        statuses.push(answer.status.as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    bed.stop().await;
}

#[tokio::test]
async fn a_user_makes_tokens_of_his_own_and_no_others() {
    let bed = Bed::start().await;
    let rules = json!([{ "kinds": ["rack"], "acts": ["read", "write"] }]);
    let session = bed.holder("ada", rules, None).await;
    let own = json!({ "name": "ci", "user": "ada", "kinds": ["rack"] });
    let made = bed.ask(&session, "POST", "/tokens", own.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(bed.get(&token, "/whoami").await.json()["user"], "ada");
    // A token makes no further tokens: it would outlive its own end.
    assert_eq!(bed.ask(&token, "POST", "/tokens", own).await.status, 403);
    let wide = json!({ "name": "x", "roles": ["administrator"] });
    assert_eq!(bed.ask(&session, "POST", "/tokens", wide).await.status, 403);
    let others = json!({ "name": "x", "user": "grace" });
    assert_eq!(
        bed.ask(&session, "POST", "/tokens", others).await.status,
        403
    );

    bed.token(&["viewer"]).await;
    let listed = bed.get(&session, "/tokens").await.json();
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ci", "session"]);
    assert_eq!(
        bed.ask(&session, "DELETE", "/tokens/test", Value::Null)
            .await
            .status,
        404
    );
    assert_eq!(
        bed.ask(&session, "DELETE", "/tokens/ci", Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(bed.get(&token, "/whoami").await.status, 401);
    bed.stop().await;
}

#[tokio::test]
async fn writes_and_refused_ones_are_audited_with_who_what_and_why() {
    let bed = Bed::start().await;
    let viewer = bed.token(&["viewer"]).await;
    let refused = bed
        .ask(&viewer, "POST", "/hosts/h1/kill", Value::Null)
        .await;
    assert_eq!(refused.status, 403);
    let nobody = bed.token(&[]).await;
    let hidden = bed
        .ask(&nobody, "POST", "/hosts/h1/kill", Value::Null)
        .await;
    assert_eq!(hidden.status, 404);
    assert_eq!(bed.get(&viewer, "/hosts/h1/kill").await.status, 405);
    bed.ask(
        "",
        "POST",
        "/login",
        json!({ "user": "eve", "password": "x" }),
    )
    .await;
    let found = audited(&bed).await;
    let shown: Vec<String> = found
        .iter()
        .map(|record| {
            let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
            let parts = ["actor", "act", "kind", "name", "outcome"].map(text);
            format!("{} {}", parts.join(" "), record["status"])
        })
        .collect();
    assert_eq!(
        shown,
        [
            "test operate host h1 refused 403",
            "test operate host h1 refused 404",
            "eve write session eve refused 401",
        ]
    );
    assert!(
        found[0]["why"]
            .as_str()
            .unwrap()
            .contains("operate host h1"),
        "{}",
        found[0]
    );
    assert_eq!(bed.get(&viewer, "/audit").await.status, 403);
    let admin = bed.token(&["administrator"]).await;
    let listed = bed.get(&admin, "/audit?actor=eve").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    bed.stop().await;
}

#[tokio::test]
async fn a_webhook_of_who_may_not_read_everything_has_his_rights() {
    let bed = Bed::start().await;
    let rules = json!([{ "kinds": ["webhook"], "acts": ["read", "administer"] }]);
    let ada = bed.holder("ada", rules, None).await;
    bed.put("user", "grace", json!({})).await;
    let hook =
        |user: Value| json!({ "body": { "url": "https://hooks.example.org/", "user": user } });
    let put = async |token: &str, name: &str, user: Value| {
        let path = format!("/resources/webhook/{name}");
        bed.ask(token, "PUT", &path, hook(user)).await.status
    };
    assert_eq!(put(&ada, "mine", Value::Null).await, 403);
    assert_eq!(put(&ada, "mine", json!("grace")).await, 403);
    assert_eq!(put(&ada, "mine", json!("ada")).await, 201);
    let admin = bed.token(&["administrator"]).await;
    assert_eq!(put(&admin, "all", Value::Null).await, 201);
    // Another address would be told what the administrator's is.
    let patch = json!({ "body": { "url": "https://elsewhere.example.org/" } });
    let path = "/resources/webhook/all";
    assert_eq!(bed.ask(&ada, "PATCH", path, patch).await.status, 403);
    bed.stop().await;
}
