//! One agent's session: from its first message to its end.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use wright_model::{Digest, InstanceId, InstanceStatus, Name};
use wright_protocol::{
    Blame, Fault, TaskAnswer,
    wire::{self, FromAgent, Hello, from_agent::Message as Said},
};

use crate::{
    event::FleetEvent,
    fleet::{Shared, State},
    orders::Orders,
    seat::{self, Line},
};

/// Heartbeats that an agent may miss.
const MISSED: u32 = 3;

/// How a session begins: with what is then said to the agent, or with why there is none.
pub(crate) type Begun = Result<Orders, Status>;

/// Holds a session until the agent, a newer session or the server ends it.
pub(crate) async fn hold(
    shared: Arc<Shared>,
    host: Name,
    mut said: Streaming<FromAgent>,
    begun: oneshot::Sender<Begun>,
    shutdown: CancellationToken,
) {
    let silence = shared.settings.heartbeat * MISSED;
    let hello = match timeout(silence, said.message()).await {
        Ok(Ok(Some(FromAgent {
            message: Some(Said::Hello(hello)),
        }))) => hello,
        Ok(Ok(Some(_))) => {
            let _ = begun.send(Err(Status::invalid_argument("Hello was expected first")));
            return;
        }
        // It is gone, or never spoke.
        Ok(Ok(None) | Err(_)) | Err(_) => return,
    };
    let end = CancellationToken::new();
    let held = hello.table_digest.clone();
    let (orders, waiting) = mpsc::unbounded_channel();
    let number = shared.open(&host, hello, Line::Here(orders), end.clone());
    let Some(number) = number else { return };
    // Asked again after being seated: a host given up in between was forgotten without this session.
    if !shared.roster.is_known(&host).await {
        return shared.close(&host, number, "its host was given up");
    }
    // Ends what is said to the agent when this ends, and tells here when nobody reads that.
    let (over, unread) = (CancellationToken::new(), CancellationToken::new());
    let _over = over.clone().drop_guard();
    let orders = Orders::new(&shared, held, waiting, over, unread.clone().drop_guard());
    if begun.send(Ok(orders)).is_err() {
        return shared.close(&host, number, "its connection was closed");
    }
    let why = tokio::select! {
        why = listen(&shared, &host, number, &mut said, silence) => why,
        () = unread.cancelled() => "its connection was closed".to_owned(),
        () = end.cancelled() => "a newer session took its place".to_owned(),
        () = shutdown.cancelled() => "the server ends".to_owned(),
    };
    tracing::debug!(%host, why, "session ended");
    shared.close(&host, number, &why);
}

/// Takes in what the agent says; answers with why it ended.
async fn listen(
    shared: &Shared,
    host: &Name,
    number: u64,
    said: &mut Streaming<FromAgent>,
    silence: std::time::Duration,
) -> String {
    loop {
        match timeout(silence, said.message()).await {
            Ok(Ok(Some(FromAgent {
                message: Some(message),
            }))) => {
                shared.hear_here(host, number, message);
            }
            // A message of a newer protocol.
            Ok(Ok(Some(FromAgent { message: None }))) => {}
            Ok(Ok(None)) => return "the agent ended it".to_owned(),
            Ok(Err(status)) => return format!("its connection broke: {}", status.message()),
            Err(_) => return format!("the agent said nothing for {silence:?}"),
        }
    }
}

impl Shared {
    /// The revision of the newest table, if the agent holds exactly that.
    fn holds_newest(&self, hello: &Hello) -> Option<u64> {
        let newest = self.table.borrow();
        let held = newest.as_ref().filter(|newest| newest.is_held(hello));
        held.map(|held| held.revision())
    }

    /// Seats an agent: its session is the host's only one, and what waited is given to it. Answers
    /// with its number; with `None` where another server tells of a session that is known to be over.
    pub(crate) fn open(
        &self,
        host: &Name,
        hello: Hello,
        line: Line,
        end: CancellationToken,
    ) -> Option<u64> {
        let here = matches!(line, Line::Here(_));
        let table_revision = self.holds_newest(&hello).unwrap_or(0);
        let mut state = self.state();
        let seated = state.seats.get(host).and_then(|seat| seat.session.as_ref());
        let newer = |seated: &seat::Session| {
            !here && seated.boot_id == hello.boot_id && seated.nth > hello.session
        };
        if seated.is_some_and(newer) {
            return None;
        }
        // Whoever follows this server is told that it is elsewhere now.
        if !here && seated.is_some_and(seat::Session::is_here) {
            state.tell_relays(host, None);
        }
        let number = state.number();
        let session = seat::Session {
            number,
            host: host.clone(),
            line,
            nth: hello.session,
            end,
            boot_id: hello.boot_id.clone(),
            version: hello.version.clone(),
            since: Timestamp::now(),
            table_revision,
            asked_revision: 0,
            resident_bytes: 0,
            cpu_ms: 0,
        };
        let replaced = Fault::new(
            Blame::Passing,
            format!("the agent of {host} connected anew"),
        );
        state.seat(host).take_over(session, &replaced);
        let (boot_id, version) = (hello.boot_id, hello.version);
        state.subscribers.tell(&FleetEvent::Connected {
            host: host.clone(),
            boot_id,
            version,
        });
        if here {
            state.facts(host, &hello.facts_digest, None);
        }
        let present = statuses(host, &hello.instances);
        let gone: Vec<_> = state.seat(host).statuses.keys().cloned().collect();
        let gone = gone
            .into_iter()
            .filter(|id| present.iter().all(|status| status.id != *id));
        for id in gone.collect::<Vec<_>>() {
            state.removed(host, &id);
        }
        for status in present {
            state.changed(host, status);
        }
        if here && !state.relays.is_empty() {
            let hello = state.seat(host).hello();
            state.tell_relays(host, hello);
        }
        drop(state);
        self.progress.send_replace(());
        Some(number)
    }

