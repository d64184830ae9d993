//! The feed over the embedded engine: whoever comes, goes, is slow or resumes misses nothing and
//! hears nothing twice.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use wright_inventory::{
    Author, Change, Content, Inventory, Put, Resource, Write, delete_operations,
    feed::{
        Equality, FeedError, Filter, Hub, News, Position, Selection, Settings, Subscription,
        Watcher, What,
    },
};
use wright_store::{Operation, SharedStore};

/// Resources whose field has a value; found by the value, or asked one by one.
#[derive(Debug)]
struct Has {
    value: Value,
    equalities: Vec<Equality>,
}

impl Has {
    fn filter(value: i64, indexed: bool) -> Arc<dyn Filter> {
        let equality = Equality {
            path: vec!["body".to_owned(), "size".to_owned()],
            value: json!(value),
        };
        Arc::new(Has {
            value: json!(value),
            equalities: if indexed { vec![equality] } else { Vec::new() },
        })
    }
}

impl Filter for Has {
    fn matches(&self, resource: &Resource) -> bool {
        resource.body["size"] == self.value
    }

    fn equalities(&self) -> &[Equality] {
        &self.equalities
    }
}

/// So small that everything overflows.
fn tight() -> Settings {
    Settings {
        queue: 2,
        commits: 4,
        bytes: 1600,
        back: 2,
        bookmark: Duration::from_millis(20),
        mark_after: 3,
    }
}

struct Bed {
    _directory: TempDir,
    store: SharedStore,
    hub: Hub,
}

async fn bed(settings: Settings) -> Bed {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file:{}", directory.path().display());
    let store = wright_store::open(&url).await.unwrap();
    let (hub, reader) = Hub::open(store.clone(), settings).await.unwrap();
    tokio::spawn(reader.run());
    Bed {
        _directory: directory,
        store,
        hub,
    }
}

impl Bed {
    async fn put(&self, kind: &str, name: &str, size: i64) -> u64 {
        let operations = put(kind, name, size);
        self.store.commit(Vec::new(), operations).await.unwrap()
    }

    async fn watch(&self, subscription: Subscription) -> Watcher {
        self.hub.watch(subscription).await.unwrap()
    }
}

fn put(kind: &str, name: &str, size: i64) -> Vec<Operation> {
    let put = Put::new(kind, name, &json!({ "size": size })).unwrap();
    put.operations().unwrap()
}

/// One line per change: `7.1 host/a entered`.
fn line(news: &News) -> Option<String> {
    let News::Change(told) = news else {
        return None;
    };
    let (change, what) = (&told.change, told.what.as_str());
    Some(format!(
        "{} {}/{} {what}",
        change.position, change.kind, change.name
    ))
}

/// The changes up to a bookmark at or after a revision.
async fn until(watcher: &mut Watcher, revision: u64) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let news = watcher.next().await.unwrap();
        lines.extend(line(&news));
        if matches!(news, News::Bookmark(position) if position.revision() >= revision) {
            return lines;
        }
    }
}

#[tokio::test]
async fn a_filter_tells_who_entered_changed_and_left() {
    let bed = bed(tight()).await;
    for indexed in [true, false] {
        let subscription = Subscription {
            filter: Some(Selection::Own(Has::filter(4, indexed))),
            ..Subscription::kind("host")
        };
        let mut watcher = bed.watch(subscription).await;
        let mut last = 0;
        for (kind, name, size) in [
            ("host", "a", 4),
            ("host", "b", 5),
            ("rack", "r", 4),
            ("host", "b", 4),
            ("host", "a", 4),
            ("host", "a", 6),
        ] {
            last = bed.put(kind, name, size).await;
        }
        let gone = delete_operations("host", "b");
        last = bed.store.commit(Vec::new(), gone).await.unwrap().max(last);
        let told: Vec<String> = until(&mut watcher, last)
            .await
            .iter()
            .map(|line| line.split_once(' ').unwrap().1.to_owned())
            .collect();
        assert_eq!(
            told,
            [
                "host/a entered",
                "host/b entered",
                "host/a changed",
                "host/a left",
                "host/b left"
            ]
        );
    }
}

