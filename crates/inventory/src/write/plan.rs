//! What is to be committed: guards, what each means, and operations. No I/O.

use std::collections::{HashMap, HashSet};

use wright_model::Digest;
use wright_store::{Guard, MAX_OPERATIONS, Operation};

use super::{Action, Author, Refused, batch::Batch, draft::Draft};
use crate::{
    keys::{claims, key, referred_key, written_key},
    kind::{Relation, is_platform, quoted},
    kinds,
    record::{Record, removal},
};

/// How many digits of a digest tell claims apart: 128 bits.
const DIGITS: usize = 32;

/// What it means that a guard is false.
#[derive(Debug, Clone)]
pub(super) enum Meaning {
    /// A kind changed.
    Kind(String),
    /// The resource itself changed.
    Own(usize),
    /// Another resource has what must be unique.
    Claim {
        draft: usize,
        constraint: Vec<String>,
    },
    /// What is referred to is not there.
    Target {
        draft: usize,
        field: String,
        to: String,
        name: String,
    },
    /// Something changed that was only looked at.
    Quiet,
}

/// A commit.
#[derive(Debug, Default)]
pub(super) struct Plan {
    guards: Vec<(Guard, Meaning)>,
    operations: Vec<Operation>,
}

impl Plan {
    /// Of these drafts.
    pub fn of(batch: &Batch, author: &Author) -> Result<Self, Refused> {
        let mut plan = Plan::default();
        let changes = |draft: &Draft| draft.action() != Action::Unchanged;
        if !batch.drafts.iter().any(changes) {
            return Ok(plan);
        }
        plan.guards.extend(batch.seen.iter().cloned());
        let mut kinds = HashSet::new();
        for (index, draft) in batch
            .drafts
            .iter()
            .enumerate()
            .filter(|(_, draft)| changes(draft))
        {
            if kinds.insert(draft.kind.name()) {
                let meaning = Meaning::Kind(draft.kind.name().to_owned());
                plan.guards.push((kinds::guard(&draft.kind), meaning));
            }
            plan.write(index, draft, author)?;
        }
        plan.claim(batch)?;
        plan.refer(batch)?;
        let parts = plan.guards.len() + plan.operations.len();
        if parts > MAX_OPERATIONS {
            return Err(Refused::TooMany {
                resources: batch.drafts.len(),
                parts,
                limit: MAX_OPERATIONS,
            });
        }
        Ok(plan)
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    pub fn guards(&self) -> impl Iterator<Item = &Guard> {
        self.guards.iter().map(|(guard, _)| guard)
    }

    pub fn meaning(&self, guard: &Guard) -> Option<&Meaning> {
        let found = self.guards.iter().find(|(one, _)| one == guard);
        found.map(|(_, meaning)| meaning)
    }

    /// What the store is asked for. The guards keep their meanings here.
    pub fn take_parts(&mut self) -> (Vec<Guard>, Vec<Operation>) {
        let operations = std::mem::take(&mut self.operations);
        (self.guards().cloned().collect(), operations)
    }

    /// The resource and its history.
    fn write(&mut self, index: usize, draft: &Draft, author: &Author) -> Result<(), Refused> {
        let (kind, name) = (draft.kind.name(), &draft.name);
        let own = written_key(kind, name);
        let guard = match &draft.before {
            Some(before) => Guard::Modified(own.into(), before.modified),
            None => Guard::Absent(own.into()),
        };
        self.guards.push((guard, Meaning::Own(index)));
        if draft.kind.is_platform() {
            let platform = key(kind, name);
            let guard = match (&draft.platform, draft.expected) {
                (Some(platform_part), Some(_)) => {
                    Guard::Modified(platform.into(), platform_part.modified)
                }
                (Some(_), None) => Guard::Exists(platform.into()),
                (None, _) => Guard::Absent(platform.into()),
            };
            self.guards.push((guard, Meaning::Own(index)));
        }
        match &draft.after {
            Some(after) => self
                .operations
                .extend(after.operations(kind, name, author)?),
            None => {
                let at = jiff::Timestamp::now();
                self.operations.extend(removal(kind, name, author, at)?);
                self.operations
                    .push(Operation::Delete(referred_key(kind, name).into()));
            }
        }
        Ok(())
    }

    /// Takes what must be unique, and gives up what was.
    fn claim(&mut self, batch: &Batch) -> Result<(), Refused> {
        let mut claimed: HashMap<String, &Draft> = HashMap::new();
        let mut given_up: HashMap<String, &Draft> = HashMap::new();
        let mut constraints: HashMap<String, (usize, &[String])> = HashMap::new();
        for (index, draft) in batch.drafts.iter().enumerate() {
            for constraint in draft.kind.unique() {
                let claim = |record: &Option<Record>| {
                    claim_key(draft.kind.name(), constraint, record.as_ref()?)
                };
                let (was, is) = (claim(&draft.before), claim(&draft.after));
                if was == is {
                    continue;
                }
                if let Some(was) = was {
                    given_up.insert(was, draft);
                }
                if let Some(is) = is {
                    constraints.insert(is.clone(), (index, constraint));
                    if let Some(other) = claimed.insert(is, draft) {
                        return Err(draft.taken_by(constraint, &other.name));
                    }
                }
            }
        }
        for (key, draft) in &claimed {
            let guard = match given_up.remove(key) {
                Some(former) => Guard::Value(key.clone().into(), former.name.clone().into()),
                None => Guard::Absent(key.clone().into()),
            };
            if let Some((draft, constraint)) = constraints.get(key) {
                let (draft, constraint) = (*draft, constraint.to_vec());
                self.guards
                    .push((guard, Meaning::Claim { draft, constraint }));
            }
            self.operations
                .push(Operation::put(key.clone(), draft.name.clone()));
        }
        // While a kind is pending some have not claimed what they have: another's claim is not given up.
        let ours = |(key, draft): (String, &Draft)| {
            let known = batch.seen.iter().any(
                |(guard, _)| matches!(guard, Guard::Value(of, _) if of[..] == *key.as_bytes()),
            );
            (!draft.kind.is_pending() || known).then(|| Operation::Delete(key.into()))
        };
        self.operations
            .extend(given_up.into_iter().filter_map(ours));
        Ok(())
    }

    /// What is referred to anew must be there, and is told so.
    fn refer(&mut self, batch: &Batch) -> Result<(), Refused> {
        let drafted: HashMap<(&str, &str), bool> = batch
            .drafts
            .iter()
            .map(|draft| {
                (
                    (draft.kind.name(), draft.name.as_str()),
                    draft.after.is_some(),
                )
            })
            .collect();
        let mut told = HashSet::new();
        for (index, draft) in batch.drafts.iter().enumerate() {
            for (relation, target) in draft.new_targets() {
                match drafted.get(&(relation.to, target)) {
                    Some(true) => {}
                    Some(false) => {
                        return Err(draft.no_target(relation.field, relation.to, target));
                    }
                    None if is_platform(relation.to) => {}
                    None => {
                        let guard = Guard::Exists(key(relation.to, target).into());
                        let meaning = Meaning::Target {
                            draft: index,
                            field: relation.field.to_owned(),
                            to: relation.to.to_owned(),
                            name: target.to_owned(),
                        };
                        if !told.contains(&(relation.to, target)) {
                            self.guards.push((guard, meaning));
                        }
                    }
                }
                if told.insert((relation.to, target)) {
                    let touched = referred_key(relation.to, target);
                    self.operations.push(Operation::put(touched, ""));
                }
            }
        }
        Ok(())
    }
}

/// The key under which a resource claims what must be unique; nothing where it lacks one of the fields.
pub(super) fn claim_key(kind: &str, constraint: &[String], record: &Record) -> Option<String> {
    let values: Option<Vec<_>> = constraint
        .iter()
        .map(|field| record.body.get(field))
        .collect();
    // Values of JSON are always written as JSON.
    let digest = Digest::of_json(&values?).ok()?.to_string();
    Some(claims(kind, constraint) + &digest[..DIGITS])
}

impl Draft {
    /// All that a part of it refers to.
    fn targets<'a>(
        &'a self,
        record: Option<&'a Record>,
    ) -> impl Iterator<Item = (Relation<'a>, &'a str)> {
        let relations = self.kind.relations();
        relations.flat_map(move |relation| {
            let targets = record.map(move |record| relation.targets(&record.body));
            targets
                .into_iter()
                .flatten()
                .map(move |target| (relation, target))
        })
    }

