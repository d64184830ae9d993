//! From the names in an expression to fields and relations of kinds.

use wright_model::nearest;

use crate::{
    FilterError,
    expr::{Field, Hop, Leaf, Path},
    schema::Sort,
    sight::View,
    table::NAME,
};

/// A name after a dot, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) column: u32,
}

/// What a path is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Value,
    /// Whether it is there.
    Presence,
}

pub(crate) fn error(column: u32, message: String, help: impl Into<String>) -> FilterError {
    FilterError {
        column,
        message,
        help: help.into(),
    }
}

/// The path that leads along `keys` from a resource of a kind.
pub(crate) fn path(
    view: View<'_>,
    kind: &str,
    keys: &[Key],
    wanted: Wanted,
) -> Result<Path, FilterError> {
    let mut hops = Vec::new();
    let (mut kind, mut keys) = (kind.to_owned(), keys);
    loop {
        let Some((first, rest)) = keys.split_first() else {
            let help = format!(
                "name a field of it, such as {}.name",
                kind.replace('-', "_")
            );
            return Err(error(1, format!("{kind} is a resource, not a value"), help));
        };
        if let Some(leaf) = own(&kind, first, rest, view, wanted)? {
            return Ok(Path { hops, leaf });
        }
        if let Some((length, target)) = reference(view, &kind, keys) {
            let (to, after) = keys.split_at(length);
            readable(view, &kind, &joined(to), first.column)?;
            let sort = sort(view, &kind, &joined(to));
            hops.push(Hop {
                field: field(to, sort),
                kind: target.clone(),
            });
            (kind, keys) = (target, after);
            continue;
        }
        readable(view, &kind, &joined(keys), first.column)?;
        if !view.is_lenient {
            known(view, &kind, keys, wanted)?;
        }
        let sort = sort(view, &kind, &joined(keys));
        if sort == Sort::Hidden {
            let message = format!("{} is secret: nothing is found by it", first.name);
            return Err(error(first.column, message, ""));
        }
        let leaf = Leaf::Field(field(keys, sort));
        return Ok(Path { hops, leaf });
    }
}

/// Where keys lead: over references to a resource of a kind, and there to a field.
pub(crate) struct Place<'k> {
    /// The keys up to there.
    pub(crate) to: &'k [Key],
    pub(crate) kind: String,
    /// Those of the field.
    pub(crate) rest: &'k [Key],
}

/// Follows the references among keys.
pub(crate) fn place<'k>(view: View<'_>, kind: &str, keys: &'k [Key]) -> Place<'k> {
    let (mut kind, mut at) = (kind.to_owned(), 0);
    while let Some((length, target)) = reference(view, &kind, &keys[at..]) {
        (kind, at) = (target, at + length);
    }
    let (to, rest) = keys.split_at(at);
    Place { to, kind, rest }
}

pub(crate) fn joined(keys: &[Key]) -> String {
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    names.join(".")
}

fn field(keys: &[Key], sort: Sort) -> Field {
    Field {
        path: joined(keys),
        keys: keys.iter().map(|key| key.name.clone()).collect(),
        sort,
    }
}

fn sort(view: View<'_>, kind: &str, path: &str) -> Sort {
    let schema = view.schema(kind);
    schema
        .and_then(|schema| schema.sort(path))
        .cloned()
        .unwrap_or_default()
}

