//! How many rows there are of each combination of values.

use hashbrown::HashMap;
use roaring::RoaringBitmap;
use serde_json::Value as Json;

use crate::{
    QueryError,
    column::Column,
    eval::{Frame, Here},
    expr::{Expr, Leaf, Path},
    rows::column_path,
    sight::View,
    table::Table,
};

/// The most groups of one answer.
const MAX_GROUPS: usize = 100_000;
/// Up to so many combinations are counted in a plain array.
const MAX_DENSE: u64 = 1 << 22;

/// The rows of a table by one field: a number for each row, and the value of each number.
struct Dimension {
    /// By row; 0: the row has no value.
    numbers: Vec<u32>,
    /// From number 1.
    values: Vec<Json>,
}

/// Numbers for values, as they come.
#[derive(Default)]
struct Numbering {
    numbers: HashMap<String, u32>,
    values: Vec<Json>,
}

impl Numbering {
    fn number(&mut self, value: Option<Json>) -> Result<u32, QueryError> {
        let Some(value) = value else {
            return Ok(0);
        };
        let next = self.values.len() + 1;
        if next > MAX_GROUPS {
            return Err(QueryError::TooManyGroups { most: MAX_GROUPS });
        }
        let number = *self
            .numbers
            .entry(value.to_string())
            .or_insert(u32::try_from(next).unwrap_or(0));
        if number as usize == next {
            self.values.push(value);
        }
        Ok(number)
    }
}

/// Counts rows by the values of paths. The counts are added to `groups`.
pub(crate) fn count(
    view: View<'_>,
    table: &Table,
    rows: &RoaringBitmap,
    by: &[Expr],
    groups: &mut HashMap<Vec<Json>, u64>,
) -> Result<(), QueryError> {
    let dimensions: Vec<Dimension> = by
        .iter()
        .map(|path| dimension(view, table, rows, path))
        .collect::<Result<_, _>>()?;
    let sizes: Vec<u64> = dimensions
        .iter()
        .map(|d| d.values.len() as u64 + 1)
        .collect();
    let combinations = sizes
        .iter()
        .try_fold(1u64, |all, size| all.checked_mul(*size));
    let Some(combinations) = combinations else {
        return Err(QueryError::TooManyGroups { most: MAX_GROUPS });
    };
    let number = |row: u32| {
        dimensions
            .iter()
            .zip(&sizes)
            .fold(0, |number, (dimension, size)| {
                let own = dimension.numbers.get(row as usize).copied().unwrap_or(0);
                number * size + u64::from(own)
            })
    };
    let mut counted: Vec<(u64, u64)> = if combinations <= MAX_DENSE {
        let mut counts = vec![0u32; usize::try_from(combinations).unwrap_or(0)];
        for row in rows {
            if let Some(count) = counts.get_mut(usize::try_from(number(row)).unwrap_or(usize::MAX))
            {
                *count += 1;
            }
        }
        let some = (0..).zip(counts).filter(|(_, count)| *count > 0);
        some.map(|(number, count)| (number, count.into())).collect()
    } else {
        let mut counts: HashMap<u64, u64> = HashMap::new();
        rows.iter()
            .for_each(|row| *counts.entry(number(row)).or_default() += 1);
        counts.into_iter().collect()
    };
    if counted.len() + groups.len() > MAX_GROUPS {
        return Err(QueryError::TooManyGroups { most: MAX_GROUPS });
    }
    for (number, count) in &mut counted {
        let mut values = Vec::with_capacity(by.len());
        for (dimension, size) in dimensions.iter().zip(&sizes).rev() {
            let own = usize::try_from(*number % size).unwrap_or(0);
            *number /= size;
            let value = own.checked_sub(1).and_then(|at| dimension.values.get(at));
            values.push(value.cloned().unwrap_or(Json::Null));
        }
        values.reverse();
        *groups.entry(values).or_default() += *count;
    }
    Ok(())
}

fn dimension(
    view: View<'_>,
    table: &Table,
    rows: &RoaringBitmap,
    by: &Expr,
) -> Result<Dimension, QueryError> {
    let mut numbering = Numbering::default();
    let end = rows.max().map_or(0, |last| last as usize + 1);
    let mut numbers = vec![0; end];
    let value = |here: Here<'_>| {
        let value = Frame::new(view, here).value(by);
        value.map(crate::value::Value::to_json)
    };
    if let Some(Path {
        leaf: Leaf::Kind(kind),
        hops,
    }) = by.only_path()
        && hops.is_empty()
    {
        // The same for all.
        let number = numbering.number(Some(kind.as_str().into()))?;
        rows.iter().for_each(|row| numbers[row as usize] = number);
        let values = numbering.values;
        return Ok(Dimension { numbers, values });
    }
    match shared(table, by) {
        // Rows with the same value of this column are of one group: it is looked at once for each.
        Some((column, is_own)) => {
            let mut of_code = vec![u32::MAX; column.dictionary.end() as usize];
            let rows = view.seeing(table, rows.clone(), &column.path);
            for row in &rows {
                let Some(code) = column.code(row) else {
                    continue;
                };
                let number = &mut of_code[code as usize];
                if *number == u32::MAX {
                    *number = numbering.number(if is_own {
                        Some(column.dictionary.value(code).to_json())
                    } else {
                        value(Here::Row(table, row))
                    })?;
                }
                numbers[row as usize] = *number;
            }
        }
        None => {
            let own = by.only_path().filter(|path| path.hops.is_empty());
            let ints = own.and_then(|path| table.column(&column_path(&path.leaf)?));
            let mut of_int: HashMap<i64, u32> = HashMap::new();
            for row in rows {
                let seen = |column: &&Column| view.sees(table, row, &column.path);
                let int = ints.filter(seen).and_then(|column| column.ints.get(row));
                numbers[row as usize] = match int.and_then(|int| of_int.get(&int)) {
                    Some(number) => *number,
                    None => numbering.number(value(Here::Row(table, row)))?,
                };
                if let Some(int) = int {
                    of_int.insert(int, numbers[row as usize]);
                }
            }
        }
    }
    Ok(Dimension {
        numbers,
        values: numbering.values,
    })
}

/// The column on whose codes a path's value depends alone, and whether it is that column's value.
fn shared<'a>(table: &'a Table, by: &Expr) -> Option<(&'a Column, bool)> {
    let path = by.only_path()?;
    let (column, is_own) = match (path.hops.first(), &path.leaf) {
        (Some(hop), _) => (table.column(&hop.field.path)?, false),
        (None, leaf @ (Leaf::Name | Leaf::Label(_) | Leaf::Field(_))) => {
            (table.column(&column_path(leaf)?)?, true)
        }
        _ => return None,
    };
    column.is_coded().then_some((column, is_own))
}