#[tokio::test]
async fn a_change_says_what_was_and_what_is_and_which_fields_differ() {
    let bed = bed(Settings::default()).await;
    bed.put("host", "a", 1).await;
    let mut watcher = bed.watch(Subscription::kind("host")).await;
    let revision = bed.put("host", "a", 2).await;
    let told = loop {
        if let News::Change(told) = watcher.next().await.unwrap()
            && told.change.position == Position::after(revision)
        {
            break told;
        }
    };
    let json: Value = serde_json::from_slice(&told.json()).unwrap();
    assert_eq!(json["revision"], revision);
    assert_eq!(json["position"], revision.to_string());
    assert_eq!(
        (&json["kind"], &json["name"]),
        (&json!("host"), &json!("a"))
    );
    assert_eq!(json["what"], "changed");
    assert_eq!(json["fields"], json!(["body.size"]));
    assert_eq!(json["before"]["body"]["size"], 1);
    assert_eq!(json["after"]["body"]["size"], 2);
    assert_eq!(
        told.json().as_ptr(),
        told.json().as_ptr(),
        "it is made once"
    );
}

#[tokio::test]
async fn whoever_resumes_in_the_middle_of_a_commit_hears_the_rest_of_it() {
    let bed = bed(Settings::default()).await;
    let from = Position::after(bed.hub.head());
    let operations = ["c", "a", "b"].map(|name| put("host", name, 1)).concat();
    let revision = bed.store.commit(Vec::new(), operations).await.unwrap();
    let watch = async |from| {
        let subscription = Subscription {
            from: Some(from),
            ..Subscription::kind("host")
        };
        until(&mut bed.watch(subscription).await, revision).await
    };
    let all = [
        format!("{revision}.1 host/a created"),
        format!("{revision}.2 host/b created"),
        format!("{revision} host/c created"),
    ];
    assert_eq!(watch(from).await, all);
    for known in 1..3 {
        let from = format!("{revision}.{known}").parse().unwrap();
        assert_eq!(watch(from).await, all[known..]);
    }
}

#[tokio::test]
async fn what_people_say_of_a_resource_of_the_platform_changes_the_whole_of_it() {
    let bed = bed(Settings::default()).await;
    let inventory = Inventory::new(bed.store.clone());
    let from = Position::after(bed.hub.head());
    let mut live = bed.watch(Subscription::kind("host")).await;
    inventory
        .put_as("host", "a", &json!({ "state": "ready" }))
        .await
        .unwrap();
    let content = Content::new(json!({ "serial": "X1" }));
    let write = Write::new("host", "a", Change::Replace(content));
    inventory
        .write(&[write], &Author::new("anna"))
        .await
        .unwrap();
    inventory
        .put_as("host", "a", &json!({ "state": "lost" }))
        .await
        .unwrap();
    inventory.delete("host", "a").await.unwrap();
    let last = bed.put("end", "end", 1).await;
    let subscription = Subscription {
        from: Some(from),
        ..Subscription::kind("host")
    };
    let mut late = bed.watch(subscription).await;
    for watcher in [&mut live, &mut late] {
        let mut told = Vec::new();
        loop {
            match watcher.next().await.unwrap() {
                News::Bookmark(position) if position.revision() >= last => break,
                News::Bookmark(_) => {}
                News::Change(change) => {
                    let content = change.change.content();
                    let body = content.after.as_ref().map(|after| after.body.clone());
                    told.push((change.what, content.fields.join(" "), body));
                }
            }
        }
        let told: Vec<_> = told
            .iter()
            .map(|(what, fields, body)| (*what, fields.as_str(), body))
            .collect();
        assert_eq!(
            told,
            [
                (
                    What::Created,
                    "body.state",
                    &Some(json!({ "state": "ready" }))
                ),
                (
                    What::Changed,
                    "body.serial",
                    &Some(json!({ "state": "ready", "serial": "X1" }))
                ),
                (
                    What::Changed,
                    "body.state",
                    &Some(json!({ "state": "lost", "serial": "X1" }))
                ),
                // What people declared stays.
                (
                    What::Changed,
                    "body.state",
                    &Some(json!({ "serial": "X1" }))
                ),
            ]
        );
    }
}

