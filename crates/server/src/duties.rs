//! What a server does while it is a member: walks jobs, and, where it leads, what only one does.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};
use wright_inventory::Author;

use crate::{
    PAUSE,
    control::Lost,
    hosts::Hosts,
    http::Rooms,
    members::{self, Leadership, Roster, Term},
    shelf::Roll,
    sweep, upkeep,
    webhooks::{Pace, Webhooks},
};

/// What a server does in each of its terms.
pub struct Duties {
    /// The rooms.
    pub rooms: Arc<Rooms>,
    /// Which hosts may call.
    pub roll: Arc<Roll>,
    /// The members.
    pub roster: Arc<watch::Sender<Roster>>,
    /// A host that is lost for this long is given up.
    pub dead_after: Duration,
    /// Whether no other server can share the store.
    pub alone: bool,
}

impl Duties {
    /// Does it until the term is over.
    pub async fn fulfil(self: Arc<Self>, term: Term) {
        let lead = |leadership| self.lead(&term, leadership);
        tokio::join!(
            self.walk_jobs(&term),
            members::lead(&self.rooms.store, &term, lead)
        );
    }

    async fn walk_jobs(&self, term: &Term) {
        // A disk that is full now may have room again: no job waits for somebody to start us anew.
        let engine = &self.rooms.engine;
        while let Err(error) = engine.run_on(term.lease, term.over.clone()).await {
            if term.over.is_cancelled() {
                return;
            }
            tracing::error!(%error, "the job engine ended; it is started again");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn lead(&self, term: &Term, leadership: Leadership) {
        let rooms = &self.rooms;
        let (lost, losses) = mpsc::unbounded_channel();
        let webhooks = Webhooks {
            store: rooms.store.clone(),
            inventory: rooms.inventory.clone(),
            catalog: rooms.catalog.clone(),
            hub: rooms.feed.clone(),
            rights: rooms.rights.clone(),
            pace: Pace::default(),
            leads: leadership.guard.clone(),
        };
        let hosts = Hosts {
            inventory: rooms.inventory.clone(),
            fleet: rooms.fleet.clone(),
            provider: rooms.provider.clone(),
            dead_after: self.dead_after,
            alone: self.alone,
            roll: self.roll.clone(),
            lost: lost.clone(),
            store: rooms.store.clone(),
            leadership,
        };
        let over = &term.over;
        tokio::join!(
            hosts.run(over.clone()),
            upkeep::run(
                rooms.store.clone(),
                rooms.inventory.clone(),
                rooms.rights.clone(),
                over.clone()
            ),
            sweep::run(rooms.store.clone(), rooms.engine.clone(), over.clone()),
            rooms.control.clone().run(losses, over.clone()),
            self.tell_departures(lost),
            self.keep_references(term),
            webhooks.run(over.clone()),
        );
    }

    /// Sees to references to what the platform removes.
    async fn keep_references(&self, term: &Term) {
        let author = Author {
            why: "what it refers to was removed".to_owned(),
            ..Author::new("wright")
        };
        let keep = async {
            while let Err(error) = self.rooms.inventory.keep_references(&author).await {
                tracing::warn!(%error, "references to what was removed are looked for anew");
                tokio::time::sleep(PAUSE).await;
            }
        };
        term.over.run_until_cancelled(keep).await;
    }

    /// Tells of every member that is one no longer.
    async fn tell_departures(&self, lost: mpsc::UnboundedSender<Lost>) {
        let mut roster = self.roster.subscribe();
        let mut known = roster.borrow_and_update().clone();
        while roster.changed().await.is_ok() {
            let now = roster.borrow_and_update().clone();
            if known.iter().any(|(id, seated)| now.get(id) != Some(seated)) {
                let _ = lost.send(Lost::Server);
            }
            known = now;
        }
    }
}
