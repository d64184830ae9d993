//! What makes one installation of several servers: its certificate authority and the keys whose
//! packages it trusts, in the store; and the master key, beside it, with which secrets are sealed.
//!
//! A data directory of an installation that had these as files is taken into the store at its next
//! start.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use wright_package::{Keyring, PublicKey};
use wright_pki::{Authority, PkiError};
use wright_store::{Guard, Operation, Range, SharedStore, StoreError};

use crate::secrets::{MasterKey, Vault, VaultError};

/// The authority's certificate and, sealed, its key.
const AUTHORITY: &str = "pki/authority";
/// Keys whose packages are trusted, by their ids.
const TRUSTED: &str = "trust/";
/// What is sealed beside the authority.
const SECRETS: &str = "secret/";

/// What every server of an installation has in common.
pub struct Installation {
    /// Who issues certificates.
    pub authority: Arc<Authority>,
    /// The secrets.
    pub vault: Arc<Vault>,
    /// Whose packages are taken.
    pub trust: Arc<Trust>,
}

/// Why a server is not of the installation.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// It has no master key.
    #[error(
        "the secrets in this store are sealed with a master key, and there is none at {path}; copy it there from another server (server/master.key in its data directory), or name it with --master-key FILE"
    )]
    NoMasterKey {
        /// Where it should be.
        path: String,
    },
    /// It has another master key.
    #[error(
        "the master key at {path} is not the one that this store's secrets are sealed with; copy that from another server (server/master.key in its data directory), or name it with --master-key FILE"
    )]
    OtherMasterKey {
        /// Where it is.
        path: String,
    },
    /// The data directory has another authority than the store.
    #[error(
        "{path} is of another installation than this store; start with an empty --data directory, or with the store that belongs to it"
    )]
    OtherInstallation {
        /// The authority's directory.
        path: String,
    },
    /// The authority cannot be made or read.
    #[error(transparent)]
    Authority(#[from] PkiError),
    /// The master key cannot be read or made.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is in the store cannot be read.
    #[error("{AUTHORITY} in the store cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The keys of packages cannot be read or written.
    #[error(transparent)]
    Keys(#[from] wright_package::Error),
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    certificate: String,
    key: Vec<u8>,
}

impl Installation {
    /// Opens the installation that the store is of, or begins one. `own` is the server's part of its
    /// data directory: `pki` and `keys` below it are taken into the store.
    ///
    /// # Errors
    /// See [`InstallationError`]; each says what to do.
    pub async fn open(
        store: &SharedStore,
        own: &Path,
        master_key: &Path,
    ) -> Result<Self, InstallationError> {
        let path = || master_key.display().to_string();
        let key = match MasterKey::load(master_key)? {
            Some(key) => key,
            None if holds_secrets(store).await? => {
                return Err(InstallationError::NoMasterKey { path: path() });
            }
            None => MasterKey::make(master_key)?,
        };
        let vault = Arc::new(Vault::new(store.clone(), &key));
        let authority = match authority(store, &vault, &own.join("pki")).await {
            Err(InstallationError::Vault(VaultError::Sealed(_))) => {
                return Err(InstallationError::OtherMasterKey { path: path() });
            }
            authority => Arc::new(authority?),
        };
        let trust = Arc::new(Trust {
            store: store.clone(),
            directory: own.join("keys"),
        });
        trust.keyring().await?;
        Ok(Installation {
            authority,
            vault,
            trust,
        })
    }
}

async fn holds_secrets(store: &SharedStore) -> Result<bool, StoreError> {
    let secrets = store.range(Range::prefix(SECRETS), 1, None).await?;
    Ok(!secrets.entries.is_empty() || store.get(AUTHORITY.as_bytes()).await?.is_some())
}

/// The store's authority. Where it has none, the directory's becomes that, or a new one, which is
/// then kept there, too.
async fn authority(
    store: &SharedStore,
    vault: &Vault,
    directory: &Path,
) -> Result<Authority, InstallationError> {
    let mine = if directory.join("ca.pem").exists() {
        Some(Authority::load(directory)?)
    } else {
        None
    };
    let mut made = None;
    loop {
        if let Some(entry) = store.get(AUTHORITY.as_bytes()).await? {
            let Sealed { certificate, key } = serde_json::from_slice(&entry.value)?;
            let key = vault.unseal(AUTHORITY, &key)?;
            if mine.is_some_and(|mine| mine.certificate() != certificate) {
                return Err(InstallationError::OtherInstallation {
                    path: directory.display().to_string(),
                });
            }
            let authority = Authority::from_pem(certificate, key)?;
            if made.is_some_and(|made: String| made == authority.certificate()) {
                authority.save(directory)?;
            }
            return Ok(authority);
        }
        let fresh;
        let first = match &mine {
            Some(mine) => mine,
            None => {
                fresh = Authority::generate()?;
                made = Some(fresh.certificate().to_owned());
                &fresh
            }
        };
        let sealed = Sealed {
            certificate: first.certificate().to_owned(),
            key: vault.seal(AUTHORITY, first.key().as_bytes())?,
        };
        let put = Operation::put(AUTHORITY, serde_json::to_vec(&sealed)?);
        match store
            .commit(vec![Guard::Absent(AUTHORITY.into())], vec![put])
            .await
        {
            Err(error) if !error.is_refused() => return Err(error.into()),
            // Whoever was first, it is read back.
            _ => {}
        }
    }
}

/// Whose packages are taken: the keys in the store. A directory has a copy, which agents are given
/// and to which keys are added by hand.
pub struct Trust {
    store: SharedStore,
    directory: PathBuf,
}

impl Trust {
    /// All keys that are trusted now; those of the directory and of the store are made the same.
    ///
    /// # Errors
    /// Where the store or the directory fails, or a key cannot be read.
    pub async fn keyring(&self) -> Result<Keyring, InstallationError> {
        let mut keyring = Keyring::load(&self.directory)?;
        let page = self
            .store
            .range(Range::prefix(TRUSTED), 0, None)
            .await?
            .entries;
        let stored: Vec<PublicKey> = page
            .iter()
            .filter_map(|entry| PublicKey::from_bytes(entry.value.as_ref().try_into().ok()?))
            .collect();
        let new = keyring.keys().filter(|key| !stored.contains(key));
        let puts: Vec<Operation> = new
            .map(|key| Operation::put(format!("{TRUSTED}{}", key.id()), key.as_bytes().to_vec()))
            .collect();
        if !puts.is_empty() {
            self.store.commit(Vec::new(), puts).await?;
        }
        for key in stored {
            if keyring.get(&key.id()).is_none() {
                key.save_in(&self.directory)?;
            }
            keyring.trust(key);
        }
        Ok(keyring)
    }
}

/// The id of a server, made once for a data directory: a server that is started again takes up at
/// once what it was doing. Held, so that no two servers have one.
#[derive(Debug)]
pub struct ServerId {
    /// The id.
    pub id: String,
    _held: File,
}

impl ServerId {
    /// Reads the id of a data directory, or makes it.
    ///
    /// # Errors
    /// Where it cannot be read or written, or another server has the directory.
    pub fn hold(own: &Path) -> io::Result<Self> {
        let file = own.join("id");
        let mut held = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&file)?;
        held.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("another server runs in {}", own.display()),
            ),
            TryLockError::Error(error) => error,
        })?;
        let mut id = String::new();
        held.read_to_string(&mut id)?;
        // A torn one was told to nobody.
        if id.parse::<uuid::Uuid>().is_err() {
            id = uuid::Uuid::now_v7().to_string();
            held.set_len(0)?;
            held.write_all(id.as_bytes())?;
            held.sync_all()?;
        }
        Ok(ServerId { id, _held: held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn store(dir: &Path) -> SharedStore {
        wright_store::open(&format!("file:{}", dir.join("store").display()))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn servers_of_one_store_and_master_key_have_one_authority() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        let key = dir.path().join("master.key");
        let one = Installation::open(&store, &dir.path().join("one"), &key).await;
        let other = Installation::open(&store, &dir.path().join("other"), &key).await;
        let certificate = |opened: Result<Installation, InstallationError>| {
            opened.unwrap().authority.certificate().to_owned()
        };
        assert_eq!(certificate(one), certificate(other));
        let kept = store.get(AUTHORITY.as_bytes()).await.unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&kept.value).contains("PRIVATE"));
    }

    #[tokio::test]
    async fn the_files_of_an_installation_are_taken_into_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("server");
        let before = Authority::open(&own.join("pki")).unwrap();
        let key = wright_package::PrivateKey::generate().public();
        key.save_in(&own.join("keys")).unwrap();
        let (store, master) = (store(dir.path()).await, dir.path().join("master.key"));
        Installation::open(&store, &own, &master).await.unwrap();
        let elsewhere = Installation::open(&store, &dir.path().join("b"), &master)
            .await
            .unwrap();
        assert_eq!(elsewhere.authority.certificate(), before.certificate());
        let keyring = elsewhere.trust.keyring().await.unwrap();
        assert!(keyring.get(&key.id()).is_some());
        assert!(
            Keyring::load(&dir.path().join("b/keys"))
                .unwrap()
                .get(&key.id())
                .is_some()
        );
    }

    #[tokio::test]
    async fn a_missing_or_wrong_master_key_is_refused_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        let (own, key) = (dir.path().join("one"), dir.path().join("master.key"));
        Installation::open(&store, &own, &key).await.unwrap();
        let other = dir.path().join("other.key");
        let missing = Installation::open(&store, &dir.path().join("b"), &other).await;
        assert!(matches!(
            missing,
            Err(InstallationError::NoMasterKey { .. })
        ));
        assert!(!other.exists());
        MasterKey::make(&other).unwrap();
        let wrong = Installation::open(&store, &dir.path().join("b"), &other).await;
        assert!(matches!(
            wrong,
            Err(InstallationError::OtherMasterKey { .. })
        ));
    }

    #[tokio::test]
    async fn a_data_directory_of_another_installation_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (store, key) = (store(dir.path()).await, dir.path().join("master.key"));
        Installation::open(&store, &dir.path().join("a"), &key)
            .await
            .unwrap();
        let other = dir.path().join("b");
        Authority::open(&other.join("pki")).unwrap();
        let refused = Installation::open(&store, &other, &key).await;
        assert!(matches!(
            refused,
            Err(InstallationError::OtherInstallation { .. })
        ));
    }

    #[test]
    fn a_servers_id_stays_and_is_one_servers_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = ServerId::hold(dir.path()).unwrap();
        assert!(ServerId::hold(dir.path()).is_err());
        let id = first.id.clone();
        drop(first);
        assert_eq!(ServerId::hold(dir.path()).unwrap().id, id);
    }
}
