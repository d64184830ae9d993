//! Files to rows. Pure.

use std::{
    io::{BufRead, Read},
    str::FromStr,
};

use indexmap::IndexMap;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::{Fields, LineError, Row};

/// How resources are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A heading of `name`, fields and `labels.KEY` (or `labels`, as JSON); one resource in each row.
    Csv,
    /// Documents or lists of `kind`, `name`, `labels` and `body`.
    Yaml,
    /// The same, one JSON object in each line.
    JsonLines,
}

impl Format {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Yaml => "yaml",
            Format::JsonLines => "jsonl",
        }
    }

    /// By a file's name.
    pub fn of_file(name: &str) -> Option<Self> {
        name.rsplit_once('.')?.1.parse().ok()
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "csv" => Ok(Format::Csv),
            "yaml" | "yml" => Ok(Format::Yaml),
            "jsonl" | "ndjson" => Ok(Format::JsonLines),
            other => Err(format!(
                "{other:?} is no format: csv, yaml or jsonl was expected"
            )),
        }
    }
}

/// Rows of a file, as it is read; those that do not name their kind are of `kind`.
pub fn read<'a>(
    format: Format,
    file: impl BufRead + 'a,
    kind: Option<&'a str>,
) -> Box<dyn Iterator<Item = Result<Row, LineError>> + 'a> {
    match format {
        Format::Csv => csv_rows(file, kind),
        Format::JsonLines => Box::new(json_lines(file, kind)),
        Format::Yaml => Box::new(yaml(file, kind).into_iter()),
    }
}

/// A resource as people and programs write it; what only the inventory knows of it is passed over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: Option<String>,
    name: String,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, Option<String>>,
    #[serde(default)]
    body: Map<String, Value>,
    #[serde(default, rename = "created")]
    _created: Option<IgnoredAny>,
    #[serde(default, rename = "revision")]
    _revision: Option<IgnoredAny>,
    #[serde(default, rename = "updated_at")]
    _updated_at: Option<IgnoredAny>,
    #[serde(default, rename = "owners")]
    _owners: Option<IgnoredAny>,
}

impl Written {
    fn row(self, line: u64, kind: Option<&str>) -> Result<Row, LineError> {
        let of = self.kind.or_else(|| kind.map(str::to_owned));
        let of = of.ok_or_else(|| {
            LineError::new(line, "the resource names no `kind`, and no kind was given")
        })?;
        Ok(Row {
            line,
            kind: of,
            name: self.name,
            labels: self.labels,
            fields: Fields::Body(self.body),
        })
    }
}

fn json_lines<'a>(
    file: impl BufRead + 'a,
    kind: Option<&'a str>,
) -> impl Iterator<Item = Result<Row, LineError>> + 'a {
    let lines = file.lines().zip(1_u64..);
    lines.filter_map(move |(text, line)| {
        let text = match text {
            Ok(text) if text.trim().is_empty() => return None,
            Ok(text) => text,
            Err(error) => return Some(Err(LineError::new(line, error))),
        };
        let written = serde_json::from_str::<Written>(&text);
        let written = written.map_err(|error| LineError::new(line, error));
        Some(written.and_then(|written| written.row(line, kind)))
    })
}

fn yaml(mut file: impl Read, kind: Option<&str>) -> Vec<Result<Row, LineError>> {
    let mut text = String::new();
    if let Err(error) = file.read_to_string(&mut text) {
        return vec![Err(LineError::new(1, error))];
    }
    let mut rows = Vec::new();
    for (before, document) in documents(&text) {
        if document
            .lines()
            .all(|line| line.trim().is_empty() || line.starts_with('#'))
        {
            continue;
        }
        match yaml_document(document) {
            Ok(written) => rows.extend(
                written
                    .into_iter()
                    .map(|(line, written)| written.row(before + line, kind)),
            ),
            Err((line, error)) => rows.push(Err(LineError::new(before + line.max(1), error))),
        }
    }
    rows
}

/// The documents of a YAML text, each with the number of lines before it.
fn documents(text: &str) -> Vec<(u64, &str)> {
    let mut documents = Vec::new();
    let (mut begin, mut at, mut before) = (0, 0, 0);
    for (line, number) in text.split_inclusive('\n').zip(1_u64..) {
        at += line.len();
        if line.trim_end() == "---" {
            documents.push((before, &text[begin..at - line.len()]));
            (begin, before) = (at, number);
        }
    }
    documents.push((before, &text[begin..]));
    documents
}

type Placed = Vec<(u64, Written)>;

fn yaml_document(text: &str) -> Result<Placed, (u64, String)> {
    let failed = |error: serde_saphyr::Error| {
        let line = error.location().map_or(0, |location| location.line());
        (line, error.to_string())
    };
    let placed = |written: Spanned<Written>| (written.referenced.line().max(1), written.value);
    let content = text.lines().find(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    });
    if content.is_some_and(|line| line.starts_with('-') || line.starts_with('[')) {
        let all: Vec<Spanned<Written>> = serde_saphyr::from_str(text).map_err(failed)?;
        return Ok(all.into_iter().map(placed).collect());
    }
    let one: Spanned<Written> = serde_saphyr::from_str(text).map_err(failed)?;
    Ok(vec![placed(one)])
}

