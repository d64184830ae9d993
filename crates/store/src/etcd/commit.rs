//! Commits, each made once however often it is asked for.
//!
//! An answer can be lost after the commit was made, or before, and a frozen member may pass a request
//! on a minute later. So each commit also writes a *slot*, a key of the engine's own, and is made only
//! if the slot's version is the one before: of any number of copies of the request, at most one has
//! an effect. A copy that comes too late finds in the slot that the commit was made, and when. Where
//! a guard is false and an earlier copy may still be on its way, the slot is written once more before
//! the answer, so that the copy can no longer have its effect when the guard becomes true again.
//!
//! A slot serves one commit after the other; as many are in use as commits run at once. They are on
//! a lease, the *session*, and so vanish an hour after their process has.

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use tokio::{sync::watch, time::interval};
use tonic::Status;

use super::{
    Engine,
    cluster::{Asked, Cluster, Member},
    fault, lease,
    plan::{self, Plan},
    read::revision,
    wire::{
        Compare, CompareResult, KeyValue, Op, OpAnswer, PutRequest, RangeRequest, TxnRequest,
        TxnResponse,
    },
};
use crate::{Guard, LeaseId, Operation, Revision, StoreError};

/// How long slots outlive their process, or its last contact with the cluster, in seconds.
const SESSION: u32 = 3600;
/// What is in a slot after a commit, and after a commit that may no longer be made.
const MADE: &[u8] = b"made";
const VOID: &[u8] = b"void";

/// The slots of this process.
#[derive(Debug)]
pub(super) struct Session {
    lease: LeaseId,
    idle: Mutex<Vec<Slot>>,
    slots: AtomicU64,
}

/// Who has it makes a commit. It goes back to its session only when it is certain what is in it.
#[derive(Debug)]
struct Slot {
    key: Bytes,
    version: i64,
}

/// What an attempt at a commit came to.
enum Outcome {
    Done(Result<Revision, StoreError>),
    /// The session had ended before, and nothing was done.
    NoSession,
}

/// What the slot says about a commit that was not made now.
enum Past {
    /// A copy of it was made.
    Made(Revision),
    /// It was not.
    Open,
    /// The slot is gone: nobody knows.
    Gone,
}

impl Slot {
    fn compare(&self) -> Compare {
        plan::version(self.key.clone(), CompareResult::Equal, self.version)
    }

    fn put(&self, value: &'static [u8], session: &Session) -> PutRequest {
        PutRequest {
            key: self.key.clone(),
            value: Bytes::from_static(value),
            lease: session.lease.0.cast_signed(),
        }
    }

    fn read(&self) -> RangeRequest {
        RangeRequest {
            key: self.key.clone(),
            ..RangeRequest::default()
        }
    }

    fn past(&self, found: Option<&KeyValue>) -> Past {
        match found {
            Some(found) if found.version == self.version + 1 && found.value == MADE => {
                Past::Made(found.mod_revision.cast_unsigned())
            }
            found if found.map_or(0, |found| found.version) == self.version => Past::Open,
            _ => Past::Gone,
        }
    }
}

impl Session {
    async fn begin(engine: &Engine) -> Result<Arc<Self>, StoreError> {
        let session = Arc::new(Session {
            lease: lease::grant(&engine.cluster, SESSION).await?,
            idle: Mutex::default(),
            slots: AtomicU64::new(0),
        });
        let (cluster, members) = (Arc::downgrade(&engine.cluster), engine.cluster.follow());
        tokio::spawn(keep_alive(cluster, members, session.lease));
        Ok(session)
    }

    fn take(&self, engine: &Engine) -> Slot {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        idle.unwrap_or_else(|| {
            let number = self.slots.fetch_add(1, Ordering::Relaxed);
            Slot {
                key: engine.namespace.slot(self.lease.0.cast_signed(), number),
                version: 0,
            }
        })
    }

    fn give_back(&self, mut slot: Slot, version: i64) {
        slot.version = version;
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(slot);
        }
    }
}

