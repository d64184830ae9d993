//! Kinds: what a resource of each may hold. Pure.
//!
//! A kind is a resource of the kind `kind`, whose body is a [`Definition`]; [`Kind`] is one that has
//! been compiled. Those that ship with the platform are files beside this code ([`shipped`]); a
//! resource of the same name adds fields to them.

mod definition;
mod drift;
mod expression;
mod field;
mod form;
mod schema;
mod shape;
mod shipped;
#[cfg(test)]
mod tests;
mod validate;
mod violation;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use wright_model::nearest;
use wright_store::Revision;

pub use self::{
    definition::{Definition, FieldDefinition, FieldGroup, FieldType, OnDelete},
    drift::{DRIFT, Drift, TOLERATED},
    shipped::{shipped, shipped_names},
    violation::Violation,
};
use self::{
    field::Field,
    shape::{Reference, Shape},
    violation::At,
};
pub(crate) use self::{
    shape::{as_sealed, sealed},
    shipped::{is_discovered, is_platform},
    violation::quoted,
};

/// The kind of kinds.
pub const KIND: &str = "kind";

/// A kind that bodies can be held against.
#[derive(Debug)]
pub struct Kind {
    name: String,
    definition: Definition,
    revision: Revision,
    fields: IndexMap<String, Field>,
    computes: bool,
    compares: bool,
    pending: bool,
    closing: bool,
}

impl Kind {
    /// Compiles a kind: what ships under its name, what a resource of the kind `kind` adds, or both.
    ///
    /// # Errors
    /// Everything that is wrong with `added`.
    pub fn compile(
        name: &str,
        shipped: Option<&Definition>,
        added: Option<&Definition>,
        revision: Revision,
    ) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let definition = match (shipped, added) {
            (Some(shipped), Some(added)) => extended(shipped, added, &mut violations),
            (Some(shipped), None) => shipped.clone(),
            (None, added) => {
                let added = added.cloned().unwrap_or_default();
                own_only(&added, &mut violations);
                added
            }
        };
        let body = At::Body;
        let at = At::Field(&body, "fields");
        let fields = field::compile_all(&definition.fields, at, 0, &mut violations);
        named_fields(&definition, &fields, &mut violations);
        if !violations.is_empty() {
            return Err(violations);
        }
        let computes = fields.values().any(|field| field.computed.is_some());
        let compares = fields.values().any(|field| field.found.is_some());
        Ok(Kind {
            name: name.to_owned(),
            definition,
            revision,
            fields,
            computes,
            compares,
            pending: false,
            closing: false,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself, with what was added.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The revision of the resource that defines or extends it; 0 where there is none.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The same, while its resources are still held against it.
    pub(crate) fn pending(self) -> Self {
        Kind {
            pending: true,
            ..self
        }
    }

    /// Whether its resources are still held against it, so that some may not be as it says.
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// A kind that is about to be deleted, and takes no resources.
    pub(crate) fn closing(name: &str, revision: Revision) -> Self {
        Kind {
            name: name.to_owned(),
            definition: Definition::default(),
            revision,
            fields: IndexMap::new(),
            computes: false,
            compares: false,
            pending: true,
            closing: true,
        }
    }

    /// Whether it is about to be deleted.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether a field has keys of its own.
    pub(crate) fn has_keys(&self, field: &str) -> bool {
        let shape = self.fields.get(field).map(|field| &field.shape);
        matches!(shape, Some(Shape::Map(..) | Shape::Object(_)))
    }

    /// Whether the platform makes and removes these resources.
    pub fn is_platform(&self) -> bool {
        self.definition.platform
    }

    /// Whether what queries find of its resources is more than what is stored.
    pub(crate) fn derives(&self) -> bool {
        self.computes || self.compares
    }

    /// What queries find of a resource: what is computed now, and which fields drift.
    pub(crate) fn sought(&self, body: &mut Value) {
        self.derive(body);
        if self.compares
            && let Value::Object(body) = body
        {
            let drifting = self.drifting(body);
            body.insert(DRIFT.to_owned(), drifting.into());
        }
    }

    /// The fields that refer to other resources.
    pub fn relations(&self) -> impl Iterator<Item = Relation<'_>> {
        self.fields.iter().filter_map(|(field, compiled)| {
            let Shape::Reference(reference) = &compiled.shape else {
                return None;
            };
            // Those of the platform are its own business.
            (!compiled.platform).then(|| Relation::new(field, reference))
        })
    }

    /// The fields that are stored sealed.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(|(_, field)| matches!(field.shape, Shape::Secret { .. }))
            .map(|(name, _)| name.as_str())
    }

    /// The fields that must be unique together, by constraint.
    pub fn unique(&self) -> &[Vec<String>] {
        &self.definition.unique
    }

    /// The part of a whole body that people own, out of what they send: what the platform keeps may be
    /// sent along as it is.
    pub(crate) fn own_part(&self, body: Value, platform: &Map<String, Value>) -> Value {
        let Value::Object(mut body) = body else {
            return body;
        };
        body.retain(|name, value| {
            let own = self.fields.get(name).is_some_and(|field| !field.platform);
            own || platform.get(name) != Some(value)
        });
        Value::Object(body)
    }
}

