//! What the etcd engine promises, on real members.

mod access;
mod faults;
mod limits;
mod once;
mod proxy;

use crate::{Operation, Page, Range, Revision, SharedStore, conformance::EtcdCluster, open};

crate::conformance_tests! { the_contract_holds_on_one_member on one_member }
crate::conformance_tests! { the_contract_holds_on_three_members on three_members }

async fn one_member() -> (EtcdCluster, SharedStore) {
    let cluster = EtcdCluster::start(1, &[]).unwrap();
    let store = open(&cluster.url()).await.unwrap();
    (cluster, store)
}

async fn three_members() -> (EtcdCluster, SharedStore) {
    let cluster = EtcdCluster::start(3, &[]).unwrap();
    let store = open(&cluster.url()).await.unwrap();
    (cluster, store)
}

async fn put(store: &SharedStore, key: &str, value: &str) -> Revision {
    let put = Operation::put(key.to_owned(), value.to_owned());
    store.commit(Vec::new(), vec![put]).await.unwrap()
}

async fn everything(store: &SharedStore) -> Page {
    store.range(Range::prefix(""), 0, None).await.unwrap()
}
