//! Resources and events over the embedded engine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::{NoContext, Uuid};
use wright_inventory::{Event, Inventory, InventoryError, Put, delete_operations, resource_key};
use wright_store::{Guard, MAX_VALUE, Operation, SharedStore, StoreError};

async fn opened() -> (TempDir, SharedStore, Inventory) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file:{}", directory.path().display());
    let store = wright_store::open(&url).await.unwrap();
    (directory, store.clone(), Inventory::new(store))
}

fn refused<T: std::fmt::Debug>(done: Result<T, InventoryError>) -> bool {
    matches!(done, Err(InventoryError::Store(StoreError::Refused { .. })))
}

async fn names(inventory: &Inventory, kind: &str) -> Vec<String> {
    let list = inventory.list(kind).await.unwrap();
    list.into_iter().map(|resource| resource.name).collect()
}

#[tokio::test]
async fn a_resource_has_what_was_put_and_where_it_came_from() {
    let (_directory, _store, inventory) = opened().await;
    let created = inventory
        .put_as("host", "h1", &json!({ "cpu": 1 }))
        .await
        .unwrap();
    let put = Put::new("host", "h1", &json!({ "cpu": 2 }))
        .unwrap()
        .label("rack", "r7");
    let revision = inventory.replace(put, created).await.unwrap();
    let host = inventory.get("host", "h1").await.unwrap().unwrap();
    assert_eq!((host.kind.as_str(), host.name.as_str()), ("host", "h1"));
    assert_eq!((host.created, host.revision), (created, revision));
    assert_eq!(host.labels["rack"], "r7");
    assert_eq!(host.body, json!({ "cpu": 2 }));
    assert_eq!(inventory.get("host", "h2").await.unwrap(), None);
}

#[tokio::test]
async fn a_list_has_one_kind_by_name() {
    let (_directory, _store, inventory) = opened().await;
    for (kind, name) in [
        ("host", "h2"),
        ("host", "h10"),
        ("hostile", "h0"),
        ("app", "h1"),
    ] {
        inventory.put_as(kind, name, &name).await.unwrap();
    }
    assert_eq!(names(&inventory, "host").await, ["h10", "h2"]);
    let named: Vec<(String, String)> = inventory.list_named_as("host").await.unwrap();
    assert!(named.iter().all(|(name, body)| name == body));
}

