//! Asks an expression of one document, or of one row: the same code, and the same answer.

use std::cmp::Ordering;

use serde_json::Value as Json;

use crate::{
    Document,
    expr::{Affix, Arithmetic, Comparison, Expr, Field, Leaf, Path, Quantifier, Within},
    sight::View,
    table::Table,
    value::{List, Map, Value},
};

/// What an expression is asked of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Here<'v> {
    Document(&'v Document<'v>),
    Row(&'v Table, u32),
    /// All paths have this value, or none.
    Fixed(Option<Value<'v>>),
}

/// A place in the evaluation: the document, and the element of each list around.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'v, 'f> {
    view: View<'v>,
    here: Here<'v>,
    element: Option<Value<'v>>,
    outer: Option<&'f Frame<'v, 'f>>,
}

impl<'v> Here<'v> {
    fn field(self, field: &Field, view: View<'v>) -> Option<Value<'v>> {
        match self {
            Here::Fixed(value) => value,
            Here::Row(table, row) => view.value(table, row, &field.path),
            Here::Document(document) => Some(field.sort.read(json_at(document.body, &field.keys)?)),
        }
    }

    fn has(self, path: &'v Path, view: View<'v>) -> bool {
        match (self, &path.leaf) {
            (Here::Row(table, row), Leaf::Field(field)) => view.has(table, row, &field.path),
            (Here::Document(document), Leaf::Field(field)) => {
                json_at(document.body, &field.keys).is_some()
            }
            (here, leaf) => here.leaf(leaf, view).is_some(),
        }
    }

    fn leaf(self, leaf: &'v Leaf, view: View<'v>) -> Option<Value<'v>> {
        match (self, leaf) {
            (Here::Fixed(value), _) => value,
            (_, Leaf::Field(field)) => self.field(field, view),
            (_, Leaf::Kind(kind)) => Some(Value::Text(kind)),
            (Here::Row(table, row), Leaf::Name) => Some(Value::Text(table.name(row))),
            (Here::Document(document), Leaf::Name) => Some(Value::Text(document.name)),
            (Here::Row(table, row), Leaf::Label(key)) => {
                view.value(table, row, &format!("labels.{key}"))
            }
            (Here::Document(document), Leaf::Label(key)) => {
                Some(Value::Text(document.labels.get(key)?))
            }
            // The compiler lets only labels by name through.
            (_, Leaf::Labels) => None,
            (_, Leaf::Referrers { kind, path }) => {
                let name = match self {
                    Here::Row(table, row) => table.name(row),
                    Here::Document(document) => document.name,
                    Here::Fixed(_) => return None,
                };
                let column = view.table(kind).and_then(|t| Some((t, t.column(path)?)));
                Some(Value::List(match column {
                    Some((table, column)) => view.referring(table, column, name),
                    None => List::Literal(&[]),
                }))
            }
        }
    }
}

fn json_at<'v>(body: &'v Json, keys: &[String]) -> Option<&'v Json> {
    keys.iter()
        .try_fold(body, |at, key| at.as_object()?.get(key))
}

impl<'v, 'f> Frame<'v, 'f> {
    pub(crate) fn new(view: View<'v>, here: Here<'v>) -> Self {
        Frame {
            view,
            here,
            element: None,
            outer: None,
        }
    }

