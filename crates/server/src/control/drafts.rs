//! What is kept of the last plans, so that the next plan of a site costs what has changed.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use wright_model::Name;
use wright_site::{Bundle, Pieces};

/// Sites of whose last plan the pieces are kept: those of 20,000 instances are some tens of MiB.
const SITES: usize = 4;

/// The pieces of the last plans of some sites.
#[derive(Debug, Default)]
pub struct Drafts(Mutex<VecDeque<(Name, Pieces)>>);

impl Drafts {
    /// Held for a few instructions.
    fn all(&self) -> MutexGuard<'_, VecDeque<(Name, Pieces)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is kept of a site. Who comes at the same time finds nothing, and makes all anew.
    pub(super) fn of(&self, bundle: &Bundle) -> Kept<'_> {
        let site = bundle.site();
        let mut all = self.all();
        let place = all.iter().position(|(name, _)| Some(name) == site.as_ref());
        let kept = place.and_then(|place| all.remove(place));
        Kept {
            drafts: self,
            site,
            pieces: kept.map(|(_, pieces)| pieces).unwrap_or_default(),
        }
    }
}

/// The pieces of a site; given back when this is dropped.
pub(super) struct Kept<'a> {
    drafts: &'a Drafts,
    site: Option<Name>,
    pub pieces: Pieces,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let Some(site) = self.site.take() else {
            return;
        };
        let mut all = self.drafts.all();
        all.retain(|(name, _)| *name != site);
        all.push_front((site, std::mem::take(&mut self.pieces)));
        all.truncate(SITES);
    }
}
