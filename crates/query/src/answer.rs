//! Answers to queries.

use hashbrown::HashMap;
use roaring::RoaringBitmap;
use serde_json::Value as Json;

use crate::{
    Filter, FilterError, Found, Group, Index, Query, QueryError, Row, RowNumber, Step, compile,
    eval::{Frame, Here},
    expr::{Expr, Leaf},
    group, line,
    order::Order,
    plan::Plan,
    search::{self, Reach},
    sight::{Seen, View},
    table::Table,
    value::Value,
};

/// The most fields that are grouped by.
const MAX_DIMENSIONS: usize = 4;
/// What a query may cost by default: about nanoseconds.
const BOUND: u64 = 1_000_000_000;

impl Index {
    /// Answers a query, within the default bound on its cost: about a second.
    ///
    /// # Errors
    /// Where it is not understood, or too expensive.
    pub fn find(&self, query: &Query) -> Result<Found, QueryError> {
        self.find_within(query, BOUND)
    }

    /// Answers a query that may cost so much: about nanoseconds.
    ///
    /// # Errors
    /// As [`Index::find`].
    pub fn find_within(&self, query: &Query, bound: u64) -> Result<Found, QueryError> {
        self.whole().find_within(query, bound)
    }

    /// Some rows of a kind, with fields.
    ///
    /// # Errors
    /// Where a field was not understood.
    pub fn page(
        &self,
        kind: &str,
        rows: &[RowNumber],
        select: &[String],
    ) -> Result<Vec<Row>, QueryError> {
        self.whole().page(kind, rows, select)
    }

    /// Puts rows in order that [`Index::find`] left behind its first ones.
    ///
    /// # Errors
    /// Where a field was not understood.
    pub fn in_order(
        &self,
        kind: &str,
        rows: &[RowNumber],
        sort: &[String],
    ) -> Result<Vec<RowNumber>, QueryError> {
        self.whole().in_order(kind, rows, sort)
    }
}

impl Seen<'_> {
    /// As [`Index::find`]. What was done is not explained: its estimates are of all there is.
    ///
    /// # Errors
    /// As there; and where a field is named that is seen of no resource.
    pub fn find(&self, query: &Query) -> Result<Found, QueryError> {
        self.view().find_within(query, BOUND)
    }

    /// As [`Index::page`]; rows that are there and not seen are left out.
    ///
    /// # Errors
    /// As there.
    pub fn page(
        &self,
        kind: &str,
        rows: &[RowNumber],
        select: &[String],
    ) -> Result<Vec<Row>, QueryError> {
        self.view().page(kind, rows, select)
    }

    /// As [`Index::in_order`].
    ///
    /// # Errors
    /// As there.
    pub fn in_order(
        &self,
        kind: &str,
        rows: &[RowNumber],
        sort: &[String],
    ) -> Result<Vec<RowNumber>, QueryError> {
        self.view().in_order(kind, rows, sort)
    }
}

