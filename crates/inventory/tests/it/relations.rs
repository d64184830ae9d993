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