#[tokio::test]
async fn a_filter_in_cel_is_found_by_its_equality_and_asked_for_the_rest() {
    let bed = bed(tight()).await;
    let inventory = Inventory::new(bed.store.clone());
    let text = r#"rack.status == "active" && rack.units > 40"#;
    let condition = inventory.condition("rack", text).await.unwrap();
    assert_eq!(condition.equalities()[0].path, ["body", "status"]);
    let subscription = Subscription {
        filter: Some(Selection::Own(Arc::new(condition))),
        ..Subscription::kind("rack")
    };
    let mut watcher = bed.watch(subscription).await;
    let mut last = 0;
    for (name, status, units) in [
        ("a", "active", 42),
        ("b", "active", 12),
        ("c", "retired", 42),
        ("a", "retired", 42),
    ] {
        let body = json!({ "status": status, "units": units });
        last = inventory.put_as("rack", name, &body).await.unwrap();
    }
    let told = until(&mut watcher, last).await;
    let told: Vec<&str> = told
        .iter()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(told, ["rack/a entered", "rack/a left"]);

    let hop = inventory
        .condition("rack", r#"rack.room.site == "x""#)
        .await;
    assert!(hop.unwrap_err().to_string().contains("room"));
    let wrong = inventory
        .condition("rack", "rack.unitz > 4")
        .await
        .unwrap_err();
    assert!(wrong.to_string().contains("units"), "{wrong}");
}

#[tokio::test]
async fn a_filter_is_found_by_a_number_however_that_is_written() {
    let bed = bed(tight()).await;
    let inventory = Inventory::new(bed.store.clone());
    let condition = inventory.condition("rack", "rack.units == 42").await;
    let condition = condition.unwrap();
    assert_eq!(condition.equalities()[0].path, ["body", "units"]);
    let subscription = Subscription {
        filter: Some(Selection::Own(Arc::new(condition))),
        ..Subscription::kind("rack")
    };
    let mut watcher = bed.watch(subscription).await;
    let mut last = 0;
    for units in [json!(12), json!(42), json!(42.0), json!("42")] {
        let body = json!({ "units": units });
        last = inventory.put_as("rack", "a", &body).await.unwrap();
    }
    let told = until(&mut watcher, last).await;
    let told: Vec<&str> = told
        .iter()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(told, ["rack/a entered", "rack/a changed", "rack/a left"]);
}

#[tokio::test]
async fn what_is_no_longer_kept_is_expired_and_what_has_not_happened_is_refused() {
    let bed = bed(tight()).await;
    for size in 0..20 {
        bed.put("host", "a", size).await;
    }
    let newest = bed.store.revision().await.unwrap();
    bed.store.compact(newest - 1).await.unwrap();
    let from = |revision| Subscription {
        from: Some(Position::after(revision)),
        ..Subscription::default()
    };
    let expired = bed.hub.watch(from(1)).await.unwrap_err();
    assert!(
        matches!(expired, FeedError::Expired { asked: 1, oldest } if oldest == newest - 1),
        "{expired}"
    );
    let future = bed.hub.watch(from(newest + 100)).await.unwrap_err();
    assert!(matches!(future, FeedError::Future { .. }), "{future}");
}

#[tokio::test]
async fn a_slow_watcher_is_let_go_and_catches_up_by_itself() {
    let bed = bed(tight()).await;
    let mut slow = bed.watch(Subscription::kind("host")).await;
    let mut last = 0;
    for size in 0..50 {
        last = bed.put("host", "a", size).await;
    }
    let mut quick = bed.watch(Subscription::kind("host")).await;
    until(&mut quick, last).await;
    assert_eq!(bed.hub.watchers(), 1, "the slow one is still told");
    assert_eq!(until(&mut slow, last).await.len(), 50);
    assert_eq!(bed.hub.watchers(), 2);
    drop(slow);
    assert_eq!(bed.hub.watchers(), 1);
}

#[tokio::test]
async fn a_watcher_comes_on_where_only_other_things_happen() {
    let settings = Settings {
        mark_after: 5,
        ..tight()
    };
    let bed = bed(settings).await;
    let mut watcher = bed.watch(Subscription::kind("host")).await;
    tokio::time::pause();
    let mut last = 0;
    for number in 0..20 {
        let other = vec![Operation::put("job/x", number.to_string())];
        last = bed.store.commit(Vec::new(), other).await.unwrap();
    }
    // Marks may have been made among them: so far behind it may stay.
    let heard = until(&mut watcher, last - settings.mark_after).await;
    assert!(heard.is_empty());
}

#[tokio::test]
async fn the_end_of_the_reader_ends_its_watchers() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file:{}", directory.path().display());
    let store = wright_store::open(&url).await.unwrap();
    let (hub, reader) = Hub::open(store, Settings::default()).await.unwrap();
    let mut watcher = hub.watch(Subscription::default()).await.unwrap();
    assert!(matches!(watcher.next().await, Ok(News::Bookmark(_))));
    drop(reader);
    assert!(matches!(watcher.next().await, Err(FeedError::Closed)));
    assert!(matches!(
        hub.watch(Subscription::default()).await,
        Err(FeedError::Closed)
    ));
}