/// Until the store is closed. A session that ended all the same is noticed by the next commit.
async fn keep_alive(
    cluster: Weak<Cluster>,
    mut members: watch::Receiver<Member>,
    session: LeaseId,
) {
    let mut tick = interval(Duration::from_secs(u64::from(SESSION) / 4));
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let Some(cluster) = cluster.upgrade() else { return };
                match lease::keep_alive(&cluster, session).await {
                    Err(StoreError::NoLease(_)) => return,
                    Err(error) => tracing::debug!(%error, "the session was not kept alive"),
                    Ok(()) => {}
                }
            }
            changed = members.changed() => if changed.is_err() { return },
        }
    }
}

impl Engine {
    pub(super) async fn make(
        &self,
        guards: Vec<Guard>,
        operations: Vec<Operation>,
    ) -> Result<Revision, StoreError> {
        let plan = Plan::new(&self.namespace, guards, operations);
        self.check_overruled(&plan).await?;
        loop {
            let session = self.session().await?;
            match self.attempt(&plan, &session).await {
                Outcome::Done(answer) => return answer,
                Outcome::NoSession => self.end_session(&session).await,
            }
        }
    }

    async fn session(&self) -> Result<Arc<Session>, StoreError> {
        let mut session = self.session.lock().await;
        match &*session {
            Some(session) => Ok(session.clone()),
            None => Ok(session.insert(Session::begin(self).await?).clone()),
        }
    }

    async fn end_session(&self, ended: &Arc<Session>) {
        let mut session = self.session.lock().await;
        if session
            .as_ref()
            .is_some_and(|session| Arc::ptr_eq(session, ended))
        {
            *session = None;
        }
    }

