//! What somebody is to see of an index. What he is not is as if it were not there.

use std::{cell::OnceCell, collections::BTreeMap};

use hashbrown::HashMap;
use roaring::RoaringBitmap;
use serde_json::Value as Json;

use crate::{
    Filter, FilterError, Index,
    column::Column,
    eval::{Frame, Here},
    rows::rows_where,
    schema::Schema,
    table::{NAME, Table},
    value::{List, Value},
};

/// What somebody is to see, by kind; of other kinds, nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    kinds: BTreeMap<String, Shown>,
}

/// What is to be seen of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// All of it.
    All,
    /// What one of these shows.
    Ways(Vec<Way>),
}

/// Shows some fields of some resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// Conditions in CEL, of which one must be true in each list; a field that no resource has is
    /// missing in them. One that is not understood, or follows references, is true for nothing.
    pub conditions: Vec<Vec<String>>,
    /// Paths of fields, each with what is below; none: all.
    pub fields: Vec<String>,
    /// Paths of fields that it does not show, with what is below.
    pub except: Vec<String>,
}

impl Way {
    /// Whether it shows the field at a path, with all below it.
    pub fn covers(&self, path: &str) -> bool {
        let named = |field: &String| within(path, field);
        let taken = |except: &String| within(path, except) || within(except, path);
        (self.fields.is_empty() || self.fields.iter().any(named)) && !self.except.iter().any(taken)
    }

    /// Whether it shows the field at a path, or something below it.
    fn touches(&self, path: &str) -> bool {
        let named = |field: &String| within(path, field) || within(field, path);
        (self.fields.is_empty() || self.fields.iter().any(named))
            && !self.except.iter().any(|field| within(path, field))
    }
}

/// Whether a path is another, or below it.
fn within(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Sight {
    /// Shows something of a kind, in place of what was shown of it.
    pub fn show(&mut self, kind: &str, shown: Shown) {
        self.kinds.insert(kind.to_owned(), shown);
    }

    /// Whether all of each of these kinds is to be seen.
    pub fn is_whole<'k>(&self, mut kinds: impl Iterator<Item = &'k str>) -> bool {
        kinds.all(|kind| self.kinds.get(kind) == Some(&Shown::All))
    }
}

/// An index as somebody sees it. To be made for each answer: it keeps what it finds out.
#[derive(Debug)]
pub struct Seen<'v> {
    index: &'v Index,
    /// Kinds of which not all is seen.
    parts: HashMap<&'v str, Part>,
    nothing: Part,
    /// None: everything is seen.
    sight: Option<&'v Sight>,
}

/// What is seen of a kind, where that is not all.
#[derive(Debug, Default)]
pub(crate) struct Part {
    ways: Vec<(Way, OnceCell<RoaringBitmap>)>,
    rows: OnceCell<RoaringBitmap>,
    /// Those that [`Way::conditions`] are of.
    kind: String,
}

impl Index {
    /// As somebody sees it; without a sight, all of it.
    pub fn seen<'v>(&'v self, sight: Option<&'v Sight>) -> Seen<'v> {
        let mut parts = HashMap::new();
        for (kind, shown) in sight.into_iter().flat_map(|sight| &sight.kinds) {
            if let Shown::Ways(ways) = shown {
                let ways = ways.iter().map(|way| (way.clone(), OnceCell::new()));
                let part = Part {
                    ways: ways.collect(),
                    kind: kind.clone(),
                    ..Part::default()
                };
                parts.insert(kind.as_str(), part);
            }
        }
        Seen {
            index: self,
            parts,
            nothing: Part::default(),
            sight,
        }
    }

    /// As who sees everything sees it.
    pub(crate) fn whole(&self) -> View<'_> {
        View {
            index: self,
            seen: None,
            is_lenient: false,
        }
    }
}