#[tokio::test]
async fn a_list_is_whole_however_many_there_are() {
    let (_directory, store, inventory) = opened().await;
    let puts = (0..1000).map(|index| Put::new("many", &format!("n{index:04}"), &index).unwrap());
    for chunk in puts.collect::<Vec<_>>().chunks(500) {
        let operations = chunk
            .iter()
            .flat_map(|put| put.clone().operations().unwrap());
        store
            .commit(Vec::new(), operations.collect())
            .await
            .unwrap();
    }
    inventory.put_as("many", "n1000", &1000).await.unwrap();
    let bodies: Vec<u32> = inventory.list_as("many").await.unwrap();
    assert_eq!(bodies, (0..=1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn pages_at_one_revision_do_not_see_later_writes() {
    let (_directory, _store, inventory) = opened().await;
    for name in ["a", "b", "c"] {
        inventory.put_as("app", name, &1).await.unwrap();
    }
    let first = inventory.list_page("app", None, 2, None).await.unwrap();
    assert!(first.more && first.resources.len() == 2);
    inventory.delete("app", "c").await.unwrap();
    inventory.put_as("app", "bb", &1).await.unwrap();
    let rest = inventory
        .list_page("app", Some("b"), 2, Some(first.revision))
        .await
        .unwrap();
    assert_eq!(
        (
            rest.resources[0].name.as_str(),
            rest.resources.len(),
            rest.more
        ),
        ("c", 1, false)
    );
}

#[tokio::test]
async fn of_two_writers_who_read_the_same_the_second_is_refused() {
    let (_directory, _store, inventory) = opened().await;
    let put = |body: u32| Put::new("app", "a", &body).unwrap();
    let read = inventory.replace(put(1), 0).await.unwrap();
    assert!(refused(inventory.replace(put(2), 0).await));
    inventory.replace(put(2), read).await.unwrap();
    assert!(refused(inventory.replace(put(3), read).await));
    assert!(refused(inventory.delete_read("app", "a", read).await));
    let history = inventory.history("app", "a").await.unwrap();
    assert_eq!(history.len(), 2, "who was refused leaves no trace");
}

#[tokio::test]
async fn the_history_has_every_write_and_removal_oldest_first() {
    let (_directory, _store, inventory) = opened().await;
    inventory.put_as("app", "a", &1).await.unwrap();
    let read = inventory.put_as("app", "a", &2).await.unwrap();
    inventory.delete_read("app", "a", read).await.unwrap();
    inventory.put_as("app", "a", &3).await.unwrap();
    inventory.put_as("app", "ab", &9).await.unwrap();
    let history = inventory.history("app", "a").await.unwrap();
    let bodies: Vec<Option<Value>> = history.iter().map(|past| past.body.clone()).collect();
    assert_eq!(
        bodies,
        [Some(json!(1)), Some(json!(2)), None, Some(json!(3))]
    );
    assert!(history.is_sorted_by_key(|past| past.at));
}

#[tokio::test]
async fn removing_what_is_not_there_does_nothing() {
    let (_directory, store, inventory) = opened().await;
    inventory.delete("app", "a").await.unwrap();
    assert_eq!(store.revision().await.unwrap(), 0);
    assert!(inventory.history("app", "a").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_write_and_its_history_are_committed_with_what_somebody_else_adds() {
    let (_directory, store, inventory) = opened().await;
    let mut operations = Put::new("app", "a", &1).unwrap().operations().unwrap();
    operations.push(Operation::put("job/1/step", "succeeded"));
    store.commit(Vec::new(), operations.clone()).await.unwrap();
    assert_eq!(inventory.history("app", "a").await.unwrap().len(), 1);

    let mut removal = delete_operations("app", "a");
    removal.push(Operation::put("job/1/step", "undone"));
    let there = vec![Guard::Exists(resource_key("app", "a").into())];
    store.commit(there.clone(), removal.clone()).await.unwrap();
    assert!(store.commit(there, removal).await.unwrap_err().is_refused());
    assert_eq!(inventory.get("app", "a").await.unwrap(), None);
    assert_eq!(inventory.history("app", "a").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_watch_from_a_snapshot_says_all_that_changed_since() {
    let (_directory, _store, inventory) = opened().await;
    inventory.put_as("app", "a", &1).await.unwrap();
    let (before, revision) = inventory.snapshot("app").await.unwrap();
    let second = inventory.put_as("app", "a", &2).await.unwrap();
    inventory.put_as("other", "a", &2).await.unwrap();
    inventory.delete("app", "a").await.unwrap();
    let mut watch = inventory.watch("app", revision).await.unwrap();
    let changed = watch.next().await.unwrap().unwrap();
    assert_eq!(
        (changed.revision, changed.before.as_ref()),
        (second, before.first())
    );
    assert_eq!(
        changed.after.as_ref().map(|after| &after.body),
        Some(&json!(2))
    );
    let removed = watch.next().await.unwrap().unwrap();
    assert_eq!((removed.before, removed.after), (changed.after, None));
}

#[tokio::test]
async fn a_name_that_cannot_be_part_of_a_key_is_refused() {
    let (_directory, store, inventory) = opened().await;
    let long = "x".repeat(201);
    for bad in ["", "a/b", "a b", "\u{e9}", "a\0", long.as_str()] {
        for (kind, name) in [(bad, "a"), ("app", bad)] {
            let refused = inventory.put_as(kind, name, &1).await;
            assert!(
                matches!(refused, Err(InventoryError::BadName(_))),
                "{kind}/{name}"
            );
        }
    }
    assert_eq!(store.revision().await.unwrap(), 0);
}

#[tokio::test]
async fn a_body_of_another_shape_is_reported_with_its_name() {
    let (_directory, store, inventory) = opened().await;
    inventory.put_as("app", "a", &"text").await.unwrap();
    let error = inventory.get_as::<u32>("app", "a").await.unwrap_err();
    assert!(
        matches!(error, InventoryError::Shape { ref what, .. } if what == "app/a"),
        "{error}"
    );
    store
        .commit(Vec::new(), vec![Operation::put("r/app/b", "not JSON")])
        .await
        .unwrap();
    let error = inventory.list("app").await.unwrap_err();
    assert!(error.to_string().contains("r/app/b"), "{error}");
}

#[tokio::test]
async fn a_body_that_is_too_large_changes_nothing() {
    let (_directory, _store, inventory) = opened().await;
    inventory.put_as("app", "a", &1).await.unwrap();
    let refused = inventory.put_as("app", "a", &"x".repeat(MAX_VALUE)).await;
    assert!(matches!(
        refused,
        Err(InventoryError::Store(StoreError::TooLarge { .. }))
    ));
    assert_eq!(inventory.get_as::<u32>("app", "a").await.unwrap(), Some(1));
    assert_eq!(inventory.history("app", "a").await.unwrap().len(), 1);
}

/// An event as it would have been recorded so many hours ago.
fn aged(hours: i64) -> Event {
    let at = Timestamp::now() - hours.hours();
    let seconds = at.as_second().try_into().unwrap();
    let id = Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, 0));
    Event {
        id,
        at,
        ..Event::new("test", "aged", "host/h1", &hours.to_string())
    }
}

fn messages(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.message.as_str()).collect()
}

#[tokio::test]
async fn the_newest_events_are_found_however_old_they_are() {
    let (_directory, _store, inventory) = opened().await;
    assert!(inventory.newest_events(5).await.unwrap().is_empty());
    for hours in [0, 300_000, 1, 9000, 30] {
        inventory.record(&aged(hours)).await.unwrap();
    }
    for (limit, wanted) in [
        (0, vec![]),
        (1, vec!["0"]),
        (3, vec!["30", "1", "0"]),
        (9, vec!["300000", "9000", "30", "1", "0"]),
    ] {
        assert_eq!(
            messages(&inventory.newest_events(limit).await.unwrap()),
            wanted
        );
    }
}

#[tokio::test]
async fn events_are_read_on_after_an_id() {
    let (_directory, _store, inventory) = opened().await;
    let event = Event::new("anna", "host-dead", "host/h3", "no answer for 30 s");
    let event = event.with(json!({ "missed": 6 }));
    inventory.record(&event).await.unwrap();
    assert_eq!(
        inventory.events(None, 0).await.unwrap(),
        std::slice::from_ref(&event)
    );
    for message in ["1", "2", "3"] {
        inventory
            .record(&Event::new("anna", "note", "host/h3", message))
            .await
            .unwrap();
    }
    assert_eq!(
        messages(&inventory.events(Some(event.id), 2).await.unwrap()),
        ["1", "2"]
    );
    assert_eq!(
        messages(&inventory.events(Some(event.id), 0).await.unwrap()),
        ["1", "2", "3"]
    );
}

#[tokio::test]
async fn a_watch_of_events_begins_now() {
    let (_directory, _store, inventory) = opened().await;
    let event = |message| Event::new("anna", "note", "host/h3", message);
    inventory.record(&event("before")).await.unwrap();
    let mut watch = inventory.watch_events().await.unwrap();
    let now = event("now");
    inventory.record(&now).await.unwrap();
    inventory.trim_events(0).await.unwrap();
    inventory.record(&event("later")).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap(), now);
    let later = watch.next().await.unwrap().unwrap();
    assert_eq!(later.message, "later", "forgetting is no event");
}

#[tokio::test]
async fn trimming_keeps_the_newest_events() {
    for (keep, wanted) in [
        (0, vec![]),
        (1, vec!["0"]),
        (3, vec!["2", "1", "0"]),
        (4, vec!["2", "1", "0"]),
    ] {
        let (_directory, store, inventory) = opened().await;
        for hours in [2, 0, 1] {
            inventory.record(&aged(hours)).await.unwrap();
        }
        let before = store.revision().await.unwrap();
        inventory.trim_events(keep).await.unwrap();
        assert_eq!(
            messages(&inventory.events(None, 0).await.unwrap()),
            wanted,
            "keep {keep}"
        );
        let written = store.revision().await.unwrap() - before;
        assert_eq!(
            written,
            u64::from(keep < 3),
            "where nothing goes, nothing is written"
        );
    }
}
