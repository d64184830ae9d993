//! Writing resources: kinds, constraints, relations, owners, history; the races on both engines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod discovered;
mod owners;
mod past;
mod races;
mod relations;
mod schema;
mod secrets;
mod writing;

use serde_json::Value;
use tempfile::TempDir;
use wright_inventory::{Author, Change, Content, Inventory, Refused, Write, Written};
use wright_store::SharedStore;

async fn opened() -> (TempDir, SharedStore) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file:{}", directory.path().display());
    let store = wright_store::open(&url).await.unwrap();
    (directory, store)
}

async fn inventory() -> (TempDir, Inventory) {
    let (directory, store) = opened().await;
    (directory, Inventory::new(store))
}

fn anna() -> Author {
    Author::new("anna")
}

fn create(kind: &str, name: &str, body: Value) -> Write {
    Write::new(kind, name, Change::Create(Content::new(body)))
}

fn replace(kind: &str, name: &str, body: Value) -> Write {
    Write::new(kind, name, Change::Replace(Content::new(body)))
}

fn merge(kind: &str, name: &str, body: Value) -> Write {
    let patch = serde_json::json!({ "body": body });
    Write::new(kind, name, Change::Merge { patch })
}

fn delete(kind: &str, name: &str) -> Write {
    Write::new(kind, name, Change::Delete)
}

async fn write(inventory: &Inventory, write: Write) -> Result<Written, Refused> {
    inventory.write(&[write], &anna()).await
}

/// Defines a kind out of its YAML.
async fn define(inventory: &Inventory, name: &str, definition: &str) -> Result<Written, Refused> {
    let body: Value = serde_saphyr::from_str(definition).unwrap();
    write(inventory, replace("kind", name, body)).await
}

async fn body(inventory: &Inventory, kind: &str, name: &str) -> Option<Value> {
    let resource = inventory.resource(kind, name).await.unwrap();
    resource.map(|resource| resource.body)
}

/// A site, a room and the kind `box` that is in it, with a serial number of its own.
async fn furnished(inventory: &Inventory) {
    let definition = "parent: room
fields:
  room: { type: reference, to: room, reverse: boxes, required: true }
  serial: { type: text }
  size: { type: integer, minimum: 1, maximum: 9, default: 3 }
  tags: { type: map }
unique: [[serial]]";
    define(inventory, "box", definition).await.unwrap();
    for one in [
        create("site", "berlin", serde_json::json!({ "city": "Berlin" })),
        create("room", "b2", serde_json::json!({ "site": "berlin" })),
        create("room", "b3", serde_json::json!({ "site": "berlin" })),
    ] {
        write(inventory, one).await.unwrap();
    }
}