impl Seen<'_> {
    /// As [`Filter::compile`]; a field that is seen of no resource of its kind is refused, too.
    ///
    /// # Errors
    /// As there.
    pub fn filter(&self, text: &str, kind: &str) -> Result<Filter, FilterError> {
        Filter::in_view(text, kind, self.view())
    }

    /// Whether a document of the filter's kind is seen, and the filter is true for it.
    pub fn matches<'s>(&'s self, filter: &'s Filter, name: &str) -> bool {
        let view = self.view();
        let row = view.resource(filter.kind(), name);
        row.is_some_and(|(table, row)| {
            Frame::new(view, Here::Row(table, row)).truth(&filter.root) == Some(true)
        })
    }

    /// To ask it.
    pub(crate) fn view(&self) -> View<'_> {
        View {
            index: self.index,
            seen: self.sight.map(|_| self),
            is_lenient: false,
        }
    }
}

/// An index, and who looks at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'v> {
    pub(crate) index: &'v Index,
    seen: Option<&'v Seen<'v>>,
    /// Whether a field that nothing has is missing, and no mistake.
    pub(crate) is_lenient: bool,
}

impl<'v> View<'v> {
    pub(crate) fn table(self, kind: &str) -> Option<&'v Table> {
        self.index.table(kind)
    }

    pub(crate) fn schema(self, kind: &str) -> Option<&'v Schema> {
        self.index.schema(kind)
    }

    /// The kinds of which something may be seen.
    pub(crate) fn kinds(self) -> Vec<&'v str> {
        let mut kinds = self.index.kinds();
        kinds.retain(|kind| self.part(kind).is_none_or(|part| !part.ways.is_empty()));
        kinds
    }

    /// Whether all of every kind is seen.
    pub(crate) fn is_whole(self) -> bool {
        self.seen.is_none()
    }

    /// What is seen of a kind; none: all.
    pub(crate) fn part(self, kind: &str) -> Option<&'v Part> {
        let seen = self.seen?;
        match seen.sight?.kinds.get(kind) {
            Some(Shown::All) => None,
            Some(Shown::Ways(_)) => Some(seen.parts.get(kind).unwrap_or(&seen.nothing)),
            None => Some(&seen.nothing),
        }
    }

    fn part_of(self, table: &Table) -> Option<&'v Part> {
        self.seen?;
        self.part(&table.schema.kind)
    }

    /// The rows of a table that are there.
    pub(crate) fn live(self, table: &'v Table) -> &'v RoaringBitmap {
        match self.part_of(table) {
            Some(part) => part.rows(self.index, table),
            None => &table.live,
        }
    }

    /// Whether a row is seen, whatever of it.
    pub(crate) fn sees_row(self, table: &Table, row: u32) -> bool {
        let part = self.part_of(table);
        part.is_none_or(|part| part.rows(self.index, table).contains(row))
    }

    /// Whether a field of a row is.
    pub(crate) fn sees(self, table: &Table, row: u32, path: &str) -> bool {
        let part = self.part_of(table);
        part.is_none_or(|part| part.sees(self.index, table, row, path))
    }

    /// Leaves those of some rows of which a field is seen.
    pub(crate) fn seeing(self, table: &Table, rows: RoaringBitmap, path: &str) -> RoaringBitmap {
        match self.part_of(table) {
            Some(part) => rows & part.seeing(self.index, table, path),
            None => rows,
        }
    }

    /// The rows of which a field is seen and has no value, or is not seen.
    pub(crate) fn without(self, table: &'v Table, path: &str) -> RoaringBitmap {
        let column = table.column(path);
        let present = column.map(|column| column.present(&table.live));
        self.live(table) - self.seeing(table, present.unwrap_or_default(), path)
    }

    /// Whether a field of some resource of a kind may be seen, or something below it.
    pub(crate) fn may_see(self, kind: &str, path: &str) -> bool {
        let part = self.part(kind);
        part.is_none_or(|part| {
            path == NAME && !part.ways.is_empty()
                || part.ways.iter().any(|(way, _)| way.touches(path))
        })
    }

    /// The paths of a table's columns in which something is seen, of those that `wanted` names.
    pub(crate) fn columns(
        self,
        table: &'v Table,
        wanted: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = &'v str> {
        let part = self.part_of(table);
        table.columns.iter().filter_map(move |column| {
            let path = column.path.as_str();
            let filled = |row: u32| column.value(row).is_some();
            let seen = wanted(path)
                && part.is_none_or(|part| part.seeing(self.index, table, path).iter().any(filled));
            seen.then_some(path)
        })
    }

    /// Whether a path leads to fields.
    pub(crate) fn is_map(self, table: &'v Table, path: &str) -> bool {
        let inside = |column: &str| within(column, path) && column != path;
        self.columns(table, inside).next().is_some()
    }

    /// A field of a row.
    pub(crate) fn value(self, table: &'v Table, row: u32, path: &str) -> Option<Value<'v>> {
        match self.sees(table, row, path) {
            true => table.value(row, path),
            false => None,
        }
    }

    /// The row of a resource, where it is seen.
    pub(crate) fn resource(self, kind: &str, name: &str) -> Option<(&'v Table, u32)> {
        let table = self.table(kind)?;
        let row = table.row(name)?;
        self.sees_row(table, row).then_some((table, row))
    }

    /// The rows that refer to a name by a field.
    pub(crate) fn referring(self, table: &'v Table, column: &'v Column, name: &str) -> List<'v> {
        let rows = column.referring(name);
        match self.part_of(table) {
            Some(_) => List::Seen(self, column, table, rows),
            None => List::Rows(table, rows),
        }
    }

    /// Whether a row has a field, or fields inside of it.
    pub(crate) fn has(self, table: &'v Table, row: u32, path: &str) -> bool {
        match self.part_of(table) {
            None => table.has(row, path),
            Some(_) => {
                self.value(table, row, path).is_some()
                    || table
                        .inside(path)
                        .any(|column| self.value(table, row, &column.path).is_some())
            }
        }
    }

    /// A field for an answer; maps as maps.
    pub(crate) fn assemble(self, table: &'v Table, row: u32, path: &str) -> Option<Json> {
        if let Some(value) = self.value(table, row, path) {
            return Some(value.to_json());
        }
        table.assemble(row, path, |path| self.sees(table, row, path))
    }
}

