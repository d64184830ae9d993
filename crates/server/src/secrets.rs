//! Secrets that baselines ask for: generated once per site, sealed in the store, opened only to be
//! handed to the agent that runs the program.
//!
//! Sealed with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) under the installation's key, which
//! lies outside the store in a file that only the server's user can read. The secret's name is
//! authenticated with it, so that a sealed value cannot be moved to another name.

use std::{fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use chacha20poly1305::{
    Key, KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use rand::RngExt as _;
use wright_inventory::Sealer;
use wright_model::{Name, token::Token};
use wright_store::{Guard, Operation, Range, SharedStore, StoreError};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";

/// The vault of one installation.
pub struct Vault {
    store: SharedStore,
    cipher: XChaCha20Poly1305,
}

/// Why a secret is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key file cannot be read or made.
    #[error("the installation's key {path}: {source}")]
    Key {
        /// Where it should be.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is in the store was sealed with another key or changed.
    #[error("the secret {0} cannot be opened: it was sealed with another key, or changed")]
    Sealed(String),
    /// Nobody generated it.
    #[error("there is no secret {0}")]
    Missing(String),
}

/// The installation's key. It is outside the store, in a file that only the server's user can read.
pub struct MasterKey([u8; KEY_BYTES]);

impl MasterKey {
    /// Reads it, if the file is there.
    ///
    /// # Errors
    /// Where the file cannot be read or has the wrong length.
    pub fn load(file: &Path) -> Result<Option<Self>, VaultError> {
        let failed = |source| VaultError::Key {
            path: file.display().to_string(),
            source,
        };
        let key = match fs::read(file) {
            Ok(key) => key,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let key = key.try_into().map_err(|_| {
            failed(io::Error::new(
                io::ErrorKind::InvalidData,
                "32 bytes were expected",
            ))
        })?;
        Ok(Some(MasterKey(key)))
    }

    /// Makes one, and the file (mode 0600).
    ///
    /// # Errors
    /// Where the file is there, or cannot be made.
    pub fn make(file: &Path) -> Result<Self, VaultError> {
        make_key(file)
            .map(MasterKey)
            .map_err(|source| VaultError::Key {
                path: file.display().to_string(),
                source,
            })
    }
}

impl Vault {
    /// The vault that this key opens.
    pub fn new(store: SharedStore, key: &MasterKey) -> Self {
        Vault {
            store,
            cipher: XChaCha20Poly1305::new(&Key::from(key.0)),
        }
    }

    /// Makes the secrets of a site that do not exist yet; those that exist stay as they are.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn ensure(
        &self,
        site: &Name,
        wanted: &[(Name, Name, usize)],
    ) -> Result<(), VaultError> {
        for (app, name, length) in wanted {
            let key = secret_key(site, app, name);
            let value = generate(*length);
            let sealed = self.seal(&key, value.as_bytes())?;
            let guard = vec![Guard::Absent(key.clone().into())];
            match self
                .store
                .commit(guard, vec![Operation::put(key, sealed)])
                .await
            {
                Ok(_) => {}
                Err(error) if error.is_refused() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// A text with its secret tokens replaced by their values.
    ///
    /// # Errors
    /// Where a secret is missing or cannot be opened.
    pub async fn fill(&self, site: &Name, text: &str) -> Result<String, VaultError> {
        let mut values = std::collections::BTreeMap::new();
        for token in wright_model::token::find(text) {
            if let Token::Secret { app, name } = &token {
                let value = self.open_secret(&secret_key(site, app, name)).await?;
                values.insert(token, value);
            }
        }
        wright_model::token::replace(text, |token| Ok(values.get(token).cloned()))
    }

    /// Forgets every secret of a site.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget(&self, site: &Name) -> Result<(), VaultError> {
        let range = Range::prefix(format!("secret/{site}/"));
        self.store
            .commit(Vec::new(), vec![Operation::DeleteRange(range)])
            .await?;
        Ok(())
    }

    /// Seals a value that is kept under this key of the store, and opens nowhere else.
    ///
    /// # Errors
    /// Where it is too large to be sealed.
    pub fn seal(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce: [u8; NONCE_BYTES] = rand::rng().random();
        let payload = Payload {
            msg: value,
            aad: key.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| VaultError::Sealed(key.to_owned()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    async fn open_secret(&self, key: &str) -> Result<String, VaultError> {
        let entry = self
            .store
            .get(key.as_bytes())
            .await?
            .ok_or_else(|| VaultError::Missing(key.to_owned()))?;
        self.unseal(key, &entry.value)
    }

    /// The text that was sealed under this key of the store.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] where another key sealed it, it was changed, or is no text.
    pub fn unseal(&self, key: &str, value: &[u8]) -> Result<String, VaultError> {
        let broken = || VaultError::Sealed(key.to_owned());
        let (nonce, sealed) = value
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(broken)?;
        let payload = Payload {
            msg: sealed,
            aad: key.as_bytes(),
        };
        let value = self
            .cipher
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| broken())?;
        String::from_utf8(value).map_err(|_| broken())
    }
}

/// Where the secret fields of resources are sealed for, so that none opens as another secret.
fn field_place(place: &str) -> String {
    format!("resource/{place}")
}

impl Sealer for Vault {
    fn seal(&self, place: &str, clear: &str) -> Result<String, String> {
        let sealed = self.seal(&field_place(place), clear.as_bytes());
        let sealed = sealed.map_err(|error| error.to_string())?;
        Ok(BASE64_STANDARD.encode(sealed))
    }

    fn open(&self, place: &str, sealed: &str) -> Result<String, String> {
        let sealed = BASE64_STANDARD
            .decode(sealed)
            .map_err(|error| error.to_string())?;
        let opened = self.unseal(&field_place(place), &sealed);
        opened.map_err(|error| error.to_string())
    }
}

/// Nothing of its key.
impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

fn secret_key(site: &Name, app: &Name, name: &Name) -> String {
    format!("secret/{site}/{app}/{name}")
}

/// Letters and digits that cannot be taken for each other; 5.8 bits each.
fn generate(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
        .collect()
}

fn make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let key: [u8; KEY_BYTES] = rand::rng().random();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&key)?;
    file.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    async fn vault(dir: &Path) -> Vault {
        let store = wright_store::open(&format!("file:{}", dir.display()))
            .await
            .unwrap();
        Vault::new(store, &MasterKey::make(&dir.join("key")).unwrap())
    }

    #[tokio::test]
    async fn a_secret_is_made_once_and_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let (site, wanted) = (name("shop"), [(name("db"), name("password"), 24)]);
        vault.ensure(&site, &wanted).await.unwrap();
        let text = Token::Secret {
            app: name("db"),
            name: name("password"),
        }
        .to_string();
        let first = vault.fill(&site, &text).await.unwrap();
        vault.ensure(&site, &wanted).await.unwrap();
        assert_eq!(vault.fill(&site, &text).await.unwrap(), first);
        assert_eq!(first.len(), 24);
        let stored = vault
            .store
            .get(b"secret/shop/db/password")
            .await
            .unwrap()
            .unwrap()
            .value;
        assert!(
            !stored
                .windows(first.len())
                .any(|window| window == first.as_bytes())
        );
    }

    #[tokio::test]
    async fn a_sealed_value_does_not_open_under_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        vault
            .ensure(&name("shop"), &[(name("db"), name("password"), 24)])
            .await
            .unwrap();
        let stored = vault
            .store
            .get(b"secret/shop/db/password")
            .await
            .unwrap()
            .unwrap()
            .value;
        vault
            .store
            .commit(
                Vec::new(),
                vec![Operation::put("secret/shop/web/password", stored)],
            )
            .await
            .unwrap();
        let text = Token::Secret {
            app: name("web"),
            name: name("password"),
        }
        .to_string();
        assert!(matches!(
            vault.fill(&name("shop"), &text).await,
            Err(VaultError::Sealed(_))
        ));
    }
}
