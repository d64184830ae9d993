use hashbrown::HashMap;

use crate::{
    Document,
    schema::{Schema, Sort},
    table::{Table, Written},
    value::Value,
};

/// A number of a commit; what is put and removed comes in their order.
pub type Revision = u64;

/// Documents of many kinds, as columns: what can be asked of them is answered from here. Bodies are
/// not kept.
///
/// A value of this type has one state: who shares it between writers and readers puts a lock around
/// it, and writes a commit under one taking of the lock.
#[derive(Debug, Default)]
pub struct Index {
    tables: HashMap<String, Table>,
    /// By kind: what refers to it.
    referrers: HashMap<String, Vec<Referrer>>,
    revision: Revision,
    loading: bool,
    /// Pages of this revision and later ones are still read.
    pages_since: Option<Revision>,
}

/// A relation as seen from its target.
#[derive(Debug)]
struct Referrer {
    name: String,
    kind: String,
    path: String,
}

impl Index {
    /// Takes what is known of a kind. What is indexed of it already is read anew where a field's
    /// sort is another; fields that were maps stay what they are until they are written again.
    pub fn declare(&mut self, schema: Schema) {
        for referrers in self.referrers.values_mut() {
            referrers.retain(|referrer| referrer.kind != schema.kind);
        }
        for field in &schema.fields {
            if let Sort::Reference {
                kind,
                reverse: Some(name),
            } = &field.sort
            {
                let referrer = Referrer {
                    name: name.clone(),
                    kind: schema.kind.clone(),
                    path: field.path.clone(),
                };
                self.referrers
                    .entry_ref(kind.as_str())
                    .or_default()
                    .push(referrer);
            }
        }
        match self.tables.get_mut(&schema.kind) {
            Some(table) => table.declare(schema),
            None => {
                self.tables.insert(schema.kind.clone(), Table::new(schema));
            }
        }
    }

    /// Writes a document, whatever was there. False where the kind has more than two thousand million
    /// already.
    pub fn put(&mut self, document: &Document<'_>, revision: Revision) -> bool {
        let reuse = self.pages_since.unwrap_or(Revision::MAX);
        let loading = self.loading;
        let written = Written {
            name: document.name,
            labels: document.labels,
            body: document.body,
            revision,
        };
        self.advance(revision);
        let open = || {
            let mut schema = Schema::new(document.kind, []);
            schema.open = true;
            Table::new(schema)
        };
        let table = self.tables.entry_ref(document.kind).or_insert_with(open);
        table.put(&written, reuse, loading)
    }

    /// Removes a document; whether it was there.
    pub fn remove(&mut self, kind: &str, name: &str, revision: Revision) -> bool {
        self.advance(revision);
        let table = self.tables.get_mut(kind);
        table.is_some_and(|table| table.remove(name, revision))
    }

    /// Notes a commit that changed nothing here.
    pub fn advance(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// The newest commit that is in it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// From here to [`Index::settle`] much is put at once: search is slow meanwhile, putting is fast.
    pub fn begin_load(&mut self) {
        self.loading = true;
    }

    /// Gives back what was kept for growth, and puts the words in order.
    pub fn settle(&mut self) {
        self.loading = false;
        self.tables.values_mut().for_each(Table::settle);
    }

    /// Takes over all documents of another index, of kinds of which this one has none: what was loaded
    /// by several threads becomes one.
    pub fn absorb(&mut self, other: Index) {
        self.advance(other.revision);
        for (kind, table) in other.tables {
            if !table.live.is_empty() {
                self.tables.insert(kind, table);
            }
        }
    }

    /// The oldest revision whose pages are still read, if any: documents that were removed since
    /// keep their row and name for them.
    pub fn keep_pages_since(&mut self, revision: Option<Revision>) {
        self.pages_since = revision;
    }

    /// The kinds that have a schema or documents, by name.
    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.tables.keys().map(String::as_str).collect();
        kinds.sort_unstable();
        kinds
    }

    /// How many documents of a kind there are.
    pub fn count(&self, kind: &str) -> u64 {
        self.table(kind).map_or(0, |table| table.live.len())
    }

    /// What is known of a kind.
    pub fn schema(&self, kind: &str) -> Option<&Schema> {
        self.table(kind).map(|table| &table.schema)
    }

    /// The paths of the fields that documents of a kind have or had, `name` and labels among them.
    pub fn fields(&self, kind: &str) -> Vec<&str> {
        let columns = self
            .table(kind)
            .map(|table| &table.columns[..])
            .unwrap_or_default();
        columns.iter().map(|column| column.path.as_str()).collect()
    }

    /// The names of the documents of a kind that refer to a name by a field, at most so many.
    pub fn referring(&self, kind: &str, field: &str, name: &str, most: usize) -> Vec<String> {
        let found = self
            .table(kind)
            .and_then(|table| Some((table, table.column(field)?)));
        let Some((table, column)) = found else {
            return Vec::new();
        };
        let rows = column.referring(name).iter().take(most);
        rows.map(|row| table.name(row).to_owned()).collect()
    }

    /// What a document refers to: fields, each with a name.
    pub fn references(&self, kind: &str, name: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let there = self
            .table(kind)
            .and_then(|table| Some((table, table.row(name)?)));
        let Some((table, row)) = there else {
            return found;
        };
        for field in &table.schema.fields {
            if !matches!(field.sort, Sort::Reference { .. }) {
                continue;
            }
            let mut note = |value| {
                if let Value::Text(to) = value {
                    found.push((field.path.clone(), to.to_owned()));
                }
                false
            };
            match table.value(row, &field.path) {
                Some(Value::List(list)) => drop(list.any(note)),
                Some(value) => drop(note(value)),
                None => {}
            }
        }
        found
    }

    pub(crate) fn table(&self, kind: &str) -> Option<&Table> {
        self.tables.get(kind)
    }

    /// The kind and field that refer to a kind under a name.
    pub(crate) fn referrers(&self, kind: &str, name: &str) -> Option<(String, String)> {
        let referrers = self.referrers.get(kind)?;
        let found = referrers.iter().find(|referrer| referrer.name == name)?;
        Some((found.kind.clone(), found.path.clone()))
    }
}
