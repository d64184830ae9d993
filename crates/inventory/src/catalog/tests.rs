use serde_json::json;
use tempfile::TempDir;
use wright_store::SharedStore;

use super::*;
use crate::{Put, kind::Definition};

struct Bed {
    catalog: Arc<Catalog>,
    inventory: Inventory,
    _directory: TempDir,
}

async fn open(directory: &TempDir) -> SharedStore {
    let url = format!("file:{}", directory.path().display());
    wright_store::open(&url).await.unwrap()
}

impl Bed {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let inventory = Inventory::new(open(&directory).await);
        let catalog = Catalog::new(inventory.clone());
        Bed {
            catalog,
            inventory,
            _directory: directory,
        }
    }

    fn run(&self) {
        tokio::spawn(self.catalog.clone().run());
    }

    async fn put(&self, kind: &str, name: &str, body: serde_json::Value) -> Revision {
        self.inventory.put_as(kind, name, &body).await.unwrap()
    }

    async fn names(&self, kind: &str, filter: &str) -> Vec<String> {
        let query = Query {
            kind: Some(kind.to_owned()),
            filter: Some(filter.to_owned()),
            ..Query::default()
        };
        let answer = self.catalog.answer(query, None).await.unwrap();
        answer.rows.into_iter().map(|row| row.name).collect()
    }
}

#[tokio::test]
async fn what_was_there_before_and_what_is_written_after_is_found() {
    let bed = Bed::new().await;
    bed.put("room", "b2", json!({})).await;
    bed.put("rack", "r1", json!({ "room": "b2", "units": 42 }))
        .await;
    bed.run();
    assert_eq!(bed.names("rack", "rack.room.name == 'b2'").await, ["r1"]);
    bed.put("rack", "r2", json!({ "room": "b2", "units": 40 }))
        .await;
    assert_eq!(bed.names("room", "size(room.racks) == 2").await, ["b2"]);
    bed.inventory.delete("rack", "r1").await.unwrap();
    assert_eq!(bed.names("rack", "rack.room.name == 'b2'").await, ["r2"]);
}

#[tokio::test]
async fn the_first_write_of_all_is_waited_for() {
    let bed = Bed::new().await;
    bed.run();
    // Loaded while there was nothing.
    bed.catalog.up_to_date().await.unwrap();
    let first = bed.catalog.at_least(1);
    tokio::pin!(first);
    assert!(futures::poll!(&mut first).is_pending());
    bed.put("room", "b2", json!({})).await;
    first.await.unwrap();
    assert_eq!(bed.names("room", "true").await, ["b2"]);
}

#[tokio::test]
async fn both_parts_of_a_resource_of_the_platform_are_one() {
    let bed = Bed::new().await;
    bed.put("host", "h1", json!({ "state": "ready" })).await;
    let own = json!({ "body": { "serial": "S1" }, "updated_at": "2026-01-01T00:00:00Z" });
    let own = wright_store::Operation::put("r+/host/h1", own.to_string());
    bed.inventory.commit(vec![own]).await.unwrap();
    bed.run();
    let filter = "host.state == 'ready' && host.serial == 'S1'";
    assert_eq!(bed.names("host", filter).await, ["h1"]);
    bed.put("host", "h1", json!({ "state": "lost" })).await;
    assert_eq!(bed.names("host", filter).await, [""; 0]);
    assert_eq!(
        bed.names("host", "host.state == 'lost' && host.serial == 'S1'")
            .await,
        ["h1"]
    );
}

