//! Takes fields out of a TOML document and keeps, with its place, everything that is wrong.

use std::{fmt::Display, ops::Range, str::FromStr};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use wright_model::{Diagnostic, nearest};

use crate::suggest;

/// A value with where it stands.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// A document being read, and what was found wrong so far.
pub(super) struct Document<'d> {
    file: &'d str,
    text: &'d str,
    pub(super) findings: Vec<Diagnostic>,
}

impl<'d> Document<'d> {
    pub(super) fn new(file: &'d str, text: &'d str) -> Self {
        Document {
            file,
            text,
            findings: Vec::new(),
        }
    }

    /// Line and column, from 1, of a byte offset.
    pub(super) fn place(&self, offset: usize) -> (u32, u32) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (
            u32::try_from(line).unwrap_or(u32::MAX),
            u32::try_from(column).unwrap_or(u32::MAX),
        )
    }

    pub(super) fn refuse(
        &mut self,
        span: &Range<usize>,
        code: &str,
        message: String,
        help: String,
    ) {
        let (line, column) = self.place(span.start);
        self.findings.push(
            Diagnostic::error(code, message)
                .at(self.file, line, column)
                .help(help),
        );
    }

    /// Refuses fields of a table that are not among `known`.
    pub(super) fn only(&mut self, table: &DeTable<'_>, within: &str, known: &[&str]) {
        for (key, _) in table {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let message = format!("unknown field `{name}` in {within}");
                self.refuse(
                    &key.span(),
                    "unknown-field",
                    message,
                    suggest::help(name, known),
                );
            }
        }
    }

    /// A field that must be there. Where a misspelt field stands for it, that one was refused.
    pub(super) fn required<'t>(
        &mut self,
        table: &'t DeTable<'t>,
        known: &[&str],
        key: &str,
        example: &str,
    ) -> Option<&'t Value<'t>> {
        let value = table.get(key);
        let misspelt = || {
            let unknown = table
                .keys()
                .map(|name| name.get_ref())
                .filter(|name| !known.contains(&name.as_ref()));
            unknown
                .into_iter()
                .any(|name| nearest(name, known.iter().copied()) == Some(key))
        };
        if value.is_none() && !misspelt() {
            let message = format!("the field `{key}` is missing");
            self.refuse(
                &(0..0),
                "missing-field",
                message,
                format!("add `{key} = {example}`"),
            );
        }
        value
    }

    pub(super) fn text<'t>(&mut self, key: &str, value: &'t Value<'t>) -> Option<&'t str> {
        match value.get_ref() {
            DeValue::String(text) if text.contains('\0') => {
                let message = format!("`{key}` holds a NUL character");
                self.refuse(
                    &value.span(),
                    "wrong-value",
                    message,
                    "remove it".to_owned(),
                );
                None
            }
            DeValue::String(text) => Some(text),
            _ => self.wrong_type(key, value, "a text", "put it in quotation marks"),
        }
    }

    pub(super) fn table<'t>(
        &mut self,
        key: &str,
        value: &'t Value<'t>,
        example: &str,
    ) -> Option<&'t DeTable<'t>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => self.wrong_type(key, value, "a table", &format!("write `{example}`")),
        }
    }

    /// A list of texts, each with where it stands.
    pub(super) fn texts<'t>(
        &mut self,
        key: &str,
        value: &'t Value<'t>,
        example: &str,
    ) -> Option<Vec<(&'t str, Range<usize>)>> {
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong_type(
                key,
                value,
                "a list of texts",
                &format!("write `{key} = {example}`"),
            );
        };
        if items.is_empty() {
            let message = format!("`{key}` is empty");
            self.refuse(
                &value.span(),
                "wrong-value",
                message,
                format!("write `{key} = {example}`"),
            );
            return None;
        }
        let found = self.findings.len();
        let texts = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| {
                Some((self.text(&format!("{key}[{index}]"), item)?, item.span()))
            })
            .collect();
        (found == self.findings.len()).then_some(texts)
    }

    /// A text that is parsed as a `T`, whose error says what was expected; `help` sees the text.
    pub(super) fn parsed<T: FromStr>(
        &mut self,
        key: &str,
        value: &Value<'_>,
        help: impl FnOnce(&str) -> String,
    ) -> Option<T>
    where
        T::Err: Display,
    {
        let text = self.text(key, value)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let message = format!("`{key}`: {error}");
                self.refuse(&value.span(), "wrong-value", message, help(text));
                None
            }
        }
    }

    pub(super) fn wrong_type<T>(
        &mut self,
        key: &str,
        value: &Value<'_>,
        expected: &str,
        help: &str,
    ) -> Option<T> {
        let message = format!(
            "`{key}` is {}, {expected} was expected",
            sort_of(value.get_ref())
        );
        self.refuse(&value.span(), "wrong-type", message, help.to_owned());
        None
    }
}

fn sort_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
