//! What the index is told of a kind.

use indexmap::IndexMap;
use wright_query::{FieldSchema, Inherited, Schema, Sort};

use crate::kind::{DRIFT, FieldDefinition, FieldType, Kind};

/// References in what the platform records, which no kind declares: kind, field, where it leads to,
/// and what it is called there.
const RECORDED: [(&str, &str, &str, &str); 2] = [
    ("instance", "spec.host", "host", "instances"),
    ("instance", "labels.site", "site", "instances"),
];

/// What the platform records and nobody looks for: whole files.
const UNSOUGHT: [(&str, &str); 2] = [("instance", "spec.files"), ("instance", "spec.env")];

pub(crate) fn of(kind: &Kind) -> Schema {
    let mut schema = Schema::new(kind.name(), []);
    let references = RECORDED
        .iter()
        .map(|(of, path, to, reverse)| (of, path, Sort::reference(to, reverse)));
    let unsought = UNSOUGHT.iter().map(|(of, path)| (of, path, Sort::Hidden));
    let recorded = references
        .chain(unsought)
        .filter(|(of, ..)| **of == kind.name());
    let recorded: Vec<FieldSchema> = recorded
        .map(|(_, path, sort)| FieldSchema {
            path: (*path).to_owned(),
            sort,
        })
        .collect();
    fields("", &kind.definition().fields, &mut schema.fields);
    // A field that holds such a one is looked into.
    schema.fields.retain(|field| {
        let inside = format!("{}.", field.path);
        !recorded
            .iter()
            .any(|recorded| recorded.path.starts_with(&inside))
    });
    schema.fields.extend(recorded);
    if kind.is_comparable() {
        schema.fields.push(FieldSchema {
            path: DRIFT.to_owned(),
            sort: Sort::List,
        });
    }
    if let Some((from, _)) = kind.definition().parent() {
        let inherited = kind.definition().inherit.iter().map(|path| Inherited {
            path: path.clone(),
            from: from.to_owned(),
        });
        schema.inherited.extend(inherited);
        schema.parent = Some(from.to_owned());
    }
    // The platform writes more than it declares.
    schema.open = kind.is_platform();
    schema
}

fn fields(
    outer: &str,
    definitions: &IndexMap<String, FieldDefinition>,
    into: &mut Vec<FieldSchema>,
) {
    for (name, definition) in definitions {
        let path = format!("{outer}{name}");
        if definition.of_type == FieldType::Object {
            fields(&format!("{path}."), &definition.fields, into);
        } else {
            let sort = sort(definition);
            into.push(FieldSchema { path, sort });
        }
    }
}

fn sort(definition: &FieldDefinition) -> Sort {
    match definition.of_type {
        _ if definition.secret => Sort::Hidden,
        FieldType::Integer => Sort::Integer,
        FieldType::Float => Sort::Float,
        FieldType::Boolean => Sort::Boolean,
        FieldType::Time => Sort::Time,
        FieldType::Duration => Sort::Span,
        FieldType::Bytes => Sort::Bytes,
        FieldType::List => Sort::List,
        FieldType::Map | FieldType::Json => Sort::Json,
        FieldType::Reference => Sort::Reference {
            kind: definition.to.clone().unwrap_or_default(),
            reverse: definition.reverse.clone(),
        },
        FieldType::User => Sort::Reference {
            kind: "user".to_owned(),
            reverse: definition.reverse.clone(),
        },
        FieldType::Object => Sort::Any,
        FieldType::Text
        | FieldType::Enumeration
        | FieldType::Date
        | FieldType::Address
        | FieldType::Prefix
        | FieldType::Mac
        | FieldType::Url
        | FieldType::Email => Sort::Text,
    }
}