    /// Whether it is true; `None` where something is missing or of a type that does not go with it.
    pub(crate) fn truth(&self, expr: &'v Expr) -> Option<bool> {
        match expr {
            Expr::And(many) => self.all(many),
            Expr::Or(many) => {
                let mut unknown = false;
                for one in many {
                    match self.truth(one) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => unknown = true,
                    }
                }
                (!unknown).then_some(false)
            }
            Expr::Not(one) => self.truth(one).map(|truth| !truth),
            Expr::Compare(comparison, two) => self.compare(*comparison, &two[0], &two[1]),
            expr => self.value(expr)?.truth(),
        }
    }

    fn all(&self, many: &'v [Expr]) -> Option<bool> {
        let mut unknown = false;
        for one in many {
            match self.truth(one) {
                Some(false) => return Some(false),
                Some(true) => {}
                None => unknown = true,
            }
        }
        (!unknown).then_some(true)
    }

    fn compare(&self, comparison: Comparison, a: &'v Expr, b: &'v Expr) -> Option<bool> {
        let (a, b) = (self.value(a)?, self.value(b)?);
        Some(match comparison {
            Comparison::Equal => a.equals(b)?,
            Comparison::NotEqual => !a.equals(b)?,
            Comparison::Less => a.order(b)? == Ordering::Less,
            Comparison::AtMost => a.order(b)? != Ordering::Greater,
            Comparison::Greater => a.order(b)? == Ordering::Greater,
            Comparison::AtLeast => a.order(b)? != Ordering::Less,
        })
    }

    /// Its value; `None` as in [`Frame::truth`].
    pub(crate) fn value(&self, expr: &'v Expr) -> Option<Value<'v>> {
        Some(match expr {
            Expr::Literal(literal) => literal.value(),
            Expr::Path(path) => self.path(path)?,
            Expr::Has(path) => Value::Bool(match self.here {
                Here::Fixed(value) => value.is_some(),
                _ => self.follow(path)?.has(path, self.view),
            }),
            Expr::Element { up, within } => self.element(*up, within)?,
            Expr::HasElement { up, keys } => {
                let (last, outer) = keys.split_last()?;
                let map = outer
                    .iter()
                    .try_fold(self.up(*up)?, |at, key| at.entry(key))?;
                match map {
                    Value::Map(_) => Value::Bool(map.entry(last).is_some()),
                    _ => return None,
                }
            }
            Expr::In(two) => Value::Bool(contains(self.value(&two[1])?, self.value(&two[0])?)?),
            Expr::Affix(affix, two) => match (self.value(&two[0])?, self.value(&two[1])?) {
                (Value::Text(text), Value::Text(part)) => Value::Bool(match affix {
                    Affix::Start => text.starts_with(part),
                    Affix::End => text.ends_with(part),
                    Affix::Inside => text.contains(part),
                }),
                _ => return None,
            },
            Expr::Matches(pattern, one) => match self.value(one)? {
                Value::Text(text) => Value::Bool(pattern.is_match(text)),
                _ => return None,
            },
            Expr::Within(network, one) => match self.value(one)? {
                Value::Text(text) => Value::Bool(network.contains(text)?),
                _ => return None,
            },
            Expr::Size(one) => Value::Int(self.value(one)?.size()?),
            Expr::At(two) => at(self.value(&two[0])?, self.value(&two[1])?)?,
            Expr::Each(quantifier, two) => match self.value(&two[0])? {
                Value::List(list) => self.each(*quantifier, list, &two[1])?,
                Value::Map(map) => self.each_key(*quantifier, map, &two[1])?,
                _ => return None,
            },
            Expr::Arithmetic(operation, two) => {
                calculate(*operation, self.value(&two[0])?, self.value(&two[1])?)?
            }
            Expr::Negate(one) => match self.value(one)? {
                Value::Int(number) => Value::Int(number.checked_neg()?),
                Value::Float(number) => Value::Float(-number),
                Value::Span(span) => Value::Span(span.checked_neg()?),
                _ => return None,
            },
            Expr::Choice(three) => match self.truth(&three[0])? {
                true => self.value(&three[1])?,
                false => self.value(&three[2])?,
            },
            Expr::Line(_) => return None,
            Expr::And(_) | Expr::Or(_) | Expr::Not(_) | Expr::Compare(..) => {
                Value::Bool(self.truth(expr)?)
            }
        })
    }

    /// Where a path's references lead.
    fn follow(&self, path: &'v Path) -> Option<Here<'v>> {
        let mut here = self.here;
        for hop in &path.hops {
            let Value::Text(name) = here.field(&hop.field, self.view)? else {
                return None;
            };
            let (table, row) = self.view.resource(&hop.kind, name)?;
            here = Here::Row(table, row);
        }
        Some(here)
    }

    fn path(&self, path: &'v Path) -> Option<Value<'v>> {
        if let Here::Fixed(value) = self.here {
            return value;
        }
        self.follow(path)?.leaf(&path.leaf, self.view)
    }

    fn up(&self, up: usize) -> Option<Value<'v>> {
        let mut frame = self;
        for _ in 0..up {
            frame = frame.outer?;
        }
        frame.element
    }

    fn element(&self, up: usize, within: &'v Within) -> Option<Value<'v>> {
        let element = self.up(up)?;
        match within {
            Within::Itself => Some(element),
            Within::Keys(keys) => keys.iter().try_fold(element, |at, key| at.entry(key)),
            Within::Resource { kind, path } => {
                let (table, row) = match element {
                    Value::Row(table, row) => (table, row),
                    Value::Text(name) => self.view.resource(kind, name)?,
                    _ => return None,
                };
                Frame::new(self.view, Here::Row(table, row)).path(path)
            }
        }
    }

    fn asked_of(&self, element: Value<'v>, body: &'v Expr) -> Option<bool> {
        let frame = Frame {
            element: Some(element),
            outer: Some(self),
            ..*self
        };
        frame.truth(body)
    }

    fn each(&self, quantifier: Quantifier, list: List<'v>, body: &'v Expr) -> Option<Value<'v>> {
        let mut tally = Tally::new(quantifier);
        list.any(|element| tally.ends_with(self.asked_of(element, body)));
        tally.result()
    }

    fn each_key(&self, quantifier: Quantifier, map: Map<'v>, body: &'v Expr) -> Option<Value<'v>> {
        let mut tally = Tally::new(quantifier);
        let mut ends = |key: &'v str| tally.ends_with(self.asked_of(Value::Text(key), body));
        match map {
            Map::Json(map) => map.keys().any(|key| ends(key)),
            Map::Packed(map) => map.entries().any(|(key, _)| ends(key)),
        };
        tally.result()
    }
}

