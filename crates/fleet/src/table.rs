//! The service table on its way to the agents.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use wright_model::Name;
use wright_protocol::wire;
use wright_route::Table;

use crate::{error::NotApplied, fleet::Fleet};

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
        if send { size * self.connected() } else { 0 }
    }

    /// Waits until a table of this revision or a later one is published and every agent that is
    /// connected answers from it. An agent that is away gets it before anything else when it
    /// comes back, and is not waited for.
    ///
    /// # Errors
    /// At the deadline: who has not got so far.
    pub async fn wait_applied(&self, revision: u64, deadline: Instant) -> Result<(), NotApplied> {
        self.wait(revision, None, deadline).await
    }

    /// The same for these hosts only, of which those that are away are waited for, too.
    ///
    /// # Errors
    /// At the deadline: who has not got so far.
    pub async fn wait_applied_on(
        &self,
        revision: u64,
        hosts: &[Name],
        deadline: Instant,
    ) -> Result<(), NotApplied> {
        self.wait(revision, Some(hosts), deadline).await
    }

    async fn wait(
        &self,
        revision: u64,
        hosts: Option<&[Name]>,
        deadline: Instant,
    ) -> Result<(), NotApplied> {
        let mut progress = self.0.progress.subscribe();
        let mut needed = None;
        loop {
            needed = needed.or_else(|| self.published_for(revision));
            let behind = needed.map(|needed| self.behind(needed, hosts));
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

    fn behind(&self, needed: u64, hosts: Option<&[Name]>) -> Vec<Name> {
        let state = self.0.state();
        let applied = |host: &Name| Some(state.seats.get(host)?.session.as_ref()?.table_revision);
        match hosts {
            Some(hosts) => {
                let behind = |host: &&Name| applied(host).is_none_or(|applied| applied < needed);
                hosts.iter().filter(behind).cloned().collect()
            }
            None => {
                let behind = |host: &&Name| applied(host).is_some_and(|applied| applied < needed);
                state.seats.keys().filter(behind).cloned().collect()
            }
        }
    }
}
