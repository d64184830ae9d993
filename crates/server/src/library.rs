//! The package store: archives and signatures as files by digest, facts in the inventory.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use wright_fleet::PeerError;
use wright_inventory::{Event, Inventory, InventoryError, Put};
use wright_model::Digest;
use wright_package::{Contents, Keyring, Signature};
use wright_site::Offer;

use crate::{
    api::PackageView,
    installation::{InstallationError, Trust},
    records::kind,
};

/// What the name of a file ends with while an archive is written to it.
const PARTIAL: &str = "partial";

/// The package store of one installation.
pub struct Library {
    directory: PathBuf,
    trust: Arc<Trust>,
    inventory: Arc<Inventory>,
}

/// Why a package was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// Its bytes or signature are wrong, or its signer is unknown.
    #[error(transparent)]
    Package(#[from] wright_package::Error),
    /// The same version was pushed before with other bytes.
    #[error(
        "{package} was pushed before with other bytes: a version never changes; raise it in package.toml"
    )]
    Changed {
        /// Name and version.
        package: String,
    },
    /// What was sent is not an archive with its signature.
    #[error("{0}")]
    Malformed(String),
    /// The disk failed.
    #[error("the package store: {0}")]
    Disk(#[from] io::Error),
    /// The inventory failed.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The trusted keys cannot be read.
    #[error(transparent)]
    Trust(#[from] InstallationError),
    /// Another server could not be reached for the archive.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It was taken, but no second server has it yet.
    #[error("the package is on one server only: {0}; push it again")]
    Alone(PeerError),
}

impl Library {
    /// Uses `directory` for archives; what was on its way when a server was killed goes.
    ///
    /// # Errors
    /// Where the directory cannot be made or read.
    pub fn open(
        directory: &Path,
        trust: Arc<Trust>,
        inventory: Arc<Inventory>,
    ) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        for file in fs::read_dir(directory)? {
            let path = file?.path();
            if path.extension().is_some_and(|end| end == PARTIAL) {
                fs::remove_file(path)?;
            }
        }
        Ok(Library {
            directory: directory.to_path_buf(),
            trust,
            inventory,
        })
    }

    /// A new file for an archive that is on its way.
    pub fn partial(&self) -> PathBuf {
        let unique = uuid::Uuid::now_v7();
        self.directory.join(format!("{unique}.{PARTIAL}"))
    }

    /// Keeps an archive that came from another server, if it is what it should be.
    ///
    /// # Errors
    /// Where its bytes or signature are wrong, or the disk fails.
    pub async fn keep_proved(
        &self,
        digest: Digest,
        partial: &Path,
        signature: &[u8],
    ) -> Result<bool, LibraryError> {
        let keyring = self.trust.keyring().await?;
        let (contents, _) = prove(partial, signature, &keyring)?;
        if contents.id.digest != digest {
            let message = format!("it has the digest {}", contents.id.digest);
            return Err(LibraryError::Malformed(message));
        }
        self.keep(digest, partial, signature)?;
        Ok(true)
    }

    /// Where the archive and the signature of a digest are, if they are there.
    pub fn files(&self, digest: Digest) -> Option<(PathBuf, PathBuf)> {
        let archive = self.directory.join(format!("{digest}.wpk"));
        let signature = self.directory.join(format!("{digest}.sig"));
        archive.is_file().then_some((archive, signature))
    }

    /// Takes an archive, whole in one of [`Library::partial`]'s files, after proving its signature. The
    /// same again changes nothing.
    ///
    /// # Errors
    /// See [`LibraryError`]; nothing is kept then.
    pub async fn push(
        &self,
        partial: &Path,
        signature: &[u8],
        actor: &str,
    ) -> Result<PackageView, LibraryError> {
        let pushed = self.take(partial, signature, actor).await;
        if pushed.is_err() {
            let _ = fs::remove_file(partial);
        }
        pushed
    }

    async fn take(
        &self,
        partial: &Path,
        signature: &[u8],
        actor: &str,
    ) -> Result<PackageView, LibraryError> {
        let size = fs::metadata(partial)?.len();
        let keyring = self.trust.keyring().await?;
        let (contents, key_id) = prove(partial, signature, &keyring)?;
        let (id, manifest) = (contents.id, contents.manifest);
        let digest = id.digest;
        let name = id.to_string();
        if let Some(known) = self
            .inventory
            .get_as::<PackageView>(kind::PACKAGE, &name)
            .await?
        {
            if known.id.digest != digest {
                return Err(LibraryError::Changed { package: name });
            }
            // What was taken then may have been damaged or lost since.
            self.keep(digest, partial, signature)?;
            return Ok(known);
        }
        self.keep(digest, partial, signature)?;
        let view = PackageView {
            id,
            description: manifest.description.clone(),
            platform: manifest.platform.to_string(),
            size,
            key_id,
            pushed_at: Timestamp::now(),
        };
        let put = Put::new(kind::PACKAGE, &name, &view)?;
        match self.inventory.replace(put, 0).await {
            Err(InventoryError::Store(error)) if error.is_refused() => {
                return Err(LibraryError::Changed { package: name });
            }
            done => done?,
        };
        let message = format!("pushed, {} bytes, digest {}", view.size, digest.short());
        self.inventory
            .record(&Event::new(
                actor,
                "package-pushed",
                &format!("package/{name}"),
                &message,
            ))
            .await?;
        Ok(view)
    }

    fn keep(&self, digest: Digest, partial: &Path, signature: &[u8]) -> io::Result<()> {
        let kept = write_synced(&self.directory.join(format!("{digest}.sig")), signature)
            .and_then(|()| fs::rename(partial, self.directory.join(format!("{digest}.wpk"))));
        if kept.is_err() {
            let _ = fs::remove_file(partial);
        }
        kept?;
        fs::File::open(&self.directory)?.sync_all()
    }

    /// Every package, by name and version.
    ///
    /// # Errors
    /// Where the inventory fails.
    pub async fn list(&self) -> Result<Vec<PackageView>, InventoryError> {
        let mut packages: Vec<PackageView> = self.inventory.list_as(kind::PACKAGE).await?;
        packages.sort_by(|a, b| (&a.id.name, a.id.version).cmp(&(&b.id.name, b.id.version)));
        Ok(packages)
    }

    /// What there is now, for a planner.
    ///
    /// # Errors
    /// Where the inventory fails.
    pub async fn shelf(&self) -> Result<Vec<Offer>, InventoryError> {
        let offer = |view: PackageView| Offer {
            id: view.id,
            platform: view.platform,
        };
        Ok(self.list().await?.into_iter().map(offer).collect())
    }
}

/// What is in an archive, and who signed it.
fn prove(
    partial: &Path,
    signature: &[u8],
    keyring: &Keyring,
) -> Result<(Contents, String), LibraryError> {
    let signature = Signature::try_from(signature)
        .map_err(|error| LibraryError::Malformed(error.to_string()))?;
    // Who pushed it knows nothing of our file.
    let nameless = |error: wright_package::Error| {
        let text = error.to_string();
        LibraryError::Malformed(text.replace(&partial.display().to_string(), "the archive"))
    };
    let contents = wright_package::inspect(partial).map_err(nameless)?;
    keyring.check(&contents.id, &signature)?;
    Ok((contents, signature.key_id.to_string()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
