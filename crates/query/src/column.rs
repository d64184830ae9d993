//! One field of all rows of a kind.

use roaring::RoaringBitmap;
use serde_json::Value as Json;

use crate::{
    cells::{Codes, Floats, Ints},
    dictionary::Dictionary,
    packed,
    posting::Rows,
    schema::Sort,
    value::Value,
};

/// A field. What a row has is in one of three places, by its type: documents may differ in it.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) path: String,
    pub(crate) sort: Sort,
    /// Whole numbers, times and durations.
    pub(crate) ints: Ints,
    pub(crate) floats: Floats,
    /// Everything else, by code.
    codes: Codes,
    pub(crate) dictionary: Dictionary,
    /// The texts of lists, with the rows whose list has them.
    pub(crate) members: Dictionary,
}

impl Column {
    pub(crate) fn new(path: String, sort: Sort) -> Self {
        let dictionary = || match sort.is_searched() {
            true => Dictionary::searched(),
            false => Dictionary::default(),
        };
        let (dictionary, members) = (dictionary(), dictionary());
        Column {
            path,
            sort,
            ints: Ints::default(),
            floats: Floats::default(),
            codes: Codes::default(),
            dictionary,
            members,
        }
    }

    /// A number in `ints`, as what it is.
    pub(crate) fn whole(&self, number: i64) -> Value<'static> {
        match self.sort {
            Sort::Time => Value::Time(number),
            Sort::Span => Value::Span(number),
            _ => Value::Int(number),
        }
    }

    pub(crate) fn code(&self, row: u32) -> Option<u32> {
        self.codes.get(row)
    }

    pub(crate) fn value(&self, row: u32) -> Option<Value<'_>> {
        if let Some(code) = self.codes.get(row) {
            return Some(self.dictionary.value(code));
        }
        let whole = self.ints.get(row).map(|number| self.whole(number));
        whole.or_else(|| self.floats.get(row).map(Value::Float))
    }

    /// Whether all values are in the dictionary.
    pub(crate) fn is_coded(&self) -> bool {
        self.ints.is_empty() && self.floats.is_empty()
    }

    pub(crate) fn set(&mut self, row: u32, json: &Json, scratch: &mut Vec<u8>, loading: bool) {
        let (int, float) = match (&self.sort, self.sort.read(json)) {
            (Sort::Time, Value::Time(number)) | (Sort::Span, Value::Span(number)) => {
                (Some(number), None)
            }
            // A number where a time should be is kept as one value with its type.
            (Sort::Time | Sort::Span | Sort::Json, _) => (None, None),
            (_, Value::Int(number)) => (Some(number), None),
            (_, Value::Float(number)) => (None, Some(number)),
            _ => (None, None),
        };
        self.ints.set(row, int);
        self.floats.set(row, float);
        let old = self.codes.get(row);
        if int.is_some() || float.is_some() {
            self.uncode(row, old);
            return;
        }
        scratch.clear();
        packed::pack(json, scratch);
        // Most fields of a document that changes stay as they are.
        if old.is_some_and(|old| self.dictionary.is(old, scratch)) {
            return;
        }
        let code = self.dictionary.code(scratch, loading);
        self.dictionary.insert(code, row);
        self.codes.set(row, Some(code));
        if let Some(old) = old {
            self.forget(old, row);
        }
        if let Json::Array(elements) = json {
            for element in elements.iter().filter(|element| element.is_string()) {
                scratch.clear();
                packed::pack(element, scratch);
                let code = self.members.code(scratch, loading);
                self.members.insert(code, row);
            }
        }
    }

    fn uncode(&mut self, row: u32, old: Option<u32>) {
        if let Some(old) = old {
            self.codes.set(row, None);
            self.forget(old, row);
        }
    }

    /// Takes a row from the value of a code, and from the elements of that value.
    fn forget(&mut self, code: u32, row: u32) {
        if let Value::List(list) = self.dictionary.value(code) {
            list.any(|element| {
                if let Value::Text(text) = element
                    && let Some(member) = self.members.find_text(text)
                {
                    self.members.remove(member, row);
                }
                false
            });
        }
        self.dictionary.remove(code, row);
    }

    pub(crate) fn clear(&mut self, row: u32) {
        self.ints.set(row, None);
        self.floats.set(row, None);
        self.uncode(row, self.codes.get(row));
    }

    /// The rows whose value is this text.
    pub(crate) fn rows_of_text(&self, text: &str) -> Rows<'_> {
        self.dictionary.rows_of_text(text)
    }

    /// The rows that refer to a name, whether by themselves or in a list.
    pub(crate) fn referring(&self, name: &str) -> Rows<'_> {
        match self.dictionary.rows_of_text(name) {
            Rows::None => self.members.rows_of_text(name),
            rows => rows,
        }
    }

    /// All rows that have a value.
    pub(crate) fn present(&self, live: &RoaringBitmap) -> RoaringBitmap {
        let has = |row: &u32| {
            self.codes.get(*row).is_some()
                || self.ints.get(*row).is_some()
                || self.floats.get(*row).is_some()
        };
        let rows = RoaringBitmap::from_sorted_iter(live.iter().filter(has));
        rows.unwrap_or_default()
    }

    pub(crate) fn settle(&mut self) {
        self.dictionary.settle();
        self.members.settle();
        self.codes.shrink();
        self.ints.shrink();
        self.floats.shrink();
    }
}
