//! Changing a kind while it is in use.
//!
//! A change that resources might not fit is first written beside what the kind is, as *pending*: from
//! that commit on, writers are held to it, for their commits are guarded by the kind's revision. Then the
//! resources that there are, are looked at. Where they fit, the change becomes the kind; else it is
//! taken back, and whoever asked for it is told which do not.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;
use wright_model::nearest;
use wright_store::{Guard, Operation, Range, Revision};

use super::{
    ATTEMPTS, Action, Author, Outcome, Refused, Write, Written,
    draft::{Draft, Pen},
    plan::claim_key,
};
use crate::{
    Inventory, keys,
    kind::{Definition, KIND, Kind, Violation, quoted, shipped},
    kinds::CLOSING,
    record::{Record, removal},
    resource::name_in,
};

/// How many offenders a refusal names.
const NAMED: usize = 20;
/// How many resources are read at once.
const PAGE: usize = 1000;
/// How many claims one commit makes, each with two guards.
const CLAIMS: usize = 300;

/// A kind before and after.
struct Step {
    draft: Draft,
    /// What resources were held to; nothing where the kind is new.
    old: Option<Kind>,
    /// What they shall be held to; nothing where the kind goes.
    new: Option<Kind>,
    /// Constraints that nothing has to meet any more.
    dropped: Vec<Vec<String>>,
}

