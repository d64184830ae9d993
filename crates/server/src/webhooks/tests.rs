//! Webhooks against a real listener that fails, hangs and comes back.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use wright_inventory::{
    Inventory,
    catalog::Catalog,
    feed::{Hub, Position, Settings},
};
use wright_model::BackOff;
use wright_store::{Guard, Operation, SharedStore};
use wright_workflow::{Engine, Verbs};

use super::{Courier, Hook, Pace, Records, Secret, Webhooks};
use crate::rights::Rights;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATIENCE: Duration = Duration::from_secs(60);

/// How a listener answers.
#[derive(Debug, Clone, Copy)]
enum Answer {
    With(StatusCode),
    Never,
}

/// What a listener heard, and how it answers next.
#[derive(Debug, Default)]
struct Heard {
    answers: VecDeque<Answer>,
    /// Ids and bodies, also of what was not taken.
    letters: Vec<(String, Value)>,
    taken: Vec<(String, Value)>,
}

type Listener = Arc<watch::Sender<Heard>>;

async fn hear(State(listener): State<Listener>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, seconds) = (header("webhook-id"), header("webhook-timestamp"));
    let secret = Secret::read(SECRET).unwrap();
    let signature = secret.sign(&id, seconds.parse().unwrap(), &body);
    assert_eq!(header("webhook-signature"), signature);
    let letter = (id, serde_json::from_slice(&body).unwrap());
    let answer = Mutex::new(Answer::With(StatusCode::OK));
    listener.send_modify(|heard| {
        heard.letters.push(letter.clone());
        let next = heard.answers.pop_front();
        let next = next.unwrap_or(Answer::With(StatusCode::OK));
        if matches!(next, Answer::With(status) if status.is_success()) {
            heard.taken.push(letter);
        }
        *answer.lock().unwrap() = next;
    });
    let answer = *answer.lock().unwrap();
    match answer {
        Answer::With(status) => status,
        Answer::Never => std::future::pending().await,
    }
}

struct Bed {
    _directory: TempDir,
    store: SharedStore,
    inventory: Arc<Inventory>,
    catalog: Arc<Catalog>,
    rights: Arc<Rights>,
    hub: Hub,
    listener: Listener,
    url: String,
    serving: JoinHandle<()>,
    leads: Guard,
}

