//! What the fleet keeps of one host, connected or not.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use wright_model::{InstanceId, InstanceStatus, Name};
use wright_protocol::{
    Blame, Fault, TaskAnswer,
    wire::{self, from_agent::Message as Said, to_agent::Message},
};

use crate::{fleet::AgentView, task::After};

/// One host.
#[derive(Default)]
pub(crate) struct Seat {
    /// Its session while it is connected.
    pub(crate) session: Option<Session>,
    /// Tasks without an answer, by key; they outlive sessions.
    pub(crate) tasks: BTreeMap<String, Pending>,
    /// Tasks whose output somebody follows, by key; they end with the session.
    pub(crate) streams: BTreeMap<String, Following>,
    /// Tasks that nobody waits for any more and the agent has not been told of.
    pub(crate) abandoned: BTreeMap<String, Option<wire::Fence>>,
    /// Tasks that other servers gave to the agent, by key, and which of them.
    pub(crate) relayed: BTreeMap<String, BTreeSet<u64>>,
    /// The last thing heard of its instances.
    pub(crate) statuses: BTreeMap<InstanceId, InstanceStatus>,
}

/// How a session's agent is reached.
pub(crate) enum Line {
    /// It is connected here. In boxes: a channel makes room for 32 at once, and most agents have none
    /// waiting.
    Here(mpsc::UnboundedSender<Box<Message>>),
    /// It is connected to another server, which passes orders on.
    Peer {
        /// Which server.
        peer: String,
        orders: mpsc::UnboundedSender<wire::PeerOrder>,
    },
}

/// A connected agent.
pub(crate) struct Session {
    pub(crate) number: u64,
    pub(crate) host: Name,
    pub(crate) line: Line,
    /// How many sessions its process had opened before: the newer of two is told by it.
    pub(crate) nth: u64,
    /// Ends the session.
    pub(crate) end: CancellationToken,
    pub(crate) boot_id: String,
    pub(crate) version: String,
    pub(crate) since: Timestamp,
    pub(crate) table_revision: u64,
    /// The revision of the table about which it was asked last.
    pub(crate) asked_revision: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) cpu_ms: u64,
}

impl Session {
    pub(crate) fn view(&self, host: &Name) -> AgentView {
        AgentView {
            host: host.clone(),
            version: self.version.clone(),
            boot_id: self.boot_id.clone(),
            since: self.since,
            table_revision: self.table_revision,
            resident_bytes: self.resident_bytes,
            cpu_ms: self.cpu_ms,
        }
    }

    /// A session that is just ending takes no more orders; what matters is sent to the next one.
    pub(crate) fn order(&self, message: Message) {
        match &self.line {
            Line::Here(orders) => drop(orders.send(Box::new(message))),
            Line::Peer { orders, .. } => {
                let order = wire::PeerOrder {
                    host: self.host.to_string(),
                    order: Some(wire::ToAgent {
                        message: Some(message),
                    }),
                };
                let _ = orders.send(order);
            }
        }
    }

    pub(crate) fn is_here(&self) -> bool {
        matches!(self.line, Line::Here(_))
    }

    /// Whether it is one of another server's sessions.
    pub(crate) fn is_of(&self, server: &str) -> bool {
        matches!(&self.line, Line::Peer { peer, .. } if peer == server)
    }

    pub(crate) fn cancel(&self, key: &str, fence: Option<wire::Fence>) {
        self.order(Message::Cancel(wire::Cancel {
            key: key.to_owned(),
            fence,
        }));
    }
}

/// A task without an answer.
pub(crate) struct Pending {
    /// Tells it from a later task of the same key.
    pub(crate) number: u64,
    /// The task as JSON.
    pub(crate) body: Bytes,
    pub(crate) fence: Option<wire::Fence>,
    /// What it follows, as long as that is not known to have succeeded.
    pub(crate) after: Option<After>,
    pub(crate) deadline: Instant,
    pub(crate) answer: watch::Sender<Option<TaskAnswer>>,
    pub(crate) waiters: usize,
    /// Whether an agent may have begun it.
    pub(crate) sent: bool,
    pub(crate) cancelled: bool,
}

/// A task whose output somebody follows.
pub(crate) struct Following {
    pub(crate) number: u64,
    pub(crate) output: mpsc::Sender<Bytes>,
    pub(crate) answer: oneshot::Sender<TaskAnswer>,
    /// Ends the watch over the follower.
    pub(crate) over: CancellationToken,
}

