//! Rows in the order in which they are shown.

use std::cmp::Ordering;

use crate::{
    eval::{Frame, Here},
    expr::Expr,
    sight::View,
    table::Table,
    value::Value,
};

/// What rows are ordered by: some fields, then the name.
pub(crate) struct Order<'a> {
    pub(crate) view: View<'a>,
    pub(crate) table: &'a Table,
    pub(crate) by: &'a [(Expr, bool)],
}

/// A number of the same order as a value, as far as it goes, and the row.
type Keyed = (u128, u32);

const MISSING: u128 = u128::MAX;

impl Order<'_> {
    fn value<'v>(&'v self, row: u32, by: &'v Expr) -> Option<Value<'v>> {
        Frame::new(self.view, Here::Row(self.table, row)).value(by)
    }

    /// Rows without the first field come last, whichever way it is ordered.
    fn key(&self, row: u32) -> u128 {
        let Some((by, descending)) = self.by.first() else {
            return key(Value::Text(self.table.name(row)));
        };
        match self.value(row, by) {
            Some(value) if *descending => MISSING - 1 - key(value),
            Some(value) => key(value),
            None => MISSING,
        }
    }

    /// How two rows compare in everything.
    fn compare(&self, a: u32, b: u32) -> Ordering {
        for (by, descending) in self.by {
            let order = match (self.value(a, by), self.value(b, by)) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => return Ordering::Greater,
                (Some(_), None) => return Ordering::Less,
                (Some(a), Some(b)) => {
                    let order = a.order(b).unwrap_or_else(|| key(a).cmp(&key(b)));
                    if *descending { order.reverse() } else { order }
                }
            };
            if order.is_ne() {
                return order;
            }
        }
        self.table.name(a).cmp(self.table.name(b)).then(a.cmp(&b))
    }

    fn compare_keyed(&self, a: &Keyed, b: &Keyed) -> Ordering {
        a.0.cmp(&b.0).then_with(|| self.compare(a.1, b.1))
    }

    /// All rows; the first `count` of them in order, the others after those, in no order.
    pub(crate) fn first(&self, rows: impl Iterator<Item = u32>, count: usize) -> Vec<u32> {
        let mut keyed: Vec<Keyed> = rows.map(|row| (self.key(row), row)).collect();
        let head = if count < keyed.len() && count > 0 {
            keyed.select_nth_unstable_by(count - 1, |a, b| self.compare_keyed(a, b));
            &mut keyed[..count]
        } else {
            &mut keyed[..]
        };
        head.sort_unstable_by(|a, b| self.compare_keyed(a, b));
        keyed.into_iter().map(|(_, row)| row).collect()
    }
}

/// Types one after the other; within one, the beginning of a text, or about the number.
fn key(value: Value<'_>) -> u128 {
    let number = |number: f64| {
        let bits = number.to_bits();
        u128::from(if bits >> 63 == 0 {
            bits | 1 << 63
        } else {
            !bits
        })
    };
    #[expect(clippy::cast_sign_loss, reason = "the sign's bit is turned")]
    let whole = |number: i64| u128::from(number as u64 ^ 1 << 63);
    #[expect(
        clippy::cast_precision_loss,
        reason = "equal keys are compared exactly"
    )]
    let (rank, key) = match value {
        Value::Null => (0, 0),
        Value::Bool(value) => (1, u128::from(value)),
        Value::Int(value) => (2, number(value as f64) << 56),
        Value::Float(value) => (2, number(value) << 56),
        Value::Time(value) => (3, whole(value) << 56),
        Value::Span(value) => (4, whole(value) << 56),
        Value::Text(text) => {
            let mut bytes = [0; 16];
            for (to, from) in bytes[1..].iter_mut().zip(text.bytes()) {
                *to = from;
            }
            (5, u128::from_be_bytes(bytes))
        }
        Value::List(_) | Value::Map(_) | Value::Row(..) => (6, 0),
    };
    (rank << 120) | key
}