    /// Clears the seat, unless a newer session has it.
    fn close(&self, host: &Name, number: u64, why: &str) {
        self.close_if(host, why, false, |session| session.number == number);
    }

    /// Clears the seat of a session that this is true of; `with_server` where that failed.
    pub(crate) fn close_if(
        &self,
        host: &Name,
        why: &str,
        with_server: bool,
        of: impl FnOnce(&seat::Session) -> bool,
    ) {
        let mut state = self.state();
        let Some(seat) = state.seats.get_mut(host) else {
            return;
        };
        let Some(ended) = seat.session.take_if(|session| of(session)) else {
            return;
        };
        let message = format!("the connection to the agent of {host} was lost: {why}");
        seat.end_streams(&Fault::new(Blame::Passing, message));
        seat.relayed.clear();
        if ended.is_here() {
            state.tell_relays(host, None);
        }
        state.subscribers.tell(&FleetEvent::Disconnected {
            host: host.clone(),
            with_server,
        });
        drop(state);
        self.progress.send_replace(());
    }

    /// Takes in what an agent says that is connected here, and passes it on to those who follow.
    fn hear_here(&self, host: &Name, number: u64, message: Said) {
        let copy = (!self.state().relays.is_empty()).then(|| message.clone());
        self.hear(host, number, message);
        // After it was taken in: who begins to follow in between is told twice rather than not.
        if let Some(message) = copy {
            self.state().pass_on(host, number, message);
        }
    }

    pub(crate) fn hear(&self, host: &Name, number: u64, message: Said) {
        match message {
            Said::Output(output) => self.output(host, &output.key, output.data),
            Said::Result(result) => self.answered(host, &result),
            Said::Report(report) => {
                let mut state = self.state();
                for status in statuses(host, &report.instances) {
                    state.changed(host, status);
                }
                for id in report.removed.iter().filter_map(|id| id.parse().ok()) {
                    state.removed(host, &id);
                }
            }
            Said::TableApplied(wire::TableApplied { revision }) => {
                let applied = FleetEvent::TableApplied {
                    host: host.clone(),
                    revision,
                };
                self.note(host, number, applied, |session| {
                    session.table_revision = revision
                });
                self.progress.send_replace(());
            }
            Said::Heartbeat(wire::Heartbeat {
                resident_bytes,
                cpu_ms,
            }) => {
                let alive = FleetEvent::Heartbeat {
                    host: host.clone(),
                    resident_bytes,
                    cpu_ms,
                };
                self.note(host, number, alive, |session| {
                    (session.resident_bytes, session.cpu_ms) = (resident_bytes, cpu_ms);
                });
            }
            Said::Facts(wire::Facts { digest, body }) => {
                let body = (!body.is_empty()).then(|| body.into());
                self.state().facts(host, &digest, body);
            }
            Said::Hello(_) => tracing::warn!(%host, "the agent said Hello twice"),
        }
    }

    /// Notes something about a session that still has its seat.
    fn note(
        &self,
        host: &Name,
        number: u64,
        event: FleetEvent,
        set: impl FnOnce(&mut seat::Session),
    ) {
        let mut state = self.state();
        let session = state
            .seats
            .get_mut(host)
            .and_then(|seat| seat.session.as_mut());
        if let Some(session) = session.filter(|session| session.number == number) {
            set(session);
            state.subscribers.tell(&event);
        }
    }

    fn answered(&self, host: &Name, result: &wire::TaskResult) {
        let answer: TaskAnswer = serde_json::from_slice(&result.answer).unwrap_or_else(|error| {
            let message =
                format!("the agent of {host} sent an answer that cannot be read: {error}");
            Err(Fault::new(Blame::Passing, message))
        });
        let mut state = self.state();
        if let Some(seat) = state.seats.get_mut(host) {
            seat.answered(&result.key, answer);
        }
    }
}

impl State {
    fn changed(&mut self, host: &Name, status: InstanceStatus) {
        let known = &mut self.seat(host).statuses;
        if known.get(&status.id) != Some(&status) {
            known.insert(status.id.clone(), status.clone());
            self.subscribers.tell(&FleetEvent::Status(status));
        }
    }

    /// An agent knows facts of this digest; one of an older program knows none.
    fn facts(&mut self, host: &Name, digest: &[u8], body: Option<Bytes>) {
        if let Ok(digest) = digest.try_into() {
            self.subscribers.tell(&FleetEvent::Facts {
                host: host.clone(),
                digest: Digest::from_bytes(digest),
                body,
            });
        }
    }

    fn removed(&mut self, host: &Name, id: &InstanceId) {
        if self.seat(host).statuses.remove(id).is_some() {
            self.subscribers.tell(&FleetEvent::Removed(id.clone()));
        }
    }
}

fn statuses(host: &Name, reported: &[Vec<u8>]) -> Vec<InstanceStatus> {
    let read = |json: &Vec<u8>| {
        serde_json::from_slice(json)
            .inspect_err(|error| tracing::warn!(%host, %error, "a status cannot be read"))
            .ok()
    };
    reported.iter().filter_map(read).collect()
}