/// What became of a quantifier's body.
struct Tally {
    quantifier: Quantifier,
    yes: i64,
    no: bool,
    unknown: bool,
}

impl Tally {
    fn new(quantifier: Quantifier) -> Self {
        Tally {
            quantifier,
            yes: 0,
            no: false,
            unknown: false,
        }
    }

    /// Counts one more; whether nothing that follows can change the result.
    fn ends_with(&mut self, truth: Option<bool>) -> bool {
        match truth {
            Some(true) => self.yes += 1,
            Some(false) => self.no = true,
            None => self.unknown = true,
        }
        match self.quantifier {
            Quantifier::Any => self.yes > 0,
            Quantifier::All => self.no,
            Quantifier::One | Quantifier::Count => self.unknown,
        }
    }

    fn result<'v>(&self) -> Option<Value<'v>> {
        Some(match self.quantifier {
            Quantifier::Any if self.yes > 0 => Value::Bool(true),
            Quantifier::All if self.no => Value::Bool(false),
            _ if self.unknown => return None,
            Quantifier::Any => Value::Bool(false),
            Quantifier::All => Value::Bool(true),
            Quantifier::One => Value::Bool(self.yes == 1),
            Quantifier::Count => Value::Int(self.yes),
        })
    }
}

fn contains(holder: Value<'_>, value: Value<'_>) -> Option<bool> {
    match (holder, value) {
        (Value::List(list), value) => Some(list.any(|element| element.equals(value) == Some(true))),
        (Value::Map(_), Value::Text(key)) => Some(holder.entry(key).is_some()),
        _ => None,
    }
}

fn at<'v>(holder: Value<'v>, at: Value<'_>) -> Option<Value<'v>> {
    match (holder, at) {
        (Value::List(list), Value::Int(at)) => list.get(usize::try_from(at).ok()?),
        (Value::Map(_), Value::Text(key)) => holder.entry(key),
        _ => None,
    }
}

/// As CEL does: what overflows, or is divided by zero, has no value.
pub(crate) fn calculate<'v>(
    operation: Arithmetic,
    a: Value<'_>,
    b: Value<'_>,
) -> Option<Value<'v>> {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    Some(match (a, b) {
        (Value::Int(a), Value::Int(b)) => Value::Int(match operation {
            Add => a.checked_add(b)?,
            Subtract => a.checked_sub(b)?,
            Multiply => a.checked_mul(b)?,
            Divide => a.checked_div(b)?,
            Remainder => a.checked_rem(b)?,
        }),
        (Value::Float(a), Value::Float(b)) => Value::Float(match operation {
            Add => a + b,
            Subtract => a - b,
            Multiply => a * b,
            Divide => a / b,
            Remainder => return None,
        }),
        (Value::Time(a), Value::Span(b)) => Value::Time(match operation {
            Add => a.checked_add(b)?,
            Subtract => a.checked_sub(b)?,
            _ => return None,
        }),
        (Value::Span(_), Value::Time(_)) if operation == Add => calculate(Add, b, a)?,
        (Value::Time(a), Value::Time(b)) if operation == Subtract => Value::Span(a.checked_sub(b)?),
        (Value::Span(a), Value::Span(b)) => Value::Span(match operation {
            Add => a.checked_add(b)?,
            Subtract => a.checked_sub(b)?,
            _ => return None,
        }),
        _ => return None,
    })
}
