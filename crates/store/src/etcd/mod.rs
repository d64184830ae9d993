//! The engine for clusters: etcd's v3 API.
//!
//! The contract's revisions, versions and leases are etcd's own. A commit is one etcd transaction; it
//! also writes a key of the engine's own, which makes it safe to ask for again when an answer is lost
//! (see `commit`), and lets a commit that changes nothing raise the revision as the contract says.
//! Any member may die or freeze: all requests are asked of the next one, and watches go on there
//! from what they last delivered.

mod address;
mod cluster;
mod commit;
mod fault;
mod keys;
mod lease;
mod plan;
mod read;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Mutex;

use self::{
    address::Address,
    cluster::{Cluster, Member},
    commit::Session,
    keys::Namespace,
    wire::CompactionRequest,
};
use crate::{
    Entry, Guard, LeaseId, Operation, Page, Range, Revision, Store, StoreError, Watch, limits,
};

/// How long the cluster may take to answer when it is opened.
const OPENING: Duration = Duration::from_secs(10);

/// The store in a cluster.
#[derive(Debug)]
pub(crate) struct Engine {
    cluster: Arc<Cluster>,
    namespace: Namespace,
    session: Mutex<Option<Arc<Session>>>,
}

/// Opens the store of a URL, and sees that the cluster answers and takes what the contract allows.
pub(crate) async fn open(url: &str) -> Result<Engine, StoreError> {
    let refuse = |reason: String| StoreError::Open {
        url: url.to_owned(),
        reason,
    };
    let address = Address::parse(url).map_err(refuse)?;
    let engine = Engine {
        namespace: Namespace::new(&address.prefix),
        cluster: Cluster::new(address),
        session: Mutex::new(None),
    };
    match engine.check_limits(OPENING).await {
        Ok(()) => Ok(engine),
        Err(status) => Err(refuse(match fault::error(&status) {
            StoreError::Engine(reason) => reason,
            other => other.to_string(),
        })),
    }
}

#[async_trait]
impl Store for Engine {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.read_one(key).await
    }

    async fn range(
        &self,
        range: Range,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, StoreError> {
        self.read_range(&range, limit, at).await
    }

    async fn commit(
        &self,
        guards: Vec<Guard>,
        operations: Vec<Operation>,
    ) -> Result<Revision, StoreError> {
        limits::check(&guards, &operations)?;
        self.make(guards, operations).await
    }

    async fn watch(&self, range: Range, after: Revision) -> Result<Watch, StoreError> {
        watch::start(self, range, after).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.newest().await
    }

    async fn lease_grant(&self, ttl_seconds: u32) -> Result<LeaseId, StoreError> {
        lease::grant(&self.cluster, ttl_seconds).await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        lease::keep_alive(&self.cluster, lease).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        lease::revoke(&self.cluster, lease).await
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        let revision = before.cast_signed();
        let ask = |member: Member| async move {
            let request = member.request(CompactionRequest {
                revision,
                physical: false,
            });
            member.keys().compact(request).await
        };
        match self.cluster.ask(ask).await.answer {
            Ok(_) => Ok(()),
            // By an earlier call, or an earlier attempt of this one.
            Err(status) if fault::is_compacted(&status) => Ok(()),
            Err(status) if fault::is_future(&status) => {
                let newest = self.newest().await?;
                Err(StoreError::Future {
                    asked: before,
                    newest,
                })
            }
            Err(status) => Err(fault::error(&status)),
        }
    }
}
