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
        let answer = self.catalog.answer(query).await.unwrap();
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
    let refused = bed.catalog.answer(query).await.unwrap_err();
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
    let first = bed.catalog.answer(query).await.unwrap();
    bed.inventory.delete("room", "room-15").await.unwrap();
    bed.put("room", "room-155", json!({})).await;

    let mut names: Vec<String> = first.rows.iter().map(|row| row.name.clone()).collect();
    let mut cursor = first.cursor;
    while cursor.is_some() {
        let query = Query {
            cursor,
            ..Query::default()
        };
        let page = bed.catalog.answer(query).await.unwrap();
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
        bed.catalog.answer(gone).await,
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
        let answer = catalog.answer(query.clone()).await.unwrap();
        assert_eq!(answer.groups.len(), 1, "{:?}", answer.groups);
    }
    writer.await.unwrap();
    let answer = catalog.answer(query).await.unwrap();
    assert_eq!(answer.groups[0].values, [json!("v99")]);
}
