//! What holds however many write at once: on both engines.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use wright_inventory::{Refused, Resource};
use wright_store::conformance::EtcdCluster;

use super::*;

const WRITERS: usize = 64;

/// Several servers on one store: each has compiled its kinds for itself.
fn servers(store: &SharedStore) -> Vec<Arc<Inventory>> {
    (0..3)
        .map(|_| Arc::new(Inventory::new(store.clone())))
        .collect()
}

async fn all(store: &SharedStore, kind: &str) -> Vec<Resource> {
    Inventory::new(store.clone()).list(kind).await.unwrap()
}

/// Of 64 writers who want one of a few values, each value has one owner.
async fn no_value_has_two_owners(store: SharedStore) {
    let servers = servers(&store);
    define(
        &servers[0],
        "seat",
        "fields: { row: { type: integer }, place: { type: text } }\nunique: [[row, place]]",
    )
    .await
    .unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let inventory = servers[writer % servers.len()].clone();
        writers.spawn(async move {
            let mut taken = 0;
            for round in 0..8 {
                let body = json!({ "row": (writer + round) % 4, "place": "a" });
                let name = format!("w{writer}");
                match write(&inventory, replace("seat", &name, body)).await {
                    Ok(_) => {}
                    Err(Refused::Taken { .. }) => taken += 1,
                    Err(other) => panic!("{other}"),
                }
                if round % 3 == 2 {
                    match write(&inventory, delete("seat", &name)).await {
                        Ok(_) | Err(Refused::NotFound { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            taken
        });
    }
    let taken: usize = writers.join_all().await.into_iter().sum();
    assert!(taken > 0, "they raced");
    let seats = all(&store, "seat").await;
    let mut rows: Vec<&Value> = seats.iter().map(|seat| &seat.body["row"]).collect();
    let count = rows.len();
    rows.sort_by_key(|row| row.as_i64());
    rows.dedup();
    assert_eq!(rows.len(), count, "{seats:?}");
    // The claims are those of the owners, neither more nor less.
    let claims = store
        .range(wright_store::Range::prefix("u/seat/"), 0, None)
        .await
        .unwrap();
    assert_eq!(claims.entries.len(), count);
}

/// Rooms are deleted while boxes are put into them: no box is in a room that is not there.
async fn no_reference_dangles(store: SharedStore) {
    let servers = servers(&store);
    furnished(&servers[0]).await;
    let mut writers = JoinSet::new();
    for writer in 0..16 {
        let inventory = servers[writer % servers.len()].clone();
        writers.spawn(async move {
            for round in 0..12 {
                let room = format!("r{}", round % 3);
                let done = match writer % 4 {
                    0 => write(&inventory, delete("room", &room)).await,
                    1 => {
                        write(
                            &inventory,
                            create("room", &room, json!({ "site": "berlin" })),
                        )
                        .await
                    }
                    2 => write(&inventory, delete("box", &format!("x{}", writer + 1))).await,
                    _ => {
                        write(
                            &inventory,
                            replace("box", &format!("x{writer}"), json!({ "room": room })),
                        )
                        .await
                    }
                };
                match done {
                    Ok(_)
                    | Err(
                        Refused::NotFound { .. }
                        | Refused::Exists { .. }
                        | Refused::Referenced { .. }
                        | Refused::NoTarget { .. },
                    ) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    writers.join_all().await;
    let rooms: Vec<String> = all(&store, "room")
        .await
        .into_iter()
        .map(|room| room.name)
        .collect();
    for one in all(&store, "box").await {
        let room = one.body["room"].as_str().unwrap();
        assert!(
            rooms.iter().any(|name| name == room),
            "{} is in {room}, of {rooms:?}",
            one.name
        );
    }
}

/// A constraint is added while others write: where it was taken, nobody breaks it.
async fn a_constraint_that_was_taken_holds(store: SharedStore) {
    let servers = servers(&store);
    let plain = "fields: { serial: { type: integer } }";
    define(&servers[0], "disk", plain).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..16_usize {
        let inventory = servers[writer % servers.len()].clone();
        writers.spawn(async move {
            for round in 0..10 {
                let body = json!({ "serial": (writer * 7 + round) % 40 });
                match write(&inventory, replace("disk", &format!("d{writer}"), body)).await {
                    Ok(_) | Err(Refused::Taken { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    let unique = format!("{plain}\nunique: [[serial]]");
    let mut refused = 0;
    while let Err(error) = define(&servers[1], "disk", &unique).await {
        assert!(matches!(error, Refused::Broken { .. }), "{error}");
        refused += 1;
        assert!(refused < 10_000);
        // Those who share a value part.
        for (number, disk) in all(&store, "disk").await.iter().enumerate() {
            let body = json!({ "serial": 1000 * (refused + 1) + number });
            write(&servers[2], replace("disk", &disk.name, body))
                .await
                .unwrap();
        }
    }
    writers.join_all().await;
    let disks = all(&store, "disk").await;
    let mut serials: Vec<Option<i64>> = disks
        .iter()
        .map(|disk| disk.body["serial"].as_i64())
        .collect();
    serials.sort_unstable();
    serials.dedup();
    assert_eq!(serials.len(), disks.len(), "{disks:?}");
}

/// Of many who count one field up, none is lost.
async fn no_change_under_a_revision_is_lost(store: SharedStore) {
    let servers = servers(&store);
    define(
        &servers[0],
        "counter",
        "fields: { value: { type: integer, default: 0 } }",
    )
    .await
    .unwrap();
    write(&servers[0], create("counter", "c", json!({})))
        .await
        .unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let inventory = servers[writer % servers.len()].clone();
        writers.spawn(async move {
            let mut counted = 0;
            while counted < 5 {
                let read = inventory.resource("counter", "c").await.unwrap().unwrap();
                let value = read.body["value"].as_i64().unwrap();
                let up =
                    merge("counter", "c", json!({ "value": value + 1 })).expecting(read.revision);
                match write(&inventory, up).await {
                    Ok(_) => counted += 1,
                    Err(Refused::Conflict { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    writers.join_all().await;
    assert_eq!(all(&store, "counter").await[0].body["value"], 40);
}

macro_rules! on_the_embedded_engine {
    ($($race:ident)*) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $race() {
                    let (_directory, store) = super::opened().await;
                    super::$race(store).await;
                }
            )*
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn the_same_on_etcd() {
            let cluster = EtcdCluster::start(1, &[]).unwrap();
            let store = wright_store::open(&cluster.url()).await.unwrap();
            $($race(store.clone()).await;)*
        }
    };
}

on_the_embedded_engine! {
    no_value_has_two_owners
    no_reference_dangles
    a_constraint_that_was_taken_holds
    no_change_under_a_revision_is_lost
}
