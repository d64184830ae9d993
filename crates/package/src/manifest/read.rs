//! From the text of a `package.toml` to a [`Manifest`].

use std::{collections::BTreeMap, fs, io::Read, path::Path};

use toml::de::DeTable;
use wright_model::{Diagnostic, Name, Operation, Version};

use super::{
    MANIFEST_FILE, MAX_SIZE, Manifest, RunAs,
    fields::{Document, Value},
    operations::{command, operations},
};
use crate::{Error, platform, suggest};

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
                "texts stand in quotation marks, each field on a line of its own, and once"
                    .to_owned(),
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
        .required(table, &FIELDS, "name", "\"hello\"")
        .and_then(|v| doc.parsed("name", v, nearest_name));
    let version = doc
        .required(table, &FIELDS, "version", "\"1.0.0\"")
        .and_then(|v| doc.parsed("version", v, full_version));
    let description = table.get("description").and_then(|v| description(doc, v));
    let platform = table
        .get("platform")
        .and_then(|v| doc.parsed("platform", v, |text| suggest::help(text, &platform::KNOWN)));
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
            .required(table, &FIELDS, "run", "[\"bin/hello\"]")
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

fn nearest_name(text: &str) -> String {
    let name = text.to_ascii_lowercase().replace(['_', ' ', '.'], "-");
    name.parse::<Name>()
        .map(|name| format!("write \"{name}\""))
        .unwrap_or_default()
}

fn full_version(text: &str) -> String {
    let full = [
        format!("{text}.0"),
        format!("{text}.0.0"),
        text.trim_start_matches('v').to_owned(),
    ];
    let full = full
        .into_iter()
        .find(|full| full.parse::<Version>().is_ok());
    full.map(|full| format!("write \"{full}\""))
        .unwrap_or_default()
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
