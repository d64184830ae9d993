//! Watches: each a stream from the member in use, made anew from the last revision that was
//! delivered when the member changes.
//!
//! etcd forgets the removals at the very revision it compacts at, and leaves out the value before
//! where that is compacted. So a stream that goes on after a revision begins *at* it and drops what
//! it knows, which makes etcd refuse it if that revision is gone; and a change without the value that
//! must have been there before is taken as compacted, too.

use std::sync::{Arc, Weak};

use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_stream::StreamExt as _;
use tonic::{Status, Streaming};

use super::{
    Engine,
    cluster::{Cluster, Member},
    fault::{self, Fault},
    keys::{self, Namespace},
    read,
    wire::{Event, EventType, RequestUnion, WatchCreateRequest, WatchRequest, WatchResponse},
};
use crate::{Change, Changes, Range, Revision, StoreError, Watch};

/// Commits that wait for a slow reader before its task waits, too.
const AHEAD: usize = 64;
/// The pause before a stream that broke is made anew.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
/// What etcd says to who may not read the range; before 3.5 also to who has no token, or an old one.
const DENIED: &str = "etcdserver: permission denied";

/// Why a stream ended.
enum End {
    /// It broke: go on from another member.
    Broke,
    /// Say who asks, and go on.
    Token,
    /// The same, once: it may also be that the range may not be read.
    Denied,
    /// Nobody reads it any more.
    Unread,
    /// The watch cannot go on.
    Failed(StoreError),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        match fault::sort(&status) {
            Fault::Lost | Fault::Busy => End::Broke,
            Fault::Token => End::Token,
            Fault::Said => End::Failed(fault::error(&status)),
        }
    }
}

/// A watch on its way.
struct Follower {
    namespace: Namespace,
    range: Range,
    /// Everything up to here was delivered.
    after: Revision,
    /// Nothing newer than `after` had happened when it was last looked.
    at_newest: bool,
    sender: mpsc::Sender<Result<Changes, StoreError>>,
}

/// Starts one.
pub(super) async fn start(
    engine: &Engine,
    range: Range,
    after: Revision,
) -> Result<Watch, StoreError> {
    let newest = engine.newest().await?;
    if after > newest {
        return Err(StoreError::Future {
            asked: after,
            newest,
        });
    }
    let (sender, receiver) = mpsc::channel(AHEAD);
    let follower = Follower {
        namespace: engine.namespace.clone(),
        range,
        after,
        at_newest: after == newest,
        sender,
    };
    let (cluster, members) = (Arc::downgrade(&engine.cluster), engine.cluster.follow());
    tokio::spawn(follower.follow(cluster, members));
    Ok(Watch::new(receiver))
}