impl View<'_> {
    fn find_within(self, query: &Query, bound: u64) -> Result<Found, QueryError> {
        if query.group.is_some() {
            let who = "the index knows no groups: who asks looks them up";
            return Err(QueryError::Wrong(who.to_owned()));
        }
        if query.group_by.len() > MAX_DIMENSIONS {
            let most = format!("at most {MAX_DIMENSIONS} fields can be grouped by");
            return Err(QueryError::Wrong(most));
        }
        match &query.kind {
            Some(kind) => self.find_in(query, kind, bound),
            None if query.count || !query.group_by.is_empty() => self.find_in_all(query, bound),
            None => {
                let what = "say a kind, or ask for a count; words over all kinds are searched";
                Err(QueryError::Wrong(what.to_owned()))
            }
        }
    }

    fn find_in(self, query: &Query, kind: &str, bound: u64) -> Result<Found, QueryError> {
        let table = self
            .table(kind)
            .ok_or_else(|| QueryError::NoKind(kind.to_owned()))?;
        let filter = self.condition(query, kind)?;
        let (rows, steps) = self.rows(table, filter.as_ref(), query.text.as_deref(), bound)?;
        let mut found = Found {
            revision: self.index.revision(),
            total: rows.len(),
            steps,
            ..Found::default()
        };
        if !query.group_by.is_empty() {
            let by = self.paths("group by", kind, &query.group_by)?;
            let mut groups = HashMap::new();
            group::count(self, table, &rows, &by, &mut groups)?;
            found.groups = ordered(groups);
        } else if !query.count {
            let order = self.sort_by(kind, &query.sort)?;
            let order = Order {
                view: self,
                table,
                by: &order,
            };
            let limit = if query.limit == 0 {
                usize::MAX
            } else {
                query.limit
            };
            let rows = order.first(rows.iter(), limit);
            found.rows = rows.into_iter().map(RowNumber).collect();
        }
        if !query.explain || !self.is_whole() {
            found.steps.clear();
        }
        Ok(found)
    }

    /// Counts and groups over all kinds that know the fields.
    fn find_in_all(self, query: &Query, bound: u64) -> Result<Found, QueryError> {
        let mut found = Found {
            revision: self.index.revision(),
            ..Found::default()
        };
        let (mut groups, mut refused) = (HashMap::new(), None);
        let mut is_understood = false;
        for kind in self.kinds() {
            let Some(table) = self.table(kind) else {
                continue;
            };
            let filter = match self.condition(query, kind) {
                Ok(filter) => filter,
                Err(error) => {
                    refused = Some(QueryError::from(error));
                    continue;
                }
            };
            let by = match self.paths("group by", kind, &query.group_by) {
                Ok(by) => by,
                Err(error) => {
                    refused = Some(error);
                    continue;
                }
            };
            is_understood = true;
            let (rows, steps) = self.rows(table, filter.as_ref(), query.text.as_deref(), bound)?;
            found.total += rows.len();
            found.steps.extend(steps);
            if !by.is_empty() {
                group::count(self, table, &rows, &by, &mut groups)?;
            }
        }
        match refused {
            Some(error) if !is_understood => return Err(error),
            _ => {}
        }
        found.groups = ordered(groups);
        if !query.explain || !self.is_whole() {
            found.steps.clear();
        }
        Ok(found)
    }

    /// All conditions of a query in one.
    fn condition(self, query: &Query, kind: &str) -> Result<Option<Filter>, FilterError> {
        let own = query.filter.as_deref();
        let own = own.map(|text| Filter::in_view(text, kind, self));
        query
            .among
            .iter()
            .try_fold(own.transpose()?, |whole, text| {
                let more = Filter::in_view(text, kind, self).map_err(|error| FilterError {
                    message: format!("{} (in {text})", error.message),
                    ..error
                })?;
                Ok(Some(match whole {
                    Some(whole) => whole.and(more),
                    None => more,
                }))
            })
    }

    /// The rows of a table that match, and what was done to find them.
    fn rows(
        self,
        table: &Table,
        filter: Option<&Filter>,
        text: Option<&str>,
        bound: u64,
    ) -> Result<(RoaringBitmap, Vec<Step>), QueryError> {
        let mut steps = Vec::new();
        let words = text.map(|text| words(self, table, text, &mut steps));
        let Some(filter) = filter else {
            return Ok((words.unwrap_or_else(|| self.live(table).clone()), steps));
        };
        let among = words.as_ref().unwrap_or(self.live(table)).len();
        let plan = Plan::new(self, table, &filter.root, among);
        let cost = plan.cost();
        if cost > bound {
            let steps = plan.into_steps();
            let worst = steps.iter().max_by_key(|step| step.cost);
            let advice = worst.map_or(String::new(), |step| {
                format!(
                    "most of it is {:?}: add a condition that leaves fewer",
                    step.condition
                )
            });
            return Err(QueryError::TooExpensive {
                cost,
                bound,
                advice,
                steps,
            });
        }
        let (rows, done) = plan.run(words);
        steps.extend(done);
        Ok((rows, steps))
    }

    fn page(
        self,
        kind: &str,
        rows: &[RowNumber],
        select: &[String],
    ) -> Result<Vec<Row>, QueryError> {
        let table = self
            .table(kind)
            .ok_or_else(|| QueryError::NoKind(kind.to_owned()))?;
        let select: Vec<Selected> = select
            .iter()
            .map(|path| match compile::path(path, kind, self) {
                Ok(expr) => Ok(Selected::Value(expr)),
                Err(_) if self.is_map(table, path) => Ok(Selected::Map(path.clone())),
                Err(source) => Err(refused("select", path, source)),
            })
            .collect::<Result<_, _>>()?;
        let read = |row: u32| Row {
            name: table.name(row).to_owned(),
            revision: table.revision(row),
            values: select
                .iter()
                .map(|path| path.of(self, table, row))
                .collect(),
        };
        let there = |row: &u32| table.is_gone(*row) || self.sees_row(table, *row);
        let rows = rows.iter().map(|row| row.0).filter(there);
        Ok(rows.map(read).collect())
    }

    fn in_order(
        self,
        kind: &str,
        rows: &[RowNumber],
        sort: &[String],
    ) -> Result<Vec<RowNumber>, QueryError> {
        let table = self
            .table(kind)
            .ok_or_else(|| QueryError::NoKind(kind.to_owned()))?;
        let by = self.sort_by(kind, sort)?;
        let order = Order {
            view: self,
            table,
            by: &by,
        };
        let rows = order.first(rows.iter().map(|row| row.0), usize::MAX);
        Ok(rows.into_iter().map(RowNumber).collect())
    }

    fn paths(
        self,
        what: &'static str,
        kind: &str,
        paths: &[String],
    ) -> Result<Vec<Expr>, QueryError> {
        let compiled = |path: &String| match compile::path(path, kind, self) {
            Ok(Expr::Line(_)) => Err(refused(what, path, line::refused())),
            compiled => compiled.map_err(|source| refused(what, path, source)),
        };
        paths.iter().map(compiled).collect()
    }

    fn sort_by(self, kind: &str, sort: &[String]) -> Result<Vec<(Expr, bool)>, QueryError> {
        let compiled = |path: &String| {
            let (path, descending) = match path.strip_prefix('-') {
                Some(path) => (path, true),
                None => (path.as_str(), false),
            };
            let expr = match compile::path(path, kind, self) {
                Ok(Expr::Line(_)) => Err(line::refused()),
                compiled => compiled,
            };
            let expr = expr.map_err(|source| refused("sort", path, source))?;
            Ok((expr, descending))
        };
        sort.iter().map(compiled).collect()
    }
}

