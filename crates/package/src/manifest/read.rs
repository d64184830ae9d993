//! From the text of a `package.toml` to a [`Manifest`].

use std::{collections::BTreeMap, fs, io::Read, ops::Range, path::Path, str::FromStr};

use toml::de::DeTable;
use wright_model::{Diagnostic, Operation, Span};

use super::{
    Customised, MANIFEST_FILE, MAX_SIZE, Manifest, RunAs, Signal,
    fields::{Document, Value},
    signal,
};
use crate::{Error, path, placeholder, platform, suggest};

/// A manifest and the programs it names, which must be in the package.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) manifest: Manifest,
    pub(crate) programs: Vec<Program>,
}

/// The first word of a command, and where it stands.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) word: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

const FIELDS: [&str; 8] = [
    "name",
    "version",
    "description",
    "platform",
    "run",
    "user",
    "env",
    "operations",
];

pub(crate) fn of_dir(dir: &Path) -> Result<Parsed, Error> {
    let file = dir.join(MANIFEST_FILE);
    let name = file.display().to_string();
    let refused = |finding: Diagnostic| Error::Refused(vec![finding]);
    let open = match fs::File::open(&file) {
        Ok(open) => open,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!(
                "{} has no {MANIFEST_FILE}, so it is not a package",
                dir.display()
            );
            return Err(refused(
                Diagnostic::error("missing-manifest", message)
                    .help("`wright package new NAME` makes a package to begin with"),
            ));
        }
        Err(error) => return Err(Error::io("read", file)(error)),
    };
    let mut bytes = Vec::new();
    open.take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", &file))?;
    parse(&bytes, &name).map_err(Error::Refused)
}

pub(crate) fn parse(bytes: &[u8], file: &str) -> Result<Parsed, Vec<Diagnostic>> {
    if bytes.len() as u64 > MAX_SIZE {
        let message = "it is larger than 64 KiB; a manifest holds a few lines";
        return Err(vec![
            Diagnostic::error("too-large", message)
                .at(file, 0, 0)
                .help("move what is data into a file of its own"),
        ]);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let (line, column) = Document::new(file, valid).place(valid.len());
        let message = format!("byte {} is not UTF-8", error.valid_up_to());
        vec![
            Diagnostic::error("not-utf8", message)
                .at(file, line, column)
                .help("save the file as UTF-8"),
        ]
    })?;
    let mut doc = Document::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let message = format!("this is not TOML: {}", error.message().trim_end());
            doc.refuse(
                &error.span().unwrap_or(0..0),
                "not-toml",
                message,
                String::new(),
            );
        }
        return Err(doc.findings);
    }
    let mut programs = Vec::new();
    match manifest(&mut doc, table.get_ref(), &mut programs) {
        Some(manifest) if doc.findings.is_empty() => Ok(Parsed { manifest, programs }),
        _ => {
            doc.findings
                .sort_by_key(|finding| (finding.line, finding.column));
            Err(doc.findings)
        }
    }
}

fn manifest<'t>(
    doc: &mut Document<'_>,
    table: &'t DeTable<'t>,
    programs: &mut Vec<Program>,
) -> Option<Manifest> {
    doc.only(table, "a package", &FIELDS);
    let name = doc
        .required(table, "name", "\"hello\"")
        .and_then(|v| doc.parsed("name", v, ""));
    let version = doc
        .required(table, "version", "\"1.0.0\"")
        .and_then(|v| doc.parsed("version", v, ""));
    let description = table.get("description").and_then(|v| description(doc, v));
    let platform = table.get("platform").and_then(|v| {
        let help = v
            .get_ref()
            .as_str()
            .map(|text| suggest::help(text, &platform::KNOWN));
        doc.parsed("platform", v, &help.unwrap_or_default())
    });
    let user = table.get("user").and_then(|v| user(doc, v));
    let env = table.get("env").and_then(|v| env(doc, v));
    let operations = table
        .get("operations")
        .and_then(|v| operations(doc, v, programs));
    let starts_itself = operations
        .as_ref()
        .and_then(|all| all.get(&Operation::Start))
        .is_some_and(|start| !start.command.is_empty());
    let run = match table.get("run") {
        None if starts_itself => Some(Vec::new()),
        _ => doc
            .required(table, "run", "[\"bin/hello\"]")
            .and_then(|v| command(doc, "run", v, programs)),
    };
    Some(Manifest {
        name: name?,
        version: version?,
        description: description.unwrap_or_default(),
        platform: platform.unwrap_or_default(),
        run: run?,
        user: user.unwrap_or_default(),
        env: env.unwrap_or_default(),
        operations: operations.unwrap_or_default(),
    })
}

fn description(doc: &mut Document<'_>, value: &Value<'_>) -> Option<String> {
    let text = doc.text("description", value)?;
    if text.contains('\n') || text.chars().count() > 200 {
        let message = "`description` is one line of at most 200 characters".to_owned();
        doc.refuse(
            &value.span(),
            "wrong-value",
            message,
            "put the rest into a README in the package".to_owned(),
        );
        return None;
    }
    Some(text.to_owned())
}

fn user(doc: &mut Document<'_>, value: &Value<'_>) -> Option<RunAs> {
    match doc.text("user", value)? {
        "root" => Some(RunAs::Root),
        other => {
            let message = format!("`user` is {other:?}, \"root\" was expected");
            let help = "leave `user` out: each instance gets an unprivileged user of its own";
            doc.refuse(&value.span(), "wrong-value", message, help.to_owned());
            None
        }
    }
}

fn env(doc: &mut Document<'_>, value: &Value<'_>) -> Option<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for (key, value) in doc.table("env", value, "env = { KEY = \"value\" }")? {
        let name: &str = key.get_ref();
        let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            let message = format!("{name:?} is not the name of an environment variable");
            doc.refuse(
                &key.span(),
                "wrong-value",
                message,
                "letters, digits and _ are allowed".to_owned(),
            );
        } else if name.starts_with("WRIGHT_") {
            let message =
                format!("`{name}` cannot be set: names that begin with WRIGHT_ are the agent's");
            doc.refuse(
                &key.span(),
                "wrong-value",
                message,
                "choose another name".to_owned(),
            );
        } else if let Some(text) = doc.text(&format!("env.{name}"), value) {
            variables.insert(name.to_owned(), text.to_owned());
        }
    }
    Some(variables)
}

/// A command: a list of words, the first of which names a program, with known placeholders only.
fn command(
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
        None => match suggest::nearest(name, &placeholder::FIXED) {
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

fn operations(
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
    let span: Span = doc.parsed("timeout", value, "write the unit, such as \"60s\"")?;
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
