//! The files of a site, as one value that travels from the command line to the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use wright_model::{Diagnostic, Name};

use crate::input::{
    glance,
    kinds::inner_path,
    yaml::{self, Document, Value},
};

/// The most bytes in one file.
pub const MAX_FILE: usize = 1 << 20;
/// The most bytes in all files.
pub const MAX_TOTAL: usize = 4 << 20;
/// The most files.
pub const MAX_FILES: usize = 2_000;

/// The site file, the baselines it names and the templates they name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// The site file's path in `files`.
    pub root: String,
    /// Text by path relative to the site file's directory, with `/` between parts.
    pub files: BTreeMap<String, String>,
}

impl Bundle {
    /// What is wrong with the bundle as such: too large, or a path that climbs out.
    pub(crate) fn findings(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if self.files.len() > MAX_FILES {
            let message = format!("{} files; a site has at most {MAX_FILES}", self.files.len());
            found.push(Diagnostic::error("too-large", message).help("split it into several sites"));
        }
        let total: usize = self.files.values().map(String::len).sum();
        if total > MAX_TOTAL {
            let message = format!("{total} bytes in all files; a site has at most {MAX_TOTAL}");
            found
                .push(Diagnostic::error("too-large", message).help("keep large files in packages"));
        }
        for (path, text) in &self.files {
            if text.len() > MAX_FILE {
                found.push(too_large(path, text.len() as u64));
            }
            if let Err(why) = inner_path(path) {
                found.push(Diagnostic::error("path", why).at(path, 0, 0));
            }
        }
        found
    }

    /// The site that the files are of, as far as that can be told without a look at the others.
    pub fn site(&self) -> Option<Name> {
        let documents = yaml::parse(&self.root, self.files.get(&self.root)?).ok()?;
        match &documents.first()?.root.get("site")?.value {
            Value::Text(name) => name.parse().ok(),
            _ => None,
        }
    }

    /// The files that an entry of `baselines` names, in order: itself, or the YAML files of the
    /// directory.
    pub(crate) fn baselines_of(&self, entry: &str) -> Vec<&str> {
        let entry = entry.trim_end_matches('/');
        if let Some((path, _)) = self.files.get_key_value(entry) {
            return vec![path];
        }
        let prefix = format!("{entry}/");
        let inside = self.files.keys().filter(|path| {
            path.strip_prefix(&prefix)
                .is_some_and(|name| !name.contains('/') && is_yaml(name))
        });
        inside.map(String::as_str).collect()
    }
}

fn is_yaml(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".yml")
}

fn too_large(path: &str, bytes: u64) -> Diagnostic {
    Diagnostic::error(
        "too-large",
        format!("{bytes} bytes; a file has at most {MAX_FILE}"),
    )
    .at(path, 1, 1)
    .help("keep large files in packages")
}

/// Where a template may be, in the order it is looked for: beside the baseline, in `templates/`
/// next to the baseline's directory, in `templates/` beside the site file.
pub(crate) fn template_places(baseline: &str, template: &str) -> Vec<String> {
    let parent = |path: &str| {
        path.rsplit_once('/')
            .map_or(String::new(), |(dir, _)| dir.to_owned())
    };
    let join = |dir: &str, rest: &str| {
        if dir.is_empty() {
            rest.to_owned()
        } else {
            format!("{dir}/{rest}")
        }
    };
    let directory = parent(baseline);
    let in_templates = format!("templates/{template}");
    let mut places = vec![
        join(&directory, template),
        join(&parent(&directory), &in_templates),
        in_templates,
    ];
    let mut seen = BTreeSet::new();
    places.retain(|place| seen.insert(place.clone()));
    places
}

/// The baselines that a site document names.
fn baselines_of(document: &Document) -> Vec<(&str, u32, u32)> {
    let Some(Value::List(items)) = document.root.get("baselines").map(|node| &node.value) else {
        return Vec::new();
    };
    let named = items.iter().filter_map(|item| match &item.value {
        Value::Text(name) => Some((name.as_str(), item.line, item.column)),
        _ => None,
    });
    named.collect()
}

/// Reads a site file, the baselines it names and the templates they name.
///
/// Mistakes in what the files say are left for [`crate::resolve`]; this reports only what keeps
/// files from being read.
///
/// # Errors
/// A file that is not there, not readable, not UTF-8 or too large, and a path that leaves the
/// site's directory.
pub fn collect(site: &Path) -> Result<Bundle, Vec<Diagnostic>> {
    let given = site.to_string_lossy().into_owned();
    let absolute = fs::canonicalize(site).map_err(|e| vec![unreadable(&given, &e)])?;
    if absolute.is_dir() {
        let within = site.join("site.yaml");
        return Err(vec![
            Diagnostic::error("path", format!("{given:?} is a directory, not a site file"))
                .help(format!("name the file in it, such as {}", within.display())),
        ]);
    }
    let (Some(directory), Some(root)) = (absolute.parent(), absolute.file_name()) else {
        return Err(vec![Diagnostic::error(
            "path",
            format!("{given:?} is not a file"),
        )]);
    };
    let root = root.to_string_lossy().into_owned();
    let mut reader = Reader {
        directory,
        files: BTreeMap::new(),
        total: 0,
        found: Vec::new(),
    };
    reader.read(&root, (&root, 0, 0));
    let site = reader.files.get(&root).cloned().unwrap_or_default();
    for document in yaml::parse(&root, &site).unwrap_or_default() {
        for (entry, line, column) in baselines_of(&document) {
            reader.baselines(entry, (&root, line, column));
        }
    }
    let baselines: Vec<_> = reader
        .files
        .keys()
        .filter(|path| **path != root)
        .cloned()
        .collect();
    for baseline in baselines {
        let text = reader.files.get(&baseline).cloned().unwrap_or_default();
        for template in glance::templates(&baseline, &text) {
            reader.template(&baseline, &template);
        }
    }
    if reader.found.is_empty() {
        Ok(Bundle {
            root,
            files: reader.files,
        })
    } else {
        Err(reader.found)
    }
}

