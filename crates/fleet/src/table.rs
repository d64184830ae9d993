//! The service table on its way to the agents.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::{Instant, timeout_at};
use wright_model::Name;
use wright_protocol::wire::{self, to_agent::Message};
use wright_route::Table;

use crate::{error::NotApplied, fleet::Fleet, seat::Session};

/// A table as it is sent.
pub(crate) struct Published {
    table: Table,
    message: wire::Table,
    /// What was different from the table before, of this one and the last ones, oldest first: each of at
    /// most half of its table's services, together smaller than this table.
    differences: VecDeque<wire::Table>,
    /// The newest revision that it is right for; at least `table.revision`.
    covers: u64,
}

impl Published {
    /// The revision that agents know it by.
    pub(crate) fn revision(&self) -> u64 {
        self.table.revision
    }

    /// Whether an agent that said this holds it.
    pub(crate) fn is_held(&self, hello: &wire::Hello) -> bool {
        hello.table_revision == self.message.revision && hello.table_digest == self.message.digest
    }

    /// By what it is told from others.
    pub(crate) fn digest(&self) -> &[u8] {
        &self.message.digest
    }

    /// What is said to an agent that holds the table of this digest: nothing, what is different since,
    /// or all of it.
    pub(crate) fn messages(&self, held: &[u8]) -> Vec<wire::Table> {
        if held == self.digest() {
            return Vec::new();
        }
        // The last of them: a table may come again.
        let since = self.differences.iter().rposition(|next| next.since == held);
        match since {
            Some(first) => self.differences.range(first..).cloned().collect(),
            None => vec![self.message.clone()],
        }
    }

    /// A table that is published after another one, or as the first.
    fn after(last: Option<&Self>, table: &Table, awaited: bool) -> Result<Self, serde_json::Error> {
        let message = wire::Table {
            awaited,
            ..wire::Table::pack(table.revision, table.to_json()?)
        };
        let mut differences = VecDeque::new();
        if let Some(last) = last {
            let difference = table.difference(&last.table);
            if 2 * difference.services() <= table.services_in_all() {
                let difference = serde_json::to_vec(&difference)?;
                differences.clone_from(&last.differences);
                differences.push_back(message.pack_difference(&last.message, difference));
            }
        }
        let mut size: usize = differences.iter().map(|next| next.body.len()).sum();
        while size >= message.body.len() {
            let first = differences.pop_front();
            size -= first.map_or(size, |first| first.body.len());
        }
        Ok(Published {
            table: table.clone(),
            message,
            differences,
            covers: table.revision,
        })
    }

    /// How much of it goes to an agent that holds the one before, bytes.
    fn size(&self) -> usize {
        let last = self.differences.back().unwrap_or(&self.message);
        last.body.len()
    }
}

impl Fleet {
    /// Sends a table to every agent, now and whenever one connects: to those who hold one of the last
    /// ones what is different. An agent that is slow gets the newest only. A table that serves the same
    /// as the last one is not sent again: the last one counts as its revision, too. Answers with how many
    /// bytes go to agents now, together.
    pub fn publish(&self, table: &Table) -> usize {
        let known = self.0.table.borrow().clone();
        let same = known.as_ref().filter(|last| last.table.serves_same(table));
        let awaited = self.0.waiting.load(Ordering::SeqCst) > 0;
        let next = match same {
            Some(last) => Published {
                table: last.table.clone(),
                message: last.message.clone(),
                differences: last.differences.clone(),
                covers: table.revision.max(last.covers),
            },
            None => match Published::after(known.as_deref(), table, awaited) {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "the service table cannot be written");
                    return 0;
                }
            },
        };
        let (send, size) = (same.is_none(), next.size());
        self.0.table.send_if_modified(|last| {
            *last = Some(Arc::new(next));
            send
        });
        self.0.progress.send_replace(());
        if send {
            size * self.connected_here()
        } else {
            0
        }
    }

    /// Waits until a table of this revision or a later one is published and every agent that is
    /// connected, also to another server, answers from it. An agent that is away gets it before
    /// anything else when it comes back, and is not waited for.
    ///
    /// # Errors
    /// At the deadline: who has not got so far.
    pub async fn wait_applied(&self, revision: u64, deadline: Instant) -> Result<(), NotApplied> {
        let peers = self.peers();
        let others = peers
            .iter()
            .map(|peer| self.wait_applied_there(peer, revision, deadline));
        let (here, others) = futures::future::join(
            self.wait_applied_here(revision, deadline),
            futures::future::join_all(others),
        )
        .await;
        here.and_then(|()| others.into_iter().collect())
    }

    /// The same for agents that are connected to this server.
    ///
    /// # Errors
    /// At the deadline: who has not got so far.
    pub(crate) async fn wait_applied_here(
        &self,
        revision: u64,
        deadline: Instant,
    ) -> Result<(), NotApplied> {
        // Told before it is looked whether the table is published: who publishes it sees this, or is
        // seen, and then agents are asked.
        let _waits = Waits::begin(&self.0.waiting);
        let mut progress = self.0.progress.subscribe();
        let mut needed = None;
        loop {
            needed = needed.or_else(|| self.published_for(revision));
            let behind = needed.map(|(needed, awaited)| self.behind(needed, !awaited));
            if behind.as_ref().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            // The sender lives as long as the fleet, so this ends by a change or at the deadline.
            if timeout_at(deadline, progress.changed()).await.is_err() {
                return Err(match behind {
                    None => NotApplied::Unpublished(revision),
                    Some(agents) => NotApplied::Waiting { revision, agents },
                });
            }
        }
    }

    /// By which revision agents know the table that is right for `revision`, and whether they say by
    /// themselves when they use it.
    fn published_for(&self, revision: u64) -> Option<(u64, bool)> {
        let last = self.0.table.borrow();
        last.as_ref()
            .filter(|last| last.covers >= revision)
            .map(|last| (last.revision(), last.message.awaited))
    }

    /// Who is not known to use a table of this revision or a later one; with `ask`, each is asked once.
    fn behind(&self, needed: u64, ask: bool) -> Vec<Name> {
        let mut state = self.0.state();
        let seats = state.seats.values_mut();
        let sessions = seats.filter_map(|seat| seat.session.as_mut());
        let behind = sessions.filter(|it| it.is_here() && it.table_revision < needed);
        let name = |session: &mut Session| {
            if ask && session.asked_revision < needed {
                session.asked_revision = needed;
                session.order(Message::AskApplied(wire::AskApplied {}));
            }
            session.host.clone()
        };
        behind.map(name).collect()
    }
}

/// One of those who wait, as long as it lives.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
