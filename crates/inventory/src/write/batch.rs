use std::{collections::HashSet, sync::Arc};

use futures::future::try_join_all;
use jiff::Timestamp;
use serde_json::{Map, Value};
use wright_store::{Entry, Guard, Revision, StoreError};

use super::{
    Author, BatchKinds, Change, Outcome, Refused, Write, Written, cascade,
    draft::{Draft, Pen},
    plan::{Meaning, Plan, claim_key},
};
use crate::{
    GROUP, Inventory,
    keys::{key, own_key},
    kind::Kind,
    record::Record,
};

/// All resources of a write, drawn up.
pub(super) struct Batch {
    pub drafts: Vec<Draft>,
    /// Guards of what was looked at and found.
    pub seen: Vec<(Guard, Meaning)>,
}

impl Batch {
    /// Reads what the writes need and draws them up. A dry run reads also what a commit's guards
    /// would find out.
    pub async fn draw(
        inventory: &Inventory,
        writes: &[Write],
        author: &Author,
        dry: bool,
    ) -> Result<Self, Refused> {
        let mut named = HashSet::with_capacity(writes.len());
        for write in writes {
            if !named.insert((&write.kind, &write.name)) {
                let twice = format!("{}/{} is twice in one transaction", write.kind, write.name);
                return Err(Refused::Together(twice));
            }
        }
        let mut kinds = BatchKinds::new();
        for write in writes {
            if !kinds.contains_key(&write.kind) {
                let kind = inventory.kind_or_refused(&write.kind).await?;
                kinds.insert(write.kind.clone(), kind);
            }
        }
        let pen = Pen {
            author,
            sealer: inventory.sealer.as_deref(),
            now: Timestamp::now(),
        };
        let read = writes.iter().map(|write| {
            let platform = kinds
                .get(&write.kind)
                .is_some_and(|kind| kind.is_platform());
            // The guard of its absence says enough of what is to be made.
            let blind = matches!(write.change, Change::Create(_)) && !platform && !dry;
            inventory.parts(&write.kind, &write.name, platform, blind)
        });
        let read = try_join_all(read).await.map_err(Refused::store)?;
        let mut drafts = Vec::with_capacity(writes.len());
        let mut violations = Vec::new();
        for (write, (own, platform)) in writes.iter().zip(read) {
            let record = |entry: Option<Entry>| entry.as_ref().map(Record::read).transpose();
            let kind = match kinds.get(&write.kind) {
                Some(kind) => kind.clone(),
                None => inventory.kind_or_refused(&write.kind).await?,
            };
            let discovered = inventory.discovered(&write.kind, &write.name).await?;
            match pen.draw(kind, write, record(own)?, record(platform)?, discovered) {
                Ok(draft) => drafts.push(draft),
                // What is wrong with all of them is told at once.
                Err(Refused::Invalid(mut wrong)) => violations.append(&mut wrong),
                Err(other) => return Err(other),
            }
        }
        if !violations.is_empty() {
            return Err(Refused::Invalid(violations));
        }
        let mut batch = Batch {
            drafts,
            seen: Vec::new(),
        };
        inventory.check_groups(batch.groups()).await?;
        cascade::follow(inventory, &mut batch, &pen).await?;
        batch.look_at_platform(inventory).await?;
        batch.look_at_claims(inventory).await?;
        Ok(batch)
    }

    /// The groups among what is written, and what they are to be.
    fn groups(&self) -> Vec<(String, Map<String, Value>)> {
        let groups = self
            .drafts
            .iter()
            .filter(|draft| draft.kind.name() == GROUP);
        let body = |draft: &Draft| Some((draft.name.clone(), draft.after.as_ref()?.body.clone()));
        groups.filter_map(body).collect()
    }

    /// While a kind is pending, which claims of its resources are theirs: some have made none yet.
    async fn look_at_claims(&mut self, inventory: &Inventory) -> Result<(), Refused> {
        for draft in self.drafts.iter().filter(|draft| draft.kind.is_pending()) {
            let Some(before) = &draft.before else {
                continue;
            };
            let claims = draft.kind.unique().iter();
            let claims =
                claims.filter_map(|constraint| claim_key(draft.kind.name(), constraint, before));
            for claim in claims {
                let guard = Guard::Value(claim.into(), draft.name.clone().into());
                if inventory.holds(&guard).await? {
                    self.seen.push((guard, Meaning::Quiet));
                }
            }
        }
        Ok(())
    }

    /// References to resources of the platform: which of their two parts there is.
    async fn look_at_platform(&mut self, inventory: &Inventory) -> Result<(), Refused> {
        let mut looked = HashSet::new();
        for (index, draft) in self.drafts.iter().enumerate() {
            for (relation, target) in draft.new_targets() {
                if !crate::kind::is_platform(relation.to) || !looked.insert((relation.to, target)) {
                    continue;
                }
                let among =
                    |other: &Draft| other.kind.name() == relation.to && other.name == target;
                if self
                    .drafts
                    .iter()
                    .any(|other| among(other) && other.after.is_some())
                {
                    continue;
                }
                let parts = inventory.parts(relation.to, target, true, false).await;
                let key = match parts.map_err(Refused::store)? {
                    (_, Some(_)) => key(relation.to, target),
                    (Some(_), None) => own_key(relation.to, target),
                    (None, None) => {
                        return Err(draft.no_target(relation.field, relation.to, target));
                    }
                };
                let meaning = Meaning::Target {
                    draft: index,
                    field: relation.field.to_owned(),
                    to: relation.to.to_owned(),
                    name: target.to_owned(),
                };
                self.seen.push((Guard::Exists(key.into()), meaning));
            }
        }
        Ok(())
    }