/// What every resource has, and what refers to it.
fn own(
    kind: &str,
    first: &Key,
    rest: &[Key],
    view: View<'_>,
    wanted: Wanted,
) -> Result<Option<Leaf>, FilterError> {
    let is_field = |name: &str| view.schema(kind).is_some_and(|s| s.sort(name).is_some());
    let leaf = match first.name.as_str() {
        NAME if rest.is_empty() => Leaf::Name,
        "kind" if rest.is_empty() && !is_field("kind") => Leaf::Kind(kind.to_owned()),
        "labels" if rest.is_empty() && wanted == Wanted::Presence => Leaf::Labels,
        "labels" if rest.is_empty() => {
            let help = format!("name a label: {kind}.labels.team, or \"team\" in {kind}.labels");
            return Err(error(first.column, "labels is a map".to_owned(), help));
        }
        "labels" => {
            let label = joined(rest);
            readable(view, kind, &format!("labels.{label}"), first.column)?;
            Leaf::Label(label)
        }
        name if !is_field(name) => {
            let Some((by, path)) = view.index.referrers(kind, name) else {
                return Ok(None);
            };
            readable(view, &by, &path, first.column)?;
            if let Some(key) = rest.first() {
                let help = format!("write {name}.exists(x, x.{} == …)", key.name);
                return Err(error(key.column, format!("{name} is a list"), help));
            }
            Leaf::Referrers { kind: by, path }
        }
        _ => return Ok(None),
    };
    Ok(Some(leaf))
}

/// Whether the first keys are a reference that more keys follow: how many, and to what kind.
fn reference(view: View<'_>, kind: &str, keys: &[Key]) -> Option<(usize, String)> {
    let schema = view.schema(kind)?;
    (1..keys.len()).find_map(|length| match schema.sort(&joined(&keys[..length])) {
        Some(Sort::Reference { kind, .. }) => Some((length, kind.clone())),
        _ => None,
    })
}

/// Refuses a field that the asker may see of no resource of the kind, whether there is one or not.
pub(crate) fn readable(
    view: View<'_>,
    kind: &str,
    path: &str,
    column: u32,
) -> Result<(), FilterError> {
    if view.may_see(kind, path) {
        return Ok(());
    }
    let message = format!("{path} of {kind} is not yours to read");
    Err(error(column, message, "see `wright whoami`"))
}

/// Refuses a field that the kind does not have, and a map where a value is wanted.
fn known(view: View<'_>, kind: &str, keys: &[Key], wanted: Wanted) -> Result<(), FilterError> {
    let path = joined(keys);
    let schema = view.schema(kind);
    let table = view.table(kind);
    let declared: Vec<&str> = schema
        .iter()
        .flat_map(|schema| schema.fields.iter().map(|field| field.path.as_str()))
        .collect();
    // On the way to the field, or inside of it; who sees all is told of others as well.
    let near = |column: &str| {
        let first = keys.first().map_or("", |key| key.name.as_str());
        view.part(kind).is_none() || column.split('.').next() == Some(first)
    };
    let columns: Vec<&str> = table
        .into_iter()
        .flat_map(|table| view.columns(table, near))
        .collect();
    let inside = format!("{path}.");
    let is_field = |path: &str| declared.contains(&path) || columns.contains(&path);
    if !is_field(&path) && (declared.iter().chain(&columns)).any(|other| other.starts_with(&inside))
    {
        let Some(last) = keys.last().filter(|_| wanted == Wanted::Value) else {
            return Ok(());
        };
        let help = format!("name a field inside of it, or write has({kind}.{path})");
        return Err(error(
            last.column,
            format!("{path} is a map, a value was expected"),
            help,
        ));
    }
    let outer = (1..=keys.len()).any(|length| is_field(&joined(&keys[..length])));
    let is_empty = table.is_none_or(|table| view.live(table).is_empty());
    // What an open kind has is known by its documents only.
    let is_open = schema.is_none_or(|schema| schema.open);
    if outer || (is_empty && (is_open || declared.is_empty())) {
        return Ok(());
    }
    // The first key that leads nowhere.
    let lost = keys.iter().enumerate().position(|(at, _)| {
        let begun = format!("{}.", joined(&keys[..=at]));
        !declared
            .iter()
            .chain(&columns)
            .any(|other| other.starts_with(&begun))
    });
    let column = lost.and_then(|at| keys.get(at)).map_or(1, |key| key.column);
    let known = declared.iter().chain(&columns).copied();
    let help = match nearest(&path, known.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => {
            let mut known: Vec<&str> = known.collect();
            known.sort_unstable();
            known.dedup();
            known.truncate(12);
            format!("it has {}", known.join(", "))
        }
    };
    Err(error(column, format!("{kind} has no field {path}"), help))
}
