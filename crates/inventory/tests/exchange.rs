//! Import and export over the embedded engine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};
use tempfile::TempDir;
use wright_inventory::{
    Author, Change, Content, Inventory, Write,
    exchange::{Deed, Format, Report, Row, Writer, read},
};

async fn opened() -> (TempDir, Inventory) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file:{}", directory.path().display());
    let store = wright_store::open(&url).await.unwrap();
    let inventory = Inventory::new(store);
    let kind = json!({ "fields": {
        "title": { "type": "text" },
        "units": { "type": "integer", "default": 42 },
        "full": { "type": "boolean" },
        "price": { "type": "float" },
        "address": { "type": "address" },
        "tags": { "type": "map", "of": { "type": "text" } },
        "counts": { "type": "list", "of": { "type": "integer" } },
        "near": { "type": "reference", "to": "thing", "reverse": "nearby" },
        "several": { "type": "reference", "to": "thing", "many": true, "reverse": "of" },
        "shown": { "type": "text", "computed": "string(self.units)" },
        "number": { "type": "text" },
    }, "unique": [["number"]] });
    write(&inventory, "kind", "thing", kind).await;
    (directory, inventory)
}

fn author() -> Author {
    Author::new("anna")
}

async fn write(inventory: &Inventory, kind: &str, name: &str, body: Value) {
    let write = Write::new(kind, name, Change::Create(Content::new(body)));
    inventory.write(&[write], &author()).await.unwrap();
}

fn rows(format: Format, text: &str) -> Vec<Row> {
    read(format, text.as_bytes(), Some("thing"))
        .map(Result::unwrap)
        .collect()
}

async fn import(inventory: &Inventory, text: &str, dry: bool) -> Report {
    let rows = rows(Format::Csv, text);
    inventory.import(rows, &author(), dry).await.unwrap()
}

fn counts(report: &Report) -> (usize, usize, usize, usize) {
    (
        report.created,
        report.changed,
        report.same,
        report.errors.len(),
    )
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_every_error_with_its_line_and_writes_nothing() {
    let (_directory, inventory) = opened().await;
    write(&inventory, "thing", "same", json!({ "units": 1 })).await;
    write(
        &inventory,
        "thing",
        "other",
        json!({ "units": 1, "title": "stays" }),
    )
    .await;
    let text = "name,units,address,near\nsame,1,,\nother,2,,\nnew,3,10.0.0.1,same\nwrong,4x,,\nbad,5,10.0.0.300,\nlost,6,,nowhere\nnew,7,,\n";
    let report = import(&inventory, text, true).await;
    assert_eq!(counts(&report), (1, 1, 1, 4), "{report:#?}");
    let lines: Vec<u64> = report.errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [5, 6, 7, 8]);
    for (error, says) in
        report
            .errors
            .iter()
            .zip(["whole number", "10.0.0.300", "nowhere", "line 4"])
    {
        assert!(error.message.contains(says), "{error:?}");
    }
    assert_eq!(report.errors[2].missing.as_ref().unwrap().name, "nowhere");
    let [changed, new] = report.differences.as_slice() else {
        panic!("{:?}", report.differences);
    };
    assert_eq!((changed.line, new.line, new.deed), (3, 4, Deed::New));
    let units = changed
        .fields
        .iter()
        .find(|field| field.field == "body.units")
        .unwrap();
    assert_eq!((&units.before, &units.after), (&json!(1), &json!(2)));
    assert!(inventory.resource("thing", "new").await.unwrap().is_none());
}

#[tokio::test]
async fn what_can_be_written_is_written_and_keeps_what_the_file_does_not_name() {
    let (_directory, inventory) = opened().await;
    write(
        &inventory,
        "thing",
        "other",
        json!({ "units": 1, "title": "stays", "full": true }),
    )
    .await;
    let text = "name,units,full,labels.tier\nother,2,,web\nwrong,4x,,\nnew,3,yes,\n";
    let report = import(&inventory, text, false).await;
    assert_eq!(counts(&report), (1, 1, 0, 1));
    let other = inventory.resource("thing", "other").await.unwrap().unwrap();
    assert_eq!(
        other.body,
        json!({ "units": 2, "title": "stays", "shown": "2" })
    );
    assert_eq!(other.labels["tier"], "web");
    assert_eq!(counts(&import(&inventory, text, false).await), (0, 0, 2, 1));
}

#[tokio::test]
async fn rows_may_refer_to_later_ones_and_a_value_that_is_taken_costs_only_its_row() {
    let (_directory, inventory) = opened().await;
    let mut text = "name,near,number\n".to_owned();
    for number in 0..400 {
        let near = if number < 399 {
            format!("t{}", number + 1)
        } else {
            String::new()
        };
        text.push_str(&format!("t{number},{near},n{number}\n"));
    }
    text.push_str("thief,,n0\n");
    let report = import(&inventory, &text, false).await;
    assert_eq!(report.created, 400, "{:?}", report.errors);
    // Who of the two came first is not said.
    let [error] = report.errors.as_slice() else {
        panic!("{:?}", report.errors);
    };
    assert!(
        error.message.contains("n0") && error.missing.is_none(),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_was_written_and_read_again_changes_nothing_in_any_form() {
    let (_directory, inventory) = opened().await;
    for (name, body) in [
        (
            "a",
            json!({ "title": "with \"quotes\", commas;\nand lines", "units": 7, "full": false }),
        ),
        (
            "b",
            json!({ "price": 0.1, "address": "2001:db8::1", "tags": { "k": "v, \"w\"" } }),
        ),
        (
            "c",
            json!({ "counts": [1, 2], "near": "a", "several": ["a", "b"], "number": "007" }),
        ),
    ] {
        let mut content = Content::new(body);
        content
            .labels
            .insert("tier".to_owned(), format!("{name} & co"));
        let write = Write::new("thing", name, Change::Create(content));
        inventory.write(&[write], &author()).await.unwrap();
    }
    let kind = inventory.kind("thing").await.unwrap().unwrap();
    let page = inventory.resources("thing", None, 0, None).await.unwrap();
    for format in [Format::Csv, Format::Yaml, Format::JsonLines] {
        let mut writer = Writer::new(format, kind.clone());
        let mut text = Vec::new();
        for resource in &page.resources {
            text.extend(writer.text(std::slice::from_ref(resource)).unwrap());
        }
        let text = String::from_utf8(text).unwrap();
        let again = rows(format, &text);
        let report = inventory
            .import(again.clone(), &author(), false)
            .await
            .unwrap();
        assert_eq!(counts(&report), (0, 0, 3, 0), "{text}\n{report:?}");
        let (_other, empty) = opened().await;
        let report = empty.import(again, &author(), false).await.unwrap();
        assert_eq!(counts(&report), (3, 0, 0, 0), "{text}\n{report:?}");
        for resource in &page.resources {
            let made = empty
                .resource("thing", &resource.name)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                (&made.body, &made.labels),
                (&resource.body, &resource.labels)
            );
        }
    }
}