#[derive(Debug, Clone)]
enum Action {
    /// One commit: kind, name, size (`None`: removed).
    Write(Vec<(u8, u8, Option<i64>)>),
    /// Something else in the store changes.
    Other,
    /// Watches a kind (`None`: all), with a filter, from a share of what has happened.
    Come(Option<u8>, Option<(i64, bool)>, u8),
    /// The watcher of a number hears so many news.
    Hear(usize, usize),
    /// The watcher of a number goes, and comes back from where it was.
    Resume(usize),
}

fn action() -> impl Strategy<Value = Action> {
    let write = (0..2_u8, 0..3_u8, proptest::option::weighted(0.8, 0..3_i64));
    prop_oneof![
        8 => proptest::collection::vec(write, 1..4).prop_map(Action::Write),
        1 => Just(Action::Other),
        2 => (any::<Option<bool>>(), any::<Option<(bool, bool)>>(), any::<u8>()).prop_map(
            |(kind, filter, from)| {
                let filter = filter.map(|(size, indexed)| (i64::from(size), indexed));
                Action::Come(kind.map(u8::from), filter, from)
            }
        ),
        5 => (0..4_usize, 1..6_usize).prop_map(|(who, many)| Action::Hear(who, many)),
        2 => (0..4_usize).prop_map(Action::Resume),
    ]
}

const KINDS: [&str; 2] = ["host", "rack"];
const NAMES: [&str; 3] = ["a", "b", "c"];

/// What happened to one resource: position, kind, name, before and after.
type Happened = (Position, usize, usize, Option<i64>, Option<i64>);

/// A watcher, what it should hear and what it heard.
struct Watching {
    watcher: Watcher,
    subscription: Subscription,
    kind: Option<usize>,
    size: Option<i64>,
    heard: Vec<String>,
    begun: Position,
}

impl Watching {
    fn expected(&self, happened: &[Happened]) -> Vec<String> {
        let concerned = |(position, kind, name, before, after): &Happened| {
            if *position <= self.begun || self.kind.is_some_and(|wanted| wanted != *kind) {
                return None;
            }
            let matches = |side: &Option<i64>| {
                side.is_some() && self.size.is_none_or(|size| *side == Some(size))
            };
            let what = match (self.size, matches(before), matches(after)) {
                (_, false, false) => return None,
                (_, true, true) => What::Changed,
                (None, false, true) => What::Created,
                (None, true, false) => What::Removed,
                (Some(_), false, true) => What::Entered,
                (Some(_), true, false) => What::Left,
            };
            let (kind, name) = (KINDS[*kind], NAMES[*name]);
            Some(format!("{position} {kind}/{name} {}", what.as_str()))
        };
        happened.iter().filter_map(concerned).collect()
    }

