//! One agent's session: from its first message to its end.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use wright_model::{InstanceId, InstanceStatus, Name};
use wright_protocol::{
    Blame, Fault, TaskAnswer,
    wire::{
        self, FromAgent, Hello, ToAgent, Welcome, from_agent::Message as Said, to_agent::Message,
    },
};

use crate::{
    event::FleetEvent,
    fleet::{Shared, State},
    seat,
    table::Published,
};

/// Heartbeats that an agent may miss.
const MISSED: u32 = 3;

/// What an agent's stream is written to.
pub(crate) type ToStream = mpsc::Sender<Result<ToAgent, Status>>;

/// Holds a session until the agent, a newer session or the server ends it.
pub(crate) async fn hold(
    shared: Arc<Shared>,
    host: Name,
    mut said: Streaming<FromAgent>,
    stream: ToStream,
    shutdown: CancellationToken,
) {
    let silence = shared.settings.heartbeat * MISSED;
    let hello = match timeout(silence, said.message()).await {
        Ok(Ok(Some(FromAgent {
            message: Some(Said::Hello(hello)),
        }))) => hello,
        Ok(Ok(Some(_))) => {
            let _ = stream
                .send(Err(Status::invalid_argument("Hello was expected first")))
                .await;
            return;
        }
        // It is gone, or never spoke.
        Ok(Ok(None) | Err(_)) | Err(_) => return,
    };
    let (held_table, end) = (hello.table_revision, CancellationToken::new());
    let (number, orders) = shared.open(&host, hello, end.clone());
    // Asked again after being seated: a host given up in between was forgotten without this session.
    if !shared.roster.is_known(&host).await {
        return shared.close(&host, number, "its host was given up");
    }
    let heartbeat = shared.settings.heartbeat.as_millis();
    let heartbeat_ms = u32::try_from(heartbeat).unwrap_or(u32::MAX);
    let table = shared.table.subscribe();
    let why = tokio::select! {
        why = listen(&shared, &host, number, &mut said, silence) => why,
        () = speak(heartbeat_ms, held_table, table, orders, &stream) => "its connection was closed".to_owned(),
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
                shared.hear(host, number, message);
            }
            // A message of a newer protocol.
            Ok(Ok(Some(FromAgent { message: None }))) => {}
            Ok(Ok(None)) => return "the agent ended it".to_owned(),
            Ok(Err(status)) => return format!("its connection broke: {}", status.message()),
            Err(_) => return format!("the agent said nothing for {silence:?}"),
        }
    }
}

/// Welcomes the agent, sends the newest table if it holds another, then passes orders and newer
/// tables on; ends when the agent's stream is gone.
async fn speak(
    heartbeat_ms: u32,
    held_table: u64,
    mut table: watch::Receiver<Option<Arc<Published>>>,
    mut orders: mpsc::UnboundedReceiver<Message>,
    stream: &ToStream,
) {
    let newest = table.borrow_and_update().clone();
    let newest = newest.filter(|newest| newest.revision() != held_table);
    let first = [
        Some(Message::Welcome(Welcome { heartbeat_ms })),
        newest.map(|newest| Message::Table(newest.message())),
    ];
    for message in first.into_iter().flatten() {
        if stream
            .send(Ok(ToAgent {
                message: Some(message),
            }))
            .await
            .is_err()
        {
            return;
        }
    }
    loop {
        let message = tokio::select! {
            order = orders.recv() => match order {
                Some(order) => order,
                None => return,
            },
            changed = table.changed() => {
                let newest = table.borrow_and_update().clone();
                match newest.filter(|_| changed.is_ok()) {
                    Some(newest) => Message::Table(newest.message()),
                    None => return,
                }
            }
            () = stream.closed() => return,
        };
        if stream
            .send(Ok(ToAgent {
                message: Some(message),
            }))
            .await
            .is_err()
        {
            return;
        }
    }
}

impl Shared {
    /// Seats an agent: its session is the host's only one, and what waited is given to it.
    fn open(
        &self,
        host: &Name,
        hello: Hello,
        end: CancellationToken,
    ) -> (u64, mpsc::UnboundedReceiver<Message>) {
        let (orders, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        let number = state.number();
        let session = seat::Session {
            number,
            orders,
            end,
            boot_id: hello.boot_id.clone(),
            version: hello.version.clone(),
            since: Timestamp::now(),
            table_revision: hello.table_revision,
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
        drop(state);
        self.progress.send_replace(());
        (number, receiver)
    }

    /// Clears the seat, unless a newer session has it.
    fn close(&self, host: &Name, number: u64, why: &str) {
        let mut state = self.state();
        let Some(seat) = state.seats.get_mut(host) else {
            return;
        };
        if seat
            .session
            .take_if(|session| session.number == number)
            .is_none()
        {
            return;
        }
        let message = format!("the connection to the agent of {host} was lost: {why}");
        seat.end_streams(&Fault::new(Blame::Passing, message));
        state
            .subscribers
            .tell(&FleetEvent::Disconnected { host: host.clone() });
        drop(state);
        self.progress.send_replace(());
    }

    fn hear(&self, host: &Name, number: u64, message: Said) {
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
        let Some(seat) = state.seats.get_mut(host) else {
            return;
        };
        if let Some(following) = seat.streams.remove(&result.key) {
            following.finish(answer);
        } else if let Some(pending) = seat.tasks.remove(&result.key) {
            pending.answer.send_replace(Some(answer));
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
