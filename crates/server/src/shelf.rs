//! What the fleet and the planner ask of the rooms beside them.

use std::sync::Arc;

use async_trait::async_trait;
use wright_fleet::{Archives, Roster};
use wright_inventory::Inventory;
use wright_model::{Digest, Host, HostState, Name, PackageId, VersionReq};
use wright_site::{Catalog, Offer};

use crate::{
    library::{Library, Shelf},
    records::kind,
};

/// The archives that agents may fetch.
pub fn archives(library: Arc<Library>) -> Arc<dyn Archives> {
    Arc::new(move |digest: Digest| library.files(digest))
}

struct FromInventory(Arc<Inventory>);

#[async_trait]
impl Roster for FromInventory {
    /// A host that was given up does not come back.
    async fn is_known(&self, host: &Name) -> bool {
        match self.0.get_as::<Host>(kind::HOST, host.as_str()).await {
            Ok(Some(host)) => host.state != HostState::Dead,
            Ok(None) => false,
            Err(error) => {
                tracing::error!(%host, %error, "the roster cannot be read");
                false
            }
        }
    }
}

/// The hosts whose agents may call.
pub fn roster(inventory: Arc<Inventory>) -> Arc<dyn Roster> {
    Arc::new(FromInventory(inventory))
}

impl Catalog for Shelf {
    fn newest(&self, wanted: &VersionReq) -> Option<Offer> {
        let view = Shelf::newest(self, wanted)?;
        Some(Offer {
            id: view.id.clone(),
            platform: view.platform.clone(),
        })
    }

    fn packages(&self) -> Vec<PackageId> {
        Shelf::packages(self)
            .iter()
            .map(|view| view.id.clone())
            .collect()
    }
}