impl Part {
    /// The rows of which something is seen.
    fn rows(&self, index: &Index, table: &Table) -> &RoaringBitmap {
        self.rows.get_or_init(|| {
            let mut rows = RoaringBitmap::new();
            let ways = 0..self.ways.len();
            ways.for_each(|way| rows |= self.of_way(way, index, table));
            rows
        })
    }

    /// The rows of which a field is seen.
    fn seeing(&self, index: &Index, table: &Table, path: &str) -> RoaringBitmap {
        if path == NAME {
            return self.rows(index, table).clone();
        }
        let mut rows = RoaringBitmap::new();
        for (at, (way, _)) in self.ways.iter().enumerate() {
            if way.covers(path) {
                rows |= self.of_way(at, index, table);
            }
        }
        rows
    }

    pub(crate) fn sees(&self, index: &Index, table: &Table, row: u32, path: &str) -> bool {
        if path == NAME {
            return self.rows(index, table).contains(row);
        }
        let mut ways = self.ways.iter().enumerate();
        ways.any(|(at, (way, _))| way.covers(path) && self.of_way(at, index, table).contains(row))
    }

    /// The rows of which a way shows something.
    fn of_way(&self, at: usize, index: &Index, table: &Table) -> &RoaringBitmap {
        let (way, rows) = &self.ways[at];
        rows.get_or_init(|| {
            let mut left = table.live.clone();
            for conditions in &way.conditions {
                let mut rows = RoaringBitmap::new();
                for text in conditions {
                    let filter = Filter::lenient(text, &self.kind, index);
                    if let Some(filter) = filter.ok().filter(|it| it.relations().is_empty()) {
                        rows |= rows_where(index.whole(), table, &filter.root, true);
                    }
                }
                left &= rows;
            }
            left
        })
    }
}
