//! `wright import`, `export` and `inventory`.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufReader, Write as _},
    path::Path,
};

use serde_json::Value;
use wright_inventory::exchange::{
    self, Deed, Format, LineError, Missing, Report, Row, RowDifference, RowError, netbox,
};
use wright_model::Name;
use wright_server::api::ImportRequest;

use super::{Context, encoded, of_group};
use crate::{
    args::{ImportArgs, InventoryCommand, Origin},
    failure::Failure,
    output,
};

/// How many rows are sent at once.
const ROWS: usize = 2000;
/// How many such parts are on their way at once.
const ABREAST: usize = 4;
/// How many errors and differences are shown to people; programs (`-o json`) get all.
const SHOWN: usize = 100;

/// Out of a file.
pub async fn import(context: Context, arguments: ImportArgs) -> Result<(), Failure> {
    let file = &arguments.file;
    let unreadable =
        |error: std::io::Error| Failure::failed(format!("{}: {error}", file.display()));
    let mut import = Import {
        context: &context,
        dry_run: arguments.dry_run,
        why: arguments.why,
        report: Report::default(),
        waiting: Vec::new(),
        known: HashSet::new(),
    };
    match arguments.from {
        Some(Origin::Netbox) => {
            let text = std::fs::read_to_string(file).map_err(unreadable)?;
            let read = netbox::read(&text);
            let converted =
                read.map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
            // What others refer to comes first: in order, not abreast.
            import.all(converted.rows.into_iter().map(Ok), 1).await?;
            if !import.dry_run {
                import.all(converted.links.into_iter().map(Ok), 1).await?;
            }
            for (model, count) in &converted.left_out {
                eprintln!("{count} of {model} have no counterpart here and were left out");
            }
        }
        None => {
            let format = match arguments.format {
                Some(format) => format,
                None => format_of(file)?,
            };
            let opened = BufReader::new(File::open(file).map_err(unreadable)?);
            let kind = arguments.kind.as_ref().map(Name::as_str);
            import
                .all(exchange::read(format, opened, kind), ABREAST)
                .await?;
        }
    }
    import.finish().await
}

fn format_of(file: &Path) -> Result<Format, Failure> {
    let name = file.to_string_lossy();
    Format::of_file(&name).ok_or_else(|| {
        Failure::usage(format!(
            "{name} ends with none of .csv, .yaml and .jsonl: say --format"
        ))
    })
}

struct Import<'a> {
    context: &'a Context,
    dry_run: bool,
    why: String,
    report: Report,
    /// Rows that refer to what was not there yet.
    waiting: Vec<(Row, RowError)>,
    /// What the file has, for a dry run.
    known: HashSet<Missing>,
}

impl Import<'_> {
    /// Sends rows in parts.
    async fn all(
        &mut self,
        rows: impl Iterator<Item = Result<Row, LineError>>,
        abreast: usize,
    ) -> Result<(), Failure> {
        use futures::StreamExt as _;
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut parts = Vec::new();
            for _ in 0..abreast {
                let part = self.part(&mut rows);
                if !part.is_empty() {
                    parts.push(part);
                }
            }
            let sent = parts.into_iter().map(|part| self.send(part));
            let sent: Vec<_> = futures::stream::iter(sent)
                .buffered(abreast)
                .collect()
                .await;
            for done in sent {
                let (rows, report) = done?;
                self.take(rows, report);
            }
        }
        Ok(())
    }

    /// The next rows that can be read.
    fn part(&mut self, rows: &mut impl Iterator<Item = Result<Row, LineError>>) -> Vec<Row> {
        let mut part = Vec::new();
        for row in rows {
            match row {
                Ok(row) => part.push(row),
                Err(error) => self.report.errors.push(RowError {
                    line: error.line,
                    resource: String::new(),
                    message: error.message,
                    missing: None,
                }),
            }
            if part.len() == ROWS {
                break;
            }
        }
        if self.dry_run {
            let names = part.iter().map(|row| Missing {
                kind: row.kind.clone(),
                name: row.name.clone(),
            });
            self.known.extend(names);
        }
        part
    }

    async fn send(&self, rows: Vec<Row>) -> Result<(Vec<Row>, Report), Failure> {
        let request = ImportRequest {
            rows,
            why: self.why.clone(),
        };
        let path = format!("/import?dry-run={}", self.dry_run);
        let report = self.context.client.post(&path, &request).await?;
        Ok((request.rows, report))
    }

    fn take(&mut self, rows: Vec<Row>, mut report: Report) {
        let errors = std::mem::take(&mut report.errors);
        let (waiting, errors): (Vec<_>, Vec<_>) = errors
            .into_iter()
            .partition(|error| error.missing.is_some());
        self.report.errors.extend(errors);
        self.report.add(report);
        let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
        for error in waiting {
            let is = |row: &&mut Option<Row>| {
                let named = |row: &Row| format!("{}/{}", row.kind, row.name) == error.resource;
                row.as_ref().is_some_and(named)
            };
            if let Some(row) = rows.iter_mut().find(is).and_then(Option::take) {
                self.waiting.push((row, error));
            }
        }
    }

    /// Sends again what waited for others, as long as that helps, and says what was done.
    async fn finish(mut self) -> Result<(), Failure> {
        if self.dry_run {
            let known = std::mem::take(&mut self.known);
            for (_, error) in std::mem::take(&mut self.waiting) {
                match &error.missing {
                    // It would be there.
                    Some(missing) if known.contains(missing) => self.report.created += 1,
                    _ => self.report.errors.push(error),
                }
            }
        }
        while !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            let before = waiting.len();
            let (rows, errors): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
            self.all(rows.into_iter().map(Ok), 1).await?;
            if self.waiting.len() == before {
                drop(errors);
                let left = std::mem::take(&mut self.waiting);
                self.report
                    .errors
                    .extend(left.into_iter().map(|(_, error)| error));
            }
        }
        self.report.errors.sort_by_key(|error| error.line);
        self.report
            .differences
            .sort_by_key(|difference| difference.line);
        let dry_run = self.dry_run;
        output::print(self.context.format, &self.report, |report| {
            told(report, dry_run)
        })?;
        match self.report.errors.len() {
            0 => Ok(()),
            1 => Err(Failure::failed("one row was not taken")),
            count => Err(Failure::failed(format!("{count} rows were not taken"))),
        }
    }
}

