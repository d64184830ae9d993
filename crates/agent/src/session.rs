//! The line to a server: taken up again whenever it breaks.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use wright_model::{InstanceId, InstanceStatus};
use wright_protocol::{
    Blame, Fault, TaskAnswer,
    wire::{
        self, FromAgent, Heartbeat, Hello, Report, TableApplied, TaskOutput, TaskResult,
        from_agent, to_agent,
    },
};
use wright_route::Table;

use crate::{Effects, Order, Server, Tasks, Usage, error::locked, lookup::Services, told::Told};

const FIRST_RETRY: Duration = Duration::from_millis(100);
const SLOWEST_RETRY: Duration = Duration::from_secs(5);
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(2);
/// A result that was sent this short before the line broke is sent again: it may have been lost.
const RESEND: Duration = Duration::from_secs(30);
/// How often the host is looked at for other facts than before.
const LOOK: Duration = Duration::from_secs(60);

/// The answers on their way to the server.
#[derive(Default)]
struct Results {
    waiting: Mutex<VecDeque<(String, TaskAnswer)>>,
    sent: Mutex<VecDeque<(Instant, String, TaskAnswer)>>,
    added: Notify,
}

impl Results {
    fn add(&self, key: String, answer: TaskAnswer) {
        locked(&self.waiting).push_back((key, answer));
        self.added.notify_one();
    }

    /// Returns when there is one to be sent.
    async fn some(&self) {
        while locked(&self.waiting).is_empty() {
            self.added.notified().await;
        }
    }

    /// Those that are to be sent, which they are from now on.
    fn take(&self) -> Vec<TaskResult> {
        let mut sent = locked(&self.sent);
        while sent.front().is_some_and(|(at, ..)| at.elapsed() > RESEND) {
            sent.pop_front();
        }
        let waiting = std::mem::take(&mut *locked(&self.waiting));
        let taken = waiting.into_iter().map(|(key, answer)| {
            let result = result(key.clone(), &answer);
            sent.push_back((Instant::now(), key, answer));
            result
        });
        taken.collect()
    }

    /// What was sent shortly before the line broke is to be sent again.
    fn rewind(&self) {
        let sent = std::mem::take(&mut *locked(&self.sent));
        for (at, key, answer) in sent {
            if at.elapsed() <= RESEND {
                self.add(key, answer);
            }
        }
    }
}

/// Where the service table goes.
pub trait Tables: Send + Sync + 'static {
    /// The revision of the one it holds; 0 for none.
    fn revision(&self) -> u64;

    /// Lookups are answered from this table from now on, or from what it makes of the one that is held
    /// where it is a difference. Whether it is one.
    fn replace(&self, table: &wire::Table) -> bool;

    /// A session was opened.
    fn welcomed(&self) {}
}

impl Tables for Services {
    fn revision(&self) -> u64 {
        Services::revision(self)
    }

    fn replace(&self, table: &wire::Table) -> bool {
        match self.read(table) {
            Ok(services) => {
                if let Err(error) = Services::replace(self, services) {
                    tracing::warn!(%error, "the service table is not on disk");
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, "the server sent no table");
                false
            }
        }
    }
}

impl Services {
    /// The table that a message makes of the one that is held.
    fn read(&self, message: &wire::Table) -> io::Result<Table> {
        let json = message.unpack()?;
        if message.since.is_empty() {
            return Ok(Table::from_json(&json)?);
        }
        let mut table = self.current().as_ref().clone();
        table.take(serde_json::from_slice(&json)?);
        Ok(table)
    }
}

/// An agent's line to its server: everything that outlives one session.
pub struct Sessions<E> {
    server: Server,
    tasks: Tasks<E>,
    tables: Arc<dyn Tables>,
    boot_id: String,
    results: Arc<Results>,
    /// Sessions that were begun.
    begun: AtomicU64,
    /// The digest of the table that is held, as a server gave it.
    table: Mutex<Vec<u8>>,
    told: Told,
    /// The revision of the table that was applied last, as long as the server was not told.
    applied: Mutex<Option<u64>>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("the server closed the session")]
    Closed,
    #[error("the service table must be sent anew")]
    Table,
}

