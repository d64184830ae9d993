use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use wright_store::{Operation, SharedStore, StoreError};

/// 19 MiB, two passes: the first of the OWASP recommendations for Argon2id.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
/// The shortest password, characters (NIST SP 800-63B, 3.1.1, for one that is the only factor: 15;
/// with a throttle at every door this is enough).
const SHORTEST: usize = 12;
/// The longest password, bytes.
const LONGEST: usize = 1024;

/// Why a password was not set or tried.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too short or too long.
    #[error("a password has {SHORTEST} characters at least and {LONGEST} bytes at most")]
    Length,
    /// What is kept of it cannot be read.
    #[error("what is kept of the password of {user} cannot be read: {why}")]
    Unreadable {
        /// Whose.
        user: String,
        /// Why.
        why: String,
    },
    /// The key could not be derived.
    #[error("the password's key cannot be derived: {0}")]
    Derive(String),
}

/// What is kept of a password.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    salt: [u8; SALT_BYTES],
    key: [u8; KEY_BYTES],
    memory_kib: u32,
    passes: u32,
}

/// Local users' passwords, as Argon2id keys (RFC 9106). One is derived at a time, in the same memory:
/// a flood of attempts costs one core and no more memory than one attempt.
#[derive(Debug, Clone)]
pub struct Passwords {
    store: SharedStore,
    memory: Arc<Mutex<Vec<Block>>>,
}

fn key(user: &str) -> String {
    format!("password/{user}")
}

impl Passwords {
    /// Those in this store.
    pub fn new(store: SharedStore) -> Self {
        Passwords {
            store,
            memory: Arc::default(),
        }
    }

    /// Sets a user's password.
    ///
    /// # Errors
    /// Where it is too short or too long, or the store fails.
    pub async fn set(&self, user: &str, password: &str) -> Result<(), PasswordError> {
        if password.chars().count() < SHORTEST || password.len() > LONGEST {
            return Err(PasswordError::Length);
        }
        let salt: [u8; SALT_BYTES] = rand::rng().random();
        let kept = Kept {
            salt,
            key: self.derive(password, salt, MEMORY_KIB, PASSES).await?,
            memory_kib: MEMORY_KIB,
            passes: PASSES,
        };
        let value = serde_json::to_vec(&kept).map_err(|error| unreadable(user, &error))?;
        let put = Operation::put(key(user), value);
        self.store.commit(Vec::new(), vec![put]).await?;
        Ok(())
    }

    /// Takes a user's password away: he can no longer log in with one.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget(&self, user: &str) -> Result<(), PasswordError> {
        let delete = Operation::Delete(key(user).into());
        self.store.commit(Vec::new(), vec![delete]).await?;
        Ok(())
    }

    /// Whether this is the user's password. Takes as long where there is no such user.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn is(&self, user: &str, password: &str) -> Result<bool, PasswordError> {
        let entry = self.store.get(key(user).as_bytes()).await?;
        let kept: Option<Kept> = entry
            .map(|entry| serde_json::from_slice(&entry.value))
            .transpose()
            .map_err(|error| unreadable(user, &error))?;
        let nobody = Kept {
            salt: [0; SALT_BYTES],
            key: [0; KEY_BYTES],
            memory_kib: MEMORY_KIB,
            passes: PASSES,
        };
        let known = kept.is_some();
        let kept = kept.unwrap_or(nobody);
        if password.len() > LONGEST {
            return Ok(false);
        }
        let derived = self.derive(password, kept.salt, kept.memory_kib, kept.passes);
        Ok(same(&derived.await?, &kept.key) && known)
    }

    /// Slow by design, so not on a thread that serves.
    async fn derive(
        &self,
        password: &str,
        salt: [u8; SALT_BYTES],
        memory_kib: u32,
        passes: u32,
    ) -> Result<[u8; KEY_BYTES], PasswordError> {
        let (memory, password) = (self.memory.clone(), password.to_owned());
        let derive = move || {
            let params = Params::new(memory_kib, passes, 1, Some(KEY_BYTES))?;
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.resize(params.block_count(), Block::default());
            let mut key = [0; KEY_BYTES];
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into_with_memory(
                    password.as_bytes(),
                    &salt,
                    &mut key,
                    memory.as_mut_slice(),
                )?;
            Ok::<_, argon2::Error>(key)
        };
        tokio::task::spawn_blocking(derive)
            .await
            .map_err(|error| PasswordError::Derive(error.to_string()))?
            .map_err(|error| PasswordError::Derive(error.to_string()))
    }
}

fn unreadable(user: &str, error: &serde_json::Error) -> PasswordError {
    PasswordError::Unreadable {
        user: user.to_owned(),
        why: error.to_string(),
    }
}

/// Compares without telling by its time where the first difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}
