//! What the fleet asks of the rooms beside it.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use wright_fleet::{Archives, Fleet, Roster};
use wright_inventory::{Inventory, InventoryError, Resource};
use wright_model::{Digest, Host, HostState, Name};

use crate::{
    PAUSE,
    api::PackageView,
    library::{Library, LibraryError},
    records::kind,
};

/// The archives that agents may fetch: those that are here, and those that another server has, which
/// are here from then on.
pub struct Shelf {
    library: Arc<Library>,
    /// Known once there is one: it is made with this.
    fleet: OnceLock<Fleet>,
    /// One archive comes at a time.
    fetching: tokio::sync::Mutex<()>,
}

impl Shelf {
    /// With the archives of this library, and at first no other.
    pub fn new(library: Arc<Library>) -> Self {
        Shelf {
            library,
            fleet: OnceLock::new(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// With those that servers have which this fleet knows.
    pub fn connect(&self, fleet: &Fleet) {
        let _ = self.fleet.set(fleet.clone());
    }

    /// Fetches an archive from the first server that has it, and proves it.
    async fn fetch(&self, digest: Digest) {
        for peer in self.fleet.get().map(Fleet::peers).unwrap_or_default() {
            let partial = self.library.partial();
            let taken = async {
                match peer.archive(digest, &partial).await? {
                    Some(signature) => self.library.keep_proved(digest, &partial, &signature).await,
                    None => Ok(false),
                }
            };
            match taken.await {
                Ok(true) => return tracing::info!(%digest, from = peer.id(), "archive fetched"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%digest, from = peer.id(), %error, "not fetched"),
            }
            let _ = std::fs::remove_file(partial);
        }
    }

    /// Has one other server keep an archive, if there are others.
    ///
    /// # Errors
    /// Where there are, and none does.
    pub async fn spread(&self, digest: Digest) -> Result<(), LibraryError> {
        let mut refused = None;
        for peer in self.fleet.get().map(Fleet::peers).unwrap_or_default() {
            match peer.keep(digest).await {
                Ok(()) => return Ok(()),
                Err(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(()), |error| Err(LibraryError::Alone(error)))
    }

    /// Fetches every package that is pushed elsewhere, until `shutdown`.
    pub async fn run(self: Arc<Self>, inventory: Arc<Inventory>, shutdown: CancellationToken) {
        let kept = async {
            loop {
                if let Err(error) = self.keep_all(&inventory).await {
                    tracing::error!(%error, "packages cannot be watched; trying again");
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        shutdown.run_until_cancelled(kept).await;
    }

    async fn keep_all(&self, inventory: &Inventory) -> Result<(), InventoryError> {
        let (packages, revision) = inventory.snapshot(kind::PACKAGE).await?;
        let mut lacking = false;
        for package in packages {
            lacking |= !self.keep_package(package).await?;
        }
        let mut changes = inventory.watch(kind::PACKAGE, revision).await?;
        loop {
            // What nobody had is looked for again: whoever has it may be back.
            let change = tokio::select! {
                change = changes.next() => change,
                () = tokio::time::sleep(LOOK_AGAIN), if lacking => return Ok(()),
            };
            let Some(change) = change else { return Ok(()) };
            if let Some(package) = change?.after {
                lacking |= !self.keep_package(package).await?;
            }
        }
    }

    async fn keep_package(&self, package: Resource) -> Result<bool, InventoryError> {
        let package: PackageView = package.body_as()?;
        Ok(self.find(package.id.digest).await.is_some())
    }
}

/// How long until an archive is looked for again that no server had.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

#[async_trait]
impl Archives for Shelf {
    fn files(&self, digest: Digest) -> Option<(PathBuf, PathBuf)> {
        self.library.files(digest)
    }

    async fn find(&self, digest: Digest) -> Option<(PathBuf, PathBuf)> {
        if let Some(files) = self.files(digest) {
            return Some(files);
        }
        let _one = self.fetching.lock().await;
        if self.files(digest).is_none() {
            self.fetch(digest).await;
        }
        self.files(digest)
    }
}

/// Which hosts there are, asked with every task: those found alive are remembered until one is
/// struck off.
pub struct Roll {
    inventory: Arc<Inventory>,
    remembered: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    alive: HashSet<Name>,
    /// How many were struck off: an answer that was read before is not remembered after.
    struck: u64,
}

impl Roll {
    /// Of this inventory.
    pub fn new(inventory: Arc<Inventory>) -> Self {
        Roll {
            inventory,
            remembered: Mutex::default(),
        }
    }

    /// A host is recorded as dead from now on.
    pub fn strike(&self, host: &Name) {
        let mut remembered = self.remembered();
        remembered.alive.remove(host);
        remembered.struck += 1;
    }

    /// Strikes off every host that is recorded as dead, by whichever server, and ends its session,
    /// until `shutdown`.
    pub async fn run(self: Arc<Self>, fleet: Fleet, shutdown: CancellationToken) {
        let watched = async {
            loop {
                if let Err(error) = self.strike_dead(&fleet).await {
                    tracing::error!(%error, "hosts cannot be watched; trying again");
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        shutdown.run_until_cancelled(watched).await;
    }

    async fn strike_dead(&self, fleet: &Fleet) -> Result<(), InventoryError> {
        let (hosts, revision) = self.inventory.snapshot(kind::HOST).await?;
        let mut changes = self.inventory.watch(kind::HOST, revision).await?;
        let dead = |resource: Resource| -> Result<(), InventoryError> {
            let host: Host = resource.body_as()?;
            if host.state == HostState::Dead {
                self.strike(&host.name);
                fleet.forget(&host.name);
            }
            Ok(())
        };
        hosts.into_iter().try_for_each(dead)?;
        while let Some(change) = changes.next().await {
            change?.after.map_or(Ok(()), dead)?;
        }
        Ok(())
    }

    /// Held for a few instructions; no panic can leave it half changed.
    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Roster for Roll {
    /// A host that was given up does not come back.
    async fn is_known(&self, host: &Name) -> bool {
        let struck = {
            let remembered = self.remembered();
            if remembered.alive.contains(host) {
                return true;
            }
            remembered.struck
        };
        let found = self
            .inventory
            .get_as::<Host>(kind::HOST, host.as_str())
            .await;
        match found {
            Ok(Some(known)) if known.state != HostState::Dead => {
                let mut remembered = self.remembered();
                if remembered.struck == struck {
                    remembered.alive.insert(host.clone());
                }
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::error!(%host, %error, "the roster cannot be read");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tokio::net::TcpListener;
    use wright_fleet::{FleetSettings, Peer};
    use wright_package::PrivateKey;

    use super::*;
    use crate::installation::Installation;

    /// A server's shelf, its fleet and its installation.
    struct Server {
        library: Arc<Library>,
        shelf: Arc<Shelf>,
        fleet: Fleet,
        installation: Installation,
    }

    async fn server(store: &wright_store::SharedStore, dir: &Path, name: &str) -> Server {
        let own = dir.join(name);
        let installation = Installation::open(store, &own, &dir.join("master.key"))
            .await
            .unwrap();
        let inventory = Arc::new(Inventory::new(store.clone()));
        let trust = installation.trust.clone();
        let library = Library::open(&own.join("packages"), trust, inventory.clone()).unwrap();
        let library = Arc::new(library);
        let shelf = Arc::new(Shelf::new(library.clone()));
        let roll = Arc::new(Roll::new(inventory));
        let fleet = Fleet::new(roll, shelf.clone(), FleetSettings::default());
        shelf.connect(&fleet);
        Server {
            library,
            shelf,
            fleet,
            installation,
        }
    }

    /// Lets the first server be reached by the second.
    async fn connect(one: &Server, other: &Server) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let identity = one.installation.authority.issue_server(&[], &[]).unwrap();
        let shutdown = CancellationToken::new();
        let serving = wright_fleet::serve(listener, identity, one.fleet.clone(), shutdown);
        tokio::spawn(serving);
        let identity = other.installation.authority.issue_peer().unwrap();
        let peer = Peer::new("one", &address, &identity).unwrap();
        other.fleet.meet(&peer);
    }

    #[tokio::test]
    async fn an_archive_is_fetched_from_who_has_it_and_proved() {
        let dir = tempfile::tempdir().unwrap();
        let store = wright_store::open(&format!("file:{}", dir.path().join("store").display()))
            .await
            .unwrap();
        let key = PrivateKey::generate();
        key.public().save_in(&dir.path().join("one/keys")).unwrap();
        let one = server(&store, dir.path(), "one").await;
        let other = server(&store, dir.path(), "other").await;
        connect(&one, &other).await;

        let source = dir.path().join("source");
        fs::create_dir_all(&source).unwrap();
        let manifest = "name = \"demo\"\nversion = \"1.0.0\"\nrun = [\"sleep\", \"1\"]\n";
        fs::write(source.join("package.toml"), manifest).unwrap();
        let built = wright_package::build(&source, &[], &dir.path().join("out")).unwrap();
        let (digest, bytes) = (built.id.digest, fs::read(&built.archive).unwrap());
        let signature = key.sign(&digest).to_string();
        let partial = one.library.partial();
        fs::write(&partial, &bytes).unwrap();
        let pushed = one.library.push(&partial, signature.as_bytes(), "tester");
        pushed.await.unwrap();
        assert!(other.shelf.files(digest).is_none());
        let (archive, _) = other.shelf.find(digest).await.unwrap();
        assert_eq!(fs::read(&archive).unwrap(), bytes);

        // A damaged copy gets no further.
        fs::remove_file(archive).unwrap();
        let (damaged, _) = one.library.files(digest).unwrap();
        fs::write(damaged, &bytes[..bytes.len() - 1]).unwrap();
        assert!(other.shelf.find(digest).await.is_none());
        let left = fs::read_dir(dir.path().join("other/packages")).unwrap();
        let partial = |name: String| name.ends_with(".partial");
        assert!(
            !left
                .flatten()
                .any(|file| partial(file.file_name().to_string_lossy().into()))
        );
    }
}
