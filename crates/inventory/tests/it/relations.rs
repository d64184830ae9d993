//! What refers to what, and what goes with what is deleted.

use serde_json::json;
use wright_inventory::{Action, Refused};

use super::*;

async fn network(inventory: &Inventory) {
    for one in [
        create("team", "net", json!({})),
        create("device", "sw1", json!({ "team": "net" })),
        create("device", "sw2", json!({ "team": "net" })),
        create(
            "interface",
            "sw1-1",
            json!({ "device": "sw1", "label": "1" }),
        ),
        create(
            "interface",
            "sw1-2",
            json!({ "device": "sw1", "label": "2" }),
        ),
        create(
            "interface",
            "sw2-1",
            json!({ "device": "sw2", "label": "1", "peer": "sw1-1" }),
        ),
        create(
            "address",
            "a1",
            json!({ "address": "10.0.0.1", "interface": "sw1-1", "device": "sw1" }),
        ),
    ] {
        write(inventory, one).await.unwrap();
    }
}

#[tokio::test]
async fn who_is_referred_to_is_not_deleted() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    write(&inventory, create("box", "x", json!({ "room": "b2" })))
        .await
        .unwrap();
    match write(&inventory, delete("room", "b2")).await {
        Err(Refused::Referenced {
            referrers, count, ..
        }) => {
            assert_eq!((referrers[0].name.as_str(), count), ("x", 1));
        }
        other => panic!("{other:?}"),
    }
    write(&inventory, delete("room", "b3")).await.unwrap();
    // With the one that refers to it, it goes.
    let both = [delete("room", "b2"), delete("box", "x")];
    inventory.write(&both, &anna()).await.unwrap();
    assert_eq!(body(&inventory, "room", "b2").await, None);
}

#[tokio::test]
async fn a_reference_that_was_moved_away_holds_no_more() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    write(&inventory, create("box", "x", json!({ "room": "b2" })))
        .await
        .unwrap();
    write(&inventory, merge("box", "x", json!({ "room": "b3" })))
        .await
        .unwrap();
    write(&inventory, delete("room", "b2")).await.unwrap();
    let dangling = write(&inventory, merge("box", "x", json!({ "room": "b2" })))
        .await
        .unwrap_err();
    assert!(matches!(dangling, Refused::NoTarget { .. }), "{dangling}");
}

#[tokio::test]
async fn what_belongs_to_it_goes_too_and_other_references_are_cleared() {
    let (_directory, inventory) = inventory().await;
    network(&inventory).await;
    let preview = inventory
        .preview(&[delete("device", "sw1")], &anna())
        .await
        .unwrap();
    let written = write(&inventory, delete("device", "sw1")).await.unwrap();
    for told in [preview, written] {
        let mut told: Vec<(Action, String)> = told
            .outcomes
            .into_iter()
            .map(|one| (one.action, one.resource.name))
            .collect();
        told[1..].sort_by(|a, b| a.1.cmp(&b.1));
        let wanted = [
            (Action::Deleted, "sw1"),
            (Action::Cleared, "a1"),
            (Action::Deleted, "sw1-1"),
            (Action::Deleted, "sw1-2"),
            (Action::Cleared, "sw2-1"),
        ];
        assert_eq!(told, wanted.map(|(action, name)| (action, name.to_owned())));
    }
    assert_eq!(
        body(&inventory, "interface", "sw2-1")
            .await
            .unwrap()
            .get("peer"),
        None
    );
    let address = body(&inventory, "address", "a1").await.unwrap();
    assert_eq!(
        (address.get("device"), address.get("interface")),
        (None, None)
    );
}

#[tokio::test]
async fn one_of_several_references_is_cleared() {
    let (_directory, inventory) = inventory().await;
    for (name, needs) in [
        ("db", json!([])),
        ("mq", json!([])),
        ("web", json!(["db", "mq"])),
    ] {
        write(&inventory, create("app", name, json!({ "needs": needs })))
            .await
            .unwrap();
    }
    write(&inventory, delete("app", "db")).await.unwrap();
    assert_eq!(
        body(&inventory, "app", "web").await.unwrap()["needs"],
        json!(["mq"])
    );
}

#[tokio::test]
async fn a_transaction_does_not_refer_to_what_it_deletes() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    write(&inventory, create("box", "x", json!({ "room": "b2" })))
        .await
        .unwrap();
    for writes in [
        [
            delete("room", "b3"),
            merge("box", "x", json!({ "room": "b3" })),
        ],
        [
            delete("room", "b2"),
            merge("box", "x", json!({ "size": 1 })),
        ],
    ] {
        let refused = inventory.write(&writes, &anna()).await.unwrap_err();
        assert!(matches!(refused, Refused::NoTarget { .. }), "{refused}");
    }
    let moved = [
        delete("room", "b2"),
        merge("box", "x", json!({ "room": "b3" })),
    ];
    inventory.write(&moved, &anna()).await.unwrap();
}

