//! From an expression to the rows for which it is true, or false, by the index.

use roaring::RoaringBitmap;

use crate::{
    cells::Ints,
    column::Column,
    eval::{Frame, Here},
    expr::{Comparison, Expr, Leaf, Literal, Path},
    posting::Gathered,
    sight::View,
    table::{NAME, Table},
    value::{List, Value},
};

/// How the rows of an expression are found.
#[derive(Debug)]
pub(crate) enum Method<'a> {
    /// It is the same for all.
    Constant,
    /// By the rows of values.
    Lookup(&'a Column, Vec<&'a str>),
    /// By the rows of the elements of lists.
    Member(&'a Column, &'a str),
    /// By asking each distinct value of a field.
    Values(&'a Column),
    /// First the resources that are referred to.
    Beyond(&'a Path),
    /// By asking each resource's list of those that refer to it.
    Referrers {
        kind: &'a str,
        path: &'a str,
    },
    All(&'a [Expr]),
    Any(&'a [Expr]),
    Not(&'a Expr),
    /// By asking each row.
    Each,
}

/// The column of what a path looks at in the table itself.
pub(crate) fn column_path(leaf: &Leaf) -> Option<String> {
    match leaf {
        Leaf::Name => Some(NAME.to_owned()),
        Leaf::Label(key) => Some(format!("labels.{key}")),
        Leaf::Field(field) => Some(field.path.clone()),
        Leaf::Kind(_) | Leaf::Labels | Leaf::Referrers { .. } => None,
    }
}

pub(crate) fn method<'a>(table: &'a Table, expr: &'a Expr) -> Method<'a> {
    match expr {
        Expr::And(many) => return Method::All(many),
        Expr::Or(many) => return Method::Any(many),
        Expr::Not(one) => return Method::Not(one),
        Expr::Literal(_) => return Method::Constant,
        _ => {}
    }
    let Some(path) = expr.only_path() else {
        return Method::Each;
    };
    if !path.hops.is_empty() {
        return Method::Beyond(path);
    }
    if let Leaf::Referrers { kind, path } = &path.leaf {
        return Method::Referrers { kind, path };
    }
    let Some(column) = column_path(&path.leaf).and_then(|path| table.column(&path)) else {
        return Method::Each;
    };
    match expr {
        Expr::Compare(Comparison::Equal, two) => {
            if let [Expr::Path(_), Expr::Literal(Literal::Text(text))] = &**two {
                return Method::Lookup(column, vec![text]);
            }
        }
        Expr::In(two) => match &**two {
            [Expr::Path(_), Expr::Literal(Literal::List(elements))] => {
                let text = |element: &'a Literal| match element {
                    Literal::Text(text) => Some(text.as_str()),
                    _ => None,
                };
                if let Some(texts) = elements.iter().map(text).collect() {
                    return Method::Lookup(column, texts);
                }
            }
            [Expr::Literal(Literal::Text(text)), Expr::Path(_)]
                if column.sort != crate::Sort::Json =>
            {
                return Method::Member(column, text);
            }
            _ => {}
        },
        _ => {}
    }
    // A map in which the field may be is asked row by row.
    if column.path != NAME && table.is_map(&column.path) {
        return Method::Each;
    }
    Method::Values(column)
}

/// The rows of a table for which an expression is true, or false.
pub(crate) fn rows_where(view: View<'_>, table: &Table, expr: &Expr, truth: bool) -> RoaringBitmap {
    match method(table, expr) {
        Method::Constant => {
            let is = Frame::new(view, Here::Fixed(None)).truth(expr);
            all_or_none(view.live(table), is == Some(truth))
        }
        Method::Not(one) => rows_where(view, table, one, !truth),
        Method::All(many) if truth => intersection(view, table, many, truth),
        Method::Any(many) if !truth => intersection(view, table, many, truth),
        Method::All(many) | Method::Any(many) => {
            let mut rows = RoaringBitmap::new();
            for one in many {
                rows |= rows_where(view, table, one, truth);
            }
            rows
        }
        Method::Lookup(column, texts) if truth => {
            let mut rows = RoaringBitmap::new();
            texts
                .iter()
                .for_each(|text| column.rows_of_text(text).add_to(&mut rows));
            view.seeing(table, rows, &column.path)
        }
        Method::Member(column, text) if truth => {
            let mut rows = RoaringBitmap::new();
            column.members.rows_of_text(text).add_to(&mut rows);
            view.seeing(table, rows, &column.path)
        }
        Method::Lookup(column, _) | Method::Member(column, _) | Method::Values(column) => {
            by_value(view, table, column, expr, truth)
        }
        Method::Beyond(path) => beyond(view, table, path, expr, truth),
        Method::Referrers { kind, path } => referred(view, table, (kind, path), expr, truth),
        Method::Each => filtered(view, table, view.live(table), expr, truth),
    }
}

/// Those of some rows for which an expression is true, or false, asked one by one.
pub(crate) fn filtered(
    view: View<'_>,
    table: &Table,
    rows: &RoaringBitmap,
    expr: &Expr,
    truth: bool,
) -> RoaringBitmap {
    let is = |row: &u32| is_so(view, table, *row, expr, truth);
    RoaringBitmap::from_sorted_iter(rows.iter().filter(is)).unwrap_or_default()
}

pub(crate) fn is_so(view: View<'_>, table: &Table, row: u32, expr: &Expr, truth: bool) -> bool {
    Frame::new(view, Here::Row(table, row)).truth(expr) == Some(truth)
}

fn all_or_none(live: &RoaringBitmap, all: bool) -> RoaringBitmap {
    if all {
        live.clone()
    } else {
        RoaringBitmap::new()
    }
}

fn intersection(view: View<'_>, table: &Table, many: &[Expr], truth: bool) -> RoaringBitmap {
    let mut rows: Option<RoaringBitmap> = None;
    for one in many {
        let more = rows_where(view, table, one, truth);
        rows = Some(match rows {
            Some(rows) => rows & more,
            None => more,
        });
    }
    rows.unwrap_or_else(|| view.live(table).clone())
}

/// The expression is about one field: each distinct value is asked once.
fn by_value(
    view: View<'_>,
    table: &Table,
    column: &Column,
    expr: &Expr,
    truth: bool,
) -> RoaringBitmap {
    let is =
        |value: Option<Value<'_>>| Frame::new(view, Here::Fixed(value)).truth(expr) == Some(truth);
    let mut gathered = Gathered::new(table.end());
    for code in 0..column.dictionary.end() {
        let rows = column.dictionary.rows(code);
        if rows.len() > 0 && is(Some(column.dictionary.value(code))) {
            gathered.add(rows);
        }
    }
    let mut rows = gathered.rows();
    if !column.ints.is_empty() {
        rows |= by_number(&column.ints, expr, truth).unwrap_or_else(|| {
            let mut found = Vec::new();
            column.ints.each(|row, number| {
                if is(Some(column.whole(number))) {
                    found.push(row);
                }
            });
            RoaringBitmap::from_sorted_iter(found).unwrap_or_default()
        });
    }
    if !column.floats.is_empty() {
        let mut found = Vec::new();
        column.floats.each(|row, number| {
            if is(Some(Value::Float(number))) {
                found.push(row);
            }
        });
        rows |= RoaringBitmap::from_sorted_iter(found).unwrap_or_default();
    }
    let mut rows = view.seeing(table, rows, &column.path);
    if is(None) {
        rows |= view.without(table, &column.path);
    }
    rows
}

/// A comparison of whole numbers, of times or of durations, without the detour over values.
fn by_number(ints: &Ints, expr: &Expr, truth: bool) -> Option<RoaringBitmap> {
    let Expr::Compare(comparison, two) = expr else {
        return None;
    };
    let [
        Expr::Path(_),
        Expr::Literal(Literal::Int(number) | Literal::Time(number) | Literal::Span(number)),
    ] = &**two
    else {
        return None;
    };
    let number = *number;
    let mut found = Vec::new();
    let mut scan = |is: fn(i64, i64) -> bool| {
        ints.each(|row, own| {
            if is(own, number) == truth {
                found.push(row);
            }
        });
    };
    match comparison {
        Comparison::Equal => scan(|a, b| a == b),
        Comparison::NotEqual => scan(|a, b| a != b),
        Comparison::Less => scan(|a, b| a < b),
        Comparison::AtMost => scan(|a, b| a <= b),
        Comparison::Greater => scan(|a, b| a > b),
        Comparison::AtLeast => scan(|a, b| a >= b),
    }
    RoaringBitmap::from_sorted_iter(found).ok()
}

/// The expression is about one field of what is referred to: found there, and then who refers to it.
fn beyond(view: View<'_>, table: &Table, path: &Path, expr: &Expr, truth: bool) -> RoaringBitmap {
    let found = path
        .hops
        .first()
        .and_then(|hop| Some((table.column(&hop.field.path)?, view.table(&hop.kind)?)));
    let Some((column, target)) = found else {
        return RoaringBitmap::new();
    };
    let targets = rows_where(view, target, &expr.beyond_hop(), truth);
    let names = &column.dictionary;
    let mut gathered = Gathered::new(table.end());
    if targets.len() < u64::from(names.end()) {
        for row in &targets {
            gathered.add(column.rows_of_text(target.name(row)));
        }
    } else {
        for code in 0..names.end() {
            let rows = names.rows(code);
            if rows.len() > 0
                && target
                    .row(names.text_of(code))
                    .is_some_and(|row| targets.contains(row))
            {
                gathered.add(rows);
            }
        }
    }
    view.seeing(table, gathered.rows(), &column.path)
}

/// The expression is about the list of those that refer: each list is asked once.
fn referred(
    view: View<'_>,
    table: &Table,
    (kind, path): (&str, &str),
    expr: &Expr,
    truth: bool,
) -> RoaringBitmap {
    let is = |list: List<'_>| {
        Frame::new(view, Here::Fixed(Some(Value::List(list)))).truth(expr) == Some(truth)
    };
    let (mut rows, mut with) = (Gathered::new(table.end()), RoaringBitmap::new());
    if let Some((other, column)) = view.table(kind).and_then(|t| Some((t, t.column(path)?))) {
        for names in [&column.dictionary, &column.members] {
            for code in 0..names.end() {
                let referring = names.rows(code);
                if referring.len() == 0 {
                    continue;
                }
                let Some(row) = table.row(names.text_of(code)) else {
                    continue;
                };
                if with.insert(row) && is(view.referring(other, column, names.text_of(code))) {
                    rows.set(row);
                }
            }
        }
    }
    let mut rows = rows.rows();
    if is(List::Literal(&[])) {
        rows |= view.live(table) - with;
    }
    rows & view.live(table)
}
