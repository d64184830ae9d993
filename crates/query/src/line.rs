//! The place of a resource in the main line, from the outermost to itself: `berlin/b2/r7/h1`.
//!
//! It is no value of its own. What is asked of it is asked of the names that it is made of, so that the
//! index can answer it.

use crate::{
    FilterError, Sort,
    expr::{Affix, Comparison, Expr, Leaf, Literal, Path},
    resolve::{self, Key, Wanted, error},
    sight::View,
    table::NAME,
};

/// The name by which it is asked for.
const PLACE: &str = "path";
/// Kinds may be parts of each other in a circle, which nobody follows further than this.
const HIGHEST: usize = 16;

/// The names that a place is made of, from the resource's own outwards, where `keys` ask for the place of
/// a resource that is in the main line and has no field of that name.
pub(crate) fn of(
    view: View<'_>,
    kind: &str,
    keys: &[Key],
) -> Result<Option<Vec<Expr>>, FilterError> {
    let place = resolve::place(view, kind, keys);
    let asked = matches!(place.rest, [Key { name, .. }] if name == PLACE);
    if !asked || !is_in_line(view, &place.kind) {
        return Ok(None);
    }
    let column = keys.last().map_or(1, |key| key.column);
    let key = |name: &str| Key {
        name: name.to_owned(),
        column,
    };
    let (mut here, mut at) = (place.to.to_vec(), place.kind);
    let mut names = Vec::new();
    while names.len() < HIGHEST {
        let name: Vec<Key> = here.iter().cloned().chain([key(NAME)]).collect();
        names.push(Expr::Path(resolve::path(view, kind, &name, Wanted::Value)?));
        let Some((path, to)) = parent(view, &at) else {
            break;
        };
        here.extend(path.split('.').map(key));
        at = to;
    }
    Ok(Some(names))
}

/// The reference to what resources of a kind are a part of, and to which kind it leads.
fn parent(view: View<'_>, kind: &str) -> Option<(String, String)> {
    let schema = view.schema(kind)?;
    let path = schema.parent.as_ref()?;
    match schema.sort(path)? {
        Sort::Reference { kind, .. } => Some((path.clone(), kind.clone())),
        _ => None,
    }
}

fn is_in_line(view: View<'_>, kind: &str) -> bool {
    let leads_here = |other: &str| parent(view, other).is_some_and(|(_, to)| to == kind);
    let schema = view.schema(kind);
    schema.is_some_and(|schema| schema.sort(PLACE).is_none())
        && (parent(view, kind).is_some() || view.index.kinds().into_iter().any(leads_here))
}

/// Whether the place is this.
pub(crate) fn is(line: &[Expr], text: &str) -> Expr {
    compared(line, text, true)
}

/// Whether it begins so.
pub(crate) fn begins(line: &[Expr], text: &str) -> Expr {
    compared(line, text, false)
}

fn compared(line: &[Expr], text: &str, whole: bool) -> Expr {
    let parts: Vec<&str> = text.split('/').collect();
    // The more of the line there is, the further out the first part is.
    let ways = (1..=line.len()).filter(|&length| match whole {
        true => length == parts.len(),
        false => length >= parts.len(),
    });
    let way = |length: usize| {
        let mut all = Vec::new();
        for (nth, part) in parts.iter().enumerate() {
            let name = line[length - 1 - nth].clone();
            let part = Expr::Literal(Literal::Text((*part).to_owned()));
            let two = Box::new([name, part]);
            all.push(match whole || nth + 1 < parts.len() {
                true => Expr::Compare(Comparison::Equal, two),
                false => Expr::Affix(Affix::Start, two),
            });
        }
        all.extend(line.get(length).and_then(no_further));
        Expr::And(all)
    };
    Expr::Or(ways.map(way).collect())
}

/// That there is no reference to what this is the name of.
fn no_further(next: &Expr) -> Option<Expr> {
    let Expr::Path(next) = next else {
        return None;
    };
    let (last, hops) = next.hops.split_last()?;
    Some(Expr::Not(Box::new(Expr::Has(Path {
        hops: hops.to_vec(),
        leaf: Leaf::Field(last.field.clone()),
    }))))
}

pub(crate) fn refused() -> FilterError {
    let help = "compare it by ==, != or startsWith with a text, such as host.path.startsWith(\"berlin/b2/\")";
    error(
        1,
        "path is a place, which this cannot be asked of".to_owned(),
        help,
    )
}
