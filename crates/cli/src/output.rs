//! Printing what was found: a table for people, JSON or YAML for programs.

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::{args::Format, failure::Failure};

/// Prints a value; as a table by `table`.
pub fn print<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let text = match format {
        Format::Table => table(value),
        Format::Json => serde_json::to_string_pretty(value)
            .map_err(|error| Failure::failed(error.to_string()))?,
        Format::Yaml => {
            serde_saphyr::to_string(value).map_err(|error| Failure::failed(error.to_string()))?
        }
    };
    say(text.trim_end());
    Ok(())
}

/// One piece of text on standard output. A closed pipe is not an error; anything else ends the
/// program, for nobody may take what is missing for the whole.
pub fn say(text: &str) {
    use std::io::{ErrorKind, Write as _};
    let mut out = std::io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: standard output: {error}");
            std::process::exit(1);
        }
        _ => {}
    }
}

/// A table without lines, as `kubectl` and `docker` print them.
pub fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows = rows.into_iter().map(Vec::from);
    wide_table(head.map(str::to_owned).to_vec(), rows)
}

/// The same with as many columns as there are.
pub fn wide_table(head: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    let columns = table.column_count();
    for column in 0..columns {
        if let Some(column) = table.column_mut(column) {
            column.set_padding((0, if column.index + 1 == columns { 0 } else { 2 }));
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// How long ago, in the largest unit that says enough: `12s`, `3m`, `5h`, `2d`.
pub fn age(since: jiff::Timestamp) -> String {
    let seconds = (jiff::Timestamp::now() - since)
        .total(jiff::Unit::Second)
        .unwrap_or(0.0)
        .max(0.0) as u64;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" {
                format!("{count} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