impl<E: Effects> Sessions<E> {
    /// A line; nothing is dialled before [`Sessions::keep`].
    pub fn new(server: Server, tasks: Tasks<E>, tables: Arc<dyn Tables>) -> Self {
        let boot_id = uuid::Uuid::now_v7().to_string();
        Sessions {
            server,
            tasks,
            tables,
            boot_id,
            results: Arc::default(),
            begun: AtomicU64::new(0),
            table: Mutex::default(),
            told: Told::default(),
            applied: Mutex::default(),
        }
    }

    /// Keeps a session for as long as it is polled: with one server after the other, at once while
    /// there are others to try, then more and more slowly.
    pub async fn keep(&self) -> Infallible {
        let mut delay = FIRST_RETRY;
        loop {
            let mut welcomed = false;
            match self.hold(&mut welcomed).await {
                Ok(never) => match never {},
                // Once for each outage, not for each try.
                Err(reason) if welcomed || delay == FIRST_RETRY => {
                    tracing::info!(%reason, "no session with the server");
                }
                Err(reason) => tracing::debug!(%reason, "no session with the server"),
            }
            self.results.rewind();
            if welcomed {
                delay = FIRST_RETRY;
            }
            let others = self.server.turn(welcomed);
            let wait = if others { FIRST_RETRY } else { delay };
            sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
            if !others {
                delay = (delay * 2).min(SLOWEST_RETRY);
            }
        }
    }

    async fn hold(&self, welcomed: &mut bool) -> Result<Infallible, Ended> {
        let (outbox, inbox) = mpsc::channel(256);
        // What it says of the table counts for all that were applied before.
        *locked(&self.applied) = None;
        send(&outbox, from_agent::Message::Hello(self.hello())).await?;
        let mut client = self.server.client();
        let mut incoming = client
            .session(ReceiverStream::new(inbox))
            .await?
            .into_inner();
        let mut heartbeat = heartbeat(DEFAULT_HEARTBEAT);
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = incoming.message() => {
                    match message?.ok_or(Ended::Closed)?.message {
                        Some(to_agent::Message::Welcome(welcome)) => {
                            *welcomed = true;
                            self.tables.welcomed();
                            let every = Duration::from_millis(welcome.heartbeat_ms.into());
                            heartbeat = self::heartbeat(every.max(Duration::from_millis(100)));
                        }
                        Some(message) => self.receive(message, &outbox).await?,
                        None => {}
                    }
                }
                () = self.results.some() => {
                    // What ends at the same time goes into the same frame.
                    tokio::task::yield_now().await;
                    for result in self.results.take() {
                        send(&outbox, from_agent::Message::Result(result)).await?;
                    }
                }
                (changed, removed) = self.tasks.effects().changes() => {
                    send(&outbox, from_agent::Message::Report(report(&changed, &removed))).await?;
                }
                _ = heartbeat.tick() => {
                    self.say_applied(&outbox).await?;
                    send(&outbox, from_agent::Message::Heartbeat(self.usage())).await?;
                }
                _ = look.tick() => {
                    if let Some(facts) = self.told.look(&self.tasks.effects().facts()) {
                        send(&outbox, from_agent::Message::Facts(facts)).await?;
                    }
                }
            }
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: self.boot_id.clone(),
            table_revision: self.tables.revision(),
            instances: statuses(&self.tasks.effects().statuses()),
            session: self.begun.fetch_add(1, Ordering::Relaxed),
            table_digest: locked(&self.table).clone(),
            facts_digest: self.told.begin(&self.tasks.effects().facts()),
        }
    }

    /// What the agent itself uses.
    fn usage(&self) -> Heartbeat {
        let Usage {
            resident_bytes,
            cpu_ms,
        } = self.tasks.effects().usage();
        Heartbeat {
            resident_bytes,
            cpu_ms,
        }
    }

    async fn receive(
        &self,
        message: to_agent::Message,
        outbox: &mpsc::Sender<FromAgent>,
    ) -> Result<(), Ended> {
        match message {
            to_agent::Message::Task(task) => self.begin(task, outbox.clone()),
            to_agent::Message::Cancel(cancel) => {
                self.tasks.cancel(&cancel.key, cancel.fence.as_ref());
            }
            to_agent::Message::Servers(servers) => self.server.learn(servers.urls),
            to_agent::Message::Table(table) => {
                if self.take_table(&table)? {
                    *locked(&self.applied) = Some(table.revision);
                    if table.awaited {
                        self.say_applied(outbox).await?;
                    }
                }
            }
            to_agent::Message::FactsWanted(_) => {
                let facts = self.told.answer(&self.tasks.effects().facts());
                send(outbox, from_agent::Message::Facts(facts)).await?;
            }
            to_agent::Message::AskApplied(_) => self.say_applied(outbox).await?,
            to_agent::Message::Welcome(_) => {}
        }
        Ok(())
    }

    /// Says which table lookups are answered from, if the server does not know.
    async fn say_applied(&self, outbox: &mpsc::Sender<FromAgent>) -> Result<(), Ended> {
        let applied = locked(&self.applied).take();
        if let Some(revision) = applied {
            let applied = TableApplied { revision };
            send(outbox, from_agent::Message::TableApplied(applied)).await?;
        }
        Ok(())
    }

    /// Takes a table in; whether it is one. A difference from another table than the one that is held, or
    /// that cannot be read, ends the session: the next begins with the whole table.
    fn take_table(&self, table: &wire::Table) -> Result<bool, Ended> {
        let mut held = locked(&self.table);
        let whole = table.since.is_empty();
        let taken = (whole || table.since == *held) && self.tables.replace(table);
        if taken {
            held.clone_from(&table.digest);
        } else if !whole {
            held.clear();
            return Err(Ended::Table);
        }
        Ok(taken)
    }

    /// Begins a task, or waits for the one that runs under this key. It outlives the session.
    fn begin(&self, task: wire::Task, outbox: mpsc::Sender<FromAgent>) {
        let key = task.key;
        let order = match serde_json::from_slice(&task.body) {
            Ok(body) => Order {
                key: key.clone(),
                task: body,
                deadline: (task.deadline_ms > 0).then(|| Duration::from_millis(task.deadline_ms)),
                fence: task.fence,
                after: (!task.after.is_empty()).then_some(task.after),
            },
            Err(error) => {
                // The position only: the text may hold secrets.
                let message = format!("the task is not understood (line {})", error.line());
                self.results
                    .add(key, Err(Fault::new(Blame::Request, message)));
                return;
            }
        };
        let (tasks, results) = (self.tasks.clone(), self.results.clone());
        tokio::spawn(async move {
            let (sender, output) = mpsc::channel(16);
            let copy = forward(key.clone(), output, outbox);
            let (answer, ()) = tokio::join!(tasks.execute(order, sender), copy);
            results.add(key, answer);
        });
    }
}