#[tokio::test]
async fn hosts_are_found_by_what_was_discovered_and_by_what_is_declared_otherwise() {
    let bed = Bed::new().await;
    let discover = |name: &'static str, serial: &'static str, memory: &'static str| {
        let facts = json!({ "serial": serial, "memory": memory, "cpu": { "model": "EPYC" } });
        let by = crate::Author::new("agent");
        crate::discovery_operations("host", name, "facts", &facts, &by).unwrap()
    };
    let declare = async |name: &str, serial: &str| {
        let own = json!({ "body": { "serial": serial }, "updated_at": "2026-01-01T00:00:00Z" });
        let own = wright_store::Operation::put(format!("r+/host/{name}"), own.to_string());
        bed.inventory.commit(vec![own]).await.unwrap();
    };
    for name in ["h1", "h2"] {
        bed.put("host", name, json!({ "state": "ready" })).await;
    }
    declare("h1", "S1").await;
    declare("h2", "S2").await;
    // Before the catalog is loaded, and after.
    bed.inventory
        .commit(discover("h1", "S9", "4GiB"))
        .await
        .unwrap();
    bed.run();
    bed.inventory
        .commit(discover("h2", "S2", "16GiB"))
        .await
        .unwrap();
    let large = "host.facts.memory > '8GiB' && host.facts.cpu.model == 'EPYC'";
    assert_eq!(bed.names("host", large).await, ["h2"]);
    let drifts = "'serial' in host.drift";
    assert_eq!(bed.names("host", drifts).await, ["h1"]);
    declare("h1", "S9").await;
    assert_eq!(bed.names("host", "size(host.drift) > 0").await, [""; 0]);
    bed.inventory
        .commit(discover("h2", "S3", "16GiB"))
        .await
        .unwrap();
    assert_eq!(bed.names("host", drifts).await, ["h2"]);
}

#[tokio::test]
async fn what_a_resource_has_not_is_its_parents_at_once() {
    let bed = Bed::new().await;
    bed.put("site", "berlin", json!({ "time_zone": "Europe/Berlin" }))
        .await;
    bed.put("site", "tokyo", json!({ "time_zone": "Asia/Tokyo" }))
        .await;
    bed.put("room", "b2", json!({ "site": "berlin" })).await;
    bed.put("rack", "r1", json!({ "room": "b2" })).await;
    bed.put("host", "h1", json!({ "rack": "r1" })).await;
    bed.put("host", "h2", json!({})).await;
    bed.put("instance", "shop.a", json!({ "spec": { "host": "h1" } }))
        .await;
    bed.run();
    let here = |kind: &str| format!("{kind}.time_zone == 'Europe/Berlin'");
    for (kind, name) in [("rack", "r1"), ("host", "h1"), ("instance", "shop.a")] {
        assert_eq!(bed.names(kind, &here(kind)).await, [name]);
    }
    assert_eq!(bed.names("host", "!has(host.time_zone)").await, ["h2"]);
    bed.put("room", "b2", json!({ "site": "tokyo" })).await;
    assert_eq!(bed.names("instance", &here("instance")).await, [""; 0]);
    assert_eq!(
        bed.names("instance", "instance.time_zone.startsWith('Asia/')")
            .await,
        ["shop.a"]
    );
    let query = Query {
        kind: Some("host".to_owned()),
        select: vec!["time_zone".to_owned()],
        ..Query::default()
    };
    let rows = bed.catalog.answer(query, None).await.unwrap().rows;
    assert_eq!(rows[0].values, [json!("Asia/Tokyo")]);
    assert_eq!(rows[1].values, [json!(null)]);
}

#[tokio::test]
async fn a_resource_has_a_place_in_the_main_line() {
    let bed = Bed::new().await;
    bed.put("site", "berlin", json!({})).await;
    bed.put("room", "b2", json!({ "site": "berlin" })).await;
    bed.put("rack", "r1", json!({ "room": "b2" })).await;
    bed.put("host", "h1", json!({ "rack": "r1" })).await;
    bed.put("host", "h2", json!({})).await;
    let on = |host: &str| json!({ "spec": { "host": host } });
    bed.put("instance", "shop.a", on("h1")).await;
    bed.put("instance", "shop.b", on("h2")).await;
    bed.run();
    let begins = |text: &str| format!("host.path.startsWith('{text}')");
    for text in ["berlin/b2/", "berlin/b2", "ber", "berlin/b2/r1/h1"] {
        assert_eq!(bed.names("host", &begins(text)).await, ["h1"], "{text}");
    }
    for text in ["b2", "berlin/b", "berlin/b2/r1/h1/"] {
        let wanted: &[&str] = if text == "berlin/b" { &["h1"] } else { &[] };
        assert_eq!(bed.names("host", &begins(text)).await, wanted, "{text}");
    }
    assert_eq!(bed.names("host", "host.path == 'h2'").await, ["h2"]);
    assert_eq!(bed.names("host", "host.path != 'h2'").await, ["h1"]);
    assert_eq!(
        bed.names("rack", "rack.path == 'berlin/b2/r1'").await,
        ["r1"]
    );
    let of = "instance.spec.host.path.startsWith('berlin/')";
    assert_eq!(bed.names("instance", of).await, ["shop.a"]);
    let query = Query {
        kind: Some("instance".to_owned()),
        select: vec!["path".to_owned()],
        ..Query::default()
    };
    let rows = bed.catalog.answer(query.clone(), None).await.unwrap().rows;
    assert_eq!(rows[0].values, [json!("berlin/b2/r1/h1/shop.a")]);
    assert_eq!(rows[1].values, [json!("h2/shop.b")]);
    let sorted = Query {
        sort: vec!["path".to_owned()],
        ..query
    };
    assert!(bed.catalog.answer(sorted, None).await.is_err());
}