    /// What was done, at this revision.
    pub fn written(self, revision: Revision) -> Written {
        let outcome = |draft: Draft| Outcome {
            action: draft.action(),
            resource: draft.resource(revision),
        };
        Written {
            revision,
            outcomes: self.drafts.into_iter().map(outcome).collect(),
        }
    }
}

impl Inventory {
    pub(crate) async fn kind_or_refused(&self, name: &str) -> Result<Arc<Kind>, Refused> {
        match self.kind(name).await? {
            Some(kind) if !kind.is_closing() => Ok(kind),
            _ => Err(Refused::NoKind {
                kind: name.to_owned(),
                near: self.nearest_kind(name).await?,
            }),
        }
    }

    /// What people wrote of a resource, and what the platform did.
    pub(crate) async fn parts(
        &self,
        kind: &str,
        name: &str,
        platform: bool,
        blind: bool,
    ) -> Result<(Option<Entry>, Option<Entry>), StoreError> {
        let whole = key(kind, name);
        if !platform {
            let own = if blind {
                None
            } else {
                self.store.get(whole.as_bytes()).await?
            };
            return Ok((own, None));
        }
        let own = own_key(kind, name);
        let (own, platform) = (
            self.store.get(own.as_bytes()),
            self.store.get(whole.as_bytes()),
        );
        futures::future::try_join(own, platform).await
    }

    /// Whether a guard is true now.
    pub(super) async fn holds(&self, guard: &Guard) -> Result<bool, Refused> {
        let key = match guard {
            Guard::Absent(key)
            | Guard::Exists(key)
            | Guard::Modified(key, _)
            | Guard::Version(key, _)
            | Guard::Value(key, _) => key,
        };
        let entry = self.store.get(key).await.map_err(Refused::store)?;
        Ok(match (guard, entry) {
            (Guard::Absent(_), entry) => entry.is_none(),
            (_, None) => false,
            (Guard::Exists(_), Some(_)) => true,
            (Guard::Modified(_, revision), Some(entry)) => entry.modified == *revision,
            (Guard::Version(_, version), Some(entry)) => entry.version == *version,
            (Guard::Value(_, value), Some(entry)) => entry.value == *value,
        })
    }

    /// Finds out what a false guard means: a refusal, or nothing where the write is to be drawn up
    /// anew.
    pub(super) async fn lost(
        &self,
        batch: &Batch,
        plan: &Plan,
        guard: &Guard,
    ) -> Result<(), Refused> {
        match plan.meaning(guard) {
            Some(Meaning::Kind(name)) => self.kinds.forget(name),
            Some(Meaning::Own(index)) => {
                let draft = &batch.drafts[*index];
                let (kind, name) = (draft.kind.name(), &draft.name);
                if let Some(expected) = draft.expected {
                    let parts = self
                        .parts(kind, name, draft.kind.is_platform(), false)
                        .await;
                    let (own, platform) = parts.map_err(Refused::store)?;
                    let discovered = self.discovered(kind, name).await?;
                    let modified = |entry: Option<Entry>| entry.map_or(0, |entry| entry.modified);
                    let found = modified(own).max(modified(platform));
                    let found = found.max(discovered.map_or(0, |record| record.modified));
                    return Err(draft.conflict(expected, found));
                }
                if draft.creates {
                    let (kind, name) = (kind.to_owned(), name.clone());
                    return Err(Refused::Exists { kind, name });
                }
            }
            Some(Meaning::Claim { draft, constraint }) => {
                let draft = &batch.drafts[*draft];
                self.taken(draft, constraint, guard).await?;
            }
            Some(Meaning::Target {
                draft,
                field,
                to,
                name,
            }) if !self.holds(guard).await? => {
                return Err(batch.drafts[*draft].no_target(field, to, name));
            }
            Some(Meaning::Target { .. } | Meaning::Quiet) | None => {}
        }
        Ok(())
    }

    async fn taken(
        &self,
        draft: &Draft,
        constraint: &[String],
        guard: &Guard,
    ) -> Result<(), Refused> {
        let Guard::Absent(claim) = guard else {
            return Ok(());
        };
        let Some(entry) = self.store.get(claim).await.map_err(Refused::store)? else {
            return Ok(());
        };
        let owner = String::from_utf8_lossy(&entry.value).into_owned();
        if owner == draft.name {
            return Ok(());
        }
        // The platform removes its resources without a look at what people said of them.
        let own = crate::keys::written_key(draft.kind.name(), &owner);
        if self
            .store
            .get(own.as_bytes())
            .await
            .map_err(Refused::store)?
            .is_none()
        {
            let guards = vec![
                Guard::Absent(own.into()),
                Guard::Modified(claim.clone(), entry.modified),
            ];
            let freed = vec![wright_store::Operation::Delete(claim.clone())];
            return match self.store.commit(guards, freed).await {
                Err(error) if !error.is_refused() => Err(Refused::store(error)),
                _ => Ok(()),
            };
        }
        Err(draft.taken_by(constraint, &owner))
    }
}
