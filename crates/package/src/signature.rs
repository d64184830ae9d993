//! Who vouches for an archive.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use ed25519_dalek::Signer;
use wright_model::{Digest, PackageId};

use crate::{Error, KeyId, Keyring, PrivateKey, tree};

/// What stands before the digest in every signed message, so that a signature made for anything
/// else never counts for a package.
const DOMAIN: &[u8] = b"wright package signature v1\0";

const HEADER: &str = "wright-signature-1";

/// An archive's detached signature: Ed25519 over the archive's BLAKE3 digest.
///
/// As a file, one line: `wright-signature-1 KEY SIGNATURE`, both in hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key that signed.
    pub key_id: KeyId,
    /// The 64 bytes of RFC 8032.
    pub signature: [u8; 64],
}

/// A text that is not a [`Signature`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a package's signature: one line `{HEADER} KEY SIGNATURE` was expected; sign the package again"
)]
pub struct SignatureError;

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEADER} {} ", self.key_id)?;
        self.signature
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let mut words = text.split_ascii_whitespace();
        let (Some(HEADER), Some(key), Some(hex), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(SignatureError);
        };
        let key_id = key.parse().map_err(|_| SignatureError)?;
        if hex.len() != 128 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(SignatureError);
        }
        let mut signature = [0; 64];
        for (index, byte) in signature.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16)
                .map_err(|_| SignatureError)?;
        }
        Ok(Signature { key_id, signature })
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = SignatureError;

    fn try_from(file: &[u8]) -> Result<Self, SignatureError> {
        std::str::from_utf8(file)
            .map_err(|_| SignatureError)?
            .parse()
    }
}

impl PrivateKey {
    /// Signs the archive with this digest.
    pub fn sign(&self, archive: &Digest) -> Signature {
        Signature {
            key_id: self.public().id(),
            signature: self.0.sign(&message(archive)).to_bytes(),
        }
    }
}

impl Keyring {
    /// Says whether a trusted key signed the archive of this package, without reading the archive.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] or [`Error::WrongSignature`].
    pub fn check(&self, package: &PackageId, signature: &Signature) -> Result<(), Error> {
        let key = signature.key_id.clone();
        let Some(public) = self.get(&key) else {
            return Err(Error::UnknownKey {
                package: package.to_string(),
                key,
            });
        };
        public
            .0
            .verify_strict(&message(&package.digest), &signature.signature.into())
            .map_err(|_| Error::WrongSignature {
                package: package.to_string(),
                key,
            })
    }
}

/// Says whether an archive has the bytes of this package and a trusted key signed them.
///
/// # Errors
/// [`Error::WrongDigest`], [`Error::UnknownKey`], [`Error::WrongSignature`], or [`Error::Io`].
pub fn verify(
    archive: &Path,
    package: &PackageId,
    signature: &Signature,
    keyring: &Keyring,
) -> Result<(), Error> {
    let actual = digest_of(archive)?;
    if actual != package.digest {
        return Err(Error::WrongDigest {
            package: package.to_string(),
            expected: package.digest,
            actual,
        });
    }
    keyring.check(package, signature)
}

/// The digest of an archive file, read as a stream.
///
/// # Errors
/// Where it cannot be read.
pub fn digest_of(archive: &Path) -> Result<Digest, Error> {
    tree::hash_file(archive).map(|(digest, _)| digest)
}

/// Where an archive's detached signature lies: beside it, with `.sig` behind its name.
pub fn signature_path(archive: &Path) -> PathBuf {
    let mut name = archive.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

fn message(archive: &Digest) -> Vec<u8> {
    [DOMAIN, archive.as_bytes()].concat()
}
