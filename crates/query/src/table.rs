//! All resources of a kind.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;
use roaring::RoaringBitmap;
use serde_json::Value as Json;

use crate::{
    column::Column,
    posting::MAX_ROWS,
    schema::{Schema, Sort},
    value::Value,
};

/// The most different fields of a kind, those of maps inside counted one by one. What comes later
/// is not indexed.
pub(crate) const MAX_FIELDS: usize = 1024;
/// How deep maps inside of maps become fields; deeper ones are one value.
const MAX_DEPTH: usize = 8;
/// The column of the resources' names.
pub(crate) const NAME: &str = "name";
/// What the platform says of a resource, not its body.
pub(crate) const RESERVED: [&str; 2] = [NAME, "labels"];

/// Rows and columns of one kind.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) schema: Schema,
    pub(crate) columns: Vec<Column>,
    by_path: HashMap<String, usize>,
    /// The rows that are taken.
    pub(crate) live: RoaringBitmap,
    revisions: Vec<u64>,
    /// Rows whose resource was removed, and when: pages that were begun before still show them.
    removed: VecDeque<(u64, u32)>,
    /// The names of those.
    gone: HashMap<u32, String>,
    free: Vec<u32>,
    /// By column: the number of the write that last set it.
    touched: Vec<u64>,
    writes: u64,
}

impl Table {
    pub(crate) fn new(schema: Schema) -> Self {
        let mut table = Table {
            schema,
            ..Table::default()
        };
        table.column_to_write(NAME);
        table
    }

    /// Takes a new schema: what is there is read anew where its field's sort is another.
    pub(crate) fn declare(&mut self, schema: Schema) {
        self.schema = schema;
        let mut scratch = Vec::new();
        for column in &mut self.columns {
            let sort = self.schema.sort(&column.path).cloned().unwrap_or_default();
            if sort == column.sort {
                continue;
            }
            let mut new = Column::new(column.path.clone(), sort);
            for row in &self.live {
                if let Some(value) = column.value(row) {
                    new.set(row, &value.to_json(), &mut scratch, true);
                }
            }
            new.settle();
            *column = new;
        }
    }

    pub(crate) fn column(&self, path: &str) -> Option<&Column> {
        self.columns.get(*self.by_path.get(path)?)
    }

    /// Whether a path leads to fields.
    pub(crate) fn is_map(&self, path: &str) -> bool {
        self.inside(path).next().is_some()
    }

    /// Whether a row was removed since pages were begun that still show it.
    pub(crate) fn is_gone(&self, row: u32) -> bool {
        self.gone.contains_key(&row)
    }

    pub(crate) fn row(&self, name: &str) -> Option<u32> {
        self.columns.first()?.rows_of_text(name).first()
    }

    pub(crate) fn name(&self, row: u32) -> &str {
        let names = self.columns.first();
        match names.and_then(|names| Some((names, names.code(row)?))) {
            Some((names, code)) => names.dictionary.text_of(code),
            None => self.gone.get(&row).map_or("", String::as_str),
        }
    }

    /// One more than the highest row.
    pub(crate) fn end(&self) -> u32 {
        self.live.max().map_or(0, |last| last + 1)
    }

    pub(crate) fn revision(&self, row: u32) -> u64 {
        self.revisions.get(row as usize).copied().unwrap_or(0)
    }

    fn column_to_write(&mut self, path: &str) -> Option<usize> {
        if let Some(at) = self.by_path.get(path) {
            return Some(*at);
        }
        if self.columns.len() >= MAX_FIELDS {
            return None;
        }
        let sort = self.schema.sort(path).cloned().unwrap_or_default();
        self.columns.push(Column::new(path.to_owned(), sort));
        self.touched.push(0);
        self.by_path.insert(path.to_owned(), self.columns.len() - 1);
        Some(self.columns.len() - 1)
    }

    /// Writes a document; false where the kind is full.
    pub(crate) fn put(&mut self, document: &Written<'_>, reuse: u64, loading: bool) -> bool {
        let row = match self.row(document.name) {
            Some(row) => row,
            None => match self.new_row(reuse) {
                Some(row) => row,
                None => return false,
            },
        };
        self.live.insert(row);
        if self.revisions.len() <= row as usize {
            self.revisions.resize(row as usize + 1, 0);
        }
        self.revisions[row as usize] = document.revision;
        self.writes += 1;
        let mut writing = Writing {
            table: self,
            row,
            path: String::new(),
            scratch: Vec::new(),
            loading,
        };
        writing.set_at(NAME, &Json::String(document.name.to_owned()));
        for (key, value) in document.labels {
            writing.set_at(&format!("labels.{key}"), &Json::String(value.clone()));
        }
        if let Json::Object(fields) = document.body {
            let own = fields
                .iter()
                .filter(|(key, _)| !RESERVED.contains(&key.as_str()));
            own.for_each(|(key, value)| writing.field(key, value, 1));
        }
        for (column, touched) in self.columns.iter_mut().zip(&self.touched) {
            if *touched != self.writes {
                column.clear(row);
            }
        }
        true
    }