#[tokio::test]
async fn a_field_that_is_computed_later_is_found_in_what_was_there_before() {
    let bed = Bed::new().await;
    let definition = json!({ "fields": { "units": { "type": "integer" } } });
    bed.put(KIND, "shelf", definition).await;
    bed.put("shelf", "s1", json!({ "units": 4 })).await;
    bed.put("shelf", "s2", json!({ "units": 5 })).await;
    bed.run();
    assert_eq!(bed.names("shelf", "shelf.units > 0").await, ["s1", "s2"]);
    let definition = json!({ "fields": { "units": { "type": "integer" },
        "twice": { "type": "integer", "computed": "self.units * 2" } } });
    bed.put(KIND, "shelf", definition).await;
    assert_eq!(bed.names("shelf", "shelf.twice == 10").await, ["s2"]);
}

#[tokio::test]
async fn what_people_say_of_a_resource_of_the_platform_may_come_and_go() {
    let bed = Bed::new().await;
    bed.run();
    let filter = "host.state == 'ready' && host.serial == 'S1'";
    let said = || {
        let own = json!({ "body": { "serial": "S1" }, "updated_at": "2026-01-01T00:00:00Z" });
        let own = wright_store::Operation::put("r+/host/h1", own.to_string());
        bed.inventory.commit(vec![own])
    };
    // Before the platform knows the host, and after.
    said().await.unwrap();
    assert_eq!(bed.names("host", "host.serial == 'S1'").await, ["h1"]);
    bed.put("host", "h1", json!({ "state": "ready" })).await;
    assert_eq!(bed.names("host", filter).await, ["h1"]);
    let gone = wright_store::Operation::Delete("r+/host/h1".into());
    bed.inventory.commit(vec![gone]).await.unwrap();
    assert_eq!(bed.names("host", filter).await, [""; 0]);
    assert_eq!(bed.names("host", "host.state == 'ready'").await, ["h1"]);
    said().await.unwrap();
    assert_eq!(bed.names("host", filter).await, ["h1"]);
    bed.inventory.delete("host", "h1").await.unwrap();
    assert_eq!(bed.names("host", "host.state == 'ready'").await, [""; 0]);
}

#[tokio::test]
async fn what_was_discovered_and_what_people_say_stays_when_the_platform_writes() {
    let bed = Bed::new().await;
    bed.run();
    bed.put("host", "h1", json!({ "state": "ready" })).await;
    bed.put("host", "h2", json!({ "state": "ready" })).await;
    let (facts, by) = (json!({ "memory": "64 GiB" }), crate::Author::new("agent"));
    let found = crate::discovery_operations("host", "h1", "facts", &facts, &by).unwrap();
    bed.inventory.commit(found).await.unwrap();
    let own = json!({ "body": { "serial": "S2" }, "updated_at": "2026-01-01T00:00:00Z" });
    let own = wright_store::Operation::put("r+/host/h2", own.to_string());
    bed.inventory.commit(vec![own]).await.unwrap();
    for (name, said) in [
        ("h1", "host.facts.memory == '64 GiB'"),
        ("h2", "host.serial == 'S2'"),
    ] {
        bed.put("host", name, json!({ "state": "lost" })).await;
        let filter = format!("host.state == 'lost' && {said}");
        assert_eq!(bed.names("host", &filter).await, [name]);
    }
}

