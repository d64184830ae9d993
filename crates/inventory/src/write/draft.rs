//! One resource of a write, drawn up from what was read. No I/O.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::{Map, Value};
use wright_model::Name;
use wright_store::Revision;

use super::{Action, Author, Change, Content, Refused, Write, apply, merge::merge};
use crate::{
    Resource,
    kind::{KIND, Kind, Violation, as_sealed, sealed},
    record::Record,
    resource,
    sealer::{Sealer, place},
};

/// The longest key or value of a label, bytes.
const MAX_LABEL: usize = 256;

/// One resource, as it is and as it shall be.
#[derive(Debug)]
pub(super) struct Draft {
    pub kind: Arc<Kind>,
    pub name: String,
    /// What people wrote of it; nothing where it was not read or is not there.
    pub before: Option<Record>,
    /// What the platform recorded of it.
    pub platform: Option<Record>,
    /// What agents discovered about it.
    pub discovered: Option<Record>,
    /// What people's part shall be; nothing where it goes.
    pub after: Option<Record>,
    /// What was expected, see [`Write::expected`].
    pub expected: Option<Revision>,
    /// Whether it may only be made.
    pub creates: bool,
    /// Whether it goes along with another that is deleted.
    pub follows: bool,
}

/// What drafts are drawn with.
pub(super) struct Pen<'a> {
    pub author: &'a Author,
    pub sealer: Option<&'a dyn Sealer>,
    pub now: Timestamp,
}