    /// Only rows that were free before `reuse` are taken again: who reads pages knows older ones.
    fn new_row(&mut self, reuse: u64) -> Option<u32> {
        while let Some((_, row)) = self.removed.pop_front_if(|(since, _)| *since < reuse) {
            self.gone.remove(&row);
            self.free.push(row);
        }
        if let Some(row) = self.free.pop() {
            return Some(row);
        }
        let row = u32::try_from(self.revisions.len()).ok()?;
        (row < MAX_ROWS).then_some(row)
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, name: &str, revision: u64) -> bool {
        let Some(row) = self.row(name) else {
            return false;
        };
        self.columns.iter_mut().for_each(|column| column.clear(row));
        self.live.remove(row);
        self.removed.push_back((revision, row));
        self.gone.insert(row, name.to_owned());
        true
    }

    /// A field of a row. A map that became columns is put together again only by
    /// [`Table::assemble`].
    pub(crate) fn value(&self, row: u32, path: &str) -> Option<Value<'_>> {
        if let Some(value) = self.column(path).and_then(|column| column.value(row)) {
            return Some(value);
        }
        // In a map that is kept as one value.
        let (outer, key) = path.rsplit_once('.')?;
        self.value(row, outer)?.entry(key)
    }

    /// Whether a row has a field, or fields inside of it.
    pub(crate) fn has(&self, row: u32, path: &str) -> bool {
        self.value(row, path).is_some()
            || self.inside(path).any(|column| column.value(row).is_some())
    }

    /// The columns of the fields inside of a field.
    pub(crate) fn inside(&self, path: &str) -> impl Iterator<Item = &Column> {
        let is = move |column: &&Column| is_inside(&column.path, path);
        self.columns.iter().filter(is)
    }

    /// A map of those of its fields that are shown.
    pub(crate) fn assemble(
        &self,
        row: u32,
        path: &str,
        shown: impl Fn(&str) -> bool,
    ) -> Option<Json> {
        let mut map = BTreeMap::new();
        for column in self.inside(path).filter(|column| shown(&column.path)) {
            if let Some(value) = column.value(row) {
                map.insert(&column.path[path.len() + 1..], value.to_json());
            }
        }
        let mut whole = serde_json::Map::new();
        for (path, value) in map {
            let mut at = &mut whole;
            let (outer, last) = path.rsplit_once('.').unwrap_or(("", path));
            for key in outer.split('.').filter(|key| !key.is_empty()) {
                let inner = at
                    .entry(key)
                    .or_insert_with(|| Json::Object(serde_json::Map::new()));
                let Json::Object(inner) = inner else {
                    return None;
                };
                at = inner;
            }
            at.insert(last.to_owned(), value);
        }
        (!whole.is_empty()).then_some(Json::Object(whole))
    }

    pub(crate) fn settle(&mut self) {
        self.columns.iter_mut().for_each(Column::settle);
        self.revisions.shrink_to_fit();
    }
}

fn is_inside(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// A document to write.
pub(crate) struct Written<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) body: &'a Json,
    pub(crate) revision: u64,
}

struct Writing<'a> {
    table: &'a mut Table,
    row: u32,
    path: String,
    scratch: Vec<u8>,
    loading: bool,
}

impl Writing<'_> {
    fn set_at(&mut self, path: &str, value: &Json) {
        let Some(at) = self.table.column_to_write(path) else {
            return;
        };
        self.table.touched[at] = self.table.writes;
        let column = &mut self.table.columns[at];
        column.set(self.row, value, &mut self.scratch, self.loading);
    }

    fn field(&mut self, key: &str, value: &Json, depth: usize) {
        let outer = self.path.len();
        if outer > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        let path = std::mem::take(&mut self.path);
        let sort = self.table.schema.sort(&path);
        match value {
            _ if sort == Some(&Sort::Hidden) => self.path = path,
            Json::Object(map)
                if !map.is_empty() && depth < MAX_DEPTH && sort != Some(&Sort::Json) =>
            {
                self.path = path;
                for (key, value) in map {
                    self.field(key, value, depth + 1);
                }
            }
            value => {
                self.set_at(&path, value);
                self.path = path;
            }
        }
        self.path.truncate(outer);
    }
}
