//! A kind as it is and as it shall be.

use jiff::Timestamp;
use serde_json::Value;
use wright_model::nearest;
use wright_store::{Guard, Revision};

use crate::{
    Inventory, keys,
    kind::{Definition, KIND, Kind, Violation, shipped},
    record::Record,
    write::{
        Author, Outcome, Refused, Write, Written,
        draft::{Draft, Pen},
    },
};

/// A kind before and after.
pub(super) struct Step {
    pub draft: Draft,
    /// What resources were held to; nothing where the kind is new.
    pub old: Option<Kind>,
    /// What they shall be held to; nothing where the kind goes.
    pub new: Option<Kind>,
    /// Constraints that nothing has to meet any more.
    pub dropped: Vec<Vec<String>>,
}

impl Inventory {
    pub(super) async fn step(&self, write: &Write, author: &Author) -> Result<Step, Refused> {
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
        let draft = pen.draw(kinds, write, before, None, None)?;
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
        let parent = new.definition().parent().map(|(_, to)| to.to_owned());
        let parent = parent.and_then(|to| {
            let above = || others().find(|kind| kind.name() == to).map(AsRef::as_ref);
            if to == *name { Some(new) } else { above() }
        });
        for (index, field) in new.definition().inherit.iter().enumerate() {
            let Some(above) = parent.map(Kind::definition) else {
                break;
            };
            if above.fields.contains_key(field) || above.inherit.contains(field) {
                continue;
            }
            let to = new.definition().parent().map_or("", |(_, to)| to);
            let expected = format!("a field that {to} has or inherits");
            let wrong = Violation::new(
                "unknown-field",
                format!("inherit[{index}]"),
                field,
                expected,
            );
            let near = nearest(field, above.fields.keys().map(String::as_str));
            let help = near.map_or_else(String::new, |near| format!("did you mean {near}?"));
            violations.push(wrong.help(help));
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(step.draft.invalid(violations))
        }
    }
}

impl Step {
    pub fn key(&self) -> String {
        keys::key(KIND, &self.draft.name)
    }

    /// The kind's resource as it was read.
    pub fn read(&self) -> Guard {
        let key = self.key();
        match &self.draft.before {
            Some(before) => Guard::Modified(key.into(), before.modified),
            None => Guard::Absent(key.into()),
        }
    }

    /// Constraints that resources did not have to meet before.
    pub fn added(&self) -> impl Iterator<Item = &Vec<String>> {
        let new = self.new.iter().flat_map(|new| new.unique());
        new.filter(|constraint| {
            !self
                .old
                .as_ref()
                .is_some_and(|old| old.unique().contains(constraint))
        })
    }

    /// Fields with values that were no references, or led elsewhere, and the kinds they shall lead to.
    pub fn newly_related(&self) -> Vec<(String, String)> {
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

    pub fn written(self, revision: Revision) -> Written {
        Written {
            revision,
            outcomes: vec![Outcome {
                action: self.draft.action(),
                resource: self.draft.resource(revision),
            }],
        }
    }
}

pub(super) fn definition(body: &Value) -> Result<Definition, Vec<Violation>> {
    serde_json::from_value(body.clone())
        .map_err(|error| vec![Violation::new("kind", "", error.to_string(), "a kind")])
}

/// Whether every resource that fits the one fits the other: there are only new fields that none has to
/// have, and what is told of fields is another.
pub(super) fn is_harmless(old: &Kind, new: &Kind) -> bool {
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
