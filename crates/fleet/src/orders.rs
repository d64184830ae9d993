//! What an agent is told, in the order in which it is to hear it.

use std::{collections::VecDeque, sync::Arc};

use futures::{Stream, stream};
use tokio::sync::{
    mpsc::{self, error::TryRecvError},
    oneshot, watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use wright_protocol::wire::{self, ToAgent, Welcome, to_agent::Message};

use crate::{fleet::Shared, session::Begun, table::Published};

/// A welcome, where else the agent may call and the newest table; then orders, and what is new.
pub(crate) struct Orders {
    /// Said before anything else.
    first: VecDeque<Message>,
    /// The digest of the table that the agent holds, or will when it has heard all that was said.
    held: Vec<u8>,
    table: watch::Receiver<Option<Arc<Published>>>,
    servers: watch::Receiver<Arc<[String]>>,
    orders: mpsc::UnboundedReceiver<Box<Message>>,
    /// Cancelled when the session is over.
    over: CancellationToken,
    _unread: DropGuard,
}

impl Orders {
    /// For an agent that holds the table of this digest, empty for none. Once `over` is
    /// cancelled there is nothing more to say; `unread` is let go when nobody reads it any more.
    pub(crate) fn new(
        shared: &Shared,
        held: Vec<u8>,
        orders: mpsc::UnboundedReceiver<Box<Message>>,
        over: CancellationToken,
        unread: DropGuard,
    ) -> Self {
        let (table, mut servers) = (shared.table.subscribe(), shared.servers.subscribe());
        let urls = servers.borrow_and_update().clone();
        let heartbeat_ms = shared.settings.heartbeat.as_millis();
        let heartbeat_ms = u32::try_from(heartbeat_ms).unwrap_or(u32::MAX);
        let first = [
            Some(Message::Welcome(Welcome { heartbeat_ms })),
            (!urls.is_empty()).then(|| told(&urls)),
        ];
        let mut orders = Orders {
            first: first.into_iter().flatten().collect(),
            held,
            table,
            servers,
            orders,
            over,
            _unread: unread,
        };
        orders.bring_up_to_date();
        orders
    }

    /// What the agent is to hear of the newest table comes next.
    fn bring_up_to_date(&mut self) {
        let newest = self.table.borrow_and_update().clone();
        if let Some(newest) = newest {
            let messages = newest.messages(&self.held).into_iter();
            self.first.extend(messages.map(Message::Table));
            newest.digest().clone_into(&mut self.held);
        }
    }

    /// The next of it; `None` when the session is over.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(first) = self.first.pop_front() {
                if self.first.is_empty() {
                    // There are ten thousand of these, and seldom something in one.
                    self.first = VecDeque::new();
                }
                return Some(first);
            }
            if self.over.is_cancelled() {
                return None;
            }
            let message = match self.orders.try_recv() {
                Ok(order) => Some(*order),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => self.wait().await?,
            };
            match message {
                // It is about the newest table, which is said before.
                Some(Message::AskApplied(asked)) => {
                    self.bring_up_to_date();
                    self.first.push_back(Message::AskApplied(asked));
                }
                Some(message) => return Some(message),
                None => {}
            }
        }
    }

    /// Waits until there is something to say; `None` within where that is said first.
    async fn wait(&mut self) -> Option<Option<Message>> {
        let message = tokio::select! {
            () = self.over.cancelled() => return None,
            order = self.orders.recv() => Some(*order?),
            changed = self.table.changed() => {
                changed.ok()?;
                self.bring_up_to_date();
                None
            }
            changed = self.servers.changed() => {
                changed.ok()?;
                Some(told(&self.servers.borrow_and_update()))
            }
        };
        // Orders seldom come alone: what others are about to say goes into the same frame.
        tokio::task::yield_now().await;
        Some(message)
    }
}

fn told(servers: &[String]) -> Message {
    Message::Servers(wire::Servers {
        urls: servers.to_vec(),
    })
}

/// What is written to an agent's stream, once its session has begun.
pub(crate) fn spoken(
    begun: oneshot::Receiver<Begun>,
) -> impl Stream<Item = Result<ToAgent, Status>> + Send {
    enum Line {
        Awaited(oneshot::Receiver<Begun>),
        Open(Box<Orders>),
        Over,
    }
    stream::unfold(Line::Awaited(begun), async |line| {
        let mut orders = match line {
            Line::Awaited(begun) => match begun.await.ok()? {
                Ok(orders) => Box::new(orders),
                Err(refused) => return Some((Err(refused), Line::Over)),
            },
            Line::Open(orders) => orders,
            Line::Over => return None,
        };
        let message = Some(orders.next().await?);
        Some((Ok(ToAgent { message }), Line::Open(orders)))
    })
}
