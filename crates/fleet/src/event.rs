use bytes::Bytes;
use tokio::sync::mpsc;
use wright_model::{Digest, InstanceId, InstanceStatus, Name};

/// Something that happened with an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum FleetEvent {
    /// A host's agent opened a session.
    Connected {
        /// Whose.
        host: Name,
        /// Different for every start of the agent process.
        boot_id: String,
        /// The version of its program.
        version: String,
    },
    /// A host's session ended and no other took its place.
    Disconnected {
        /// Whose.
        host: Name,
        /// Whether that was because the server failed that it was connected to.
        with_server: bool,
    },
    /// An instance's status is different from before, or the instance is new.
    Status(InstanceStatus),
    /// A host no longer has an instance.
    Removed(InstanceId),
    /// An agent is alive.
    Heartbeat {
        /// Whose.
        host: Name,
        /// Resident memory of the agent, bytes.
        resident_bytes: u64,
        /// Processor time of the agent since it started, milliseconds.
        cpu_ms: u64,
    },
    /// An agent answers lookups from this revision of the service table on.
    TableApplied {
        /// Whose.
        host: Name,
        /// The revision.
        revision: u64,
    },
    /// An agent that is connected to this server has found out these facts about its host.
    Facts {
        /// Which host.
        host: Name,
        /// What tells them from others.
        digest: Digest,
        /// A [`wright_model::Facts`] as JSON; nothing where it only says that it has these: see
        /// [`Fleet::ask_facts`](crate::Fleet::ask_facts).
        body: Option<Bytes>,
    },
}

/// Every event from the subscription on, in order, none left out. Whoever holds one must keep
/// receiving: what is not received is kept in memory.
#[derive(Debug)]
pub struct Subscription {
    events: mpsc::UnboundedReceiver<FleetEvent>,
}

impl Subscription {
    /// The next event; `None` when the fleet is gone. Cancel-safe.
    pub async fn recv(&mut self) -> Option<FleetEvent> {
        self.events.recv().await
    }

    /// The next event, if it has happened already.
    pub fn try_recv(&mut self) -> Option<FleetEvent> {
        self.events.try_recv().ok()
    }
}

/// Who is told of events.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    senders: Vec<mpsc::UnboundedSender<FleetEvent>>,
}

impl Subscribers {
    pub(crate) fn subscribe(&mut self) -> Subscription {
        let (sender, events) = mpsc::unbounded_channel();
        self.senders.push(sender);
        Subscription { events }
    }

    pub(crate) fn tell(&mut self, event: &FleetEvent) {
        self.senders
            .retain(|sender| sender.send(event.clone()).is_ok());
    }
}
