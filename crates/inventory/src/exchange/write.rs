use std::io;

use serde_json::{Map, Value, json};

use super::{Format, coerce};
use crate::{Resource, kind::Kind};

/// Writes the resources of one kind so that reading them again changes nothing: without what is
/// computed, sealed or known to the inventory only.
#[derive(Debug)]
pub struct Writer {
    format: Format,
    /// The fields that are written, in order.
    columns: Vec<String>,
    kind: std::sync::Arc<Kind>,
    begun: bool,
}

impl Writer {
    /// For one kind.
    pub fn new(format: Format, kind: std::sync::Arc<Kind>) -> Self {
        let fields = kind.definition().fields.iter();
        let written = fields.filter(|(_, field)| field.computed.is_none() && !field.secret);
        let columns = written.map(|(name, _)| name.clone()).collect();
        Writer {
            format,
            columns,
            kind,
            begun: false,
        }
    }

    /// The text of some more resources, with the heading before the first. In CSV, labels are one
    /// column, `labels`, as JSON.
    ///
    /// # Errors
    /// Where a value cannot be written.
    pub fn text(&mut self, resources: &[Resource]) -> io::Result<Vec<u8>> {
        match self.format {
            Format::Csv => self.csv(resources),
            Format::JsonLines => {
                let mut text = Vec::new();
                for resource in resources {
                    serde_json::to_writer(&mut text, &self.written(resource))?;
                    text.push(b'\n');
                }
                Ok(text)
            }
            Format::Yaml => {
                let mut text = String::new();
                for resource in resources {
                    text.push_str("---\n");
                    let written = serde_saphyr::to_string(&self.written(resource));
                    text.push_str(&written.map_err(io::Error::other)?);
                }
                Ok(text.into_bytes())
            }
        }
    }

    fn written(&self, resource: &Resource) -> Value {
        let mut body = Map::new();
        for (name, value) in resource.body.as_object().into_iter().flatten() {
            let known = self.kind.definition().fields.contains_key(name);
            if !known || self.columns.contains(name) {
                body.insert(name.clone(), value.clone());
            }
        }
        let mut written = json!({ "kind": resource.kind, "name": resource.name });
        if !resource.labels.is_empty() {
            written["labels"] = json!(resource.labels);
        }
        written["body"] = Value::Object(body);
        written
    }

    fn csv(&mut self, resources: &[Resource]) -> io::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        if !self.begun {
            let columns = self.columns.iter().map(String::as_str);
            let heading = std::iter::once("name")
                .chain(columns)
                .chain(std::iter::once("labels"));
            writer.write_record(heading)?;
            self.begun = true;
        }
        for resource in resources {
            let fields = &self.kind.definition().fields;
            let cells = self.columns.iter().map(|name| {
                let value = resource.body.get(name);
                let cell = fields.get(name).zip(value);
                cell.map_or_else(String::new, |(field, value)| coerce::cell(field, value))
            });
            let labels = match resource.labels.is_empty() {
                true => String::new(),
                false => json!(resource.labels).to_string(),
            };
            let (name, labels) = (resource.name.clone(), std::iter::once(labels));
            writer.write_record(std::iter::once(name).chain(cells).chain(labels))?;
        }
        writer
            .into_inner()
            .map_err(|error| io::Error::other(error.to_string()))
    }
}
