//! Fields that a resource has from what it is a part of: expressions over what it has itself and what its
//! references lead to.

use crate::{
    FilterError,
    expr::{Expr, Literal},
    line,
    resolve::{self, Key, Wanted},
    sight::View,
};

/// Kinds may inherit from each other in a circle, which nobody follows further than this.
const HIGHEST: usize = 16;

/// What stands at `keys` of a resource of a kind, or is inherited there; of [`Wanted::Presence`],
/// whether something does.
pub(crate) fn expression(
    view: View<'_>,
    kind: &str,
    keys: &[Key],
    wanted: Wanted,
) -> Result<Expr, FilterError> {
    if let Some(line) = line::of(view, kind, keys)? {
        return Ok(match wanted {
            Wanted::Value => Expr::Line(line),
            // Whatever is in the main line has a place there.
            Wanted::Presence => Expr::Literal(Literal::Bool(true)),
        });
    }
    climb(view, kind, keys, wanted, HIGHEST)
}

fn climb(
    view: View<'_>,
    kind: &str,
    keys: &[Key],
    wanted: Wanted,
    left: usize,
) -> Result<Expr, FilterError> {
    let own = || {
        let path = resolve::path(view, kind, keys, wanted)?;
        Ok(match wanted {
            Wanted::Value => Expr::Path(path),
            Wanted::Presence => Expr::Has(path),
        })
    };
    let place = resolve::place(view, kind, keys);
    if left == 0 {
        return own();
    }
    let field = resolve::joined(place.rest);
    let schema = view.schema(&place.kind);
    let inherited = schema.and_then(|schema| {
        let mut inherited = schema.inherited.iter();
        inherited.find(|inherited| inherited.path == field)
    });
    let Some(inherited) = inherited else {
        return own();
    };
    let column = keys.last().map_or(1, |key| key.column);
    let from = inherited.from.split('.').map(|name| Key {
        name: name.to_owned(),
        column,
    });
    let parent: Vec<Key> = place.to.iter().cloned().chain(from).collect();
    let above: Vec<Key> = parent.iter().chain(place.rest).cloned().collect();
    let above = climb(view, kind, &above, wanted, left - 1)?;
    let is_declared = schema.is_some_and(|schema| schema.sort(&field).is_some());
    let has = |keys: &[Key]| resolve::path(view, kind, keys, Wanted::Presence).map(Expr::Has);
    Ok(match wanted {
        Wanted::Value if is_declared => Expr::Choice(Box::new([has(keys)?, own()?, above])),
        Wanted::Value => above,
        // Without a parent there is nothing above, rather than no telling.
        Wanted::Presence => {
            let above = Expr::And(vec![has(&parent)?, above]);
            match is_declared {
                true => Expr::Or(vec![has(keys)?, above]),
                false => above,
            }
        }
    })
}

/// Makes a condition of one side that may be one thing or another: of each by itself, so that the index
/// can answer it. Only where it is always known which of them it is: what a filter chooses by a field that
/// is missing is unknown as a whole.
pub(crate) fn of_each(
    side: Expr,
    make: &mut impl FnMut(Expr) -> Result<Expr, FilterError>,
) -> Result<Expr, FilterError> {
    let three = match side {
        Expr::Choice(three) if matches!(three[0], Expr::Has(_)) => three,
        Expr::Line(_) => return Err(line::refused()),
        side => return make(side),
    };
    let [when, one, other] = *three;
    let not = Expr::Not(Box::new(when.clone()));
    let one = of_each(one, make)?;
    let other = of_each(other, make)?;
    Ok(Expr::Or(vec![
        Expr::And(vec![when, one]),
        Expr::And(vec![not, other]),
    ]))
}