/// Passes the output of a task on until it ends or the session does.
async fn forward(
    key: String,
    mut output: mpsc::Receiver<Vec<u8>>,
    outbox: mpsc::Sender<FromAgent>,
) {
    while let Some(data) = output.recv().await {
        let part = TaskOutput {
            key: key.clone(),
            data,
        };
        if send(&outbox, from_agent::Message::Output(part))
            .await
            .is_err()
        {
            // Whoever produces it notices that nobody listens any more.
            output.close();
        }
    }
}

async fn send(outbox: &mpsc::Sender<FromAgent>, message: from_agent::Message) -> Result<(), Ended> {
    outbox
        .send(FromAgent {
            message: Some(message),
        })
        .await
        .map_err(|_| Ended::Closed)
}

fn heartbeat(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn statuses(instances: &[InstanceStatus]) -> Vec<Vec<u8>> {
    // A status has text keys only, so that it can always be written.
    instances
        .iter()
        .filter_map(|status| serde_json::to_vec(status).ok())
        .collect()
}

fn report(changed: &[InstanceStatus], removed: &[InstanceId]) -> Report {
    Report {
        instances: statuses(changed),
        removed: removed.iter().map(ToString::to_string).collect(),
    }
}

fn result(key: String, answer: &TaskAnswer) -> TaskResult {
    TaskResult {
        key,
        answer: serde_json::to_vec(answer).unwrap_or_default(),
    }
}
