//! Holding the resources that there are to what their kind shall be.

use std::collections::HashMap;

use serde_json::Value;
use wright_store::{Guard, Operation, Revision};

use super::step::Step;
use crate::{
    Inventory, keys,
    kind::{Kind, Violation, is_platform, quoted},
    record::Record,
    resource::name_in,
    write::{Refused, plan::claim_key},
};

/// How many offenders a refusal names.
const NAMED: usize = 20;
/// How many resources are read at once.
const PAGE: usize = 1000;
/// How many claims one commit makes, each with two guards.
const CLAIMS: usize = 300;

/// What resources are, held to a new kind.
#[derive(Default)]
pub(super) struct Examined {
    offenders: Vec<Violation>,
    count: usize,
    /// By key, who claims it and at which revision he was read.
    claims: HashMap<String, (String, Revision)>,
    touched: Vec<String>,
}

impl Inventory {
    /// Whether all resources fit, and their claims.
    pub(super) async fn hold(&self, step: &Step) -> Result<(), Refused> {
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
    pub(super) async fn examine(&self, step: &Step) -> Result<Examined, Refused> {
        let mut examined = Examined::default();
        let (name, mut at) = (&step.draft.name, None);
        let mut range = keys::written_range(name);
        let Some(new) = &step.new else {
            let page = self.store.range(range, 1, None).await;
            let page = page.map_err(Refused::store)?;
            return page.entries.first().map_or(Ok(examined), |entry| {
                Err(Refused::InUse {
                    kind: name.clone(),
                    by: format!("{name}/{}", name_in(&entry.key)),
                })
            });
        };
        let added: Vec<&Vec<String>> = step.added().collect();
        let related = step.newly_related();
        loop {
            let page = self.store.range(range.clone(), PAGE, at).await;
            let page = page.map_err(Refused::store)?;
            at = Some(page.revision);
            for entry in &page.entries {
                let (resource, record) = (name_in(&entry.key), Record::read(entry)?);
                let body = Value::Object(record.body.clone());
                let mut wrong = new.validate(body, None).err().unwrap_or_default();
                wrong.extend(examined.claim(new, &added, &resource, &record));
                for (field, to) in &related {
                    let led = self.led(new, field, to, &record, &mut examined.touched);
                    wrong.extend(led.await?);
                }
                examined.note(name, &resource, wrong);
            }
            let Some(last) = page.entries.last().filter(|_| page.more) else {
                return Ok(examined);
            };
            range = range.after(&last.key);
        }
    }

    /// What a field that becomes a reference leads to, and what is not there of it.
    async fn led(
        &self,
        new: &Kind,
        field: &str,
        to: &str,
        record: &Record,
        touched: &mut Vec<String>,
    ) -> Result<Vec<Violation>, Refused> {
        let mut wrong = Vec::new();
        let relation = new.relations().find(|relation| relation.field == field);
        for target in relation.iter().flat_map(|one| one.targets(&record.body)) {
            let parts = self.parts(to, target, is_platform(to), false).await;
            if let (None, None) = parts.map_err(Refused::store)? {
                let expected = format!("the name of a {to}");
                wrong.push(Violation::new("reference", field, target, expected));
            }
            touched.push(keys::referred_key(to, target));
        }
        Ok(wrong)
    }
}

impl Examined {
    /// What a resource claims that did not have to be unique before; what others claim too.
    fn claim(
        &mut self,
        new: &Kind,
        added: &[&Vec<String>],
        resource: &str,
        record: &Record,
    ) -> Vec<Violation> {
        let mut wrong = Vec::new();
        for constraint in added {
            let Some(key) = claim_key(new.name(), constraint, record) else {
                continue;
            };
            let owner = (resource.to_owned(), record.modified);
            let Some((other, _)) = self.claims.insert(key, owner) else {
                continue;
            };
            let values = constraint.iter().filter_map(|field| record.body.get(field));
            let values: Vec<String> = values.map(quoted).collect();
            let (fields, values) = (constraint.join(", "), values.join(", "));
            let violation = Violation::new("unique", fields, values, "a value of its own");
            wrong.push(violation.help(format!("{}/{other} has it too", new.name())));
        }
        wrong
    }

    fn note(&mut self, kind: &str, resource: &str, wrong: Vec<Violation>) {
        self.count += usize::from(!wrong.is_empty());
        let room = NAMED.saturating_sub(self.offenders.len());
        let named = wrong.into_iter().take(room);
        self.offenders
            .extend(named.map(|one| one.of(kind, resource)));
    }

    pub(super) fn judged(self, kind: &str) -> Result<Self, Refused> {
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
