//! The objects of a dump.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::super::LineError;

/// All objects of a dump, by model and number.
#[derive(Debug, Default)]
pub struct Dump {
    models: BTreeMap<String, BTreeMap<i64, Object>>,
    /// Labels that objects were given: by model and number.
    tags: HashMap<(String, i64), Vec<String>>,
}

/// One object.
#[derive(Debug)]
pub(super) struct Object {
    pub pk: i64,
    pub line: u64,
    fields: Map<String, Value>,
}

#[derive(Deserialize)]
struct Fixture {
    model: String,
    #[serde(default)]
    pk: Value,
    fields: Map<String, Value>,
}

impl Dump {
    /// Reads a dump of PostgreSQL or of Django.
    ///
    /// # Errors
    /// Where it is neither, or broken.
    pub fn read(text: &str) -> Result<Self, LineError> {
        let mut dump = Dump::default();
        if text.trim_start().starts_with('[') {
            dump.django(text)?;
        } else if text.contains("\nCOPY public.") {
            dump.postgres(text)?;
        } else {
            let message = "neither a list of objects (manage.py dumpdata) nor COPY of public tables (pg_dump) begins here";
            return Err(LineError::new(1, message));
        }
        dump.name_types();
        dump.collect_tags();
        Ok(dump)
    }

    fn django(&mut self, text: &str) -> Result<(), LineError> {
        let broken = |error: serde_json::Error| LineError::new(error.line() as u64, error);
        let objects: Vec<&RawValue> = serde_json::from_str(text).map_err(broken)?;
        let (mut line, mut counted) = (1, 0);
        for raw in objects {
            let at = raw.get().as_ptr() as usize - text.as_ptr() as usize;
            line += text[counted..at].matches('\n').count() as u64;
            counted = at;
            let fixture: Fixture =
                serde_json::from_str(raw.get()).map_err(|error| LineError::new(line, error))?;
            if let Some(pk) = fixture.pk.as_i64() {
                self.add(
                    fixture.model,
                    Object {
                        pk,
                        line,
                        fields: fixture.fields,
                    },
                );
            }
        }
        Ok(())
    }

    /// `COPY public.dcim_site (id, name, region_id) FROM stdin;` and rows up to `\.`; see COPY in
    /// PostgreSQL's manual.
    fn postgres(&mut self, text: &str) -> Result<(), LineError> {
        let mut table: Option<(String, Vec<String>)> = None;
        for (text, line) in text.lines().zip(1_u64..) {
            let Some((model, columns)) = &table else {
                table = heading(text);
                continue;
            };
            if text == "\\." {
                table = None;
                continue;
            }
            let cells: Vec<&str> = text.split('\t').collect();
            if cells.len() != columns.len() {
                let message = format!(
                    "{} columns were expected, {} are there",
                    columns.len(),
                    cells.len()
                );
                return Err(LineError::new(line, message));
            }
            let fields = columns.iter().zip(cells);
            let fields: Map<_, _> = fields
                .map(|(name, cell)| (name.clone(), value(cell)))
                .collect();
            if let Some(pk) = fields.get("id").and_then(Value::as_i64) {
                self.add(model.clone(), Object { pk, line, fields });
            }
        }
        Ok(())
    }

    fn add(&mut self, model: String, object: Object) {
        self.models
            .entry(model)
            .or_default()
            .insert(object.pk, object);
    }

    /// Types of objects that are told by number get their names.
    fn name_types(&mut self) {
        let mut types: HashMap<i64, Value> = HashMap::new();
        for of in self
            .all("django.content_type")
            .chain(self.all("contenttypes.contenttype"))
        {
            let name = format!(
                "{}.{}",
                of.text("app_label").unwrap_or_default(),
                of.text("model").unwrap_or_default()
            );
            types.insert(of.pk, name.into());
        }
        let objects = self.models.values_mut().flat_map(BTreeMap::values_mut);
        for (name, value) in objects.flat_map(|object| object.fields.iter_mut()) {
            if !name.ends_with("_type") && !name.ends_with("_type_id") {
                continue;
            }
            match &*value {
                Value::Number(number) => {
                    if let Some(of) = number.as_i64().and_then(|number| types.get(&number)) {
                        *value = of.clone();
                    }
                }
                Value::Array(parts) => {
                    let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
                    *value = parts.join(".").into();
                }
                _ => {}
            }
        }
    }