#[tokio::test]
async fn a_reference_to_a_host_is_to_one_that_is_declared_or_made() {
    let (_directory, inventory) = inventory().await;
    inventory.put_as("host", "made", &json!({})).await.unwrap();
    write(&inventory, create("host", "declared", json!({})))
        .await
        .unwrap();
    let address = |host: &str| json!({ "address": "10.0.0.1", "host": host });
    for host in ["made", "declared"] {
        write(&inventory, replace("address", "a", address(host)))
            .await
            .unwrap();
    }
    let neither = write(&inventory, replace("address", "a", address("neither")))
        .await
        .unwrap_err();
    assert!(matches!(neither, Refused::NoTarget { .. }), "{neither}");
}

/// Sees to references for as long as the store is open.
fn keeps_references(inventory: &Inventory) {
    let inventory = inventory.clone();
    tokio::spawn(async move { inventory.keep_references(&Author::new("wright")).await });
}

/// Waits until a resource is what it should be.
async fn becomes(inventory: &Inventory, kind: &str, name: &str, wanted: Option<serde_json::Value>) {
    let reached = async {
        while body(inventory, kind, name).await != wanted {
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(std::time::Duration::from_secs(30), reached).await;
    let found = body(inventory, kind, name).await;
    assert!(reached.is_ok(), "{kind}/{name} is {found:?}");
}

#[tokio::test]
async fn what_the_platform_removes_is_referred_to_no_longer_whenever_it_was_removed() {
    let (_directory, inventory) = inventory().await;
    let definition = "fields:
  restricts: { type: reference, to: instance, reverse: restrictors }
  several: { type: reference, to: instance, reverse: lists, many: true }
  goes: { type: reference, to: instance, reverse: followers, on-delete: cascade }";
    define(&inventory, "probe", definition).await.unwrap();
    for name in ["a", "b", "stays"] {
        inventory
            .put_as("instance", name, &json!({}))
            .await
            .unwrap();
    }
    for name in ["a", "b"] {
        let both = json!({ "restricts": name, "several": [name, "stays"] });
        write(&inventory, create("probe", &format!("of-{name}"), both))
            .await
            .unwrap();
        let goes = create("probe", &format!("with-{name}"), json!({ "goes": name }));
        write(&inventory, goes).await.unwrap();
    }
    // While nobody was there to see it, and afterwards.
    inventory.delete("instance", "a").await.unwrap();
    keeps_references(&inventory);
    let left = Some(json!({ "several": ["stays"] }));
    becomes(&inventory, "probe", "of-a", left.clone()).await;
    becomes(&inventory, "probe", "with-a", None).await;
    inventory.delete("instance", "b").await.unwrap();
    becomes(&inventory, "probe", "of-b", left).await;
    becomes(&inventory, "probe", "with-b", None).await;
    let history = inventory.history("probe", "of-b").await.unwrap();
    let by = history.last().unwrap().by.clone().unwrap();
    assert_eq!(by.actor, "wright");
}

#[tokio::test]
async fn what_people_declared_is_there_when_the_platform_has_removed_its_part() {
    let (_directory, inventory) = inventory().await;
    inventory.put_as("host", "h1", &json!({})).await.unwrap();
    inventory.put_as("host", "h2", &json!({})).await.unwrap();
    write(&inventory, merge("host", "h1", json!({ "serial": "S1" })))
        .await
        .unwrap();
    for (name, host) in [("a1", "h1"), ("a2", "h2")] {
        let address = json!({ "address": format!("10.0.0.{}", &name[1..]), "host": host });
        write(&inventory, create("address", name, address))
            .await
            .unwrap();
    }
    keeps_references(&inventory);
    inventory.delete("host", "h1").await.unwrap();
    inventory.delete("host", "h2").await.unwrap();
    // The later removal is seen to, and the earlier was no removal.
    becomes(
        &inventory,
        "address",
        "a2",
        Some(json!({ "address": "10.0.0.2", "space": "global", "status": "active" })),
    )
    .await;
    assert_eq!(
        body(&inventory, "address", "a1").await.unwrap()["host"],
        "h1"
    );
}

#[tokio::test]
async fn a_field_of_a_user_names_one_that_there_is() {
    let (_directory, inventory) = inventory().await;
    let definition = "fields: { keeper: { type: user, reverse: kept }, on-call: { type: user, many: true, reverse: called, on-delete: clear } }";
    define(&inventory, "depot", definition).await.unwrap();
    write(&inventory, create("user", "ada", json!({})))
        .await
        .unwrap();
    write(&inventory, create("user", "bob", json!({})))
        .await
        .unwrap();
    let nobody = create("depot", "d", json!({ "keeper": "eve" }));
    let refused = write(&inventory, nobody).await.unwrap_err();
    assert!(matches!(refused, Refused::NoTarget { .. }), "{refused}");
    let kept = json!({ "keeper": "ada", "on-call": ["ada", "bob"] });
    write(&inventory, create("depot", "d", kept)).await.unwrap();
    let refused = write(&inventory, delete("user", "ada")).await.unwrap_err();
    assert!(matches!(refused, Refused::Referenced { .. }), "{refused}");
    write(&inventory, delete("user", "bob")).await.unwrap();
    assert_eq!(
        body(&inventory, "depot", "d").await.unwrap()["on-call"],
        json!(["ada"])
    );
}