/// What resources are, held to a new kind.
#[derive(Default)]
struct Examined {
    offenders: Vec<Violation>,
    count: usize,
    /// By key, who claims it and at which revision he was read.
    claims: HashMap<String, (String, Revision)>,
    touched: Vec<String>,
}

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

    async fn step(&self, write: &Write, author: &Author) -> Result<Step, Refused> {
        let name = &write.name;
        let entry = self.store.get(keys::key(KIND, name).as_bytes()).await;
        let mut before = entry
            .map_err(Refused::store)?
            .as_ref()
            .map(Record::read)
            .transpose()?;
        let left = before.as_mut().and_then(|before| before.pending.take());
        let pen = Pen {
            author,
            sealer: None,
            now: Timestamp::now(),
        };
        let kinds = self.kind_or_refused(KIND).await?;
        let draft = pen.draw(kinds, write, before, None)?;
        if name == KIND {
            let violation = Violation::new("kind", "name", KIND, "another kind than that of kinds");
            return Err(draft.invalid(vec![violation]));
        }
        let compile = |record: Option<&Record>| match (record, shipped(name)) {
            (None, None) => Ok(None),
            (record, shipped) => {
                let added = record.map(|record| definition(&Value::Object(record.body.clone())));
                let added = added.transpose()?;
                Kind::compile(name, shipped, added.as_ref(), 0).map(Some)
            }
        };
        let old = compile(draft.before.as_ref()).unwrap_or_default();
        let new = compile(draft.after.as_ref()).map_err(|wrong| draft.invalid(wrong))?;
        let mut dropped: Vec<Vec<String>> =
            old.iter().flat_map(|old| old.unique().to_vec()).collect();
        if let Some(Ok(left)) = left.as_ref().map(definition) {
            dropped.extend(left.unique);
        }
        dropped.retain(|constraint| {
            !new.as_ref()
                .is_some_and(|new| new.unique().contains(constraint))
        });
        let step = Step {
            draft,
            old,
            new,
            dropped,
        };
        self.check_relations(&step).await?;
        Ok(step)
    }

    /// Relations lead to kinds, and have one name from there.
    async fn check_relations(&self, step: &Step) -> Result<(), Refused> {
        let name = &step.draft.name;
        let kinds = self.all_kinds().await?;
        let others = || kinds.iter().filter(|kind| kind.name() != name);
        let Some(new) = &step.new else {
            let refers = |kind: &Kind| {
                let mut relations = kind.relations();
                relations
                    .find(|relation| relation.to == name)
                    .map(|relation| relation.field.to_owned())
            };
            let user = others()
                .find_map(|kind| Some(format!("kind {}, field {}", kind.name(), refers(kind)?)));
            return user.map_or(Ok(()), |by| {
                Err(Refused::InUse {
                    kind: name.clone(),
                    by,
                })
            });
        };
        let mut violations = Vec::new();
        for relation in new.relations() {
            let at = format!("fields.{}", relation.field);
            let target = if relation.to == name {
                Some(new)
            } else {
                others()
                    .find(|kind| kind.name() == relation.to)
                    .map(AsRef::as_ref)
            };
            let Some(target) = target else {
                let wrong = Violation::new(
                    "unknown-kind",
                    at + ".to",
                    relation.to,
                    "the name of a kind",
                );
                let near = nearest(relation.to, kinds.iter().map(|kind| kind.name()));
                violations.push(
                    wrong.help(
                        near.map_or_else(String::new, |near| format!("did you mean {near}?")),
                    ),
                );
                continue;
            };
            let Some(reverse) = relation.reverse else {
                continue;
            };
            let same = |kind: &Kind| {
                let mut relations = kind.relations();
                relations.any(|other| {
                    let itself = kind.name() == name && other.field == relation.field;
                    !itself && other.to == relation.to && other.reverse == Some(reverse)
                })
            };
            let taken = others().any(|kind| same(kind))
                || same(new)
                || target.definition().fields.contains_key(reverse);
            if taken {
                let expected = format!("a name that {} does not have", relation.to);
                violations.push(Violation::new(
                    "reverse",
                    at + ".reverse",
                    reverse,
                    expected,
                ));
            }
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(step.draft.invalid(violations))
        }
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

    /// Whether all resources fit, and their claims.
    async fn hold(&self, step: &Step) -> Result<(), Refused> {
        let name = &step.draft.name;
        let examined = self.examine(step).await?.judged(name)?;
        for chunk in examined.touched.chunks(CLAIMS) {
            let touch = chunk
                .iter()
                .map(|key| Operation::put(key.clone(), ""))
                .collect();
            self.store
                .commit(Vec::new(), touch)
                .await
                .map_err(Refused::store)?;
        }
        let claims: Vec<_> = examined.claims.into_iter().collect();
        for chunk in claims.chunks(CLAIMS) {
            if self.claim(name, chunk).await? {
                continue;
            }
            // Somebody wrote one of them meanwhile.
            for one in chunk {
                if self.claim(name, std::slice::from_ref(one)).await? {
                    continue;
                }
                let (key, (owner, revision)) = one;
                let claimed = self
                    .store
                    .get(key.as_bytes())
                    .await
                    .map_err(Refused::store)?;
                let resource = keys::written_key(name, owner);
                let still = Guard::Modified(resource.into(), *revision);
                let others = claimed.filter(|claimed| claimed.value != owner.as_bytes());
                if let Some(other) = others
                    && self.holds(&still).await?
                {
                    let other = String::from_utf8_lossy(&other.value);
                    let wrong =
                        Violation::new("unique", "", "what another has", "a value of its own");
                    let offenders = vec![
                        wrong
                            .of(name, owner)
                            .help(format!("{name}/{other} has it too")),
                    ];
                    return Err(Refused::Broken {
                        kind: name.clone(),
                        offenders,
                        count: 1,
                    });
                }
            }
        }
        Ok(())
    }

    async fn claim(
        &self,
        kind: &str,
        claims: &[(String, (String, Revision))],
    ) -> Result<bool, Refused> {
        let (mut guards, mut operations) = (Vec::new(), Vec::new());
        for (key, (owner, revision)) in claims {
            guards.push(Guard::Absent(key.clone().into()));
            guards.push(Guard::Modified(
                keys::written_key(kind, owner).into(),
                *revision,
            ));
            operations.push(Operation::put(key.clone(), owner.clone()));
        }
        match self.store.commit(guards, operations).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_refused() => Ok(false),
            Err(error) => Err(Refused::store(error)),
        }
    }

    /// Holds every resource to what the kind shall be.
    async fn examine(&self, step: &Step) -> Result<Examined, Refused> {
        let mut examined = Examined::default();
        let (name, mut at) = (&step.draft.name, None);
        let mut range = keys::written_range(name);
        let Some(new) = &step.new else {
            let page = self
                .store
                .range(range, 1, None)
                .await
                .map_err(Refused::store)?;
            return match page.entries.first() {
                Some(entry) => Err(Refused::InUse {
                    kind: name.clone(),
                    by: format!("{name}/{}", name_in(&entry.key)),
                }),
                None => Ok(examined),
            };
        };
        let added: Vec<&Vec<String>> = step.added().collect();
        let newly_related = step.newly_related();
        loop {
            let page = self
                .store
                .range(range.clone(), PAGE, at)
                .await
                .map_err(Refused::store)?;
            at = Some(page.revision);
            for entry in &page.entries {
                let (resource, record) = (name_in(&entry.key), Record::read(entry)?);
                let mut wrong = new
                    .validate(Value::Object(record.body.clone()), None)
                    .err()
                    .unwrap_or_default();
                for constraint in &added {
                    let Some(key) = claim_key(name, constraint, &record) else {
                        continue;
                    };
                    let owner = (resource.clone(), entry.modified);
                    if let Some((other, _)) = examined.claims.insert(key, owner) {
                        let values: Vec<String> = constraint
                            .iter()
                            .filter_map(|field| record.body.get(field))
                            .map(quoted)
                            .collect();
                        let violation = Violation::new(
                            "unique",
                            constraint.join(", "),
                            values.join(", "),
                            "a value of its own",
                        );
                        wrong.push(violation.help(format!("{name}/{other} has it too")));
                    }
                }
                for (field, to) in &newly_related {
                    let relation = new.relations().find(|relation| relation.field == field);
                    for target in relation
                        .iter()
                        .flat_map(|relation| relation.targets(&record.body))
                    {
                        let (own, platform) = self
                            .parts(to, target, crate::kind::is_platform(to), false)
                            .await
                            .map_err(Refused::store)?;
                        if own.is_none() && platform.is_none() {
                            wrong.push(Violation::new(
                                "reference",
                                field.clone(),
                                target,
                                format!("the name of a {to}"),
                            ));
                        }
                        examined.touched.push(keys::referred_key(to, target));
                    }
                }
                if !wrong.is_empty() {
                    examined.count += 1;
                    let room = NAMED.saturating_sub(examined.offenders.len());
                    examined.offenders.extend(
                        wrong
                            .into_iter()
                            .take(room)
                            .map(|one| one.of(name, &resource)),
                    );
                }
            }
            let Some(last) = page.entries.last().filter(|_| page.more) else {
                return Ok(examined);
            };
            range.start = [&last.key[..], b"\0"].concat().into();
        }
    }
}

