//! Watches by filters that follow references: what a watcher is told, laid over what there was, is what
//! the query finds at every revision; whenever he came, and however often he came back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use wright_inventory::{
    Inventory, Put,
    catalog::{Catalog, Query, Shown, Sight},
    delete_operations,
    feed::{
        ConditionError, FeedError, Hub, News, Position, Selection, Settings, Sighted, Subscription,
        Understood, Watcher, What,
    },
};
use wright_store::{Operation, SharedStore};

/// So small that most is read from the store.
fn tight() -> Settings {
    Settings {
        queue: 2,
        commits: 3,
        bytes: 4000,
        back: 2,
        bookmark: Duration::from_millis(5),
        mark_after: 3,
    }
}

struct Bed {
    _directory: TempDir,
    store: SharedStore,
    hub: Hub,
    catalog: Arc<Catalog>,
    running: JoinHandle<()>,
}

impl Bed {
    async fn new(settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file:{}", directory.path().display());
        let store = wright_store::open(&url).await.unwrap();
        let (hub, reader) = Hub::open(store.clone(), settings).await.unwrap();
        tokio::spawn(reader.run());
        let catalog = Catalog::new(Inventory::new(store.clone()));
        Bed {
            _directory: directory,
            running: tokio::spawn(catalog.clone().run()),
            store,
            hub,
            catalog,
        }
    }

    /// Another catalog, which has seen nothing, as after a restart.
    fn restart(&mut self) {
        self.running.abort();
        self.catalog = Catalog::new(Inventory::new(self.store.clone()));
        self.running = tokio::spawn(self.catalog.clone().run());
    }

    async fn commit(&self, operations: Vec<Operation>) -> u64 {
        self.store.commit(Vec::new(), operations).await.unwrap()
    }

    async fn put(&self, kind: &str, name: &str, body: Value) -> u64 {
        self.commit(put(kind, name, body)).await
    }

    async fn watch(&self, kind: &str, text: &str, from: Option<Position>) -> Watcher {
        self.watch_as(kind, text, from, None).await
    }

    async fn watch_as(
        &self,
        kind: &str,
        text: &str,
        from: Option<Position>,
        eyes: Option<Arc<dyn Sighted>>,
    ) -> Watcher {
        let understood = self.catalog.understand(kind, text, eyes).await.unwrap();
        let Understood::Related(related) = understood else {
            panic!("{text} follows references");
        };
        let subscription = Subscription {
            filter: Some(Selection::Related(Arc::new(related))),
            from,
            ..Subscription::kind(kind)
        };
        self.hub.watch(subscription).await.unwrap()
    }

    async fn found(&self, kind: &str, filter: &str) -> BTreeSet<String> {
        let query = Query {
            kind: Some(kind.to_owned()),
            filter: Some(filter.to_owned()),
            ..Query::default()
        };
        let answer = self.catalog.answer(query, None).await.unwrap();
        answer.rows.into_iter().map(|row| row.name).collect()
    }
}

fn put(kind: &str, name: &str, body: Value) -> Vec<Operation> {
    let put = Put::new(kind, name, &body).unwrap();
    put.operations().unwrap()
}

/// `h1 entered`, up to a bookmark at or after a revision.
async fn until(watcher: &mut Watcher, revision: u64) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match watcher.next().await.unwrap() {
            News::Change(told) => {
                lines.push(format!("{} {}", told.change.name, told.what.as_str()));
            }
            News::Bookmark(position) if position.revision() >= revision => return lines,
            News::Bookmark(_) => {}
        }
    }
}

const IN_B2: &str = r#"host.rack.room.site == "berlin""#;

async fn furnished(settings: Settings) -> Bed {
    let bed = Bed::new(settings).await;
    bed.put("room", "b1", json!({ "site": "paris" })).await;
    bed.put("room", "b2", json!({ "site": "berlin" })).await;
    bed.put("rack", "r1", json!({ "room": "b1" })).await;
    for host in ["h1", "h2", "h3"] {
        bed.put("host", host, json!({ "rack": "r1" })).await;
    }
    bed
}