impl Following {
    pub(crate) fn finish(self, answer: TaskAnswer) {
        // A follower that went away wants no answer.
        let _ = self.answer.send(answer);
        self.over.cancel();
    }
}

impl Seat {
    /// Whether there is nothing to keep.
    pub(crate) fn is_idle(&self) -> bool {
        self.session.is_none()
            && self.tasks.is_empty()
            && self.streams.is_empty()
            && self.abandoned.is_empty()
            && self.relayed.is_empty()
            && self.statuses.is_empty()
    }

    /// Makes `session` the host's only one, and gives it everything that waits: what was abandoned
    /// is cancelled, what has no answer is sent (again).
    pub(crate) fn take_over(&mut self, session: Session, replaced: &Fault) {
        if let Some(old) = self.session.take() {
            old.end.cancel();
        }
        self.end_streams(replaced);
        self.relayed.clear();
        for (key, fence) in std::mem::take(&mut self.abandoned) {
            session.cancel(&key, fence);
        }
        for (key, pending) in &mut self.tasks {
            if pending.cancelled {
                session.cancel(key, pending.fence.clone());
            } else {
                session.order(pending.order(key));
            }
        }
        self.session = Some(session);
    }

    /// What its agent would say if it connected now; without a session, nothing.
    pub(crate) fn hello(&self) -> Option<Said> {
        let session = self.session.as_ref()?;
        let statuses = self.statuses.values();
        Some(Said::Hello(wire::Hello {
            version: session.version.clone(),
            boot_id: session.boot_id.clone(),
            session: session.nth,
            table_revision: session.table_revision,
            // A status has text keys only, so that it can always be written.
            instances: statuses
                .filter_map(|status| serde_json::to_vec(status).ok())
                .collect(),
            ..wire::Hello::default()
        }))
    }

    pub(crate) fn end_streams(&mut self, fault: &Fault) {
        for (_, following) in std::mem::take(&mut self.streams) {
            following.finish(Err(fault.clone()));
        }
    }

    /// A task was answered, for the first time here: what follows it has no need to any more, or is
    /// not begun.
    fn settle_followers(&mut self, key: &str, answer: &TaskAnswer) {
        let follows =
            |pending: &Pending| pending.after.as_ref().is_some_and(|after| after.key == key);
        let Err(fault) = answer else {
            let followers = self.tasks.values_mut().filter(|pending| follows(pending));
            followers.for_each(|pending| pending.after = None);
            return;
        };
        let message = format!("not begun, since what it follows failed: {}", fault.message);
        let fault = Fault::new(Blame::NotBegun, message);
        for (_, follower) in self.tasks.extract_if(.., |_, pending| follows(pending)) {
            follower.answer.send_replace(Some(Err(fault.clone())));
        }
    }

    /// An agent's answer to a task.
    pub(crate) fn answered(&mut self, key: &str, answer: TaskAnswer) {
        if let Some(following) = self.streams.remove(key) {
            following.finish(answer);
        } else if let Some(pending) = self.tasks.remove(key) {
            self.settle_followers(key, &answer);
            pending.answer.send_replace(Some(answer));
        }
    }

    /// Gives everything up; says which instances it had.
    pub(crate) fn close(mut self, fault: &Fault) -> Vec<InstanceId> {
        if let Some(session) = self.session.take() {
            session.end.cancel();
        }
        self.end_streams(fault);
        for pending in self.tasks.into_values() {
            pending.answer.send_replace(Some(Err(fault.clone())));
        }
        self.statuses.into_keys().collect()
    }
}

impl Pending {
    /// The order to do it, with the time that is left.
    pub(crate) fn order(&mut self, key: &str) -> Message {
        self.sent = true;
        let left = match &self.after {
            Some(after) => after.takes,
            None => self.deadline.saturating_duration_since(Instant::now()),
        };
        // The agent's own word about why time ran out says more than ours: it comes first.
        let for_agent = left.saturating_sub((left / 10).min(crate::task::MARGIN));
        let millis = u64::try_from(for_agent.as_millis()).unwrap_or(u64::MAX);
        // 0 would mean no deadline.
        let deadline_ms = millis.max(1);
        Message::Task(wire::Task {
            key: key.to_owned(),
            body: self.body.clone(),
            deadline_ms,
            fence: self.fence.clone(),
            after: self
                .after
                .as_ref()
                .map_or(String::new(), |after| after.key.clone()),
        })
    }
}
