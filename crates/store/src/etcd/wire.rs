//! The generated client of `proto/`, and its values as the contract's.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

pub(super) mod mvccpb {
    tonic::include_proto!("mvccpb");
}

pub(super) mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

pub(super) use self::{
    etcdserverpb::{
        auth_client::AuthClient,
        compare::{CompareResult, CompareTarget, TargetUnion},
        kv_client::KvClient,
        lease_client::LeaseClient,
        request_op::Request as Op,
        response_op::Response as OpAnswer,
        watch_client::WatchClient,
        watch_request::RequestUnion,
        *,
    },
    mvccpb::{Event, KeyValue, event::EventType},
};