    async fn attempt(&self, plan: &Plan, session: &Session) -> Outcome {
        let slot = session.take(self);
        let request = plan.transaction((slot.compare(), slot.put(MADE, session), slot.read()));
        let Asked { answer, lost } = self.transact(&request).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(status) => {
                return self
                    .failed(plan, session, slot, &status, lost, &request)
                    .await;
            }
        };
        let now = revision(answer.header.as_ref());
        if answer.succeeded {
            let version = slot.version + 1;
            session.give_back(slot, version);
            return Outcome::Done(Ok(now));
        }
        let mut read = reads(answer).into_iter();
        match slot.past(read.next().flatten().as_ref()) {
            Past::Made(revision) => {
                let version = slot.version + 1;
                session.give_back(slot, version);
                Outcome::Done(Ok(revision))
            }
            Past::Open => {
                let read: Vec<_> = read.collect();
                let refused = match plan.first_false(&read) {
                    Some(guard) => StoreError::Refused {
                        guard: guard.clone(),
                        revision: now,
                    },
                    None => StoreError::Engine("etcd refused a commit for no reason".to_owned()),
                };
                self.not_made(session, slot, lost, refused).await
            }
            Past::Gone if lost => Outcome::Done(Err(unknown("its record is gone"))),
            Past::Gone => Outcome::NoSession,
        }
    }

    /// What an error of etcd means.
    async fn failed(
        &self,
        plan: &Plan,
        session: &Session,
        slot: Slot,
        status: &Status,
        lost: bool,
        request: &TxnRequest,
    ) -> Outcome {
        if fault::sort(status) != fault::Fault::Said {
            // The last attempt's answer may be lost like those before it. The slot is given up.
            return Outcome::Done(Err(unknown(&fault::error(status).to_string())));
        }
        if fault::is_no_lease(status) {
            return match self.first_ended(&plan.leases).await {
                Ok(Some(ended)) => {
                    self.not_made(session, slot, lost, StoreError::NoLease(ended))
                        .await
                }
                Ok(None) if lost => Outcome::Done(Err(unknown("its session has ended"))),
                Ok(None) => Outcome::NoSession,
                Err(error) => Outcome::Done(Err(error)),
            };
        }
        let error = if fault::is_too_large(status) {
            StoreError::Engine(format!(
                "etcd does not take a commit of {} bytes: start each member with a larger \
                 --max-request-bytes (1572864 where it is not given)",
                request.encoded_len()
            ))
        } else {
            fault::error(status)
        };
        self.not_made(session, slot, lost, error).await
    }

    /// Answers that a commit was not made, once that is certain also for copies still on their way.
    async fn not_made(
        &self,
        session: &Session,
        slot: Slot,
        lost: bool,
        error: StoreError,
    ) -> Outcome {
        if !lost {
            let version = slot.version;
            session.give_back(slot, version);
            return Outcome::Done(Err(error));
        }
        let void = TxnRequest {
            compare: vec![slot.compare()],
            success: vec![plan::op(Op::RequestPut(slot.put(VOID, session)))],
            failure: vec![plan::op(Op::RequestRange(slot.read()))],
        };
        let answer = match self.transact(&void).await.answer {
            Ok(answer) => answer,
            Err(status) => {
                return Outcome::Done(Err(unknown(&fault::error(&status).to_string())));
            }
        };
        let voided = answer.succeeded;
        let found = reads(answer).into_iter().next().flatten();
        let next = slot.version + 1;
        let answer = match (slot.past(found.as_ref()), found) {
            (Past::Made(revision), _) => Ok(revision),
            _ if voided => Err(error),
            (_, Some(found)) if found.version == next && found.value == VOID => Err(error),
            _ => return Outcome::Done(Err(unknown("its record is gone"))),
        };
        session.give_back(slot, next);
        Outcome::Done(answer)
    }

    /// Where the leases of puts without effect have ended, the commit is refused as well. A lease
    /// that has ended never runs again, so that may be looked up before.
    async fn check_overruled(&self, plan: &Plan) -> Result<(), StoreError> {
        let Some(ended) = self.first_ended(&plan.overruled).await? else {
            return Ok(());
        };
        let asked = self.transact(&plan.question()).await.answer;
        let answer = asked.map_err(|status| fault::error(&status))?;
        let now = revision(answer.header.as_ref());
        let guard = if answer.succeeded {
            None
        } else {
            plan.first_false(&reads(answer)).cloned()
        };
        Err(match guard {
            Some(guard) => StoreError::Refused {
                guard,
                revision: now,
            },
            None => StoreError::NoLease(self.first_ended(&plan.leases).await?.unwrap_or(ended)),
        })
    }

    async fn first_ended(&self, leases: &[LeaseId]) -> Result<Option<LeaseId>, StoreError> {
        let mut seen: Vec<LeaseId> = Vec::new();
        for lease in leases {
            if !seen.contains(lease) {
                if !lease::runs(&self.cluster, *lease).await? {
                    return Ok(Some(*lease));
                }
                seen.push(*lease);
            }
        }
        Ok(None)
    }

    /// Refuses a cluster that does not take the largest commit.
    pub(super) async fn check_limits(&self, patience: Duration) -> Result<(), Status> {
        let any = plan::version(self.namespace.key(&[]), CompareResult::Less, 0);
        let largest = TxnRequest {
            compare: vec![any; plan::MAX_TRANSACTION],
            ..TxnRequest::default()
        };
        self.cluster
            .ask_within(patience, |member| transact(member, largest.clone()))
            .await
            .answer
            .map(drop)
    }

    async fn transact(&self, request: &TxnRequest) -> Asked<TxnResponse> {
        self.cluster
            .ask(|member| transact(member, request.clone()))
            .await
    }
}

async fn transact(member: Member, request: TxnRequest) -> Result<TxnResponse, Status> {
    let request = member.request(request);
    Ok(member.keys().txn(request).await?.into_inner())
}

/// What was read, one key each.
fn reads(answer: TxnResponse) -> Vec<Option<KeyValue>> {
    let read = |answer| match answer {
        Some(OpAnswer::ResponseRange(range)) => range.kvs.into_iter().next(),
        _ => None,
    };
    answer
        .responses
        .into_iter()
        .map(|answer| read(answer.response))
        .collect()
}

fn unknown(reason: &str) -> StoreError {
    StoreError::Engine(format!(
        "whether the commit was made is not known: {reason}"
    ))
}
