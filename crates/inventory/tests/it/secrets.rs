//! Secret fields.

use std::sync::Arc;

use serde_json::json;
use wright_inventory::{Action, Moment, Refused, Sealer};
use wright_store::Range;

use super::*;

/// Tells places apart, and hides what it seals from a search.
#[derive(Debug)]
struct Reversing;

impl Sealer for Reversing {
    fn seal(&self, place: &str, clear: &str) -> Result<String, String> {
        Ok(format!(
            "{place}|{}",
            clear.chars().rev().collect::<String>()
        ))
    }

    fn open(&self, place: &str, sealed: &str) -> Result<String, String> {
        let (of, text) = sealed.split_once('|').ok_or("it is not sealed")?;
        if of == place {
            Ok(text.chars().rev().collect())
        } else {
            Err("it was sealed for another place".to_owned())
        }
    }
}

#[tokio::test]
async fn a_secret_is_nowhere_in_clear_and_comes_back_from_the_history() {
    let (_directory, store) = opened().await;
    let inventory = Inventory::new(store.clone()).sealed_by(Arc::new(Reversing));
    let first = write(
        &inventory,
        create("device", "sw1", json!({ "password": "hunter2" })),
    )
    .await
    .unwrap();
    let same = write(
        &inventory,
        merge(
            "device",
            "sw1",
            json!({ "password": "hunter2", "role": "x" }),
        ),
    )
    .await
    .unwrap();
    let sealed = same.outcomes[0].resource.body["password"].clone();
    assert_eq!(sealed, first.outcomes[0].resource.body["password"]);
    // What was read may be sent back.
    let back = replace("device", "sw1", same.outcomes[0].resource.body.clone());
    assert_eq!(
        write(&inventory, back).await.unwrap().outcomes[0].action,
        Action::Unchanged
    );

    write(
        &inventory,
        merge("device", "sw1", json!({ "password": "other" })),
    )
    .await
    .unwrap();
    let back = inventory
        .restoring("device", "sw1", Moment::Revision(first.revision))
        .await
        .unwrap();
    write(&inventory, back).await.unwrap();
    let clear = inventory
        .in_clear(inventory.resource("device", "sw1").await.unwrap().unwrap())
        .unwrap();
    assert_eq!(clear.body["password"], "hunter2");
    assert_eq!(
        inventory
            .reveal("device", "sw1", "password")
            .await
            .unwrap()
            .as_deref(),
        Some("hunter2")
    );
    let everything = store.range(Range::prefix(""), 0, None).await.unwrap();
    for entry in everything.entries {
        let text = String::from_utf8_lossy(&entry.value).into_owned();
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_secret_is_not_moved_to_another_place_nor_written_where_nothing_seals() {
    let (_directory, store) = opened().await;
    let inventory = Inventory::new(store.clone()).sealed_by(Arc::new(Reversing));
    let first = write(
        &inventory,
        create("device", "sw1", json!({ "password": "hunter2" })),
    )
    .await
    .unwrap();
    let sealed = first.outcomes[0].resource.body["password"].clone();
    let moved = write(
        &inventory,
        create("device", "sw2", json!({ "password": sealed })),
    )
    .await;
    assert!(matches!(moved, Err(Refused::Invalid(_))), "{moved:?}");
    let open = write(
        &Inventory::new(store),
        create("device", "sw3", json!({ "password": "x" })),
    )
    .await;
    assert!(matches!(open, Err(Refused::Invalid(_))), "{open:?}");
}
