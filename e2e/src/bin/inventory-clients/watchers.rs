//! Thousands who watch, each with a filter, while resources change: when each hears of what concerns
//! it, and that it hears exactly that, once and in order.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use procfs::process::{LimitValue, Process};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::watch, task::JoinSet, time};

use crate::{Both, Result, client::Client, documents::mixed, report};

const WATCHERS: u64 = 5000;
/// What is watched, how many there are, and what they have several of.
const KIND: &str = "gauge";
const GAUGES: u64 = 1000;
const TEAMS: u64 = 100;
const ZONES: u64 = 40;
const LEVELS: u64 = 1000;
/// Writes a second, and how many.
const PACE: u64 = 200;
const WRITES: u64 = PACE * 25;
/// Handshakes at a time.
const ABREAST: usize = 100;
/// How long the last event may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing more may come after it.
const QUIET: Duration = Duration::from_secs(1);
/// Files that a process needs beside its connections.
const OTHER_FILES: u64 = 200;

/// A filter.
#[derive(Debug, Clone, Copy)]
enum Wish {
    /// A text that is the resource's own.
    Serial(u64),
    /// A number that two have.
    Slot(u64),
    /// A label, and a bound.
    Team(u64, u64),
    /// No value that anything must have.
    Between(u64, u64),
    /// Neither, and a text's beginning.
    Zone(u64, u64),
}

impl Wish {
    fn of(watcher: u64) -> Self {
        let nth = watcher / 5;
        match watcher % 5 {
            0 => Wish::Serial(nth % GAUGES),
            1 => Wish::Slot(nth % (GAUGES / 2)),
            2 | 3 => Wish::Team(nth % TEAMS, mixed(watcher) % LEVELS),
            _ if nth.is_multiple_of(2) => {
                let from = mixed(watcher) % LEVELS;
                Wish::Between(from, from + 5)
            }
            _ => Wish::Zone(nth % ZONES, mixed(watcher) % LEVELS),
        }
    }

    /// As it is asked for.
    fn text(self) -> String {
        match self {
            Wish::Serial(gauge) => format!(r#"gauge.serial == "{}""#, serial(gauge)),
            Wish::Slot(slot) => format!("gauge.slot == {slot}"),
            Wish::Team(team, least) => {
                format!(r#"gauge.labels.team == "team-{team}" && gauge.level >= {least}"#)
            }
            Wish::Between(from, to) => format!("gauge.level >= {from} && gauge.level < {to}"),
            Wish::Zone(zone, most) => format!(
                r#"gauge.zone.startsWith("{}") && gauge.level < {most}"#,
                zone_of(zone)
            ),
        }
    }

    /// Whether it is true of a gauge at a level.
    fn takes(self, gauge: u64, level: u64) -> bool {
        match self {
            Wish::Serial(own) => gauge == own,
            Wish::Slot(slot) => gauge / 2 == slot,
            Wish::Team(team, least) => gauge % TEAMS == team && level >= least,
            Wish::Between(from, to) => (from..to).contains(&level),
            Wish::Zone(zone, most) => gauge % ZONES == zone && level < most,
        }
    }
}

fn serial(gauge: u64) -> String {
    format!("G-{gauge:06}")
}

fn zone_of(zone: u64) -> String {
    format!("zone-{zone:02}-")
}

fn named(gauge: u64) -> String {
    format!("/resources/{KIND}/gauge-{gauge}")
}

/// Which gauge a write is to, the level there was and the one that it makes: each gauge has its turn.
fn written(number: u64) -> (u64, u64, u64) {
    let level = |round: u64, gauge: u64| mixed(round * GAUGES + gauge) % LEVELS;
    let (round, gauge) = (number / GAUGES, number % GAUGES);
    (gauge, level(round, gauge), level(round + 1, gauge))
}

/// An event as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Told {
    revision: u64,
    what: What,
    after: After,
}

#[derive(Debug, Deserialize)]
struct After {
    body: Written,
}

#[derive(Debug, Deserialize)]
struct Written {
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Entered,
    Changed,
    Left,
}

/// What a watcher was told: the revision, what it was to him, which write, and when.
type Heard = (u64, What, u64, Instant);

/// One of those who watch.
struct Watcher {
    events: Incoming,
    unread: Vec<u8>,
    heard: Vec<Heard>,
}

impl Watcher {
    /// Watches, and has been told so.
    async fn begin(client: Client, wish: Wish) -> Result<Self> {
        let filter = encoded(&wish.text());
        let path = format!("/watch?kind={KIND}&filter={filter}");
        let answer = client.ask(Method::GET, &path, Bytes::new()).await?;
        let mut watcher = Watcher {
            events: answer.into_body(),
            unread: Vec::new(),
            heard: Vec::new(),
        };
        // A bookmark comes at once.
        watcher.read().await?;
        Ok(watcher)
    }