#[tokio::test]
async fn a_change_of_what_resources_refer_to_moves_them_in_and_out() {
    let bed = furnished(Settings {
        bookmark: Duration::from_millis(20),
        ..Settings::default()
    })
    .await;
    let mut watcher = bed.watch("host", IN_B2, None).await;
    bed.put("rack", "r1", json!({ "room": "b2" })).await;
    // Of no consequence, and of the resource's own.
    bed.put("rack", "r1", json!({ "room": "b2", "units": 42 }))
        .await;
    bed.put("host", "h1", json!({ "rack": "r1", "state": "ready" }))
        .await;
    let last = bed.put("room", "b2", json!({ "site": "rome" })).await;
    assert_eq!(
        until(&mut watcher, last).await,
        [
            "h1 entered",
            "h2 entered",
            "h3 entered",
            "h1 changed",
            "h1 left",
            "h2 left",
            "h3 left"
        ]
    );
}

#[tokio::test]
async fn what_moves_unchanged_is_told_with_what_it_is_and_a_place_of_its_own() {
    let bed = furnished(Settings::default()).await;
    let mut watcher = bed.watch("host", IN_B2, None).await;
    let revision = bed.put("rack", "r1", json!({ "room": "b2" })).await;
    for host in ["h1", "h2"] {
        let told = loop {
            if let News::Change(told) = watcher.next().await.unwrap() {
                break told;
            }
        };
        let told: Value = serde_json::from_slice(&told.json()).unwrap();
        assert_eq!(told["position"], format!("{revision}@{host}"));
        assert_eq!(
            (&told["what"], &told["fields"]),
            (&json!("entered"), &json!([]))
        );
        assert_eq!(told["before"], told["after"]);
        assert_eq!(told["after"]["body"]["rack"], "r1");
    }
    let from = Some(watcher.position().clone());
    let mut again = bed.watch("host", IN_B2, from).await;
    assert_eq!(until(&mut again, revision).await, ["h3 entered"]);
    // To a watch that counts changes, the place says nothing of its commit.
    let subscription = Subscription {
        from: Some(watcher.position().clone()),
        ..Subscription::kind("rack")
    };
    let mut racks = bed.hub.watch(subscription).await.unwrap();
    assert_eq!(until(&mut racks, revision).await, ["r1 changed"]);
}

#[tokio::test]
async fn a_commit_of_a_thousand_moves_is_told_step_by_step() {
    let bed = furnished(tight()).await;
    for hundred in 0..11 {
        let names = (0..100).map(|nth| format!("x{hundred:02}{nth:02}"));
        let hosts = names.map(|name| put("host", &name, json!({ "rack": "r1" })));
        bed.commit(hosts.collect::<Vec<_>>().concat()).await;
    }
    let mut watcher = bed.watch("host", IN_B2, None).await;
    let last = bed.put("rack", "r1", json!({ "room": "b2" })).await;
    let told = until(&mut watcher, last).await;
    assert_eq!(told.len(), 1103);
    assert!(told.is_sorted() && told.iter().all(|line| line.ends_with("entered")));
}

