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
    first: VecDeque<Message>,
    table: watch::Receiver<Option<Arc<Published>>>,
    servers: watch::Receiver<Arc<[String]>>,
    orders: mpsc::UnboundedReceiver<Message>,
    /// Cancelled when the session is over.
    over: CancellationToken,
    _unread: DropGuard,
}

impl Orders {
    /// For an agent that holds the table of this revision, if it is the newest. Once `over` is
    /// cancelled there is nothing more to say; `unread` is let go when nobody reads it any more.
    pub(crate) fn new(
        shared: &Shared,
        held: Option<u64>,
        orders: mpsc::UnboundedReceiver<Message>,
        over: CancellationToken,
        unread: DropGuard,
    ) -> Self {
        let (mut table, mut servers) = (shared.table.subscribe(), shared.servers.subscribe());
        let urls = servers.borrow_and_update().clone();
        let newest = table.borrow_and_update().clone();
        let newest = newest.filter(|newest| Some(newest.revision()) != held);
        let heartbeat_ms = shared.settings.heartbeat.as_millis();
        let heartbeat_ms = u32::try_from(heartbeat_ms).unwrap_or(u32::MAX);
        let first = [
            Some(Message::Welcome(Welcome { heartbeat_ms })),
            (!urls.is_empty()).then(|| told(&urls)),
            newest.map(|newest| Message::Table(newest.message())),
        ];
        Orders {
            first: first.into_iter().flatten().collect(),
            table,
            servers,
            orders,
            over,
            _unread: unread,
        }
    }

    /// The next of it; `None` when the session is over.
    async fn next(&mut self) -> Option<Message> {
        if let Some(first) = self.first.pop_front() {
            return Some(first);
        }
        if self.over.is_cancelled() {
            return None;
        }
        match self.orders.try_recv() {
            Ok(order) => return Some(order),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        let message = tokio::select! {
            () = self.over.cancelled() => return None,
            order = self.orders.recv() => order?,
            changed = self.table.changed() => {
                changed.ok()?;
                Message::Table(self.table.borrow_and_update().as_ref()?.message())
            }
            changed = self.servers.changed() => {
                changed.ok()?;
                told(&self.servers.borrow_and_update())
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