    /// What comes next; how many changes that were.
    async fn read(&mut self) -> Result<usize> {
        let frame = self.events.frame().await;
        let frame = frame.ok_or("a watcher's connection ended")??;
        let now = Instant::now();
        let before = self.heard.len();
        self.unread
            .extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.unread.drain(..end + 2).collect();
            let event = std::str::from_utf8(&event)?;
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            match field("event: ") {
                Some("change") => {}
                Some("bookmark") => continue,
                other => return Err(format!("a watcher was told {other:?}: {event}").into()),
            }
            let told: Told = serde_json::from_str(field("data: ").unwrap_or_default())?;
            let number = told.after.body.number;
            self.heard.push((told.revision, told.what, number, now));
        }
        Ok(self.heard.len() - before)
    }

    /// Listens until nobody wants to know any more; what was heard.
    async fn listen(
        mut self,
        count: Arc<AtomicUsize>,
        mut ends: watch::Receiver<bool>,
    ) -> Result<Vec<Heard>> {
        loop {
            tokio::select! {
                read = self.read() => { count.fetch_add(read?, Ordering::Relaxed); }
                _ = ends.changed() => return Ok(self.heard),
            }
        }
    }
}

/// As part of an address (RFC 3986, 2.1).
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Each watcher is a connection: with too few files some would fail in the middle.
fn enough_files() -> Result {
    let needed = WATCHERS + OTHER_FILES;
    match Process::myself()?.limits()?.max_open_files.soft_limit {
        LimitValue::Value(allowed) if allowed < needed => Err(format!(
            "{WATCHERS} watchers need {needed} open files here and as many in the server, and {allowed} are \
             allowed: `ulimit -n {needed}` before both, or LimitNOFILE= of their service"
        )
        .into()),
        _ => Ok(()),
    }
}

async fn prepare(client: &Client) -> Result {
    let fields = json!({
        "serial": { "type": "text" }, "slot": { "type": "integer" }, "zone": { "type": "text" },
        "level": { "type": "integer" }, "number": { "type": "integer" }, "text": { "type": "text" },
    });
    let kind = json!({ "body": { "fields": fields } });
    let path = format!("/resources/kind/{KIND}");
    client.send_json(Method::PUT, &path, &kind).await?;
    let put = |gauge: u64| async move {
        let body = json!({
            "serial": serial(gauge), "slot": gauge / 2, "zone": zone_of(gauge % ZONES) + &serial(gauge),
            "level": written(gauge).1, "number": WRITES, "text": "x".repeat(300),
        });
        let labels = json!({ "team": format!("team-{}", gauge % TEAMS) });
        let whole = json!({ "labels": labels, "body": body });
        let sent = client.send_json(Method::PUT, &named(gauge), &whole).await;
        sent.map(drop)
    };
    let puts = stream::iter(0..GAUGES).map(put);
    puts.buffer_unordered(ABREAST).try_collect().await
}

/// Changes resources at a steady pace; the revision of each write, and when it was sent.
async fn write(client: &Client) -> Result<Vec<(u64, Instant)>> {
    let sent: Arc<Vec<OnceLock<(u64, Instant)>>> =
        Arc::new((0..WRITES).map(|_| OnceLock::new()).collect());
    let mut pace = time::interval(Duration::from_secs(1) / u32::try_from(PACE)?);
    let mut writing: JoinSet<Result> = JoinSet::new();
    for number in 0..WRITES {
        pace.tick().await;
        let (client, sent) = (client.clone(), sent.clone());
        writing.spawn(async move {
            let (gauge, _, level) = written(number);
            let body = json!({ "body": { "level": level, "number": number } });
            let now = Instant::now();
            let answer = client
                .send_json(Method::PATCH, &named(gauge), &body)
                .await?;
            let revision = answer["revision"].as_u64().ok_or("no revision")?;
            let place = sent.get(usize::try_from(number)?).ok_or("no such write")?;
            place
                .set((revision, now))
                .map_err(|_| "written twice".into())
        });
    }
    while let Some(done) = writing.join_next().await {
        done??;
    }
    let sent = sent.iter().map(|sent| sent.get().copied());
    sent.collect::<Option<_>>()
        .ok_or_else(|| "a write is missing".into())
}