impl Pen<'_> {
    /// Draws one up.
    pub fn draw(
        &self,
        kind: Arc<Kind>,
        write: &Write,
        before: Option<Record>,
        platform: Option<Record>,
        discovered: Option<Record>,
    ) -> Result<Draft, Refused> {
        let mut draft = Draft {
            kind,
            name: write.name.clone(),
            before,
            platform,
            discovered,
            after: None,
            expected: write.expected,
            creates: matches!(write.change, Change::Create(_)),
            follows: false,
        };
        let found = draft.shown();
        if let Some(expected) = write.expected
            && expected != found
        {
            return Err(draft.conflict(expected, found));
        }
        let named = (write.kind.clone(), write.name.clone());
        match &write.change {
            Change::Create(_) if found > 0 => {
                let (kind, name) = named;
                return Err(Refused::Exists { kind, name });
            }
            Change::Delete | Change::Merge { .. } if found == 0 => {
                let (kind, name) = named;
                return Err(Refused::NotFound { kind, name });
            }
            Change::Delete => {
                if draft.platform.is_some() {
                    return Err(draft.platform_has_it("only the platform removes it; to forget what people say of it, replace its fields by none"));
                }
            }
            Change::Create(content) | Change::Replace(content) => {
                draft.after = Some(self.validated(&draft, content.clone())?);
                self.pass_on(&mut draft);
            }
            Change::Merge { patch } => {
                let before = draft.before.clone().unwrap_or_else(Record::empty);
                let content = merged(before, patch).map_err(|error| {
                    let violation =
                        Violation::new("patch", "", error.to_string(), "a patch of {labels, body}");
                    draft.invalid(vec![violation])
                })?;
                draft.after = Some(self.validated(&draft, content)?);
                self.pass_on(&mut draft);
            }
            Change::Apply {
                content,
                manager,
                force,
            } => {
                let manager = if manager.is_empty() {
                    &self.author.actor
                } else {
                    manager
                };
                let given = draft.own_part(content.clone())?;
                let mut laid = apply::lay(&draft.kind, draft.before.as_ref(), given, manager)
                    .map_err(|violations| draft.invalid(violations))?;
                let mut after = self.validated(&draft, std::mem::take(&mut laid.content))?;
                after.owners =
                    laid.owners(draft.before.as_ref(), &after, *force)
                        .map_err(|fields| Refused::Owned {
                            kind: write.kind.clone(),
                            name: write.name.clone(),
                            fields,
                        })?;
                draft.after = Some(after);
            }
        }
        if draft.platform.is_none()
            && draft.kind.is_platform()
            && !draft.kind.definition().declarable
        {
            return Err(draft.platform_has_it("only the platform makes it"));
        }
        Ok(draft)
    }

    /// What was written without applying is its author's from now on.
    fn pass_on(&self, draft: &mut Draft) {
        if let (Some(before), Some(after)) = (&draft.before, &mut draft.after) {
            after.owners = apply::after_write(&draft.kind, before, after, &self.author.actor);
        }
    }

    /// The resource without its reference to something that is deleted.
    pub fn cleared(&self, draft: &mut Draft, field: &str, target: &str) -> Result<(), Refused> {
        let Some(after) = &draft.after else {
            return Ok(());
        };
        let mut body = after.body.clone();
        match body.get_mut(field) {
            Some(Value::Array(names)) => names.retain(|name| name != target),
            _ => {
                body.shift_remove(field);
            }
        }
        let content = Content {
            labels: after.labels.clone(),
            body: Value::Object(body),
        };
        draft.after = Some(self.validated(draft, content)?);
        self.pass_on(draft);
        Ok(())
    }

    /// What shall stand: held against the kind, secrets sealed.
    fn validated(&self, draft: &Draft, content: Content) -> Result<Record, Refused> {
        let content = draft.own_part(content)?;
        let mut violations = bad_names(draft, &content.labels);
        let before = draft.before.as_ref();
        let body = draft
            .kind
            .validate(content.body, before.map(|before| &before.body));
        let mut body = body.unwrap_or_else(|mut wrong| {
            violations.append(&mut wrong);
            Map::new()
        });
        self.seal(draft, &mut body, &mut violations);
        if !violations.is_empty() {
            return Err(draft.invalid(violations));
        }
        Ok(Record {
            labels: content.labels,
            body,
            updated_at: self.now,
            created: before.map_or(0, |before| before.created),
            modified: before.map_or(0, |before| before.modified),
            ..Record::empty()
        })
    }

    fn seal(&self, draft: &Draft, body: &mut Map<String, Value>, violations: &mut Vec<Violation>) {
        for field in draft.kind.secrets() {
            let Some(value) = body.get_mut(field) else {
                continue;
            };
            let place = place(draft.kind.name(), &draft.name, field);
            let was = draft
                .before
                .as_ref()
                .and_then(|before| before.body.get(field));
            let sealed = match (self.sealer, sealed(value), value.as_str()) {
                (None, ..) => Err("this installation seals no secrets".to_owned()),
                (Some(_), Some(_), _) if was == Some(&*value) => continue,
                (Some(sealer), Some(text), _) => sealer.open(&place, text).map(|_| value.clone()),
                (Some(sealer), None, Some(clear)) => {
                    let same = was.filter(|was| {
                        let opened = sealed(was).map(|text| sealer.open(&place, text));
                        matches!(opened, Some(Ok(opened)) if opened == clear)
                    });
                    match same {
                        Some(was) => Ok(was.clone()),
                        None => sealer.seal(&place, clear).map(as_sealed),
                    }
                }
                (Some(_), None, None) => continue,
            };
            match sealed {
                Ok(sealed) => *value = sealed,
                Err(error) => violations.push(
                    Violation::new("secret", field, "a secret", "one that can be sealed")
                        .help(error),
                ),
            }
        }
    }
}

impl Draft {
    /// The revision that a reader of the resource sees; 0 where there is none.
    pub fn shown(&self) -> Revision {
        let modified =
            |record: &Option<Record>| record.as_ref().map_or(0, |record| record.modified);
        let parts = [&self.before, &self.platform, &self.discovered];
        parts.into_iter().map(modified).max().unwrap_or(0)
    }