#[tokio::test]
async fn instances_are_found_from_their_host() {
    let bed = Bed::new().await;
    bed.put("host", "h1", json!({ "state": "ready" })).await;
    bed.put("host", "h2", json!({ "state": "ready" })).await;
    let spec = json!({ "spec": { "host": "h1", "id": "shop/a" } });
    bed.put("instance", "shop.a", spec).await;
    bed.run();
    assert_eq!(bed.names("host", "size(host.instances) < 1").await, ["h2"]);
    assert_eq!(
        bed.names("instance", "instance.spec.host.state == 'ready'")
            .await,
        ["shop.a"]
    );
}

#[tokio::test]
async fn a_kind_that_is_defined_later_is_known_from_then_on() {
    let bed = Bed::new().await;
    bed.run();
    let definition = json!({ "fields": {
        "size": { "type": "bytes" }, "secret": { "type": "text", "secret": true } } });
    let _: Definition = serde_json::from_value(definition.clone()).unwrap();
    bed.put(KIND, "disk", definition).await;
    let body = json!({ "size": "4GiB", "secret": { "sealed": "x" } });
    bed.put("disk", "d1", body).await;
    assert_eq!(bed.names("disk", "disk.size >= '2GiB'").await, ["d1"]);
    let query = Query {
        kind: Some("disk".to_owned()),
        filter: Some("has(disk.secret)".to_owned()),
        ..Query::default()
    };
    let refused = bed.catalog.answer(query, None).await.unwrap_err();
    assert!(refused.to_string().contains("secret"), "{refused}");
}

#[tokio::test]
async fn pages_of_an_answer_are_of_one_revision() {
    let bed = Bed::new().await;
    for number in 0..25 {
        bed.put("room", &format!("room-{number:02}"), json!({}))
            .await;
    }
    bed.run();
    let query = Query {
        kind: Some("room".to_owned()),
        limit: 10,
        ..Query::default()
    };
    let first = bed.catalog.answer(query, None).await.unwrap();
    bed.inventory.delete("room", "room-15").await.unwrap();
    bed.put("room", "room-155", json!({})).await;

    let mut names: Vec<String> = first.rows.iter().map(|row| row.name.clone()).collect();
    let mut cursor = first.cursor;
    while cursor.is_some() {
        let query = Query {
            cursor,
            ..Query::default()
        };
        let page = bed.catalog.answer(query, None).await.unwrap();
        assert_eq!((page.revision, page.total), (first.revision, 25));
        names.extend(page.rows.into_iter().map(|row| row.name));
        cursor = page.cursor;
    }
    let all: Vec<String> = (0..25).map(|number| format!("room-{number:02}")).collect();
    assert_eq!(names, all);

    let gone = Query {
        cursor: Some("gone".to_owned()),
        ..Query::default()
    };
    assert!(matches!(
        bed.catalog.answer(gone, None).await,
        Err(CatalogError::Expired)
    ));
}

#[tokio::test]
async fn a_commit_that_concerns_no_resource_is_waited_for_as_well() {
    let bed = Bed::new().await;
    bed.run();
    let other = wright_store::Operation::put("e/1", "something");
    let revision = bed.inventory.commit(vec![other]).await.unwrap();
    bed.catalog.at_least(revision).await.unwrap();
}

#[tokio::test]
async fn a_commit_is_seen_as_a_whole() {
    let bed = Bed::new().await;
    let pair = |value: u32| {
        let put =
            |name: &str| Put::new("app", name, &json!({ "description": format!("v{value}") }));
        let both = [
            put("a").unwrap().operations(),
            put("b").unwrap().operations(),
        ];
        both.map(Result::unwrap).concat()
    };
    bed.inventory.commit(pair(0)).await.unwrap();
    bed.run();
    bed.catalog.at_least(0).await.unwrap();
    let (inventory, catalog) = (bed.inventory.clone(), bed.catalog.clone());
    let writer = tokio::spawn(async move {
        for value in 1..100 {
            inventory.commit(pair(value)).await.unwrap();
        }
    });
    let query = Query {
        kind: Some("app".to_owned()),
        group_by: vec!["description".to_owned()],
        ..Query::default()
    };
    while !writer.is_finished() {
        let answer = catalog.answer(query.clone(), None).await.unwrap();
        assert_eq!(answer.groups.len(), 1, "{:?}", answer.groups);
    }
    writer.await.unwrap();
    let answer = catalog.answer(query, None).await.unwrap();
    assert_eq!(answer.groups[0].values, [json!("v99")]);
}