impl Bed {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file:{}", directory.path().display());
        let store = wright_store::open(&url).await.unwrap();
        let settings = Settings {
            bookmark: Duration::from_millis(50),
            ..Settings::default()
        };
        let (hub, reader) = Hub::open(store.clone(), settings).await.unwrap();
        tokio::spawn(reader.run());
        let leader = vec![Operation::put("leader", "this")];
        store.commit(Vec::new(), leader).await.unwrap();
        let listener = Listener::default();
        let (address, serving) = serve(&listener, "127.0.0.1:0").await;
        let inventory = Arc::new(Inventory::new(store.clone()));
        let engine = Engine::new(store.clone(), Verbs::new(), Default::default());
        let rights = Rights::open(&store, inventory.clone(), engine)
            .await
            .unwrap();
        let catalog = Catalog::new((*inventory).clone());
        tokio::spawn(catalog.clone().run());
        Bed {
            inventory,
            catalog,
            rights: Arc::new(rights),
            _directory: directory,
            store,
            hub,
            listener,
            url: format!("http://{address}/hook"),
            serving,
            leads: Guard::Value("leader".into(), "this".into()),
        }
    }

    fn records(&self) -> Records {
        Records::new(self.store.clone())
    }

    async fn hook(&self, more: Value) {
        let mut body = json!({ "url": self.url, "kinds": ["host"], "secret": SECRET });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.inventory.put_as("webhook", "w", &body).await.unwrap();
    }

    /// A server that leads, until it is aborted.
    fn lead(&self) -> JoinHandle<()> {
        let webhooks = Webhooks {
            store: self.store.clone(),
            inventory: self.inventory.clone(),
            catalog: self.catalog.clone(),
            hub: self.hub.clone(),
            rights: self.rights.clone(),
            pace: Pace {
                timeout: Duration::from_millis(500),
                again: BackOff {
                    first: Duration::from_millis(5),
                    longest: Duration::from_millis(20),
                },
                unnoted: Duration::from_millis(10),
            },
            leads: self.leads.clone(),
        };
        tokio::spawn(webhooks.run(CancellationToken::new()))
    }

    async fn put(&self, name: &str) -> Position {
        let revision = self.inventory.put_as("host", name, &1).await.unwrap();
        Position::after(revision)
    }

    fn answer(&self, answers: &[Answer]) {
        self.listener
            .send_modify(|heard| heard.answers.extend(answers));
    }

    /// Waits until the listener has heard what is waited for.
    async fn heard(&self, test: impl FnMut(&Heard) -> bool) {
        let mut listener = self.listener.subscribe();
        let waited = tokio::time::timeout(PATIENCE, listener.wait_for(test)).await;
        let Ok(heard) = waited else {
            panic!("not heard: {:?}", *self.listener.borrow());
        };
        drop(heard.unwrap());
    }

    /// The names of the hosts that it took, in order.
    fn taken(&self) -> Vec<String> {
        let heard = self.listener.borrow();
        let name = |(_, body): &(String, Value)| body["data"]["name"].as_str().unwrap().to_owned();
        heard.taken.iter().map(name).collect()
    }

    /// Waits until it is noted that everything up to here was delivered.
    async fn noted(&self, position: Position) {
        let mut changes = self
            .store
            .watch(wright_store::Range::prefix("webhook/"), 0)
            .await
            .unwrap();
        loop {
            let post = self.records().post("w").await.unwrap();
            if post.is_some_and(|post| post.position >= position && post.failing.is_none()) {
                return;
            }
            let next = tokio::time::timeout(PATIENCE, changes.next()).await;
            next.unwrap_or_else(|_| panic!("not noted: {position}"))
                .unwrap()
                .unwrap();
        }
    }
}

async fn serve(listener: &Listener, address: &str) -> (String, JoinHandle<()>) {
    let socket = TcpListener::bind(address).await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let router = Router::new()
        .route("/hook", post(hear))
        .with_state(listener.clone());
    let service = async move {
        loop {
            let (stream, _) = socket.accept().await.unwrap();
            let router = hyper_util::service::TowerToHyperService::new(router.clone());
            let stream = hyper_util::rt::TokioIo::new(stream);
            let served =
                hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            tokio::spawn(async move { drop(served.serve_connection(stream, router).await) });
        }
    };
    (address, tokio::spawn(service))
}

#[tokio::test]
async fn letters_arrive_signed_in_order_and_what_was_not_taken_is_posted_again() {
    let bed = Bed::new().await;
    bed.hook(json!({})).await;
    let refused = Answer::With(StatusCode::INTERNAL_SERVER_ERROR);
    bed.answer(&[refused, Answer::Never, refused]);
    let leader = bed.lead();
    for name in ["a", "b", "c"] {
        bed.put(name).await;
    }
    bed.inventory.put_as("rack", "r", &1).await.unwrap();
    let last = bed.put("d").await;
    bed.noted(last.clone()).await;
    assert_eq!(bed.taken(), ["a", "b", "c", "d"]);
    {
        let heard = bed.listener.borrow();
        let ids: Vec<&String> = heard.letters.iter().map(|(id, _)| id).collect();
        assert!(
            ids[..4].iter().all(|id| *id == ids[0]),
            "a repeat has its own id: {ids:?}"
        );
        let (id, body) = heard.taken.last().unwrap();
        assert_eq!(
            (id.as_str(), &body["type"]),
            (&*format!("w.{last}"), &json!("host.created"))
        );
        assert_eq!(body["data"]["after"]["body"], 1);
    }
    leader.abort();
}