/// Sees of each kind what is said of it.
#[derive(Debug)]
struct Sees(Vec<(&'static str, Shown)>);

impl Sighted for Sees {
    fn sight(&self, _kinds: &[&str]) -> Option<Sight> {
        let mut sight = Sight::default();
        for (kind, shown) in &self.0 {
            sight.show(kind, shown.clone());
        }
        Some(sight)
    }
}

#[tokio::test]
async fn nobody_learns_by_a_filter_of_what_he_does_not_see() {
    let bed = furnished(Settings {
        bookmark: Duration::from_millis(20),
        ..Settings::default()
    })
    .await;
    let small = wright_inventory::catalog::Way {
        conditions: vec![vec!["rack.units < 40".to_owned()]],
        ..Default::default()
    };
    let eyes = Sees(vec![
        ("host", Shown::All),
        ("rack", Shown::Ways(vec![small])),
        ("room", Shown::All),
    ]);
    let mut watcher = bed
        .watch_as("host", IN_B2, None, Some(Arc::new(eyes)))
        .await;
    bed.put("rack", "r1", json!({ "room": "b2" })).await;
    bed.put("host", "h2", json!({ "rack": "r1", "state": "ready" }))
        .await;
    bed.put("host", "h3", json!({})).await;
    // Now he sees it.
    bed.put("rack", "r1", json!({ "room": "b2", "units": 20 }))
        .await;
    let last = bed
        .put("rack", "r1", json!({ "room": "b2", "units": 44 }))
        .await;
    assert_eq!(
        until(&mut watcher, last).await,
        ["h1 entered", "h2 entered", "h1 left", "h2 left"]
    );
    let blind: Arc<dyn Sighted> = Arc::new(Sees(vec![("host", Shown::All), ("rack", Shown::All)]));
    let refused = bed.catalog.understand("host", IN_B2, Some(blind)).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, ConditionError::Filter { .. }));
    assert!(refused.to_string().contains("site of room"), "{refused}");
}

#[tokio::test]
async fn a_watch_from_what_is_no_longer_kept_is_refused() {
    let bed = furnished(tight()).await;
    let last = bed.put("rack", "r1", json!({ "room": "b2" })).await;
    bed.store.compact(last).await.unwrap();
    let understood = bed.catalog.understand("host", IN_B2, None).await.unwrap();
    let Understood::Related(related) = understood else {
        panic!("it follows references");
    };
    let subscription = Subscription {
        filter: Some(Selection::Related(Arc::new(related))),
        from: Some(Position::after(last - 3)),
        ..Subscription::kind("host")
    };
    let refused = bed.hub.watch(subscription).await;
    assert!(matches!(refused, Err(FeedError::Expired { .. })));
}

