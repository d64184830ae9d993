//! Changing a kind while it is in use.
//!
//! A change that resources might not fit is first written beside what the kind is, as *pending*: from
//! that commit on, writers are held to it, for their commits are guarded by the kind's revision. Then the
//! resources that there are, are looked at. Where they fit, the change becomes the kind; else it is
//! taken back, and whoever asked for it is told which do not.

mod examine;
mod step;

use jiff::Timestamp;
use serde_json::Value;
use wright_store::{Guard, Operation, Range, Revision};

use self::step::{Step, definition, is_harmless};
use super::{ATTEMPTS, Action, Author, Refused, Write, Written};
use crate::{
    Inventory, InventoryError, keys,
    kind::KIND,
    kinds::CLOSING,
    record::{Record, removal},
    resource::name_in,
};

impl Inventory {
    /// Writes the resource of a kind.
    pub(super) async fn change_kind(
        &self,
        writes: &[Write],
        author: &Author,
        dry: bool,
    ) -> Result<Written, Refused> {
        let [write] = writes else {
            let alone = "a change of a kind is a transaction of its own".to_owned();
            return Err(Refused::Together(alone));
        };
        for _ in 0..ATTEMPTS {
            let step = self.step(write, author).await?;
            if let Some(written) = self.take(step, author, dry).await? {
                return Ok(written);
            }
        }
        Err(Refused::Busy)
    }

    /// Does it; nothing where somebody else wrote the kind meanwhile.
    async fn take(
        &self,
        step: Step,
        author: &Author,
        dry: bool,
    ) -> Result<Option<Written>, Refused> {
        let name = step.draft.name.clone();
        if step.draft.action() == Action::Unchanged && step.dropped.is_empty() {
            let revision = self.store.revision().await.map_err(Refused::store)?;
            return Ok(Some(step.written(revision)));
        }
        let suits = match (&step.old, &step.new) {
            (None, _) => true,
            (Some(old), Some(new)) => is_harmless(old, new),
            (Some(_), None) => false,
        };
        if dry {
            if !suits {
                self.examine(&step).await?.judged(&name)?;
            }
            let revision = self.store.revision().await.map_err(Refused::store)?;
            return Ok(Some(step.written(revision)));
        }
        let mut guard = step.read();
        if !suits {
            let Some(held) = self.begin(&step, guard).await? else {
                return Ok(None);
            };
            guard = Guard::Modified(step.key().into(), held);
            if let Err(refused) = self.hold(&step).await {
                self.take_back(&step, guard).await?;
                return Err(refused);
            }
        }
        let mut operations = match &step.draft.after {
            Some(after) => after.operations(KIND, &name, author)?.to_vec(),
            None => removal(KIND, &name, author, Timestamp::now())?.to_vec(),
        };
        let claims = step
            .dropped
            .iter()
            .map(|constraint| keys::claims(&name, constraint));
        operations.extend(claims.map(|prefix| Operation::DeleteRange(Range::prefix(prefix))));
        let revision = self.commit_kind(&name, guard, operations).await?;
        Ok(revision.map(|revision| step.written(revision)))
    }

    /// From this commit on, writers are held to what the kind shall be; its revision.
    async fn begin(&self, step: &Step, guard: Guard) -> Result<Option<Revision>, Refused> {
        let mut record = step.draft.before.clone().unwrap_or_else(Record::empty);
        record.updated_at = Timestamp::now();
        record.pending = Some(match (&step.new, &step.draft.after) {
            (None, _) => CLOSING,
            (Some(_), Some(after)) => Value::Object(after.body.clone()),
            (Some(_), None) => Value::Object(Default::default()),
        });
        let [put, _] = record.operations(KIND, &step.draft.name, &Author::default())?;
        self.commit_kind(&step.draft.name, guard, vec![put]).await
    }

    /// The kind is what it was; what was claimed for the change is given up.
    async fn take_back(&self, step: &Step, guard: Guard) -> Result<(), Refused> {
        let name = &step.draft.name;
        let mut operations = match &step.draft.before {
            Some(before) => vec![before.operations(KIND, name, &Author::default())?[0].clone()],
            None => vec![Operation::Delete(step.key().into())],
        };
        let added = step
            .added()
            .map(|constraint| keys::claims(name, constraint));
        operations.extend(added.map(|prefix| Operation::DeleteRange(Range::prefix(prefix))));
        self.commit_kind(name, guard, operations).await.map(drop)
    }

    async fn commit_kind(
        &self,
        name: &str,
        guard: Guard,
        operations: Vec<Operation>,
    ) -> Result<Option<Revision>, Refused> {
        let done = self.store.commit(vec![guard], operations).await;
        self.kinds.forget(name);
        match done {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.is_refused() => Ok(None),
            Err(error) => Err(Refused::store(error)),
        }
    }

    /// Takes back changes of kinds that began before a time and never came to an end, because their
    /// server died; how many.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn take_back_begun(&self, before: Timestamp) -> Result<usize, InventoryError> {
        let mut taken = 0;
        for entry in self.read_all(keys::kind_range(KIND)).await? {
            let mut record = Record::read(&entry)?;
            let Some(pending) = record.pending.take().filter(|_| record.updated_at < before) else {
                continue;
            };
            let name = name_in(&entry.key);
            let kept = definition(&Value::Object(record.body.clone())).unwrap_or_default();
            let mut added = definition(&pending).unwrap_or_default().unique;
            added.retain(|constraint| !kept.unique.contains(constraint));
            let [put, _] = record.operations(KIND, &name, &Author::default())?;
            // A shipped kind that nobody had extended is so again.
            let stands = match record.body.is_empty() {
                true => Operation::Delete(entry.key.clone()),
                false => put,
            };
            let claims = added
                .iter()
                .map(|constraint| keys::claims(&name, constraint));
            let claims = claims.map(|prefix| Operation::DeleteRange(Range::prefix(prefix)));
            let operations = std::iter::once(stands).chain(claims).collect();
            let guard = vec![Guard::Modified(entry.key.clone(), entry.modified)];
            match self.store.commit(guard, operations).await {
                Err(error) if error.is_refused() => {}
                done => taken += done.map(|_| 1)?,
            }
            self.kinds.forget(&name);
        }
        Ok(taken)
    }
}