#[tokio::test]
async fn a_filter_says_which_changes_are_posted() {
    let bed = Bed::new().await;
    bed.hook(json!({ "kinds": ["rack"], "filter": "rack.units > 40" }))
        .await;
    let leader = bed.lead();
    for (name, units) in [("a", 12), ("b", 42), ("b", 12)] {
        let body = json!({ "units": units });
        bed.inventory.put_as("rack", name, &body).await.unwrap();
    }
    bed.heard(|heard| heard.taken.len() == 2).await;
    let types: Vec<Value> = {
        let heard = bed.listener.borrow();
        heard
            .taken
            .iter()
            .map(|(_, body)| body["type"].clone())
            .collect()
    };
    assert_eq!(types, ["rack.entered", "rack.left"]);
    leader.abort();
}

#[tokio::test]
async fn what_its_user_may_not_read_is_not_posted() {
    let bed = Bed::new().await;
    let put = async |kind: &str, name: &str, body: Value| {
        bed.inventory.put_as(kind, name, &body).await.unwrap();
    };
    let rules = json!([{ "kinds": ["host"], "acts": ["read"], "except": ["cost"] }]);
    put("role", "some", json!({ "rules": rules })).await;
    put("user", "ada", json!({})).await;
    let binding = json!({ "role": "some", "users": ["ada"], "team": "web" });
    put("binding", "ada", binding).await;
    bed.rights.reload().await.unwrap();
    let filter = "!has(host.cost) && host.state != 'gone'";
    bed.hook(json!({ "user": "ada", "filter": filter })).await;
    let leader = bed.lead();
    for (name, team) in [("h1", "data"), ("h2", "web"), ("h1", "web"), ("h2", "data")] {
        put(
            "host",
            name,
            json!({ "team": team, "cost": "much", "state": "new" }),
        )
        .await;
    }
    bed.heard(|heard| heard.taken.len() == 3).await;
    assert_eq!(bed.taken(), ["h2", "h1", "h2"]);
    {
        let heard = bed.listener.borrow();
        let types: Vec<&Value> = heard.taken.iter().map(|(_, body)| &body["type"]).collect();
        assert_eq!(types, ["host.entered", "host.entered", "host.left"]);
        assert!(
            !format!("{:?}", heard.letters).contains("much"),
            "{heard:?}"
        );
    }
    leader.abort();
}

#[tokio::test]
async fn a_letter_nobody_takes_is_dead_and_can_be_posted_again_while_the_others_go_on() {
    let bed = Bed::new().await;
    bed.hook(json!({ "attempts": 3 })).await;
    bed.answer(&[Answer::With(StatusCode::GONE); 3]);
    let leader = bed.lead();
    bed.put("a").await;
    let last = bed.put("b").await;
    bed.noted(last).await;
    assert_eq!(bed.taken(), ["b"]);
    let dead = bed.records().dead("w", 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].attempts, dead[0].letter.about.as_str()),
        (3, "host/a created")
    );
    assert!(dead[0].error.contains("410"), "{}", dead[0].error);
    let id = &dead[0].letter.id;
    let hook = bed.inventory.get("webhook", "w").await.unwrap().unwrap();
    let courier = Courier::new(&Hook::read(hook).unwrap(), &Pace::default()).unwrap();
    let letter = bed
        .records()
        .dead_letter("w", id)
        .await
        .unwrap()
        .unwrap()
        .letter;
    courier.post(&letter).await.unwrap();
    bed.records().raise("w", id).await.unwrap();
    assert_eq!(bed.taken(), ["b", "a"]);
    assert!(bed.records().dead("w", 10).await.unwrap().is_empty());
    leader.abort();
}

#[tokio::test]
async fn another_leader_goes_on_where_the_one_before_it_ended() {
    let bed = Bed::new().await;
    bed.hook(json!({})).await;
    let first = bed.lead();
    let a = bed.put("a").await;
    bed.noted(a).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    bed.put("b").await;
    let second = bed.lead();
    let c = bed.put("c").await;
    bed.noted(c).await;
    assert_eq!(bed.taken(), ["a", "b", "c"]);
    second.abort();
}

