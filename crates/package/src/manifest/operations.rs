//! The operations and commands of a `package.toml`.

use std::{collections::BTreeMap, ops::Range, str::FromStr};

use toml::de::DeValue;
use wright_model::{Operation, Span, nearest};

use super::{
    Customised, Program, Signal,
    fields::{Document, Value},
    signal,
};
use crate::{path, placeholder, suggest};

/// A command: a list of words, the first of which names a program, with known placeholders only.
pub(super) fn command(
    doc: &mut Document<'_>,
    key: &str,
    value: &Value<'_>,
    programs: &mut Vec<Program>,
) -> Option<Vec<String>> {
    let words = doc.texts(key, value, "[\"bin/hello\", \"--verbose\"]")?;
    let found = doc.findings.len();
    if let Some((program, span)) = words.first() {
        if program.is_empty() {
            let message = format!("the first word of `{key}` is empty, a program was expected");
            doc.refuse(
                span,
                "wrong-value",
                message,
                "name a file in the package, or a program in PATH".to_owned(),
            );
        } else if program.contains(char::is_whitespace) && words.len() == 1 {
            let message = format!(
                "`{key}` is one word with spaces, a program and its arguments were expected"
            );
            let split: Vec<_> = program
                .split_whitespace()
                .map(|word| format!("{word:?}"))
                .collect();
            doc.refuse(
                span,
                "wrong-value",
                message,
                format!("write `{key} = [{}]`", split.join(", ")),
            );
        }
        let (line, column) = doc.place(span.start);
        programs.push(Program {
            word: (*program).to_owned(),
            line,
            column,
        });
    }
    for (word, span) in &words {
        if let Some((offset, name)) = placeholder::first_unknown(word) {
            unknown_placeholder(doc, span, word, offset, name);
        }
    }
    (found == doc.findings.len())
        .then(|| words.into_iter().map(|(word, _)| word.to_owned()).collect())
}

fn unknown_placeholder(
    doc: &mut Document<'_>,
    span: &Range<usize>,
    word: &str,
    offset: usize,
    name: &str,
) {
    // In a word without escapes the placeholder stands as far behind the quote as in the value.
    let plain = span.len() == word.len() + 2;
    let start = if plain {
        span.start + 1 + offset
    } else {
        span.start
    };
    let help = match name.strip_prefix("port.") {
        Some(port) => format!(
            "a port's name is lower-case letters, digits and hyphens, such as {{port.{}}}",
            port.to_ascii_lowercase().replace(['.', '_'], "-")
        ),
        None => match nearest(name, placeholder::FIXED) {
            Some(near) => {
                format!("did you mean `{{{near}}}`? Write `{{{{{name}}}}}` for the text itself")
            }
            None => format!(
                "known are {{{}}} and {{port.NAME}}; write `{{{{{name}}}}}` for the text itself",
                placeholder::FIXED.join("} {")
            ),
        },
    };
    doc.refuse(
        &(start..span.end),
        "unknown-placeholder",
        format!("unknown placeholder `{{{name}}}`"),
        help,
    );
}

pub(super) fn operations(
    doc: &mut Document<'_>,
    value: &Value<'_>,
    programs: &mut Vec<Program>,
) -> Option<BTreeMap<Operation, Customised>> {
    let names = Operation::ALL.map(Operation::as_str);
    let table = doc.table("operations", value, "[operations.install]")?;
    doc.only(table, "`operations`", &names);
    let mut customised = BTreeMap::new();
    for operation in Operation::ALL {
        if let Some(own) = table
            .get(operation.as_str())
            .and_then(|v| customise(doc, operation, v, programs))
        {
            customised.insert(operation, own);
        }
    }
    Some(customised)
}

fn customise(
    doc: &mut Document<'_>,
    operation: Operation,
    value: &Value<'_>,
    programs: &mut Vec<Program>,
) -> Option<Customised> {
    let within = format!("operations.{operation}");
    let table = doc.table(&within, value, &format!("[{within}]"))?;
    let known: &[&str] = match operation {
        Operation::Stop => &["command", "timeout", "signal"],
        Operation::Diskclear => &["command", "timeout", "paths"],
        _ => &["command", "timeout"],
    };
    doc.only(table, &format!("`{within}`"), known);
    for other in ["signal", "paths"]
        .into_iter()
        .filter(|other| known.contains(other))
    {
        if let (Some(_), Some((key, _))) = (table.get("command"), table.get_key_value(other)) {
            let message = format!(
                "`{other}` says how the default {operation} works, but `command` replaces it"
            );
            doc.refuse(
                &key.span(),
                "contradiction",
                message,
                format!("remove `{other}` or `command`"),
            );
        }
    }
    let own = Customised {
        command: table
            .get("command")
            .and_then(|v| command(doc, "command", v, programs))
            .unwrap_or_default(),
        timeout: table.get("timeout").and_then(|v| timeout(doc, v)),
        signal: table.get("signal").and_then(|v| stop_signal(doc, v)),
        paths: table
            .get("paths")
            .and_then(|v| cleared_paths(doc, v))
            .unwrap_or_default(),
    };
    Some(own)
}

fn timeout(doc: &mut Document<'_>, value: &Value<'_>) -> Option<Span> {
    if let DeValue::Integer(count) = value.get_ref() {
        let help = format!("write the unit: timeout = \"{}s\"", count.as_str());
        return doc.wrong_type("timeout", value, "a text", &help);
    }
    let span: Span = doc.parsed("timeout", value, |text| match text.parse::<u32>() {
        Ok(count) => format!("write the unit: \"{count}s\""),
        Err(_) => String::new(),
    })?;
    if span.millis() == 0 || span > Span::from_secs(86_400) {
        let message = format!("`timeout` is {span}, more than 0 and at most 1d was expected");
        doc.refuse(&value.span(), "wrong-value", message, String::new());
        return None;
    }
    Some(span)
}

fn stop_signal(doc: &mut Document<'_>, value: &Value<'_>) -> Option<Signal> {
    let text = doc.text("signal", value)?;
    if let Ok(signal) = Signal::from_str(text) {
        return Some(signal);
    }
    let upper = text.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    let message = format!("`signal`: {text:?} is not a signal that ends a program");
    doc.refuse(
        &value.span(),
        "wrong-value",
        message,
        suggest::help(&full, &signal::NAMES),
    );
    None
}

fn cleared_paths(doc: &mut Document<'_>, value: &Value<'_>) -> Option<Vec<String>> {
    let found = doc.findings.len();
    let paths = doc.texts("paths", value, "[\"log\", \"tmp\"]")?;
    for (text, span) in &paths {
        let why = match path::check(text) {
            Err(why) => why,
            Ok(())
                if matches!(text.split('/').next(), Some("etc" | "data"))
                    && !text.contains('/') =>
            {
                "it holds what the instance needs"
            }
            Ok(()) => continue,
        };
        let message = format!("`paths`: {text:?} cannot be emptied: {why}");
        doc.refuse(
            span,
            "unsafe-path",
            message,
            "name directories below the instance's home, such as \"tmp\"".to_owned(),
        );
    }
    (found == doc.findings.len())
        .then(|| paths.into_iter().map(|(path, _)| path.to_owned()).collect())
}
