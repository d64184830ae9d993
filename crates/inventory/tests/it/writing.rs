//! One resource, and several at once.

use serde_json::json;
use wright_inventory::{Action, Refused};

use super::*;

#[tokio::test]
async fn a_resource_is_made_changed_patched_and_deleted() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let made = write(&inventory, create("box", "x", json!({ "room": "b2" })))
        .await
        .unwrap();
    assert_eq!(made.outcomes[0].action, Action::Created);
    assert_eq!(made.outcomes[0].resource.revision, made.revision);
    assert_eq!(
        body(&inventory, "box", "x").await.unwrap(),
        json!({ "room": "b2", "size": 3 })
    );

    let again = write(
        &inventory,
        replace("box", "x", json!({ "room": "b2", "size": 3.0 })),
    )
    .await
    .unwrap();
    assert_eq!(
        again.outcomes[0].action,
        Action::Unchanged,
        "it says the same"
    );
    assert_eq!(again.outcomes[0].resource.revision, made.revision);

    let patched = write(
        &inventory,
        merge("box", "x", json!({ "size": 9, "serial": "s1" })),
    )
    .await
    .unwrap();
    let read = inventory.resource("box", "x").await.unwrap().unwrap();
    assert_eq!(patched.outcomes[0].resource, read);
    assert_eq!(
        read.body,
        json!({ "room": "b2", "serial": "s1", "size": 9 })
    );
    assert_eq!(
        (read.created, read.revision),
        (made.revision, patched.revision)
    );

    write(&inventory, merge("box", "x", json!({ "serial": null })))
        .await
        .unwrap();
    assert_eq!(
        body(&inventory, "box", "x").await.unwrap(),
        json!({ "room": "b2", "size": 9 })
    );

    let gone = write(&inventory, delete("box", "x")).await.unwrap();
    assert_eq!(gone.outcomes[0].action, Action::Deleted);
    assert_eq!(body(&inventory, "box", "x").await, None);
    assert!(matches!(
        write(&inventory, delete("box", "x")).await,
        Err(Refused::NotFound { .. })
    ));
}

