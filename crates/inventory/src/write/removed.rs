//! What becomes of references to a resource that the platform has removed. The platform removes with
//! whatever else it commits, and asks nobody; so this comes after, and is done again until it is done:
//! what is left to do is read from the store.

use wright_store::{Entry, Guard, Operation, Range};

use super::{Author, Change, Refused, Write};
use crate::{
    Inventory, InventoryError, Referrer,
    keys::{key, own_key, referred_key},
    kind::{OnDelete, is_platform, shipped_names},
    resource::kind_and_name,
};

/// How many of those that refer are seen to at once.
const TOGETHER: usize = 100;

/// References to what the platform removes.
impl Inventory {
    /// Clears every reference to a resource of the platform that is gone, or removes who refers where its
    /// kind says so: of all that went before, and then of each that goes, until the store is closed.
    ///
    /// What restricts cannot keep the platform from removing: it is cleared. A reference that must be
    /// there is left, and told in the log.
    ///
    /// # Errors
    /// Where the store fails, or the watch fell behind: begin again.
    pub async fn keep_references(&self, author: &Author) -> Result<(), InventoryError> {
        let after = self.store.revision().await?;
        for (kind, name) in self.ever_referred_to().await? {
            self.let_go(&kind, &name, author).await?;
        }
        let mut changes = self.store.watch(Range::prefix("r/"), after).await?;
        while let Some(commit) = changes.next().await {
            for change in commit?.iter().filter(|change| change.after.is_none()) {
                let (kind, name) = kind_and_name(&change.key);
                if is_platform(&kind) {
                    self.let_go(&kind, &name, author).await?;
                }
            }
        }
        Ok(())
    }

    /// The resources of the platform that somebody refers to or did.
    async fn ever_referred_to(&self) -> Result<Vec<(String, String)>, InventoryError> {
        let mut found = Vec::new();
        for kind in shipped_names().filter(|kind| is_platform(kind)) {
            let each = |entry: Entry| found.push(kind_and_name(&entry.key));
            self.read(Range::prefix(referred_key(kind, "")), each)
                .await?;
        }
        Ok(found)
    }

    /// Sees to all that refer to a resource, if it is gone.
    async fn let_go(&self, kind: &str, name: &str, author: &Author) -> Result<(), InventoryError> {
        let touched = referred_key(kind, name);
        let parts = [key(kind, name), own_key(kind, name)];
        // Each round somebody lets go, or the last that refers cannot.
        loop {
            let Some(entry) = self.store.get(touched.as_bytes()).await? else {
                return Ok(());
            };
            for part in &parts {
                if self.store.get(part.as_bytes()).await?.is_some() {
                    return Ok(());
                }
            }
            let now = self.store.revision().await?;
            let kinds = self.all_kinds().await?;
            let referrers = self.referrers.referrers(&kinds, kind, name, now, TOGETHER);
            let referrers = referrers.await?;
            if referrers.is_empty() {
                let mut guards: Vec<Guard> = parts
                    .iter()
                    .map(|part| Guard::Absent(part.clone().into()))
                    .collect();
                guards.push(Guard::Modified(touched.clone().into(), entry.modified));
                let forget = vec![Operation::Delete(touched.into())];
                return match self.store.commit(guards, forget).await {
                    // Somebody began to refer, or it is there again: then that is how it is.
                    Err(error) if error.is_refused() => Ok(()),
                    done => Ok(done.map(drop)?),
                };
            }
            let mut let_go = 0;
            for referrer in &referrers {
                let gone = format!("{kind}/{name}");
                match self.lose(referrer, name, author).await {
                    Ok(()) => let_go += 1,
                    Err(Refused::Inventory(error)) => return Err(error),
                    Err(refused) => {
                        tracing::warn!(?referrer, gone, %refused, "a reference leads to nothing");
                    }
                }
            }
            if let_go == 0 {
                return Ok(());
            }
        }
    }

    /// A resource loses its reference to a name, or goes with it.
    async fn lose(&self, of: &Referrer, name: &str, author: &Author) -> Result<(), Refused> {
        let kind = self.kind_or_refused(&of.kind).await?;
        let Some(resource) = self.stored(&of.kind, &of.name).await? else {
            return Ok(());
        };
        let mut relations = kind.relations();
        let relation = relations.find(|relation| relation.field == of.field);
        let rule = relation.map_or(OnDelete::Clear, |relation| relation.on_delete);
        let left = match resource.body.get(&of.field) {
            Some(serde_json::Value::Array(names)) => {
                let others = names.iter().filter(|one| *one != name);
                others.cloned().collect()
            }
            _ => serde_json::Value::Null,
        };
        let change = match rule {
            OnDelete::Cascade => Change::Delete,
            OnDelete::Clear | OnDelete::Restrict => Change::Merge {
                patch: serde_json::json!({ "body": { of.field.as_str(): left } }),
            },
        };
        let write = Write::new(&of.kind, &of.name, change).expecting(resource.revision);
        match self.write(&[write], author).await {
            // It is another by now, and looked at again.
            Err(Refused::Conflict { .. } | Refused::NotFound { .. }) => Ok(()),
            done => done.map(drop),
        }
    }
}
