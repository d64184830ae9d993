use std::{fmt, sync::Arc};

use async_trait::async_trait;
use wright_store::{Revision, SharedStore};

use crate::{InventoryError, keys, kind::Kind, record::Record};

/// How many resources are read at once.
const PAGE: usize = 1000;

/// A resource that refers to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Referrer {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The field that refers.
    pub field: String,
}

/// Who knows which resources refer to one.
#[async_trait]
pub trait Referrers: Send + Sync + fmt::Debug {
    /// All that refer to `to/name`, through any of the relations of `kinds`, at `at` or later; at most
    /// `limit` of them.
    ///
    /// # Errors
    /// Where the store fails.
    async fn referrers(
        &self,
        kinds: &[Arc<Kind>],
        to: &str,
        name: &str,
        at: Revision,
        limit: usize,
    ) -> Result<Vec<Referrer>, InventoryError>;
}

/// Reads through the kinds that may refer.
#[derive(Debug)]
pub(crate) struct Scan {
    store: SharedStore,
}

impl Scan {
    pub fn new(store: SharedStore) -> Self {
        Scan { store }
    }
}

#[async_trait]
impl Referrers for Scan {
    async fn referrers(
        &self,
        kinds: &[Arc<Kind>],
        to: &str,
        name: &str,
        _at: Revision,
        limit: usize,
    ) -> Result<Vec<Referrer>, InventoryError> {
        let mut found = Vec::new();
        for kind in kinds {
            let relations: Vec<_> = kind.relations().filter(|one| one.to == to).collect();
            if relations.is_empty() {
                continue;
            }
            let mut range = keys::written_range(kind.name());
            // What reads the newest state reads no earlier one than was asked for.
            let mut at = None;
            loop {
                let page = self.store.range(range.clone(), PAGE, at).await?;
                at = Some(page.revision);
                for entry in &page.entries {
                    let record = Record::read(entry)?;
                    for relation in &relations {
                        if relation.targets(&record.body).any(|target| target == name) {
                            found.push(Referrer {
                                kind: kind.name().to_owned(),
                                name: crate::resource::name_in(&entry.key),
                                field: relation.field.to_owned(),
                            });
                        }
                    }
                    if found.len() >= limit {
                        found.truncate(limit);
                        return Ok(found);
                    }
                }
                let Some(last) = page.entries.last().filter(|_| page.more) else {
                    break;
                };
                range = range.after(&last.key);
            }
        }
        Ok(found)
    }
}