    async fn hear(&mut self, many: usize) {
        for _ in 0..many {
            let news = self.watcher.next().await.unwrap();
            self.heard.extend(line(&news));
        }
    }
}

async fn run(actions: Vec<Action>) {
    let bed = bed(tight()).await;
    let mut happened: Vec<Happened> = Vec::new();
    let mut now = [[None; 3]; 2];
    let mut watching: Vec<Watching> = Vec::new();
    let first = bed.hub.head();
    let mut last = first;
    for action in actions {
        match action {
            Action::Write(writes) => {
                let mut made = std::collections::BTreeMap::new();
                for (kind, name, size) in writes {
                    made.insert((usize::from(kind), usize::from(name)), size);
                }
                // To remove what is not there changes nothing.
                made.retain(|(kind, name), size| size.is_some() || now[*kind][*name].is_some());
                if made.is_empty() {
                    continue;
                }
                let operations = made.iter().map(|((kind, name), size)| match size {
                    Some(size) => put(KINDS[*kind], NAMES[*name], *size),
                    None => delete_operations(KINDS[*kind], NAMES[*name]),
                });
                let operations = operations.collect::<Vec<_>>().concat();
                last = bed.store.commit(Vec::new(), operations).await.unwrap();
                let all = made.len();
                for (((kind, name), size), nth) in made.into_iter().zip(1..) {
                    let position = if nth == all {
                        Position::after(last)
                    } else {
                        format!("{last}.{nth}").parse().unwrap()
                    };
                    happened.push((position, kind, name, now[kind][name], size));
                    now[kind][name] = size;
                }
            }
            Action::Other => {
                let other = vec![Operation::put("job/x", "y")];
                last = bed.store.commit(Vec::new(), other).await.unwrap();
            }
            Action::Come(kind, filter, share) => {
                let begun = first + (last - first) * u64::from(share) / 255;
                let begun = Position::after(begun);
                let kind = kind.map(usize::from);
                let subscription = Subscription {
                    kinds: kind
                        .map(|kind| KINDS[kind].to_owned())
                        .into_iter()
                        .collect(),
                    filter: filter
                        .map(|(size, indexed)| Selection::Own(Has::filter(size, indexed))),
                    from: Some(begun.clone()),
                };
                watching.push(Watching {
                    watcher: bed.watch(subscription.clone()).await,
                    subscription,
                    kind,
                    size: filter.map(|(size, _)| size),
                    heard: Vec::new(),
                    begun,
                });
            }
            Action::Hear(who, many) => {
                if let Some(watching) = watching.get_mut(who) {
                    watching.hear(many).await;
                }
            }
            Action::Resume(who) => {
                if let Some(watching) = watching.get_mut(who) {
                    let subscription = Subscription {
                        from: Some(watching.watcher.position().clone()),
                        ..watching.subscription.clone()
                    };
                    watching.watcher = bed.watch(subscription).await;
                }
            }
        }
    }
    // One more, so that the feed comes to the end.
    last = bed.put("end", "end", 0).await;
    happened.retain(|(position, ..)| position.revision() <= last);
    for mut watching in watching {
        let rest = until(&mut watching.watcher, last).await;
        let rest = rest.into_iter().filter(|line| !line.contains("end/end"));
        watching.heard.extend(rest);
        assert_eq!(
            watching.heard,
            watching.expected(&happened),
            "from {} of {:?} with {:?}",
            watching.begun,
            watching.kind,
            watching.size
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn watchers_that_come_go_and_are_slow_hear_each_change_once_and_in_order(
        actions in proptest::collection::vec(action(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(actions));
    }
}