#[tokio::test]
async fn one_that_leads_no_longer_notes_nothing() {
    let bed = Bed::new().await;
    bed.hook(json!({})).await;
    let leader = vec![Operation::put("leader", "another")];
    bed.store.commit(Vec::new(), leader).await.unwrap();
    let old = bed.lead();
    bed.put("a").await;
    bed.heard(|heard| heard.taken.len() == 1).await;
    let post = super::Post {
        position: Position::after(1),
        failing: None,
    };
    let refused = bed
        .records()
        .note(&bed.leads, "w", &post)
        .await
        .unwrap_err();
    assert!(refused.is_refused());
    assert!(bed.records().post("w").await.unwrap().is_none());
    old.abort();
}

#[tokio::test]
async fn a_receiver_that_was_away_gets_everything_once_it_is_back() {
    let mut bed = Bed::new().await;
    bed.hook(json!({ "attempts": 100_000 })).await;
    bed.serving.abort();
    let _ = (&mut bed.serving).await;
    let leader = bed.lead();
    bed.put("a").await;
    let last = bed.put("b").await;
    let mut changes = bed
        .store
        .watch(wright_store::Range::prefix("webhook/"), 0)
        .await
        .unwrap();
    let noted = tokio::time::timeout(PATIENCE, changes.next())
        .await
        .unwrap();
    assert!(noted.unwrap().is_ok());
    let post = bed.records().post("w").await.unwrap().unwrap();
    assert!(post.failing.unwrap().error.contains("does not answer"));
    let address = bed
        .url
        .trim_start_matches("http://")
        .trim_end_matches("/hook");
    bed.serving = serve(&bed.listener, address).await.1;
    bed.noted(last).await;
    assert_eq!(bed.taken(), ["a", "b"]);
    leader.abort();
}

#[tokio::test]
async fn a_webhook_goes_back_when_it_is_asked_to_and_stops_when_it_is_not_active() {
    let bed = Bed::new().await;
    bed.hook(json!({})).await;
    let leader = bed.lead();
    let a = bed.put("a").await;
    let b = bed.put("b").await;
    bed.noted(b).await;
    bed.records().ask_replay("w", a).await.unwrap();
    bed.heard(|heard| heard.taken.len() == 3).await;
    assert_eq!(bed.taken(), ["a", "b", "b"]);
    bed.hook(json!({ "active": false })).await;
    // Posted by the rules of before or not at all; what comes after is seen once it is active.
    let c = bed.put("c").await;
    bed.hook(json!({})).await;
    bed.noted(c).await;
    let taken = bed.taken();
    assert_eq!(taken.last().map(String::as_str), Some("c"), "{taken:?}");
    bed.inventory.delete("webhook", "w").await.unwrap();
    let mut changes = bed
        .store
        .watch(wright_store::Range::prefix("webhook/"), 0)
        .await
        .unwrap();
    while bed.records().post("w").await.unwrap().is_some() {
        let next = tokio::time::timeout(PATIENCE, changes.next())
            .await
            .unwrap();
        assert!(next.unwrap().is_ok());
    }
    leader.abort();
}

#[tokio::test]
async fn a_webhook_hears_of_what_moves_by_way_of_others() {
    let bed = Bed::new().await;
    let put = async |kind: &str, name: &str, body: Value| {
        bed.inventory.put_as(kind, name, &body).await.unwrap()
    };
    put("rack", "r1", json!({ "units": 20 })).await;
    for host in ["h1", "h2"] {
        put("host", host, json!({ "rack": "r1" })).await;
    }
    bed.hook(json!({ "filter": "host.rack.units > 40" })).await;
    let leader = bed.lead();
    let last = put("rack", "r1", json!({ "units": 42 })).await;
    bed.put("h0").await;
    bed.heard(|heard| heard.taken.len() == 2).await;
    let heard = bed.listener.borrow().taken.clone();
    let ids: Vec<&str> = heard.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, [format!("w.{last}@h1"), format!("w.{last}@h2")]);
    assert!(heard.iter().all(|(_, body)| body["type"] == "host.entered"));
    leader.abort();
}
