//! Who signs packages, and whose signatures are trusted.

use std::{
    collections::BTreeMap,
    fmt, fs,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    str::FromStr,
};

use ed25519_dalek::{
    SigningKey, VerifyingKey,
    pkcs8::{
        DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
        spki::der::pem::LineEnding,
    },
};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The name of a public key: the first sixteen hexadecimal digits of the BLAKE3 hash of its 32 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

/// A text that is not a [`KeyId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key's name: 16 hexadecimal digits were expected")]
pub struct KeyIdError(String);

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        if text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(KeyId(text.to_owned()))
        } else {
            Err(KeyIdError(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyIdError;

    fn try_from(text: String) -> Result<Self, KeyIdError> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key that signs packages (Ed25519, RFC 8032). Wiped from memory when dropped; its `Debug` does
/// not show it.
pub struct PrivateKey(pub(crate) SigningKey);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public().id())
    }
}

impl PrivateKey {
    /// A new key from the system's randomness.
    pub fn generate() -> Self {
        PrivateKey(SigningKey::from_bytes(&rand::random()))
    }

    /// Writes the key to a new file that only its owner can read (PKCS #8 PEM, mode 600), which
    /// `openssl pkey` reads too.
    ///
    /// # Errors
    /// Where the file exists already, or cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), Error> {
        // Without the optional public key in it (PKCS #8 version 1), older OpenSSL reads it as well.
        let bytes = KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        let pem = bytes
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| bad_key(file, error))?;
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        let mut open = match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists {
                    path: file.to_owned(),
                });
            }
            other => other.map_err(Error::io("create", file))?,
        };
        open.write_all(pem.as_bytes())
            .and_then(|()| open.sync_all())
            .map_err(Error::io("write", file))
    }

    /// Reads a key from a PKCS #8 PEM file that only its owner can read.
    ///
    /// # Errors
    /// Where it cannot be read, others can read it too, or it is not an Ed25519 key.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let metadata = fs::metadata(file).map_err(Error::io("read", file))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let why = format!(
                "others can read it (mode {mode:o}); chmod 600 it, and replace it if somebody did"
            );
            return Err(Error::BadKey {
                path: file.to_owned(),
                why,
            });
        }
        let pem = fs::read_to_string(file).map_err(Error::io("read", file))?;
        SigningKey::from_pkcs8_pem(&pem)
            .map(PrivateKey)
            .map_err(|error| bad_key(file, error))
    }

    /// The key by which others verify.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

/// A key that verifies signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(pub(crate) VerifyingKey);

impl PublicKey {
    /// The key's name.
    pub fn id(&self) -> KeyId {
        KeyId(blake3::hash(self.0.as_bytes()).to_hex()[..16].to_owned())
    }

    /// The 32 bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Takes the 32 bytes of a key; `None` where they are none, or one that verifies anything.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        VerifyingKey::from_bytes(bytes)
            .ok()
            .filter(|key| !key.is_weak())
            .map(PublicKey)
    }

    /// The key as PEM (SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// Where it cannot be encoded, which no key is known for.
    pub fn to_pem(&self) -> Result<String, Error> {
        self.0
            .to_public_key_pem(LineEnding::LF)
            .map_err(|error| bad_key(Path::new("the public key"), error))
    }

    /// Reads a key from a PEM file.
    ///
    /// # Errors
    /// Where it cannot be read, or is not an Ed25519 public key.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let pem = fs::read_to_string(file).map_err(Error::io("read", file))?;
        let key = VerifyingKey::from_public_key_pem(&pem).map_err(|error| bad_key(file, error))?;
        if key.is_weak() {
            return Err(bad_key(file, "it is weak: it would verify almost anything"));
        }
        Ok(PublicKey(key))
    }

    /// Puts the key into a keyring's directory, as `{id}.pem`, and says where.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn save_in(&self, dir: &Path) -> Result<PathBuf, Error> {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let file = dir.join(format!("{}.pem", self.id()));
        fs::write(&file, self.to_pem()?).map_err(Error::io("write", &file))?;
        Ok(file)
    }
}

fn bad_key(file: &Path, why: impl fmt::Display) -> Error {
    let why = format!("an Ed25519 key in PEM was expected ({why})");
    Error::BadKey {
        path: file.to_owned(),
        why,
    }
}

/// The public keys that are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring(BTreeMap<KeyId, PublicKey>);

impl Keyring {
    /// Reads every `*.pem` in a directory. No directory: nobody is trusted.
    ///
    /// # Errors
    /// Where one of them is not a public key.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Keyring::default()),
            other => other.map_err(Error::io("read", dir))?,
        };
        let mut keyring = Keyring::default();
        for entry in entries {
            let path = entry.map_err(Error::io("read", dir))?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                keyring.trust(PublicKey::load(&path)?);
            }
        }
        Ok(keyring)
    }

    /// Trusts a key.
    pub fn trust(&mut self, key: PublicKey) {
        self.0.insert(key.id(), key);
    }

    /// The trusted key of this name.
    pub fn get(&self, id: &KeyId) -> Option<&PublicKey> {
        self.0.get(id)
    }

    /// Every trusted key, by name.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.values()
    }
}

impl FromIterator<PublicKey> for Keyring {
    fn from_iter<I: IntoIterator<Item = PublicKey>>(keys: I) -> Self {
        Keyring(keys.into_iter().map(|key| (key.id(), key)).collect())
    }
}