#[tokio::test]
async fn what_is_there_is_not_made_again() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let made = create("box", "x", json!({ "room": "b2" }));
    write(&inventory, made.clone()).await.unwrap();
    for refused in [
        write(&inventory, made.clone()).await,
        inventory.preview(&[made], &anna()).await,
    ] {
        assert!(
            matches!(refused, Err(Refused::Exists { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn who_says_what_he_read_is_told_of_a_conflict() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let made = write(&inventory, create("box", "x", json!({ "room": "b2" })))
        .await
        .unwrap();
    let changed = write(
        &inventory,
        merge("box", "x", json!({ "size": 4 })).expecting(made.revision),
    )
    .await
    .unwrap();
    for late in [
        replace("box", "x", json!({ "room": "b3" })).expecting(made.revision),
        delete("box", "x").expecting(made.revision),
        replace("box", "x", json!({ "room": "b3" })).expecting(0),
    ] {
        let expected = late.expected.unwrap();
        match write(&inventory, late).await {
            Err(Refused::Conflict {
                expected: told,
                found,
                ..
            }) => {
                assert_eq!((told, found), (expected, changed.revision));
            }
            other => panic!("{other:?}"),
        }
    }
    write(
        &inventory,
        replace("box", "y", json!({ "room": "b3" })).expecting(0),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn all_of_a_transaction_is_written_or_none() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let (good, bad) = (
        create("box", "x", json!({ "room": "b2" })),
        create("box", "y", json!({ "room": "b9" })),
    );
    let refused = inventory
        .write(&[good.clone(), bad], &anna())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Refused::NoTarget { ref target, .. } if target == "b9"),
        "{refused}"
    );
    assert_eq!(body(&inventory, "box", "x").await, None);

    let room = create("room", "b9", json!({ "site": "berlin" }));
    let inside = create("box", "y", json!({ "room": "b9" }));
    let written = inventory
        .write(&[inside, good, room], &anna())
        .await
        .unwrap();
    assert_eq!(
        written.outcomes.len(),
        3,
        "a target may be made with what refers to it"
    );
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let writes = [
        create("box", "x", json!({ "size": 10 })),
        create("box", "a b", json!({ "room": "b2", "sise": 1 })),
    ];
    let Err(Refused::Invalid(violations)) = inventory.write(&writes, &anna()).await else {
        panic!("it was refused for another reason");
    };
    let told: Vec<String> = violations
        .iter()
        .map(|v| format!("{} {}", v.resource, v.field))
        .collect();
    assert_eq!(
        told,
        ["box/x room", "box/x size", "box/a b name", "box/a b sise"]
    );
}

#[tokio::test]
async fn a_kind_that_is_not_there_is_told_with_the_nearest() {
    let (_directory, inventory) = inventory().await;
    let refused = write(&inventory, create("suplier", "x", json!({})))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("did you mean supplier?"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    write(
        &inventory,
        create("box", "x", json!({ "room": "b2", "serial": "s1" })),
    )
    .await
    .unwrap();
    let preview = inventory
        .preview(&[create("box", "y", json!({ "room": "b2" }))], &anna())
        .await
        .unwrap();
    assert_eq!(preview.outcomes[0].action, Action::Created);
    assert_eq!(body(&inventory, "box", "y").await, None);
    let taken = inventory
        .preview(
            &[create("box", "y", json!({ "room": "b2", "serial": "s1" }))],
            &anna(),
        )
        .await;
    assert!(
        matches!(taken, Err(Refused::Taken { ref owner, .. }) if owner == "x"),
        "{taken:?}"
    );
    let dangling = inventory
        .preview(&[create("box", "y", json!({ "room": "b9" }))], &anna())
        .await;
    assert!(
        matches!(dangling, Err(Refused::NoTarget { .. })),
        "{dangling:?}"
    );
}

#[tokio::test]
async fn a_unique_value_has_one_owner_who_may_pass_it_on() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let with = |serial: &str| json!({ "room": "b2", "serial": serial });
    write(&inventory, create("box", "x", with("s1")))
        .await
        .unwrap();
    write(&inventory, create("box", "y", with("s2")))
        .await
        .unwrap();
    let taken = write(&inventory, replace("box", "y", with("s1")))
        .await
        .unwrap_err();
    assert_eq!(taken.to_string(), "box/y: serial \"s1\" is taken by box/x");
    // Both at once: neither is taken when it is done.
    let swapped = [
        replace("box", "x", with("s2")),
        replace("box", "y", with("s1")),
    ];
    inventory.write(&swapped, &anna()).await.unwrap();
    let twice = [
        create("box", "v", with("s9")),
        create("box", "w", with("s9")),
    ];
    assert!(matches!(
        inventory.write(&twice, &anna()).await,
        Err(Refused::Taken { .. })
    ));
    write(&inventory, delete("box", "x")).await.unwrap();
    write(&inventory, create("box", "z", with("s2")))
        .await
        .unwrap();
    for name in ["v", "w"] {
        write(&inventory, create("box", name, json!({ "room": "b2" })))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_people_say_of_a_host_outlives_what_the_platform_writes() {
    let (_directory, inventory) = inventory().await;
    furnished(&inventory).await;
    let platform = |state: &str| json!({ "name": "h1", "state": state });
    inventory
        .put_as("host", "h1", &platform("joining"))
        .await
        .unwrap();
    write(&inventory, merge("host", "h1", json!({ "serial": "s1" })))
        .await
        .unwrap();
    inventory
        .put_as("host", "h1", &platform("ready"))
        .await
        .unwrap();
    let whole = json!({ "name": "h1", "state": "ready", "serial": "s1" });
    let read = inventory.resource("host", "h1").await.unwrap().unwrap();
    assert_eq!(read.body, whole);
    assert_eq!(
        inventory.get("host", "h1").await.unwrap().unwrap().body,
        platform("ready")
    );

    // What was read may be sent back whole, but not with another state.
    let put = replace("host", "h1", whole.clone()).expecting(read.revision);
    assert_eq!(
        write(&inventory, put).await.unwrap().outcomes[0].action,
        Action::Unchanged
    );
    let lie = write(&inventory, merge("host", "h1", json!({ "state": "dead" })))
        .await
        .unwrap_err();
    assert!(matches!(lie, Refused::Invalid(_)), "{lie}");
    let gone = write(&inventory, delete("host", "h1")).await.unwrap_err();
    assert!(matches!(gone, Refused::Platform { .. }), "{gone}");

    let page = inventory.resources("host", None, 0, None).await.unwrap();
    assert_eq!(page.resources[0].body, whole);
    assert_eq!(
        inventory
            .history("host", "h1")
            .await
            .unwrap()
            .last()
            .unwrap()
            .body,
        Some(whole)
    );
}

#[tokio::test]
async fn people_declare_hosts_but_make_no_instances() {
    let (_directory, inventory) = inventory().await;
    write(&inventory, create("host", "h9", json!({ "serial": "s9" })))
        .await
        .unwrap();
    assert!(
        inventory.list("host").await.unwrap().is_empty(),
        "the platform has not made it"
    );
    inventory
        .put_as("host", "h1", &json!({ "state": "ready" }))
        .await
        .unwrap();
    let page = inventory.resources("host", None, 0, None).await.unwrap();
    let names: Vec<&str> = page
        .resources
        .iter()
        .map(|host| host.name.as_str())
        .collect();
    assert_eq!(names, ["h1", "h9"]);
    let made = write(&inventory, create("instance", "shop.web-1", json!({})))
        .await
        .unwrap_err();
    assert!(matches!(made, Refused::Platform { .. }), "{made}");
}

#[tokio::test]
async fn what_people_say_of_an_instance_goes_with_it() {
    let (_directory, inventory) = inventory().await;
    let traffic = json!({ "traffic": "on" });
    inventory.put_as("instance", "a", &traffic).await.unwrap();
    write(
        &inventory,
        merge("instance", "a", json!({ "notes": "slow" })),
    )
    .await
    .unwrap();
    assert_eq!(
        body(&inventory, "instance", "a").await.unwrap()["notes"],
        "slow"
    );
    inventory.delete("instance", "a").await.unwrap();
    assert_eq!(body(&inventory, "instance", "a").await, None);
    inventory.put_as("instance", "a", &traffic).await.unwrap();
    assert_eq!(body(&inventory, "instance", "a").await.unwrap(), traffic);
    let history = inventory.history("instance", "a").await.unwrap();
    assert_eq!(history.last().unwrap().body, Some(traffic));
}

#[tokio::test]
async fn a_transaction_that_is_too_large_is_refused_with_its_size() {
    let (_directory, inventory) = inventory().await;
    let many: Vec<Write> = (0..600)
        .map(|n| create("supplier", &format!("s{n}"), json!({})))
        .collect();
    let refused = inventory.write(&many, &anna()).await.unwrap_err();
    assert!(
        matches!(refused, Refused::TooMany { resources: 600, .. }),
        "{refused}"
    );
    inventory.write(&many[..300], &anna()).await.unwrap();
}
