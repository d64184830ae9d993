//! The servers that share the store: who lives, and what is whose.
//!
//! A server is a member while its key `server/{id}` stands, on a lease that it keeps alive. It works
//! in *terms*: what it does on one lease. When the lease ends, everything on it is another's, and the
//! term is over. Whoever follows a member's sessions (`wright_fleet::Peer`) and finds its process gone
//! ends its lease at once, and with it its term; others wait until it has run out.

mod leader;
mod peers;
mod planning;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use wright_store::{Entry, LeaseId, Operation, Range, SharedStore, StoreError};

pub use self::{
    leader::{Leadership, lead},
    peers::follow,
    planning::Planning,
};
use crate::PAUSE;

/// Below it, the members' keys.
const MEMBERS: &str = "server/";

/// A server, as others find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Where agents and other servers reach it: `host:port`.
    pub agents: String,
    /// Its API's URL.
    pub api: String,
    /// Since when it runs.
    pub since: Timestamp,
}

/// What a server does on one lease.
#[derive(Debug, Clone)]
pub struct Term {
    /// The server.
    pub id: String,
    /// The lease.
    pub lease: LeaseId,
    /// Cancelled when it has ended, or the server ends.
    pub over: CancellationToken,
}

/// How a server is a member.
pub struct Membership {
    /// The store that is shared.
    pub store: SharedStore,
    /// The server itself.
    pub own: Member,
    /// How long its lease runs without a sign of life, seconds.
    pub lease_seconds: u32,
}

impl Membership {
    /// Has `work` done, term after term, until `shutdown`, and tells the term that it is. When one is
    /// over, `work` has the time it needs to end.
    pub async fn run<F>(
        &self,
        work: impl Fn(Term) -> F,
        terms: watch::Sender<Option<Term>>,
        shutdown: CancellationToken,
    ) where
        F: Future<Output = ()>,
    {
        while !shutdown.is_cancelled() {
            let term = match self.enter(&shutdown).await {
                Ok(term) => term,
                Err(error) => {
                    tracing::error!(%error, "this server cannot become a member; trying again");
                    shutdown.run_until_cancelled(sleep(PAUSE)).await;
                    continue;
                }
            };
            let kept = async {
                term.over.run_until_cancelled(self.keep(term.lease)).await;
                term.over.cancel();
            };
            terms.send_replace(Some(term.clone()));
            tokio::join!(work(term.clone()), kept);
            terms.send_replace(None);
            if shutdown.is_cancelled() {
                // Others need not wait.
                if let Err(error) = self.store.lease_revoke(term.lease).await {
                    tracing::debug!(%error, "the lease ends by itself");
                }
            } else {
                tracing::warn!("this server's lease has ended; what it did is others' now");
            }
        }
    }

    async fn enter(&self, shutdown: &CancellationToken) -> Result<Term, StoreError> {
        let lease = self.store.lease_grant(self.lease_seconds).await?;
        let value = serde_json::to_vec(&self.own)
            .map_err(|error| StoreError::Engine(format!("the member's record: {error}")))?;
        let put = Operation::Put {
            key: format!("{MEMBERS}{}", self.own.id).into(),
            value: value.into(),
            lease: Some(lease),
        };
        self.store.commit(Vec::new(), vec![put]).await?;
        Ok(Term {
            id: self.own.id.clone(),
            lease,
            over: shutdown.child_token(),
        })
    }

    /// Returns when the lease has ended.
    async fn keep(&self, lease: LeaseId) {
        let every = Duration::from_secs(u64::from(self.lease_seconds)) / 3;
        loop {
            sleep(every).await;
            match self.store.lease_keep_alive(lease).await {
                Err(StoreError::NoLease(_) | StoreError::Closed) => return,
                Err(error) => tracing::warn!(%error, "the lease could not be kept alive"),
                Ok(()) => {}
            }
        }
    }
}

/// A member with the lease it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seated {
    /// The member.
    pub member: Member,
    /// Its lease, which whoever finds it dead may end.
    pub lease: LeaseId,
}

/// All members, by id.
pub type Roster = BTreeMap<String, Seated>;

/// Keeps the roster true until `shutdown`.
pub async fn watch_members(
    store: SharedStore,
    roster: Arc<watch::Sender<Roster>>,
    shutdown: CancellationToken,
) {
    let watched = async {
        loop {
            if let Err(error) = watch_once(&store, &roster).await {
                tracing::error!(%error, "the members cannot be watched; trying again");
            }
            sleep(PAUSE).await;
        }
    };
    shutdown.run_until_cancelled(watched).await;
}

async fn watch_once(store: &SharedStore, roster: &watch::Sender<Roster>) -> Result<(), StoreError> {
    let page = store.range(Range::prefix(MEMBERS), 0, None).await?;
    let mut known: Roster = page.entries.iter().filter_map(seated).collect();
    let mut changes = store.watch(Range::prefix(MEMBERS), page.revision).await?;
    loop {
        roster.send_if_modified(|told| {
            let differs = *told != known;
            if differs {
                told.clone_from(&known);
            }
            differs
        });
        for change in changes.next().await.ok_or(StoreError::Closed)?? {
            let id = String::from_utf8_lossy(&change.key[MEMBERS.len()..]).into_owned();
            match change.after.as_ref().and_then(seated) {
                Some((id, seated)) => drop(known.insert(id, seated)),
                None => drop(known.remove(&id)),
            }
        }
    }
}

fn seated(entry: &Entry) -> Option<(String, Seated)> {
    let member: Member = serde_json::from_slice(&entry.value)
        .inspect_err(|error| tracing::warn!(%error, "a member's record cannot be read"))
        .ok()?;
    let lease = entry.lease?;
    Some((member.id.clone(), Seated { member, lease }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_member_whose_lease_is_ended_becomes_one_again_in_a_new_term() {
        let dir = tempfile::tempdir().unwrap();
        let store = wright_store::open(&format!("file:{}", dir.path().display()))
            .await
            .unwrap();
        let own = Member {
            id: "one".to_owned(),
            agents: "127.0.0.1:7401".to_owned(),
            api: "https://127.0.0.1:7400".to_owned(),
            since: Timestamp::UNIX_EPOCH,
        };
        let membership = Membership {
            store: store.clone(),
            own: own.clone(),
            lease_seconds: 1,
        };
        let shutdown = CancellationToken::new();
        let (terms, mut term) = watch::channel(None);
        let roster: Arc<watch::Sender<Roster>> = Arc::default();
        let mut known = roster.subscribe();
        tokio::spawn(watch_members(store.clone(), roster, shutdown.clone()));
        let running = tokio::spawn({
            let shutdown = shutdown.clone();
            let work = async |term: Term| term.over.cancelled().await;
            async move { membership.run(work, terms, shutdown).await }
        });
        let first = term
            .wait_for(Option::is_some)
            .await
            .unwrap()
            .clone()
            .unwrap();
        let seated = known.wait_for(|roster| !roster.is_empty()).await.unwrap();
        let (member, lease) = (seated["one"].member.clone(), seated["one"].lease);
        drop(seated);
        assert_eq!((member, lease), (own, first.lease));
        store.lease_revoke(first.lease).await.unwrap();
        first.over.cancelled().await;
        let again = |term: &Option<Term>| term.as_ref().is_some_and(|t| t.lease != first.lease);
        let second = term.wait_for(again).await.unwrap().clone().unwrap();
        shutdown.cancel();
        running.await.unwrap();
        assert!(second.over.is_cancelled());
        assert!(store.get(b"server/one").await.unwrap().is_none());
    }
}
