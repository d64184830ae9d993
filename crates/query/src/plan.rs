//! Which part of a filter is asked first, how, and what that costs.

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use crate::{
    expr::{Expr, Leaf},
    rows::{self, Method, method},
    sight::View,
    table::Table,
};

/// So many rows are asked to learn how many a condition is true for.
const SAMPLE: u64 = 64;

/// One operation of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = QueryStep)]
pub struct Step {
    /// What is done: `lookup`, `values`, `relation`, `referrers`, `words`, `each row`, …
    pub operation: String,
    /// The condition it is done for.
    pub condition: String,
    /// How many rows were thought to be left after it.
    pub estimated: u64,
    /// How many were.
    pub rows: u64,
    /// What it was thought to cost: about nanoseconds.
    pub cost: u64,
}

/// What is thought of a condition.
struct Estimate<'a> {
    expr: &'a Expr,
    rows: u64,
    /// By the index.
    cost: u64,
    /// For one row.
    row: u64,
    operation: &'static str,
}

/// A filter on a table, planned.
pub(crate) struct Plan<'a> {
    view: View<'a>,
    table: &'a Table,
    stages: Vec<Stage<'a>>,
}

struct Stage<'a> {
    expr: &'a Expr,
    by_row: bool,
    step: Step,
}

impl<'a> Plan<'a> {
    /// Plans a filter on rows of which `among` are left already.
    pub(crate) fn new(view: View<'a>, table: &'a Table, root: &'a Expr, among: u64) -> Self {
        let conjuncts = match root {
            Expr::And(conjuncts) => conjuncts.as_slice(),
            root => std::slice::from_ref(root),
        };
        let mut waiting: Vec<Estimate<'_>> = conjuncts
            .iter()
            .map(|expr| estimate(view, table, expr))
            .collect();
        let all = table.live.len().max(1);
        let (mut left, mut stages) = (among, Vec::new());
        while !waiting.is_empty() {
            // What leaves few rows for little.
            let price = |one: &Estimate<'_>| {
                let by_row = left * one.row;
                let rest: u64 = left * one.rows / all * 40;
                one.cost.min(by_row) + rest
            };
            let next = (0..waiting.len())
                .min_by_key(|at| price(&waiting[*at]))
                .unwrap_or(0);
            let next = waiting.swap_remove(next);
            let by_row = left * next.row < next.cost;
            left = (left * next.rows).div_ceil(all);
            let cost = next.cost.min(by_row_cost(stages.last(), among, next.row));
            let step = Step {
                operation: if by_row { "each row" } else { next.operation }.to_owned(),
                condition: next.expr.to_string(),
                estimated: left,
                rows: 0,
                cost,
            };
            stages.push(Stage {
                expr: next.expr,
                by_row,
                step,
            });
        }
        Plan {
            view,
            table,
            stages,
        }
    }

    /// What it is thought to cost.
    pub(crate) fn cost(&self) -> u64 {
        self.stages.iter().map(|stage| stage.step.cost).sum()
    }

    /// The steps, not yet done.
    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.stages.into_iter().map(|stage| stage.step).collect()
    }

    /// The rows for which the filter is true, and what was done.
    pub(crate) fn run(mut self, among: Option<RoaringBitmap>) -> (RoaringBitmap, Vec<Step>) {
        let mut left = among;
        for stage in &mut self.stages {
            let rows = match left {
                Some(left) if left.is_empty() => left,
                Some(left) if stage.by_row => {
                    rows::filtered(self.view, self.table, &left, stage.expr, true)
                }
                Some(left) => left & rows::rows_where(self.view, self.table, stage.expr, true),
                None => rows::rows_where(self.view, self.table, stage.expr, true),
            };
            stage.step.rows = rows.len();
            left = Some(rows);
        }
        let rows = left.unwrap_or_else(|| self.view.live(self.table).clone());
        (rows, self.into_steps())
    }
}

fn by_row_cost(before: Option<&Stage<'_>>, all: u64, row: u64) -> u64 {
    before.map_or(all, |stage| stage.step.estimated) * row
}

fn estimate<'a>(view: View<'a>, table: &'a Table, expr: &'a Expr) -> Estimate<'a> {
    let all = table.live.len();
    let row = row_cost(expr);
    let (operation, cost, exact) = match method(table, expr) {
        Method::Constant => ("constant", 1, None),
        Method::Lookup(column, texts) => {
            let rows = texts
                .iter()
                .map(|text| column.rows_of_text(text).len() as u64)
                .sum();
            ("lookup", 200 + rows / 4, Some(rows))
        }
        Method::Member(column, text) => {
            let rows = column.members.rows_of_text(text).len() as u64;
            ("lookup", 200 + rows / 4, Some(rows))
        }
        Method::Values(column) => {
            let numbers = if column.is_coded() { 0 } else { all * 2 };
            (
                "values",
                column.dictionary.len() as u64 * (row + 10) + numbers,
                None,
            )
        }
        Method::Beyond(path) => {
            let target = path.hops.first().and_then(|hop| view.table(&hop.kind));
            let inner = expr.beyond_hop();
            let inner = target.map_or(0, |target| {
                let inner = estimate(view, target, &inner);
                inner.cost + inner.rows * 100
            });
            ("relation", inner, None)
        }
        Method::Referrers { kind, path } => {
            let column = view.table(kind).and_then(|table| table.column(path));
            let lists = column.map_or(0, |c| c.dictionary.len() + c.members.len()) as u64;
            ("referrers", lists * (row + 100), None)
        }
        Method::All(many) => ("and", sum_cost(view, table, many), None),
        Method::Any(many) => ("or", sum_cost(view, table, many), None),
        Method::Not(one) => ("not", estimate(view, table, one).cost + all / 16, None),
        Method::Each => ("each row", all * row, None),
    };
    let rows = exact.unwrap_or_else(|| sampled(view, table, expr));
    Estimate {
        expr,
        rows,
        cost: cost + rows / 16,
        row,
        operation,
    }
}

fn sum_cost(view: View<'_>, table: &Table, many: &[Expr]) -> u64 {
    many.iter().map(|one| estimate(view, table, one).cost).sum()
}

/// About how many rows a condition is true for, from some that are spread over the table.
fn sampled(view: View<'_>, table: &Table, expr: &Expr) -> u64 {
    let all = table.live.len();
    if all == 0 {
        return 0;
    }
    let sample = all.min(SAMPLE);
    let is = |at: &u64| {
        let at = u32::try_from(at * all / sample).unwrap_or(0);
        let row = table.live.select(at);
        row.is_some_and(|row| rows::is_so(view, table, row, expr, true))
    };
    let hits = (0..sample).filter(is).count() as u64;
    // None of the sample: less than half of one.
    if hits == 0 {
        (all / sample / 2).max(u64::from(sample < all))
    } else {
        hits * all / sample
    }
}

/// What a condition costs for one row: about nanoseconds.
fn row_cost(expr: &Expr) -> u64 {
    let own = match expr {
        Expr::Path(path) | Expr::Has(path) => {
            let leaf = match path.leaf {
                Leaf::Referrers { .. } => 150,
                Leaf::Label(_) | Leaf::Labels => 80,
                _ => 40,
            };
            leaf + 120 * path.hops.len() as u64
        }
        Expr::Matches(..) => 100,
        Expr::Affix(..) => 20,
        Expr::Element { .. } => 50,
        Expr::Each(_, two) => 8 * row_cost(&two[1]),
        _ => 5,
    };
    own + expr.inner().iter().map(row_cost).sum::<u64>()
}