fn told(report: &Report, dry_run: bool) -> String {
    let mut lines: Vec<String> = Vec::new();
    for difference in report.differences.iter().take(SHOWN) {
        lines.extend(difference_lines(difference));
    }
    lines.extend(more(report.differences.len(), "differences"));
    for error in report.errors.iter().take(SHOWN) {
        let about = match error.resource.as_str() {
            "" => String::new(),
            resource => format!("{resource}: "),
        };
        lines.push(format!("line {}: {about}{}", error.line, error.message));
    }
    lines.extend(more(report.errors.len(), "errors"));
    let would = if dry_run {
        " (nothing was written)"
    } else {
        ""
    };
    lines.push(format!(
        "{} new, {} changed, {} same, {} not taken{would}",
        report.created,
        report.changed,
        report.same,
        report.errors.len()
    ));
    lines.join("\n")
}

fn more(count: usize, what: &str) -> Option<String> {
    let more = count.checked_sub(SHOWN).filter(|more| *more > 0)?;
    Some(format!("… and {more} more {what}; -o json has all"))
}

fn difference_lines(difference: &RowDifference) -> Vec<String> {
    let (line, resource) = (difference.line, &difference.resource);
    if difference.deed == Deed::New {
        return vec![format!("line {line}: {resource} is new")];
    }
    let mut lines = vec![format!("line {line}: {resource} changes")];
    lines.extend(difference.fields.iter().map(|field| {
        let side = |value: &Value| match value {
            Value::Null => "nothing".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        format!(
            "  {}: {} → {}",
            field.field,
            side(&field.before),
            side(&field.after)
        )
    }));
    lines
}

/// Into a file, or to standard output.
pub async fn export(
    context: Context,
    kind: &Name,
    file: Option<&Path>,
    group: Option<&str>,
    format: Option<Format>,
) -> Result<(), Failure> {
    let format = match (format, file) {
        (Some(format), _) => format,
        (None, Some(file)) => format_of(file)?,
        (None, None) => Format::JsonLines,
    };
    let mut out: Box<dyn std::io::Write> = match file {
        None => Box::new(std::io::stdout()),
        Some(file) => Box::new(
            File::create(file)
                .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?,
        ),
    };
    let mut failed = None;
    let group = group.map_or_else(String::new, |group| format!("&group={}", encoded(group)));
    let path = format!("/export/{kind}?format={}{group}", format.as_str());
    let followed = context.client.follow(&path, |piece| {
        if failed.is_none() {
            failed = out.write_all(piece).err();
        }
    });
    followed.await?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(out.flush()?),
    }
}

/// In Ansible's words.
pub async fn ansible(context: Context, command: InventoryCommand) -> Result<(), Failure> {
    let InventoryCommand::Ansible { host, group, .. } = command;
    let path = of_group("/discovery/ansible", group.as_deref());
    let inventory: Value = context.client.get(&path).await?;
    let told = match &host {
        None => &inventory,
        Some(host) => &inventory["_meta"]["hostvars"][host],
    };
    let told = if told.is_null() {
        &Value::Object(serde_json::Map::new())
    } else {
        told
    };
    let text = serde_json::to_string_pretty(told);
    output::say(&text.map_err(|error| Failure::failed(error.to_string()))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_says_each_difference_and_each_error_with_its_line() {
        let report: Report = serde_json::from_value(json!({
            "created": 1, "changed": 1, "same": 3,
            "errors": [{ "line": 9, "resource": "rack/r9", "message": "units: 4x" }],
            "differences": [
                { "line": 2, "resource": "rack/r1", "deed": "new", "fields": [] },
                { "line": 3, "resource": "rack/r2", "deed": "changed", "fields": [
                    { "field": "body.units", "before": 42, "after": 48 },
                    { "field": "body.serial", "before": null, "after": "X1" } ] },
            ],
        }))
        .unwrap();
        let lines = told(&report, true);
        let expected = "line 2: rack/r1 is new\nline 3: rack/r2 changes\n  body.units: 42 → 48\n  body.serial: nothing → X1\nline 9: rack/r9: units: 4x\n1 new, 1 changed, 3 same, 1 not taken (nothing was written)";
        assert_eq!(lines, expected);
    }
}
