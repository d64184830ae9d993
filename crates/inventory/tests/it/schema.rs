//! Kinds that change while they are in use.

use serde_json::json;
use wright_inventory::{Action, Refused};

use super::*;

fn with(more: &str) -> String {
    format!("fields:\n  serial: {{ type: text }}\n  size: {{ type: integer }}\n{more}")
}

async fn boxes(inventory: &Inventory, serials: &[&str]) {
    define(inventory, "box", &with("")).await.unwrap();
    for (number, serial) in serials.iter().enumerate() {
        let name = format!("x{number:02}");
        write(
            inventory,
            create("box", &name, json!({ "serial": serial, "size": number })),
        )
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_field_is_added_to_a_kind_with_resources() {
    let (_directory, inventory) = inventory().await;
    boxes(&inventory, &["a", "b"]).await;
    define(
        &inventory,
        "box",
        &with("  colour: { type: enumeration, values: [red] }\nindex: [colour]"),
    )
    .await
    .unwrap();
    write(&inventory, merge("box", "x00", json!({ "colour": "red" })))
        .await
        .unwrap();
    let again = define(
        &inventory,
        "box",
        &with("  colour: { type: enumeration, values: [red] }\nindex: [colour]"),
    )
    .await
    .unwrap();
    assert_eq!(again.outcomes[0].action, Action::Unchanged);
}

#[tokio::test]
async fn a_constraint_is_added_to_a_kind_with_resources() {
    let (_directory, inventory) = inventory().await;
    boxes(&inventory, &["a", "b"]).await;
    define(&inventory, "box", &with("unique: [[serial]]"))
        .await
        .unwrap();
    let taken = write(&inventory, merge("box", "x01", json!({ "serial": "a" })))
        .await
        .unwrap_err();
    assert!(
        matches!(taken, Refused::Taken { ref owner, .. } if owner == "x00"),
        "{taken}"
    );
    // What a constraint claimed is free again when it goes.
    define(&inventory, "box", &with("")).await.unwrap();
    write(&inventory, merge("box", "x01", json!({ "serial": "a" })))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_constraint_that_resources_break_is_refused_with_those_who_do() {
    let (_directory, inventory) = inventory().await;
    let serials: Vec<String> = (0..60).map(|n| (n / 2).to_string()).collect();
    let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
    boxes(&inventory, &serials).await;
    match define(&inventory, "box", &with("unique: [[serial]]")).await {
        Err(Refused::Broken {
            offenders, count, ..
        }) => {
            assert_eq!((offenders.len(), count), (20, 30));
            assert_eq!(
                offenders[0].to_string(),
                "box/x01: serial: \"0\" was found, a value of its own was expected"
            );
            assert_eq!(offenders[0].help, "box/x00 has it too");
        }
        other => panic!("{other:?}"),
    }
    // Nothing of it is left.
    write(&inventory, create("box", "y", json!({ "serial": "0" })))
        .await
        .unwrap();
    let kind = inventory.kind("box").await.unwrap().unwrap();
    assert!(kind.unique().is_empty() && !kind.is_pending());
}

#[tokio::test]
async fn a_field_that_resources_do_not_fit_is_refused_with_those_who_do_not() {
    let (_directory, inventory) = inventory().await;
    boxes(&inventory, &["a", "b", "c"]).await;
    let narrower = with("").replace("integer", "integer, maximum: 1");
    for refused in [
        define(&inventory, "box", &narrower).await,
        define(
            &inventory,
            "box",
            &with("  owner: { type: user, required: true }"),
        )
        .await
        .map_err(|error| {
            assert!(error.to_string().starts_with("3 resource(s)"), "{error}");
            error
        }),
        define(&inventory, "box", "fields: { size: { type: integer } }").await,
    ] {
        assert!(
            matches!(refused, Err(Refused::Broken { .. })),
            "{refused:?}"
        );
    }
    write(&inventory, merge("box", "x02", json!({ "size": 1 })))
        .await
        .unwrap();
    define(&inventory, "box", &narrower).await.unwrap();
}

#[tokio::test]
async fn a_kind_leads_to_kinds_that_there_are_by_names_of_its_own() {
    let (_directory, inventory) = inventory().await;
    let refused = define(
        &inventory,
        "box",
        "fields: { room: { type: reference, to: roon } }",
    )
    .await
    .unwrap_err();
    let Refused::Invalid(violations) = refused else {
        panic!("{refused}");
    };
    assert_eq!(violations[0].help, "did you mean room?");
    let taken = "fields: { room: { type: reference, to: room, reverse: racks } }";
    assert!(matches!(
        define(&inventory, "box", taken).await,
        Err(Refused::Invalid(_))
    ));
    let tree = "fields: { above: { type: reference, to: box, reverse: below } }\nparent: above";
    define(&inventory, "box", tree).await.unwrap();
}

#[tokio::test]
async fn a_kind_in_use_is_not_deleted() {
    let (_directory, inventory) = inventory().await;
    boxes(&inventory, &["a"]).await;
    let used = write(&inventory, delete("kind", "box")).await.unwrap_err();
    assert!(matches!(used, Refused::InUse { .. }), "{used}");
    write(&inventory, merge("box", "x00", json!({ "size": 2 })))
        .await
        .unwrap();
    define(
        &inventory,
        "lid",
        "fields: { box: { type: reference, to: box } }",
    )
    .await
    .unwrap();
    write(&inventory, delete("box", "x00")).await.unwrap();
    let led = write(&inventory, delete("kind", "box")).await.unwrap_err();
    assert!(led.to_string().contains("kind lid, field box"), "{led}");
    write(&inventory, delete("kind", "lid")).await.unwrap();
    write(&inventory, delete("kind", "box")).await.unwrap();
    let gone = write(&inventory, create("box", "y", json!({})))
        .await
        .unwrap_err();
    assert!(matches!(gone, Refused::NoKind { .. }), "{gone}");
}

#[tokio::test]
async fn a_shipped_kind_gets_fields_and_loses_them_again() {
    let (_directory, inventory) = inventory().await;
    define(
        &inventory,
        "supplier",
        "fields: { rating: { type: integer } }",
    )
    .await
    .unwrap();
    write(
        &inventory,
        create("supplier", "acme", json!({ "rating": 5, "title": "Acme" })),
    )
    .await
    .unwrap();
    let held = write(&inventory, delete("kind", "supplier"))
        .await
        .unwrap_err();
    assert!(matches!(held, Refused::Broken { count: 1, .. }), "{held}");
    write(
        &inventory,
        merge("supplier", "acme", json!({ "rating": null })),
    )
    .await
    .unwrap();
    write(&inventory, delete("kind", "supplier")).await.unwrap();
    assert_eq!(
        body(&inventory, "supplier", "acme").await.unwrap(),
        json!({ "title": "Acme" })
    );
}

#[tokio::test]
async fn another_server_writes_by_what_the_kind_has_become() {
    let (_directory, store) = opened().await;
    let (one, other) = (Inventory::new(store.clone()), Inventory::new(store));
    define(&one, "box", &with("")).await.unwrap();
    write(&other, create("box", "a", json!({ "size": 1 })))
        .await
        .unwrap();
    define(
        &one,
        "box",
        &with("").replace("integer", "integer, maximum: 5"),
    )
    .await
    .unwrap();
    let refused = write(&other, create("box", "b", json!({ "size": 6 })))
        .await
        .unwrap_err();
    assert!(matches!(refused, Refused::Invalid(_)), "{refused}");
}

#[tokio::test]
async fn a_change_whose_server_died_is_taken_back() {
    let (_directory, store) = opened().await;
    let inventory = Inventory::new(store.clone());
    boxes(&inventory, &["a", "a"]).await;
    let key = wright_inventory::resource_key("kind", "box");
    let entry = store.get(key.as_bytes()).await.unwrap().unwrap();
    // As it stands between the first and the last commit of a change.
    let mut stored: Value = serde_json::from_slice(&entry.value).unwrap();
    stored["pending"] = serde_saphyr::from_str(&with("unique: [[serial]]")).unwrap();
    let pending = wright_store::Operation::put(key, stored.to_string());
    store.commit(Vec::new(), vec![pending]).await.unwrap();
    let other = Inventory::new(store);
    write(&other, merge("box", "x00", json!({ "serial": "b" })))
        .await
        .unwrap();
    let taken = write(&other, merge("box", "x01", json!({ "serial": "b" }))).await;
    assert!(
        matches!(taken, Err(Refused::Taken { .. })),
        "writers are held to it already: {taken:?}"
    );

    let now = jiff::Timestamp::now();
    assert_eq!(
        other
            .take_back_begun(jiff::Timestamp::UNIX_EPOCH)
            .await
            .unwrap(),
        0
    );
    assert_eq!(other.take_back_begun(now).await.unwrap(), 1);
    write(&other, merge("box", "x01", json!({ "serial": "b" })))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_fields_of_a_kind_are_in_the_order_in_which_they_are_said() {
    let (_directory, inventory) = inventory().await;
    for fields in [["size", "colour", "area"], ["area", "size", "colour"]] {
        let fields_of = |names: [&str; 3]| {
            let field = |name: &str| (name.to_owned(), json!({ "type": "integer" }));
            Value::Object(names.into_iter().map(field).collect())
        };
        let content = Content::new(json!({ "fields": fields_of(fields) }));
        let apply = Change::Apply {
            content,
            manager: String::new(),
            force: false,
        };
        let written = write(&inventory, Write::new("kind", "box", apply))
            .await
            .unwrap();
        assert_ne!(written.outcomes[0].action, Action::Unchanged);
        let kind = inventory.kind("box").await.unwrap().unwrap();
        let order: Vec<&String> = kind.definition().fields.keys().collect();
        assert_eq!(order, fields);
    }
}
