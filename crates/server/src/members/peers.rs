//! Following every other member: its sessions are seen here; its death is noticed here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use wright_fleet::{Fleet, Peer};
use wright_pki::Identity;
use wright_store::SharedStore;

use super::{Roster, Seated};

/// The wait before a member that does not answer is called again.
const AGAIN: Duration = Duration::from_millis(100);

/// Follows all members but `own` until `shutdown`.
pub async fn follow(
    store: SharedStore,
    fleet: Fleet,
    own: String,
    identity: Identity,
    roster: Arc<watch::Sender<Roster>>,
    shutdown: CancellationToken,
) {
    let mut roster = roster.subscribe();
    let mut following: BTreeMap<String, (Seated, DropGuard)> = BTreeMap::new();
    let mut calls = JoinSet::new();
    loop {
        let mut members = roster.borrow_and_update().clone();
        fleet.set_servers(match members.len() {
            // Whoever calls the only server knows how.
            0 | 1 => Vec::new(),
            _ => {
                let agents = members.values().map(|seated| &seated.member.agents);
                agents.map(|agents| format!("https://{agents}")).collect()
            }
        });
        members.remove(&own);
        following.retain(|id, (seated, _)| {
            let stays = members.get(id) == Some(seated);
            if !stays {
                fleet.part(id);
            }
            stays
        });
        for (id, seated) in members {
            if following.contains_key(&id) {
                continue;
            }
            match Peer::new(&id, &seated.member.agents, &identity) {
                Ok(peer) => {
                    let ended = shutdown.child_token();
                    fleet.meet(&peer);
                    let call = call(store.clone(), fleet.clone(), peer, seated.clone());
                    calls.spawn(ended.clone().run_until_cancelled_owned(call));
                    following.insert(id, (seated, ended.drop_guard()));
                }
                Err(error) => {
                    tracing::error!(server = id, %error, "a member's address cannot be used")
                }
            }
        }
        while calls.try_join_next().is_some() {}
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = roster.changed() => if changed.is_err() { return },
        }
    }
}

/// Follows one member for as long as it is polled. Its lease is ended if it answered, then broke off,
/// and its machine says that nobody listens there any more.
async fn call(store: SharedStore, fleet: Fleet, peer: Peer, seated: Seated) {
    let mut answered = false;
    loop {
        let ended = fleet.follow(&peer).await;
        // Kept: of a process that is being killed, connections may be closed before the port is.
        answered |= ended.followed;
        tracing::debug!(server = peer.id(), why = ended.why, "not connected");
        if answered && peer.is_gone().await {
            tracing::warn!(server = peer.id(), "the server is gone; its lease is ended");
            if let Err(error) = store.lease_revoke(seated.lease).await {
                tracing::debug!(%error, "its lease has ended by itself");
            }
        }
        sleep(AGAIN).await;
    }
}