    fn collect_tags(&mut self) {
        let mut tags: HashMap<(String, i64), Vec<String>> = HashMap::new();
        for item in self.all("extras.taggeditem") {
            let tag = item
                .refer("tag")
                .and_then(|tag| self.get("extras.tag", tag));
            let tag = tag.and_then(|tag| tag.text("slug"));
            if let (Some(of), Some(pk), Some(tag)) =
                (item.text("content_type"), item.refer("object_id"), tag)
            {
                tags.entry((of.to_owned(), pk))
                    .or_default()
                    .push(tag.to_owned());
            }
        }
        self.tags = tags;
    }

    /// The objects of a model, by number.
    pub(super) fn all<'d>(&'d self, model: &str) -> impl Iterator<Item = &'d Object> + use<'d> {
        self.models
            .get(model)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// One object.
    pub(super) fn get(&self, model: &str, pk: i64) -> Option<&Object> {
        self.models.get(model)?.get(&pk)
    }

    /// A text of what an object refers to.
    pub(super) fn text_of<'d>(
        &'d self,
        object: &Object,
        field: &str,
        model: &str,
        text: &str,
    ) -> Option<&'d str> {
        self.get(model, object.refer(field)?)?.text(text)
    }

    /// Which models there are, and how many objects of each.
    pub(super) fn models(&self) -> impl Iterator<Item = (&str, usize)> {
        self.models
            .iter()
            .map(|(model, objects)| (model.as_str(), objects.len()))
    }

    /// The tags of an object.
    pub(super) fn tags(&self, model: &str, pk: i64) -> &[String] {
        self.tags
            .get(&(model.to_owned(), pk))
            .map_or(&[], Vec::as_slice)
    }
}

impl Object {
    /// A value that is there and not empty; a reference is found with and without `_id`.
    pub fn value(&self, field: &str) -> Option<&Value> {
        let found = self
            .fields
            .get(field)
            .or_else(|| self.fields.get(&format!("{field}_id")))?;
        (!found.is_null() && found != "").then_some(found)
    }

    pub fn text(&self, field: &str) -> Option<&str> {
        self.value(field)?.as_str()
    }

    /// A number, also one that is written as text.
    pub fn number(&self, field: &str) -> Option<f64> {
        let value = self.value(field)?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    }

    pub fn refer(&self, field: &str) -> Option<i64> {
        self.value(field)?.as_i64()
    }

    pub fn truth(&self, field: &str) -> Option<bool> {
        match self.value(field)? {
            Value::Bool(truth) => Some(*truth),
            Value::String(text) => Some(text == "t"),
            _ => None,
        }
    }

    /// What people added: names with values.
    pub fn custom(&self) -> Map<String, Value> {
        match self.value("custom_field_data") {
            Some(Value::Object(fields)) => fields.clone(),
            Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
            _ => Map::new(),
        }
    }
}

/// The model and the columns of a table whose rows follow.
fn heading(line: &str) -> Option<(String, Vec<String>)> {
    let (table, rest) = line.strip_prefix("COPY public.")?.split_once(" (")?;
    let columns = rest.strip_suffix(") FROM stdin;")?;
    // The first word of a table's name is its app: `dcim_devicetype`.
    let model = table.replacen('_', ".", 1);
    let columns = columns
        .split(", ")
        .map(|column| column.trim_matches('"').to_owned());
    Some((model, columns.collect()))
}

fn value(cell: &str) -> Value {
    if cell == "\\N" {
        return Value::Null;
    }
    // What looks like a number may be a text, such as a serial: only whole ones are taken for one.
    if let Ok(number) = cell.parse::<i64>()
        && number.to_string() == cell
    {
        return number.into();
    }
    if !cell.contains('\\') {
        return cell.into();
    }
    let mut text = String::with_capacity(cell.len());
    let mut letters = cell.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, true) => match letters.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(other) => text.push(other),
                None => {}
            },
            (letter, _) => text.push(letter),
        }
    }
    text.into()
}