fn refused(what: &'static str, path: &str, source: FilterError) -> QueryError {
    QueryError::Field {
        what,
        path: path.to_owned(),
        source,
    }
}

/// A field of an answer.
enum Selected {
    Value(Expr),
    Map(String),
}

impl Selected {
    fn of(&self, view: View<'_>, table: &Table, row: u32) -> Json {
        let value = match self {
            Selected::Map(path) => view.assemble(table, row, path),
            Selected::Value(Expr::Line(names)) => {
                let frame = Frame::new(view, Here::Row(table, row));
                let names = names.iter().map_while(|name| match frame.value(name)? {
                    Value::Text(name) => Some(name),
                    _ => None,
                });
                let mut names: Vec<&str> = names.collect();
                names.reverse();
                Some(names.join("/").into())
            }
            Selected::Value(expr) => {
                let value = Frame::new(view, Here::Row(table, row)).value(expr);
                match (value, expr) {
                    (Some(value), _) => Some(value.to_json()),
                    (None, Expr::Path(path)) if path.hops.is_empty() => match &path.leaf {
                        Leaf::Field(field) => view.assemble(table, row, &field.path),
                        _ => None,
                    },
                    _ => None,
                }
            }
        };
        value.unwrap_or(Json::Null)
    }
}

/// The rows that have all words of a text.
fn words(view: View<'_>, table: &Table, text: &str, steps: &mut Vec<Step>) -> RoaringBitmap {
    let lower = text.to_ascii_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let (rows, unchecked) = search::candidates(table, &words, Reach::Beginning, usize::MAX);
    let estimated = rows.len();
    let (rows, unchecked) = match view.is_whole() {
        true => (rows, unchecked),
        // Where a word is may be hidden.
        false => (rows & view.live(table), words),
    };
    let is = |row: &u32| search::rank(view, table, *row, &unchecked).is_some();
    let rows = if unchecked.is_empty() {
        rows
    } else {
        RoaringBitmap::from_sorted_iter(rows.iter().filter(is)).unwrap_or_default()
    };
    steps.push(Step {
        operation: "words".to_owned(),
        condition: text.to_owned(),
        estimated,
        rows: rows.len(),
        cost: estimated * 20,
    });
    rows
}

/// The largest first.
fn ordered(groups: HashMap<Vec<Json>, u64>) -> Vec<Group> {
    let mut groups: Vec<Group> = groups
        .into_iter()
        .map(|(values, count)| Group { values, count })
        .collect();
    let text = |group: &Group| group.values.iter().map(Json::to_string).collect::<Vec<_>>();
    groups.sort_by_cached_key(|group| (u64::MAX - group.count, text(group)));
    groups
}