fn csv_rows<'a>(
    file: impl Read + 'a,
    kind: Option<&'a str>,
) -> Box<dyn Iterator<Item = Result<Row, LineError>> + 'a> {
    let once = |error: LineError| -> Box<dyn Iterator<Item = _> + 'a> {
        Box::new(std::iter::once(Err(error)))
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .from_reader(file);
    let heading = match reader.headers() {
        Ok(heading) => heading.iter().map(str::to_owned).collect::<Vec<_>>(),
        Err(error) => return once(LineError::new(1, error)),
    };
    if !heading.iter().any(|column| column == "name") {
        return once(LineError::new(1, "the heading has no column `name`"));
    }
    let mut known = std::collections::HashSet::new();
    if let Some(twice) = heading.iter().find(|column| !known.insert(column.as_str())) {
        return once(LineError::new(
            1,
            format!("the column {twice} is there twice"),
        ));
    }
    let rows = reader.into_records().map(move |record| {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            LineError::new(line, error)
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        csv_row(line, &heading, &record, kind)
    });
    Box::new(rows)
}

fn csv_row(
    line: u64,
    heading: &[String],
    record: &csv::StringRecord,
    kind: Option<&str>,
) -> Result<Row, LineError> {
    let mut row = Row {
        line,
        kind: kind.unwrap_or_default().to_owned(),
        name: String::new(),
        labels: std::collections::BTreeMap::new(),
        fields: Fields::Cells(IndexMap::new()),
    };
    let mut cells = IndexMap::with_capacity(heading.len());
    for (column, cell) in heading.iter().zip(record) {
        match column.as_str() {
            "name" => row.name = cell.to_owned(),
            "kind" if kind.is_none() => row.kind = cell.to_owned(),
            "labels" if cell.is_empty() => {}
            "labels" => {
                let labels: std::collections::BTreeMap<_, _> = serde_json::from_str(cell)
                    .map_err(|error| LineError::new(line, format!("labels: {error}")))?;
                row.labels.extend(labels);
            }
            column => match column.strip_prefix("labels.") {
                Some(label) => {
                    let value = Some(cell.to_owned()).filter(|cell| !cell.is_empty());
                    row.labels.insert(label.to_owned(), value);
                }
                None => {
                    cells.insert(column.to_owned(), cell.to_owned());
                }
            },
        }
    }
    row.fields = Fields::Cells(cells);
    for (what, value) in [("name", &row.name), ("kind", &row.kind)] {
        if value.is_empty() {
            return Err(LineError::new(line, format!("the {what} is missing")));
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(format: Format, text: &str, kind: Option<&str>) -> Vec<Result<Row, LineError>> {
        read(format, text.as_bytes(), kind).collect()
    }

    fn told(row: &Result<Row, LineError>) -> String {
        match row {
            Ok(row) => format!("{} {}/{}", row.line, row.kind, row.name),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_row_of_csv_knows_its_line_its_labels_and_its_cells() {
        let text = "name,units,labels.tier\nr1,42,web\n\"r\n2\",,\nr3,7,x,extra\nr4,1,y\n";
        let rows = all(Format::Csv, text, Some("rack"));
        let row = rows[0].as_ref().unwrap();
        assert_eq!((row.line, row.name.as_str()), (2, "r1"));
        assert_eq!(row.labels["tier"].as_deref(), Some("web"));
        assert_eq!(
            row.fields,
            Fields::Cells([("units".to_owned(), "42".to_owned())].into())
        );
        assert_eq!(rows[1].as_ref().unwrap().labels["tier"], None);
        assert!(told(&rows[2]).starts_with("line 5:"), "{}", told(&rows[2]));
        assert_eq!(told(&rows[3]), "6 rack/r4");
    }

    #[test]
    fn a_heading_that_is_no_use_is_said_at_line_one() {
        for (text, says) in [("units\n1\n", "no column `name`"), ("name,a,a\n", "twice")] {
            let rows = all(Format::Csv, text, Some("rack"));
            assert!(told(&rows[0]).starts_with("line 1:"));
            assert!(told(&rows[0]).contains(says), "{}", told(&rows[0]));
        }
    }

    #[test]
    fn yaml_is_documents_or_lists_and_each_resource_knows_its_line() {
        let text = "# racks\nkind: rack\nname: r1\nbody: { units: 42 }\n---\n- name: r2\n  labels: { tier: web }\n- kind: room\n  name: b2\n---\nname: r3\nbdy: {}\n";
        let rows = all(Format::Yaml, text, Some("rack"));
        let lines: Vec<String> = rows.iter().map(told).collect();
        assert_eq!(lines[..3], ["2 rack/r1", "6 rack/r2", "8 room/b2"]);
        assert!(lines[3].starts_with("line 1"), "{}", lines[3]);
        assert!(lines[3].contains("bdy"), "{}", lines[3]);
        let body = json!({ "units": 42 });
        assert_eq!(
            rows[0].as_ref().unwrap().fields,
            Fields::Body(body.as_object().unwrap().clone())
        );
    }

    #[test]
    fn json_lines_say_which_line_is_broken_and_go_on() {
        let text =
            "{\"name\":\"a\",\"revision\":7}\n\n{broken\n{\"kind\":\"room\",\"name\":\"b\"}\n";
        let rows: Vec<String> = all(Format::JsonLines, text, Some("rack"))
            .iter()
            .map(told)
            .collect();
        assert_eq!(
            (rows[0].as_str(), rows[2].as_str()),
            ("1 rack/a", "4 room/b")
        );
        assert!(rows[1].starts_with("line 3:"));
        let nameless = all(Format::JsonLines, "{\"name\":\"a\"}\n", None);
        assert!(told(&nameless[0]).contains("kind"));
    }
}
