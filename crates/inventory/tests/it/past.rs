//! What was, who changed it and why; and back.

use jiff::{Timestamp, ToSpan as _};
use serde_json::json;
use wright_inventory::{Moment, Refused};
use wright_store::Operation;

use super::*;

async fn restore(inventory: &Inventory, moment: Moment) -> Result<Written, Refused> {
    let back = inventory.restoring("box", "x", moment).await?;
    write(inventory, back).await
}

#[tokio::test]
async fn the_history_says_who_why_and_what() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let why = Author {
        actor: "bert".to_owned(),
        through: "cli".to_owned(),
        why: "CHG-7".to_owned(),
    };
    write(&inventory, create("box", "x", json!({ "room": "b2" })))
        .await
        .unwrap();
    let changed = inventory
        .write(&[merge("box", "x", json!({ "size": 5 }))], &why)
        .await
        .unwrap();
    write(&inventory, delete("box", "x")).await.unwrap();
    let history = inventory.history("box", "x").await.unwrap();
    let actors: Vec<&str> = history
        .iter()
        .map(|past| past.by.as_ref().unwrap().actor.as_str())
        .collect();
    assert_eq!(actors, ["anna", "bert", "anna"]);
    assert_eq!(
        (history[1].by.as_ref(), history[1].revision),
        (Some(&why), changed.revision)
    );
    let changes = history[1].since(Some(&history[0]));
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (
            changes[0].field.as_str(),
            &changes[0].before,
            &changes[0].after
        ),
        ("size", &json!(3), &json!(5))
    );
    assert_eq!(history[2].body, None);
}

#[tokio::test]
async fn a_resource_is_as_it_was_and_comes_back() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let first = write(
        &inventory,
        create("box", "x", json!({ "room": "b2", "serial": "s1" })),
    )
    .await
    .unwrap();
    let second = write(&inventory, replace("box", "x", json!({ "room": "b3" })))
        .await
        .unwrap();
    let as_of = async |moment| {
        inventory
            .as_of("box", "x", moment)
            .await
            .unwrap()
            .map(|past| past.body.unwrap())
    };
    assert_eq!(
        as_of(Moment::Revision(first.revision)).await.unwrap()["room"],
        "b2"
    );
    assert_eq!(
        as_of(Moment::Revision(second.revision)).await.unwrap()["room"],
        "b3"
    );
    assert_eq!(as_of(Moment::Revision(first.revision - 1)).await, None);
    assert_eq!(
        as_of(Moment::Time(Timestamp::now())).await.unwrap()["room"],
        "b3"
    );
    assert_eq!(as_of(Moment::Time(Timestamp::now() - 1.hour())).await, None);

    write(&inventory, delete("box", "x")).await.unwrap();
    let restored = restore(&inventory, Moment::Revision(first.revision))
        .await
        .unwrap();
    assert_eq!(
        restored.outcomes[0].resource.body,
        first.outcomes[0].resource.body
    );
    assert_eq!(inventory.history("box", "x").await.unwrap().len(), 4);
    let never = restore(&inventory, Moment::Revision(0)).await;
    assert!(matches!(never, Err(Refused::NotFound { .. })));
}

#[tokio::test]
async fn what_is_restored_is_held_against_the_kind_and_its_constraints() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let first = write(
        &inventory,
        create("box", "x", json!({ "room": "b2", "serial": "s1" })),
    )
    .await
    .unwrap();
    write(&inventory, replace("box", "x", json!({ "room": "b2" })))
        .await
        .unwrap();
    write(
        &inventory,
        create("box", "y", json!({ "room": "b2", "serial": "s1" })),
    )
    .await
    .unwrap();
    let taken = restore(&inventory, Moment::Revision(first.revision)).await;
    assert!(matches!(taken, Err(Refused::Taken { .. })), "{taken:?}");
}

/// A past state as it would have been written so many days ago.
fn aged(name: &str, days: i64, body: Value) -> Operation {
    let at = Timestamp::now() - (days * 24).hours();
    let seconds = at.as_second().try_into().unwrap();
    let id = uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
    let past = json!({ "at": at, "body": body });
    Operation::put(format!("h/box/{name}/{id}"), past.to_string())
}

#[tokio::test]
async fn what_is_forgotten_is_old_and_not_the_last_that_is_known_of_that_time() {
    let (_directory, inventory) = inventory().await;
    let states = [
        (
            "changed",
            vec![
                (500, json!(1)),
                (450, json!(2)),
                (400, json!(3)),
                (10, json!(4)),
            ],
        ),
        ("gone", vec![(500, json!(1)), (400, json!(null))]),
        (
            "back",
            vec![(500, json!(1)), (400, json!(null)), (10, json!(2))],
        ),
        ("new", vec![(10, json!(1))]),
    ];
    for (name, states) in &states {
        let all = states
            .iter()
            .map(|(days, body)| aged(name, *days, body.clone()));
        inventory.commit(all.collect()).await.unwrap();
    }
    let year = Timestamp::now() - (365 * 24).hours();
    assert_eq!(inventory.trim_history(year).await.unwrap(), 6);
    for (name, left) in [
        ("changed", vec![3, 4]),
        ("gone", vec![]),
        ("back", vec![2]),
        ("new", vec![1]),
    ] {
        let history = inventory.history("box", name).await.unwrap();
        let bodies: Vec<Value> = history.into_iter().filter_map(|past| past.body).collect();
        assert_eq!(Value::from(bodies), json!(left), "{name}");
    }
    assert_eq!(inventory.trim_history(year).await.unwrap(), 0);
}
