//! What agents discover about resources of the platform, beside what the platform records and people say.

use serde_json::{Value, json};
use wright_inventory::{Action, Author, Inventory, Moment, discovery_operations};

use super::{anna, body, create, define, inventory, merge, replace, write};

async fn discover(inventory: &Inventory, facts: Value) {
    let by = Author::new("agent");
    let operations = discovery_operations("host", "h1", "facts", &facts, &by).unwrap();
    inventory.commit(operations).await.unwrap();
}

async fn host(inventory: &Inventory) {
    let made = json!({ "state": "ready" });
    inventory.put_as("host", "h1", &made).await.unwrap();
}

#[tokio::test]
async fn what_was_discovered_stands_beside_both_other_parts_and_has_its_own_owner() {
    let (_directory, inventory) = inventory().await;
    host(&inventory).await;
    write(&inventory, merge("host", "h1", json!({ "serial": "S1" })))
        .await
        .unwrap();
    discover(&inventory, json!({ "serial": "S2" })).await;
    let whole = json!({ "state": "ready", "facts": { "serial": "S2" }, "serial": "S1" });
    let read = inventory.resource("host", "h1").await.unwrap().unwrap();
    assert_eq!(read.body, whole);
    assert_eq!(read.owners["facts"], ["agent"]);
    let page = inventory.resources("host", None, 0, None).await.unwrap();
    assert_eq!(page.resources, std::slice::from_ref(&read));

    // The platform's next write, and people's, leave it as it is; what was read may be sent back.
    host(&inventory).await;
    let read = inventory.resource("host", "h1").await.unwrap().unwrap();
    let put = replace("host", "h1", read.body.clone()).expecting(read.revision);
    let written = write(&inventory, put).await.unwrap();
    assert_eq!(written.outcomes[0].action, Action::Unchanged);
    assert_eq!(written.outcomes[0].resource.body, whole);
    let lie = merge("host", "h1", json!({ "facts": { "serial": "S1" } }));
    let refused = write(&inventory, lie).await.unwrap_err();
    assert!(refused.to_string().contains("facts"), "{refused}");
}

#[tokio::test]
async fn a_discovery_is_a_change_of_the_resource() {
    let (_directory, inventory) = inventory().await;
    host(&inventory).await;
    let read = inventory.resource("host", "h1").await.unwrap().unwrap();
    discover(&inventory, json!({ "kernel": "6.1" })).await;
    let stale = merge("host", "h1", json!({ "serial": "S1" })).expecting(read.revision);
    assert!(write(&inventory, stale).await.is_err());
    let history = inventory.history("host", "h1").await.unwrap();
    let last = history.last().unwrap();
    assert_eq!(last.by.as_ref().unwrap().actor, "agent");
    assert_eq!(
        last.body,
        Some(json!({ "state": "ready", "facts": { "kernel": "6.1" } }))
    );
    let before = Moment::Revision(read.revision);
    let past = inventory.as_of("host", "h1", before).await.unwrap();
    assert_eq!(past.unwrap().body, Some(json!({ "state": "ready" })));
}

#[tokio::test]
async fn what_was_discovered_goes_with_the_resource_and_what_people_declared_stays() {
    let (_directory, inventory) = inventory().await;
    host(&inventory).await;
    write(&inventory, merge("host", "h1", json!({ "serial": "S1" })))
        .await
        .unwrap();
    discover(&inventory, json!({ "kernel": "6.1" })).await;
    inventory.delete("host", "h1").await.unwrap();
    assert_eq!(
        body(&inventory, "host", "h1").await,
        Some(json!({ "serial": "S1" }))
    );
    let history = inventory.history("host", "h1").await.unwrap();
    assert_eq!(
        history.last().unwrap().body,
        Some(json!({ "serial": "S1" }))
    );
}

#[tokio::test]
async fn a_computed_field_counts_with_whole_numbers() {
    let (_directory, inventory) = inventory().await;
    let definition = "fields:
  units: { type: integer }
  halves: { type: integer, computed: self.units * 2 }
  half: { type: float, computed: double(self.units) / 2.0 }
  tall: { type: boolean, computed: self.units > 40 }";
    define(&inventory, "shelf", definition).await.unwrap();
    let made = create("shelf", "s", json!({ "units": 42 }));
    write(&inventory, made).await.unwrap();
    assert_eq!(
        body(&inventory, "shelf", "s").await,
        Some(json!({ "units": 42, "halves": 84, "half": 21.0, "tall": true }))
    );
}

#[tokio::test]
async fn resources_that_were_there_before_have_a_computed_field_too() {
    let (_directory, inventory) = inventory().await;
    let before = "fields: { units: { type: integer } }";
    define(&inventory, "shelf", before).await.unwrap();
    let made = create("shelf", "s", json!({ "units": 4 }));
    write(&inventory, made).await.unwrap();
    let after = "fields: { units: { type: integer }, twice: { type: integer, computed: self.units + self.units } }";
    define(&inventory, "shelf", after).await.unwrap();
    let wanted = json!({ "units": 4, "twice": 8 });
    assert_eq!(body(&inventory, "shelf", "s").await, Some(wanted.clone()));
    let page = inventory.resources("shelf", None, 0, None).await.unwrap();
    assert_eq!(page.resources[0].body, wanted);
}

#[tokio::test]
async fn a_history_is_read_page_by_page_and_from_its_end() {
    let (_directory, inventory) = inventory().await;
    host(&inventory).await;
    for n in 0..4 {
        discover(&inventory, json!({ "kernel": n.to_string() })).await;
        let note = merge("host", "h1", json!({ "serial": n.to_string() }));
        inventory.write(&[note], &anna()).await.unwrap();
    }
    let all = inventory.history("host", "h1").await.unwrap();
    assert_eq!(all.len(), 9);
    let (mut read, mut after) = (Vec::new(), String::new());
    loop {
        let page = inventory.history_page("host", "h1", &after, 2).await;
        let page = page.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = last.id.clone();
        read.extend(page);
    }
    assert_eq!(read, all);
    let newest = inventory.newest_history("host", "h1", 3).await.unwrap();
    assert_eq!(newest, all[6..]);
}
