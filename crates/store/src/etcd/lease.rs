//! Leases. etcd's shortest runs for one and a half election timeouts.

use tokio_stream::StreamExt as _;
use tonic::Status;

use super::{
    cluster::{Asked, Cluster, Member},
    fault,
    wire::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest},
};
use crate::{LeaseId, StoreError};

/// A new one. Where the answer is lost and another is granted, the first ends by itself.
pub(super) async fn grant(cluster: &Cluster, ttl_seconds: u32) -> Result<LeaseId, StoreError> {
    let ask = |member: Member| async move {
        let request = LeaseGrantRequest {
            ttl: i64::from(ttl_seconds.max(1)),
            id: 0,
        };
        let request = member.request(request);
        Ok(member.leases().lease_grant(request).await?.into_inner().id)
    };
    Ok(LeaseId(cluster.must(ask).await?.cast_unsigned()))
}

/// Starts its time anew.
pub(super) async fn keep_alive(cluster: &Cluster, lease: LeaseId) -> Result<(), StoreError> {
    let id = lease.0.cast_signed();
    let ask = |member: Member| async move {
        // etcd answers on the stream as long as that of requests is open.
        let once = tokio_stream::iter([LeaseKeepAliveRequest { id }]);
        let request = member.request(once.chain(tokio_stream::pending()));
        let mut answers = member
            .leases()
            .lease_keep_alive(request)
            .await?
            .into_inner();
        let answer = answers.message().await?;
        Ok(answer
            .ok_or_else(|| Status::unavailable("etcd ended a lease's stream"))?
            .ttl)
    };
    match cluster.ask(ask).await.answer {
        Ok(left) if left > 0 => Ok(()),
        Ok(_) => Err(StoreError::NoLease(lease)),
        Err(status) if fault::is_no_lease(&status) => Err(StoreError::NoLease(lease)),
        Err(status) => Err(fault::error(&status)),
    }
}

/// Ends it.
pub(super) async fn revoke(cluster: &Cluster, lease: LeaseId) -> Result<(), StoreError> {
    let id = lease.0.cast_signed();
    let ask = |member: Member| async move {
        let request = member.request(LeaseRevokeRequest { id });
        member.leases().lease_revoke(request).await
    };
    let Asked { answer, lost } = cluster.ask(ask).await;
    match answer {
        Ok(_) => Ok(()),
        // An earlier attempt may have ended it.
        Err(status) if fault::is_no_lease(&status) && lost => Ok(()),
        Err(status) if fault::is_no_lease(&status) => Err(StoreError::NoLease(lease)),
        Err(status) => Err(fault::error(&status)),
    }
}

/// Whether it runs.
pub(super) async fn runs(cluster: &Cluster, lease: LeaseId) -> Result<bool, StoreError> {
    let id = lease.0.cast_signed();
    let ask = |member: Member| async move {
        let request = member.request(LeaseTimeToLiveRequest { id, keys: false });
        Ok(member
            .leases()
            .lease_time_to_live(request)
            .await?
            .into_inner()
            .ttl)
    };
    match cluster.ask(ask).await.answer {
        Ok(left) => Ok(left >= 0),
        Err(status) if fault::is_no_lease(&status) => Ok(false),
        Err(status) => Err(fault::error(&status)),
    }
}