/// Filters, and the kinds that they are on.
const FILTERS: [(&str, &str); 6] = [
    ("host", r#"host.rack.room.site == "a""#),
    ("host", r#"host.rack.room.site != "b" && host.model == "a""#),
    ("host", r#"has(host.rack.room) && !has(host.rack.units)"#),
    ("rack", r#"size(rack.hosts) == 1"#),
    (
        "room",
        r#"room.racks.exists(r, r.units > 1) || room.site == "a""#,
    ),
    (
        "rack",
        r#"rack.hosts.exists(h, h.rack.room.site == "b" && h.model == "a")"#,
    ),
];

/// What is done to one resource: which, and what it is made of; none: it is removed.
#[derive(Debug, Clone)]
struct Write {
    kind: u8,
    name: u8,
    body: Option<(u8, u8)>,
}

#[derive(Debug, Clone)]
enum Action {
    Commit(Vec<Write>),
    /// A watcher comes, by a filter, from a share of what has happened.
    Come(usize, u8),
    /// One of them is told some news.
    Hear(usize, usize),
    /// One of them loses his connection, and comes back.
    Resume(usize),
    /// The catalog begins anew.
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    let body = proptest::option::weighted(0.85, (0..3_u8, 0..3_u8));
    let write = (0..3_u8, 0..3_u8, body).prop_map(|(kind, name, body)| Write { kind, name, body });
    prop_oneof![
        8 => proptest::collection::vec(write, 1..4).prop_map(Action::Commit),
        3 => (0..FILTERS.len(), any::<u8>()).prop_map(|(filter, from)| Action::Come(filter, from)),
        4 => (0..4_usize, 1..6_usize).prop_map(|(who, many)| Action::Hear(who, many)),
        3 => (0..4_usize).prop_map(Action::Resume),
        1 => Just(Action::Restart),
    ]
}

/// A resource that refers to one of three, or to none that there is.
fn written(write: &Write) -> Vec<Operation> {
    let kind = ["host", "rack", "room"][usize::from(write.kind)];
    let name = format!("{}{}", ["h", "r", "b"][usize::from(write.kind)], write.name);
    let Some((to, of)) = write.body else {
        return delete_operations(kind, &name);
    };
    let word = ["a", "b", "c"][usize::from(of)];
    put(
        kind,
        &name,
        match kind {
            "host" => json!({ "rack": format!("r{to}"), "model": word }),
            "rack" if of == 0 => json!({ "room": format!("b{to}") }),
            "rack" => json!({ "room": format!("b{to}"), "units": of }),
            _ => json!({ "site": word }),
        },
    )
}

struct Watching {
    watcher: Watcher,
    filter: usize,
    from: u64,
    /// By revision: names, and what became of them.
    heard: BTreeMap<u64, Vec<(String, What)>>,
}

impl Watching {
    async fn resume(&mut self, bed: &Bed) {
        let (kind, text) = FILTERS[self.filter];
        let from = Some(self.watcher.position().clone());
        self.watcher = bed.watch(kind, text, from).await;
    }

    /// Whether that was a bookmark, and where it is.
    async fn hear(&mut self) -> Option<u64> {
        match self.watcher.next().await.unwrap() {
            News::Bookmark(position) => Some(position.revision()),
            News::Change(told) => {
                let heard = self.heard.entry(told.change.position.revision());
                heard
                    .or_default()
                    .push((told.change.name.clone(), told.what));
                None
            }
        }
    }
}

async fn run(actions: Vec<Action>) {
    let mut bed = Bed::new(tight()).await;
    // By revision, what each filter finds.
    let mut found: BTreeMap<u64, Vec<BTreeSet<String>>> = BTreeMap::new();
    found.insert(bed.hub.head(), vec![BTreeSet::new(); FILTERS.len()]);
    let mut watching: Vec<Watching> = Vec::new();
    for action in actions {
        match action {
            Action::Commit(writes) => {
                let operations: Vec<_> = writes.iter().flat_map(written).collect();
                let revision = bed.commit(operations).await;
                let mut all = Vec::new();
                for (kind, filter) in FILTERS {
                    all.push(bed.found(kind, filter).await);
                }
                found.insert(revision, all);
            }
            Action::Come(filter, share) => {
                let nth = usize::from(share) * found.len() / 256;
                let from = *found.keys().nth(nth).unwrap();
                let (kind, text) = FILTERS[filter];
                let watcher = bed.watch(kind, text, Some(Position::after(from))).await;
                let heard = BTreeMap::new();
                watching.push(Watching {
                    watcher,
                    filter,
                    from,
                    heard,
                });
            }
            Action::Hear(who, many) => {
                if let Some(watching) = watching.get_mut(who) {
                    for _ in 0..many {
                        watching.hear().await;
                    }
                }
            }
            Action::Resume(who) => {
                if let Some(watching) = watching.get_mut(who) {
                    watching.resume(&bed).await;
                }
            }
            Action::Restart => {
                bed.restart();
                for watching in &mut watching {
                    watching.resume(&bed).await;
                }
            }
        }
    }
    let last = bed.put("end", "end", json!({})).await;
    for mut watching in watching {
        while watching.hear().await.is_none_or(|reached| reached < last) {}
        let Watching {
            filter,
            from,
            mut heard,
            ..
        } = watching;
        let mut there = found[&from][filter].clone();
        for (revision, found) in found.range(from + 1..) {
            let news = heard.remove(revision).unwrap_or_default();
            let told = format!("{:?} at {revision} from {from}: {news:?}", FILTERS[filter]);
            assert!(
                news.is_sorted_by(|a, b| a.0 < b.0),
                "once and in order: {told}"
            );
            for (name, what) in news {
                let fits = match what {
                    What::Entered => there.insert(name),
                    What::Left => there.remove(&name),
                    What::Changed => there.contains(&name),
                    What::Created | What::Removed => false,
                };
                assert!(fits, "{told}");
            }
            assert_eq!(there, found[filter], "{told}");
        }
        assert!(heard.is_empty(), "{heard:?}");
    }
    bed.running.abort();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_laid_over_what_was_is_what_the_query_finds_at_every_revision(
        actions in proptest::collection::vec(action(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(actions));
    }
}
