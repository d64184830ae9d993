//! What the fleet asks of the rooms beside it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use wright_fleet::{Archives, Roster};
use wright_inventory::Inventory;
use wright_model::{Digest, Host, HostState, Name};

use crate::{library::Library, records::kind};

/// The archives that agents may fetch.
pub fn archives(library: Arc<Library>) -> Arc<dyn Archives> {
    Arc::new(move |digest: Digest| library.files(digest))
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