/// What each watcher must hear, in order: revision, what it is to him, and which write.
fn expected(sent: &[(u64, Instant)]) -> Vec<Vec<(u64, What, u64)>> {
    let mut order: Vec<(u64, u64)> = (0..)
        .zip(sent)
        .map(|(number, sent)| (sent.0, number))
        .collect();
    order.sort_unstable();
    let concerns = |watcher: u64| {
        let wish = Wish::of(watcher);
        let what = move |&(revision, number): &(u64, u64)| {
            let (gauge, before, after) = written(number);
            let what = match (wish.takes(gauge, before), wish.takes(gauge, after)) {
                (false, true) => What::Entered,
                (true, true) => What::Changed,
                (true, false) => What::Left,
                (false, false) => return None,
            };
            Some((revision, what, number))
        };
        order.iter().filter_map(what).collect()
    };
    (0..WATCHERS).map(concerns).collect()
}

fn percentile(times: &mut [f64], of: usize) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    let last = times.len().saturating_sub(1);
    let at = (times.len() * of / 100).min(last);
    times.get(at).copied().unwrap_or(f64::NAN)
}

pub async fn watch(client: &Client, both: &Both) -> Result {
    enough_files()?;
    prepare(client).await?;
    let start = Instant::now();
    let watchers: Vec<Watcher> = stream::iter(0..WATCHERS)
        .map(|watcher| Watcher::begin(client.clone(), Wish::of(watcher)))
        .buffered(ABREAST)
        .try_collect()
        .await?;
    let took = start.elapsed().as_secs_f64();
    report("5,000 filtered watchers: until all watch", took, "s");
    let (end, count) = (watch::Sender::new(false), Arc::new(AtomicUsize::new(0)));
    let mut listening = JoinSet::new();
    for (at, watcher) in watchers.into_iter().enumerate() {
        let (count, ends) = (count.clone(), end.subscribe());
        listening.spawn(async move { Ok((at, watcher.listen(count, ends).await?)) });
    }
    let (start, before) = (Instant::now(), both.spent()?);
    let sent = tokio::select! {
        sent = write(client) => sent?,
        Some(ended) = listening.join_next() => return Err(failed(ended)),
    };
    let took = start.elapsed().as_secs_f64();
    both.report_since("5,000 filtered watchers, 200 writes/s", before, took)?;
    let expected = expected(&sent);
    let all: usize = expected.iter().map(Vec::len).sum();
    let due = Instant::now() + PATIENCE;
    while count.load(Ordering::Relaxed) < all && Instant::now() < due {
        time::sleep(QUIET).await;
    }
    time::sleep(QUIET).await;
    end.send_replace(true);
    let mut times = Vec::with_capacity(all);
    while let Some(ended) = listening.join_next().await {
        let (at, heard): (usize, Vec<Heard>) = ended??;
        let told: Vec<_> = heard
            .iter()
            .map(|heard| (heard.0, heard.1, heard.2))
            .collect();
        if told != expected[at] {
            let wish = Wish::of(at as u64).text();
            return Err(format!(
                "{wish}: {:?} was to be heard, and {told:?} was",
                expected[at]
            )
            .into());
        }
        for (_, _, number, when) in heard {
            let (_, begun) = sent.get(usize::try_from(number)?).ok_or("no such write")?;
            times.push(when.saturating_duration_since(*begun).as_secs_f64() * 1000.0);
        }
    }
    let events = times.len() as f64 / took;
    report(
        "5,000 filtered watchers, 200 writes/s: events",
        events,
        "1/s",
    );
    let rate = WRITES as f64 / took;
    report("5,000 filtered watchers, 200 writes/s: writes", rate, "1/s");
    for (of, name) in [(50, "p50"), (99, "p99"), (100, "most")] {
        let what = format!("5,000 filtered watchers, 200 writes/s: sent to received {name}");
        report(&what, percentile(&mut times, of), "ms");
    }
    Ok(())
}

type Ended = std::result::Result<Result<(usize, Vec<Heard>)>, tokio::task::JoinError>;

fn failed(ended: Ended) -> Box<dyn std::error::Error + Send + Sync> {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(_)) => "a watcher ended".into(),
        Err(error) => error.into(),
    }
}
