//! From a URL to an engine.

use std::{path::PathBuf, sync::Arc};

use crate::{SharedStore, StoreError, etcd, local};

/// Opens a store by its URL: `file:DIR`, or `etcd://HOST:PORT,HOST:PORT`, on which options may follow
/// as `?NAME=VALUE&…`:
///
/// | option | what |
/// |---|---|
/// | `prefix` | what all keys of this store begin with in the cluster; `wright/` where it is not given |
/// | `ca` | the file of the authority's certificate; with it, connections are TLS |
/// | `cert`, `key` | the files of the client's certificate and key |
/// | `user`, `password-file` | who asks, where the cluster's authentication is on |
///
/// # Errors
/// Where the URL names no engine, another process has the directory, or the place cannot be used.
pub async fn open(url: &str) -> Result<SharedStore, StoreError> {
    if url.starts_with("etcd:") {
        return Ok(Arc::new(etcd::open(url).await?));
    }
    let directory = url
        .strip_prefix("file:")
        .filter(|directory| !directory.is_empty());
    let directory = directory.ok_or_else(|| StoreError::Open {
        url: url.to_owned(),
        reason: "`file:DIR` or `etcd://HOST:PORT,…` was expected".to_owned(),
    })?;
    Ok(Arc::new(local::open(PathBuf::from(directory), url).await?))
}
