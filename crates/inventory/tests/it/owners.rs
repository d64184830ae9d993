//! Applying: what each manager says is the manager's.

use serde_json::json;
use wright_inventory::{Action, Contested, Refused};

use super::*;

fn apply(manager: &str, body: Value, force: bool) -> Write {
    let (content, manager) = (Content::new(body), manager.to_owned());
    Write::new(
        "box",
        "x",
        Change::Apply {
            content,
            manager,
            force,
        },
    )
}

#[tokio::test]
async fn a_person_and_a_discoverer_own_their_fields_of_one_resource() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    write(
        &inventory,
        apply("anna", json!({ "room": "b2", "tags": { "a": "1" } }), false),
    )
    .await
    .unwrap();
    write(
        &inventory,
        apply(
            "discoverer",
            json!({ "serial": "s1", "tags": { "b": "2" } }),
            false,
        ),
    )
    .await
    .unwrap();
    let read = inventory.resource("box", "x").await.unwrap().unwrap();
    assert_eq!(
        read.body,
        json!({ "room": "b2", "serial": "s1", "size": 3, "tags": { "a": "1", "b": "2" } })
    );
    assert_eq!(read.owners["tags/b"], ["discoverer"]);

    let refused = write(
        &inventory,
        apply("anna", json!({ "room": "b2", "serial": "s2" }), false),
    )
    .await;
    let Err(Refused::Owned { fields, .. }) = refused else {
        panic!("{refused:?}");
    };
    let wanted = Contested {
        field: "serial".to_owned(),
        owners: vec!["discoverer".to_owned()],
        found: "\"s1\"".to_owned(),
        applied: "\"s2\"".to_owned(),
    };
    assert_eq!(fields, [wanted]);

    write(
        &inventory,
        apply("anna", json!({ "room": "b2", "serial": "s2" }), true),
    )
    .await
    .unwrap();
    let read = inventory.resource("box", "x").await.unwrap().unwrap();
    assert_eq!(read.owners["serial"], ["anna"]);
    assert_eq!(
        read.body["tags"],
        json!({ "b": "2" }),
        "what she no longer applies goes"
    );
}

#[tokio::test]
async fn applying_the_same_again_changes_nothing() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let same = apply("anna", json!({ "room": "b2", "size": 4 }), false);
    write(&inventory, same.clone()).await.unwrap();
    let again = write(&inventory, same).await.unwrap();
    assert_eq!(again.outcomes[0].action, Action::Unchanged);
    assert_eq!(inventory.history("box", "x").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_field_that_two_apply_alike_stays_until_both_have_let_it_go() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let both = json!({ "room": "b2", "serial": "s1" });
    write(&inventory, apply("anna", both.clone(), false))
        .await
        .unwrap();
    write(&inventory, apply("bert", both, false)).await.unwrap();
    write(&inventory, apply("anna", json!({ "room": "b2" }), false))
        .await
        .unwrap();
    assert_eq!(body(&inventory, "box", "x").await.unwrap()["serial"], "s1");
    write(&inventory, apply("bert", json!({ "room": "b2" }), false))
        .await
        .unwrap();
    assert_eq!(
        body(&inventory, "box", "x").await.unwrap().get("serial"),
        None
    );
}

#[tokio::test]
async fn what_somebody_writes_without_applying_is_his() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    write(
        &inventory,
        apply("discoverer", json!({ "room": "b2", "size": 4 }), false),
    )
    .await
    .unwrap();
    write(&inventory, merge("box", "x", json!({ "size": 5 })))
        .await
        .unwrap();
    let refused = write(
        &inventory,
        apply("discoverer", json!({ "room": "b2", "size": 4 }), false),
    )
    .await;
    assert!(matches!(refused, Err(Refused::Owned { .. })), "{refused:?}");
}
