//! The service table on its way to the agents.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use wright_model::Name;
use wright_protocol::wire;
use wright_route::Table;

use crate::{error::NotApplied, fleet::Fleet, seat::Session};

/// A table as it is sent.
pub(crate) struct Published {
    table: Table,
    message: wire::Table,
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

    pub(crate) fn message(&self) -> wire::Table {
        self.message.clone()
    }
}

impl Fleet {
    /// Sends a table to every agent, now and whenever one connects. An agent that is slow gets the
    /// newest only. A table that serves the same as the last one is not sent again: the last one
    /// counts as its revision, too. Answers with how many bytes go to agents now, together.
    pub fn publish(&self, table: &Table) -> usize {
        let known = self.0.table.borrow().clone();
        let same = known.filter(|last| last.table.serves_same(table));
        let send = same.is_none();
        let next = match same {
            Some(last) => Published {
                table: last.table.clone(),
                message: last.message.clone(),
                covers: table.revision.max(last.covers),
            },
            None => {
                let json = match table.to_json() {
                    Ok(json) => json,
                    Err(error) => {
                        tracing::error!(%error, "the service table cannot be written");
                        return 0;
                    }
                };
                Published {
                    table: table.clone(),
                    message: wire::Table::pack(table.revision, json),
                    covers: table.revision,
                }
            }
        };
        let size = next.message.body.len();
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
        let mut progress = self.0.progress.subscribe();
        let mut needed = None;
        loop {
            needed = needed.or_else(|| self.published_for(revision));
            let behind = needed.map(|needed| self.behind(needed));
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

    /// By which revision agents know the table that is right for `revision`.
    fn published_for(&self, revision: u64) -> Option<u64> {
        let last = self.0.table.borrow();
        last.as_ref()
            .filter(|last| last.covers >= revision)
            .map(|last| last.revision())
    }

    fn behind(&self, needed: u64) -> Vec<Name> {
        let state = self.0.state();
        let behind = |session: &&Session| session.is_here() && session.table_revision < needed;
        let sessions = state
            .seats
            .values()
            .filter_map(|seat| seat.session.as_ref());
        let behind = sessions.filter(behind);
        behind.map(|session| session.host.clone()).collect()
    }
}