/// A field that refers to other resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The field.
    pub field: &'a str,
    /// The kind it leads to.
    pub to: &'a str,
    /// What it is called from there.
    pub reverse: Option<&'a str>,
    /// Whether it leads to several.
    pub many: bool,
    /// What becomes of the one that refers when the other is deleted.
    pub on_delete: OnDelete,
}

impl<'a> Relation<'a> {
    fn new(field: &'a str, reference: &'a Reference) -> Self {
        Relation {
            field,
            to: &reference.to,
            reverse: reference.reverse.as_deref(),
            many: reference.many,
            on_delete: reference.on_delete,
        }
    }

    /// The names that a body refers to in this field.
    pub fn targets<'b>(
        self,
        body: &'b Map<String, Value>,
    ) -> impl Iterator<Item = &'b str> + use<'b> {
        let (one, several) = match body.get(self.field) {
            Some(Value::String(name)) => (Some(name.as_str()), &[][..]),
            Some(Value::Array(names)) => (None, names.as_slice()),
            _ => (None, &[][..]),
        };
        one.into_iter()
            .chain(several.iter().filter_map(Value::as_str))
    }
}

/// A shipped kind with what somebody adds to it.
fn extended(
    shipped: &Definition,
    added: &Definition,
    violations: &mut Vec<Violation>,
) -> Definition {
    own_only(added, violations);
    let mut definition = shipped.clone();
    if added.parent.is_some() {
        violations.push(Violation::new(
            "shipped",
            "parent",
            "parent",
            "the shipped kind's own main line",
        ));
    }
    for (name, field) in &added.fields {
        if shipped.fields.contains_key(name) {
            violations.push(
                Violation::new(
                    "shipped",
                    format!("fields.{name}"),
                    name,
                    "a name that the shipped kind does not have",
                )
                .help("what ships is not changed; add a field of another name"),
            );
        }
        definition.fields.insert(name.clone(), field.clone());
    }
    definition.unique.extend(added.unique.iter().cloned());
    definition.index.extend(added.index.iter().cloned());
    definition.inherit.extend(added.inherit.iter().cloned());
    definition.groups.extend(added.groups.iter().cloned());
    if !added.display.is_empty() {
        definition.display.clone_from(&added.display);
    }
    definition
}

/// What only shipped kinds may say.
fn own_only(added: &Definition, violations: &mut Vec<Violation>) {
    let fields = added.fields.iter().filter(|(_, field)| field.platform);
    let paths = fields.map(|(name, _)| format!("fields.{name}.platform"));
    let whole = [
        ("platform", added.platform),
        ("declarable", added.declarable),
        ("discovered", added.discovered),
    ];
    let whole = whole.into_iter().filter(|(_, said)| *said);
    for path in paths.chain(whole.map(|(name, _)| name.to_owned())) {
        violations.push(Violation::new(
            "platform",
            path,
            "true",
            "this in kinds that ship only",
        ));
    }
}

/// What names fields names those that there are.
fn named_fields(
    definition: &Definition,
    fields: &IndexMap<String, Field>,
    violations: &mut Vec<Violation>,
) {
    let known = |name: &str| definition.fields.contains_key(name);
    let mut check = |at: String, name: &str| {
        let there = known(name);
        if !there {
            let violation =
                Violation::new("unknown-field", at, format!("{name:?}"), "a declared field");
            let near = nearest(name, definition.fields.keys().map(String::as_str));
            violations.push(match near {
                Some(near) => violation.help(format!("did you mean {near}?")),
                None => violation,
            });
        }
        there
    };
    for (index, name) in definition.display.iter().enumerate() {
        check(format!("display[{index}]"), name);
    }
    for (index, name) in definition.index.iter().enumerate() {
        check(format!("index[{index}]"), name);
    }
    let mut wrong = Vec::new();
    for (number, names) in definition.unique.iter().enumerate() {
        if names.is_empty() {
            wrong.push(Violation::new(
                "value",
                format!("unique[{number}]"),
                "nothing",
                "names of fields",
            ));
        }
        for (index, name) in names.iter().enumerate() {
            let at = format!("unique[{number}][{index}]");
            if !check(at.clone(), name) {
                continue;
            }
            let field = fields.get(name);
            let comparable = |field: &Field| {
                !field.platform
                    && !matches!(
                        field.shape,
                        Shape::Secret { .. } | Shape::Json | Shape::Map(..) | Shape::Object(_)
                    )
            };
            if !field.is_none_or(comparable) {
                wrong.push(Violation::new(
                    "value",
                    at,
                    name,
                    "a field whose values can be compared",
                ));
            }
        }
    }
    let recorded = |path: &str| {
        let first = path
            .split_once('.')
            .map(|(first, _)| definition.fields.get(first));
        first.flatten().is_some_and(|field| field.platform)
    };
    if let Some(parent) = definition
        .parent
        .as_ref()
        .filter(|parent| !recorded(parent))
        && check("parent".to_owned(), parent)
    {
        let field = fields.get(parent);
        let one = |field: &Field| matches!(&field.shape, Shape::Reference(to) if !to.many);
        if !field.is_none_or(one) {
            wrong.push(Violation::new(
                "value",
                "parent",
                parent,
                "a reference to one resource",
            ));
        }
    }
    if definition.parent.is_none() && !definition.inherit.is_empty() {
        let found = definition.inherit.join(", ");
        let expected = "a parent to inherit it from";
        wrong.push(Violation::new("required", "parent", found, expected));
    }
    violations.append(&mut wrong);
}
