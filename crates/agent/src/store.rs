//! Package archives and unpacked packages on this host.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tokio::sync::OwnedMutexGuard;
use wright_model::{Digest, PackageId};
use wright_package::Signature;
use wright_protocol::{Blame, Fault};

use crate::{
    Layout, Settings, durable,
    errand::Errand,
    error::{host_fault, locked},
};

/// An archive that was fetched but never installed is removed after this time.
const UNUSED_KEPT: Duration = Duration::from_secs(86_400);

/// How the names of packages end that are being removed.
const GONE: &str = "gone";

/// Where archives come from: the server, for a real agent.
#[async_trait]
pub trait ArchiveSource: Send + Sync {
    /// Begins to fetch an archive.
    ///
    /// # Errors
    /// Where nobody has it, or nobody can be reached.
    async fn open(&self, digest: &Digest) -> Result<Archive, Fault>;
}

/// An archive on its way.
pub struct Archive {
    /// The detached signature file.
    pub signature: Vec<u8>,
    /// The archive's bytes in order.
    pub data: BoxStream<'static, Result<Bytes, Fault>>,
}

/// The archives and packages below one host's directory.
pub(crate) struct PackageStore {
    layout: Layout,
    settings: Settings,
    source: Arc<dyn ArchiveSource>,
    locks: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

/// Removes an unpacked package, which is whole or not there at every moment; it may be gone already.
fn remove_package(directory: &Path) -> io::Result<()> {
    let gone = directory.with_extension(GONE);
    durable::remove(&gone)?;
    match fs::rename(directory, &gone) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => durable::remove(&gone),
    }
}

/// Removes a half-made file unless it was put where it belongs.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl PackageStore {
    pub(crate) fn new(settings: Settings, source: Arc<dyn ArchiveSource>) -> Self {
        PackageStore {
            layout: settings.layout(),
            settings,
            source,
            locks: Mutex::default(),
        }
    }

    /// One at a time for each package: all who need it share the work.
    async fn lock(&self, digest: &Digest) -> OwnedMutexGuard<()> {
        let lock = locked(&self.locks).entry(*digest).or_default().clone();
        lock.lock_owned().await
    }

    /// Has the archive in the cache, with its hash and signature proved.
    pub(crate) async fn fetch(&self, package: &PackageId) -> Result<(), Fault> {
        let _guard = self.lock(&package.digest).await;
        self.fetch_locked(package).await
    }

    async fn fetch_locked(&self, package: &PackageId) -> Result<(), Fault> {
        let target = self.layout.archive(&package.digest);
        if target.exists() {
            return Ok(());
        }
        let mut archive = self.source.open(&package.digest).await?;
        let signature = std::str::from_utf8(&archive.signature)
            .ok()
            .and_then(|text| text.parse::<Signature>().ok())
            .ok_or_else(|| {
                Fault::new(
                    Blame::Package,
                    format!("the signature of {package} is not a signature"),
                )
            })?;
        let partial = Partial(target.with_extension("partial"));
        let write = |error: io::Error| host_fault("write", &partial.0)(error);
        let mut file = File::create(&partial.0).map_err(write)?;
        while let Some(bytes) = archive.data.next().await {
            file.write_all(&bytes?).map_err(write)?;
        }
        drop(file);
        let proof = Errand::Verify {
            archive: partial.0.clone(),
            package: package.clone(),
            signature: signature.to_string(),
            keys: self.layout.keys(),
        };
        proof.run(&self.settings).await?;
        let moved = fs::rename(&partial.0, &target).and_then(|()| durable::sync_parent(&target));
        moved.map_err(host_fault("write", &target))
    }

    /// Has the package unpacked, once for all instances that use it.
    pub(crate) async fn unpack(&self, package: &PackageId) -> Result<(), Fault> {
        let guard = self.lock(&package.digest).await;
        let target = self.layout.package(&package.digest);
        if target.exists() {
            return Ok(());
        }
        // Normally a task of its own; after a clean-up in between it comes again.
        self.fetch_locked(package).await?;
        let unpack = Errand::Unpack {
            archive: self.layout.archive(&package.digest),
            to: target,
            digest: package.digest,
        };
        let settings = self.settings.clone();
        let work = tokio::spawn(async move {
            // Kept until the work is done, also if nobody waits for it any more.
            let _guard = guard;
            unpack.run(&settings).await
        });
        match work.await {
            Ok(done) => done.map(drop),
            Err(error) => {
                let why = format!("the work broke off: {error}");
                Err(Fault::new(Blame::Host, why))
            }
        }
    }

    /// Removes what an agent that was killed has left of packages it was removing.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.layout.packages())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == GONE) {
                durable::remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes those of the candidates that are not in use, and archives nobody came for.
    pub(crate) async fn sweep(&self, candidates: BTreeSet<Digest>, used: &BTreeSet<Digest>) {
        for digest in candidates.difference(used) {
            let _guard = self.lock(digest).await;
            let (package, archive) = (self.layout.package(digest), self.layout.archive(digest));
            let removed = remove_package(&package).and_then(|()| durable::remove(&archive));
            if let Err(error) = removed {
                tracing::warn!(%error, %digest, "cannot remove what nobody uses");
            }
            locked(&self.locks).remove(digest);
        }
        for entry in fs::read_dir(self.layout.cache())
            .into_iter()
            .flatten()
            .flatten()
        {
            let digest = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let is_used = digest.is_some_and(|digest: Digest| used.contains(&digest));
            let age = entry.metadata().and_then(|m| m.modified()).ok();
            let age = age.and_then(|at| SystemTime::now().duration_since(at).ok());
            if !is_used && age.is_some_and(|age| age > UNUSED_KEPT) {
                let _ = durable::remove(&entry.path());
            }
        }
    }
}