/// The file, line and column that name what is read.
type NamedAt<'a> = (&'a str, u32, u32);

struct Reader<'a> {
    directory: &'a Path,
    files: BTreeMap<String, String>,
    total: usize,
    found: Vec<Diagnostic>,
}

fn unreadable(path: &str, error: &io::Error) -> Diagnostic {
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!("{path:?} is not there"),
        _ => format!("{path:?} cannot be read: {error}"),
    };
    Diagnostic::error("unreadable", message).help("check the path and its permissions")
}

impl Reader<'_> {
    /// The path on disk, if it is there and stays inside the site's directory.
    fn inside(&mut self, path: &str, (file, line, column): NamedAt<'_>) -> Option<PathBuf> {
        if let Err(why) = inner_path(path) {
            let help = "write a path relative to the site file, below its directory";
            self.found.push(
                Diagnostic::error("path", why)
                    .at(file, line, column)
                    .help(help),
            );
            return None;
        }
        match fs::canonicalize(self.directory.join(path)) {
            Ok(real) if real.starts_with(self.directory) => Some(real),
            Ok(_) => {
                let message = format!("{path:?} is a link that leaves the site's directory");
                let help = "copy the file into the site's directory";
                self.found.push(
                    Diagnostic::error("path", message)
                        .at(file, line, column)
                        .help(help),
                );
                None
            }
            Err(error) => {
                self.found
                    .push(unreadable(path, &error).at(file, line, column));
                None
            }
        }
    }

    fn baselines(&mut self, entry: &str, named_at: NamedAt<'_>) {
        let entry = entry.trim_end_matches('/');
        let Some(real) = self.inside(entry, named_at) else {
            return;
        };
        if !real.is_dir() {
            return self.read(entry, named_at);
        }
        let names = match fs::read_dir(&real) {
            Ok(entries) => entries.filter_map(|e| e.ok()?.file_name().into_string().ok()),
            Err(error) => {
                return self
                    .found
                    .push(unreadable(entry, &error).at(named_at.0, named_at.1, named_at.2));
            }
        };
        let mut names: Vec<_> = names.filter(|name| is_yaml(name)).collect();
        names.sort();
        for name in names {
            self.read(&format!("{entry}/{name}"), named_at);
        }
    }

    fn template(&mut self, baseline: &str, template: &str) {
        // A path that climbs out, or a template that is nowhere, is reported by `resolve`.
        let places = template_places(baseline, template);
        let there = places.iter().find(|place| {
            inner_path(place).is_ok() && self.directory.join(place.as_str()).is_file()
        });
        if let Some(place) = there {
            self.read(place, (baseline, 0, 0));
        }
    }

    fn read(&mut self, path: &str, named_at: NamedAt<'_>) {
        if self.files.contains_key(path) || self.total > MAX_TOTAL || self.files.len() > MAX_FILES {
            return;
        }
        let Some(real) = self.inside(path, named_at) else {
            return;
        };
        match fs::metadata(&real) {
            Ok(meta) if meta.len() > MAX_FILE as u64 => {
                return self.found.push(too_large(path, meta.len()));
            }
            _ => {}
        }
        match fs::read(&real) {
            Ok(bytes) => self.keep(path, bytes),
            Err(e) => self
                .found
                .push(unreadable(path, &e).at(named_at.0, named_at.1, named_at.2)),
        }
    }

    fn keep(&mut self, path: &str, bytes: Vec<u8>) {
        match String::from_utf8(bytes) {
            Ok(text) => {
                self.total += text.len();
                self.files.insert(path.to_owned(), text);
            }
            Err(error) => {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                self.found
                    .push(not_utf8(path, valid, error.as_bytes()[valid.len()]));
            }
        }
    }
}

fn not_utf8(path: &str, valid: &[u8], wrong: u8) -> Diagnostic {
    let text = String::from_utf8_lossy(valid);
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let message = format!("byte {} (0x{wrong:02x}) is not UTF-8", valid.len());
    Diagnostic::error("not-utf8", message)
        .at(path, number(line), number(column))
        .help("save the file as UTF-8")
}