    /// What it refers to from now on and did not before.
    pub fn new_targets(&self) -> impl Iterator<Item = (Relation<'_>, &str)> {
        self.targets(self.after.as_ref())
            .filter(|(relation, target)| {
                let was = self
                    .before
                    .as_ref()
                    .map(|before| relation.targets(&before.body));
                !was.into_iter().flatten().any(|was| was == *target)
            })
    }

    /// Whether it shall refer to a resource.
    pub fn refers(&self, to: &str, name: &str) -> bool {
        let mut targets = self.targets(self.after.as_ref());
        targets.any(|(relation, target)| relation.to == to && target == name)
    }

    pub fn no_target(&self, field: &str, to: &str, target: &str) -> Refused {
        Refused::NoTarget {
            kind: self.kind.name().to_owned(),
            name: self.name.clone(),
            field: field.to_owned(),
            to: to.to_owned(),
            target: target.to_owned(),
        }
    }

    pub fn taken_by(&self, constraint: &[String], owner: &str) -> Refused {
        let value = |field: &String| {
            let value = self.after.as_ref().and_then(|after| after.body.get(field));
            format!("{field} {}", value.map_or_else(String::new, quoted))
        };
        Refused::Taken {
            kind: self.kind.name().to_owned(),
            name: self.name.clone(),
            what: constraint.iter().map(value).collect(),
            owner: owner.to_owned(),
        }
    }
}