    /// What becomes of it.
    pub fn action(&self) -> Action {
        match (&self.before, &self.after) {
            (None, Some(after)) if self.platform.is_some() && after.says(&Record::empty()) => {
                Action::Unchanged
            }
            (None, Some(_)) if self.platform.is_none() => Action::Created,
            (Some(before), Some(after)) if self.says_the_same(before, after) => Action::Unchanged,
            (_, Some(_)) if self.follows => Action::Cleared,
            (_, Some(_)) => Action::Changed,
            (_, None) => Action::Deleted,
        }
    }

    /// Of a kind also in the same order: that is how forms and tables show its fields.
    fn says_the_same(&self, before: &Record, after: &Record) -> bool {
        let text = |record: &Record| serde_json::to_string(&record.body).unwrap_or_default();
        before.says(after) && (self.kind.name() != KIND || text(before) == text(after))
    }

    /// The whole resource after the commit; what it was, where it goes.
    pub fn resource(self, revision: Revision) -> Resource {
        let unchanged = self.action() == Action::Unchanged;
        let shown = self.shown();
        let record = self.after.or(self.before);
        let fresh = record.as_ref().is_none_or(|record| record.created == 0);
        let (kind, name) = (self.kind.name(), &self.name);
        let mut resource = resource::whole(kind, name, record, self.platform, self.discovered);
        self.kind.derive(&mut resource.body);
        resource.revision = if unchanged { shown } else { revision };
        if fresh && resource.created == 0 {
            resource.created = resource.revision;
        }
        resource
    }

    /// Content without what the platform keeps.
    fn own_part(&self, content: Content) -> Result<Content, Refused> {
        let Some(platform) = &self.platform else {
            return Ok(content);
        };
        let mut labels = content.labels;
        labels.retain(|key, value| platform.labels.get(key) != Some(value));
        let mut body = self.kind.own_part(content.body, &platform.body);
        if let Some(discovered) = &self.discovered {
            body = self.kind.own_part(body, &discovered.body);
        }
        Ok(Content { labels, body })
    }

    pub fn conflict(&self, expected: Revision, found: Revision) -> Refused {
        Refused::Conflict {
            kind: self.kind.name().to_owned(),
            name: self.name.clone(),
            expected,
            found,
        }
    }

    fn platform_has_it(&self, reason: &'static str) -> Refused {
        Refused::Platform {
            kind: self.kind.name().to_owned(),
            name: self.name.clone(),
            reason,
        }
    }

    pub fn invalid(&self, violations: Vec<Violation>) -> Refused {
        let of = |violation: Violation| violation.of(self.kind.name(), &self.name);
        Refused::Invalid(violations.into_iter().map(of).collect())
    }
}

/// What people said, with a merge patch of `{labels, body}` applied to it.
fn merged(before: Record, patch: &Value) -> Result<Content, serde_json::Error> {
    let labels = before.labels.into_iter();
    let labels = labels.map(|(key, value)| (key, Value::String(value)));
    let mut whole = Value::Object(Map::from_iter([
        ("labels".to_owned(), Value::Object(labels.collect())),
        ("body".to_owned(), Value::Object(before.body)),
    ]));
    merge(&mut whole, patch.clone());
    serde_json::from_value(whole)
}

fn bad_names(draft: &Draft, labels: &BTreeMap<String, String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    if resource::check(&draft.name).is_err() {
        let found = format!("{:?}", draft.name);
        violations.push(Violation::new(
            "name",
            "name",
            found,
            "1 to 200 of letters, digits and -._@",
        ));
    }
    if draft.kind.name() == KIND
        && let Err(error) = draft.name.parse::<Name>()
    {
        violations.push(
            Violation::new("name", "name", format!("{:?}", draft.name), "a kind's name")
                .help(error.to_string()),
        );
    }
    for (key, value) in labels {
        let fits = |text: &str| text.len() <= MAX_LABEL && !text.contains(char::is_control);
        if key.is_empty() || !fits(key) || !fits(value) {
            let at = format!("labels.{key}");
            violations.push(Violation::new(
                "label",
                at,
                format!("{value:?}"),
                "a key and a value of at most 256 bytes each",
            ));
        }
    }
    violations
}