impl Examined {
    fn judged(self, kind: &str) -> Result<Self, Refused> {
        if self.count == 0 {
            return Ok(self);
        }
        Err(Refused::Broken {
            kind: kind.to_owned(),
            offenders: self.offenders,
            count: self.count,
        })
    }
}

impl Step {
    fn key(&self) -> String {
        keys::key(KIND, &self.draft.name)
    }

    /// The kind's resource as it was read.
    fn read(&self) -> Guard {
        let key = self.key();
        match &self.draft.before {
            Some(before) => Guard::Modified(key.into(), before.modified),
            None => Guard::Absent(key.into()),
        }
    }

    /// Constraints that resources did not have to meet before.
    fn added(&self) -> impl Iterator<Item = &Vec<String>> {
        let new = self.new.iter().flat_map(|new| new.unique());
        new.filter(|constraint| {
            !self
                .old
                .as_ref()
                .is_some_and(|old| old.unique().contains(constraint))
        })
    }

    /// Fields with values that were no references, or led elsewhere, and the kinds they shall lead to.
    fn newly_related(&self) -> Vec<(String, String)> {
        let (Some(old), Some(new)) = (&self.old, &self.new) else {
            return Vec::new();
        };
        let had = |field: &str| old.definition().fields.contains_key(field);
        let led = |field: &str, to: &str| {
            old.relations()
                .any(|old| old.field == field && old.to == to)
        };
        new.relations()
            .filter(|relation| had(relation.field) && !led(relation.field, relation.to))
            .map(|relation| (relation.field.to_owned(), relation.to.to_owned()))
            .collect()
    }

    fn written(self, revision: Revision) -> Written {
        Written {
            revision,
            outcomes: vec![Outcome {
                action: self.draft.action(),
                resource: self.draft.resource(revision),
            }],
        }
    }
}

fn definition(body: &Value) -> Result<Definition, Vec<Violation>> {
    serde_json::from_value(body.clone())
        .map_err(|error| vec![Violation::new("kind", "", error.to_string(), "a kind")])
}

/// Whether every resource that fits the one fits the other: there are only new fields that none has to
/// have, and what is told of fields is another.
fn is_harmless(old: &Kind, new: &Kind) -> bool {
    let (was, is) = (old.definition(), new.definition());
    let same = |field: &str| match (was.fields.get(field), is.fields.get(field)) {
        (Some(was), Some(is)) => {
            let mut told = was.clone();
            told.description.clone_from(&is.description);
            told.group.clone_from(&is.group);
            told.unit.clone_from(&is.unit);
            told.reverse.clone_from(&is.reverse);
            told.on_delete = is.on_delete;
            told == *is
        }
        (None, Some(is)) => !is.required || is.default.is_some(),
        _ => false,
    };
    let fields = was.fields.keys().chain(is.fields.keys());
    let met = |constraint: &Vec<String>| was.unique.contains(constraint);
    fields.into_iter().all(|field| same(field)) && is.unique.iter().all(met)
}