impl Follower {
    /// Until nobody reads, the store is closed, or what comes next is compacted.
    async fn follow(mut self, cluster: Weak<Cluster>, mut members: watch::Receiver<Member>) {
        let mut denied = false;
        loop {
            let member = members.borrow_and_update().clone();
            let (generation, token) = (member.generation, member.token.clone());
            let (sender, before) = (self.sender.clone(), self.after);
            let end = tokio::select! {
                end = self.stream(member) => end,
                changed = members.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = sender.closed() => return,
            };
            denied &= self.after == before;
            let Some(cluster) = cluster.upgrade() else {
                return;
            };
            let error = match end {
                End::Broke => {
                    cluster.move_on(generation);
                    None
                }
                End::Denied if denied => Some(StoreError::Engine(DENIED.to_owned())),
                End::Token | End::Denied => {
                    denied = matches!(end, End::Denied);
                    cluster.forget_token(token.as_ref());
                    // Whoever asks next says who it is; here, that is us.
                    cluster.must(|_| async { Ok(()) }).await.err()
                }
                End::Unread => return,
                End::Failed(error) => Some(error),
            };
            drop(cluster);
            if let Some(error) = error {
                // Where nobody reads, nobody needs to know.
                let _ = self.sender.send(Err(error)).await;
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Delivers from one member. Dropping it anywhere loses and repeats nothing.
    async fn stream(&mut self, member: Member) -> End {
        match self.deliver(member).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn deliver(&mut self, member: Member) -> Result<std::convert::Infallible, End> {
        if keys::is_empty(&self.range) {
            self.sender.closed().await;
            return Err(End::Unread);
        }
        let start = if self.at_newest {
            self.after + 1
        } else {
            self.after.max(1)
        };
        let mut stream = open(&member, &self.namespace, &self.range, start).await?;
        loop {
            let said = stream.message().await?.ok_or(End::Broke)?;
            let revision = read::revision(said.header.as_ref());
            if said.canceled {
                return Err(self.canceled(&said));
            }
            if said.created {
                // Something happened in between, and may have been compacted: begin at `after`.
                if std::mem::take(&mut self.at_newest) && revision > self.after {
                    stream = open(&member, &self.namespace, &self.range, self.after.max(1)).await?;
                }
            } else if said.events.is_empty() {
                // A notice that nothing happened in the range up to here.
                self.after = self.after.max(revision);
            } else {
                for changes in
                    group(&self.namespace, said.events, self.after).map_err(End::Failed)?
                {
                    let permit = self.sender.reserve().await.map_err(|_| End::Unread)?;
                    self.after = changes.first().map_or(self.after, |change| change.revision);
                    permit.send(Ok(changes));
                }
            }
        }
    }

    fn canceled(&self, said: &WatchResponse) -> End {
        if said.compact_revision > 0 {
            let oldest = said.compact_revision.cast_unsigned();
            return End::Failed(StoreError::Compacted {
                asked: self.after,
                oldest,
            });
        }
        if said.cancel_reason.ends_with(DENIED) {
            return End::Denied;
        }
        if fault::is_of_token(&said.cancel_reason) {
            return End::Token;
        }
        tracing::debug!(reason = said.cancel_reason, "etcd ended a watch");
        End::Broke
    }
}

async fn open(
    member: &Member,
    namespace: &Namespace,
    range: &Range,
    start: Revision,
) -> Result<Streaming<WatchResponse>, Status> {
    let create = WatchCreateRequest {
        key: namespace.key(&range.start),
        range_end: namespace.end(range.end.as_deref()),
        start_revision: start.cast_signed(),
        progress_notify: true,
        prev_kv: true,
    };
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    // The stream of requests stays open as long as that of answers.
    let requests = tokio_stream::iter([create]).chain(tokio_stream::pending());
    let request = member.request(requests);
    Ok(member.watches().watch(request).await?.into_inner())
}

/// The changes after a revision, a commit each, in the order of the keys.
fn group(
    namespace: &Namespace,
    events: Vec<Event>,
    after: Revision,
) -> Result<Vec<Changes>, StoreError> {
    let mut commits: Vec<Changes> = Vec::new();
    for event in events {
        let removed = event.r#type() == EventType::Delete;
        let Some(now) = event.kv.map(|now| namespace.entry(now)) else {
            continue;
        };
        let revision = now.modified;
        if revision <= after {
            continue;
        }
        let before = event.prev_kv.map(|before| namespace.entry(before));
        if before.is_none() && (removed || now.version > 1) {
            // It was there, and etcd no longer knows as what.
            return Err(StoreError::Compacted {
                asked: after,
                oldest: revision,
            });
        }
        let change = Change {
            revision,
            key: now.key.clone(),
            before,
            after: (!removed).then_some(now),
        };
        match commits
            .last_mut()
            .filter(|changes| changes[0].revision == revision)
        {
            Some(changes) => changes.push(change),
            None => commits.push(vec![change]),
        }
    }
    for changes in &mut commits {
        changes.sort_by(|one, other| one.key.cmp(&other.key));
    }
    Ok(commits)
}

/// The oldest revision kept, after `asked` was found to be older. Only watches are told.
pub(super) async fn oldest(engine: &Engine, asked: Revision) -> Result<Revision, StoreError> {
    let (namespace, range) = (&engine.namespace, &Range::key(Vec::new()));
    let ask = |member: Member| async move {
        let mut stream = open(&member, namespace, range, asked.max(1)).await?;
        while let Some(said) = stream.message().await? {
            if said.compact_revision > 0 {
                return Ok(said.compact_revision.cast_unsigned());
            }
        }
        Err(Status::unavailable("etcd ended a watch"))
    };
    engine.cluster.must(ask).await
}
