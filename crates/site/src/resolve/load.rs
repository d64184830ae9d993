use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use wright_model::{Diagnostic, Digest, nearest};

use super::{Baselines, Read, stop};
use crate::{
    bundle::Bundle,
    input::{
        files::SiteFile,
        schema, shape,
        yaml::{self, Document},
    },
    pieces::{Parts, Pieces},
};

/// Reads every baseline that the site file names.
pub(super) fn load(
    bundle: &Bundle,
    site: &Read<SiteFile>,
    pieces: &mut Pieces,
) -> Result<Vec<Arc<Baselines>>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut named = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, entry) in site.value.baselines.iter().enumerate() {
        let files = bundle.baselines_of(entry);
        if files.is_empty() {
            found.push(no_baseline(bundle, site, index, entry));
        }
        named.extend(files.into_iter().filter(|file| seen.insert(*file)));
    }
    let texts: Vec<(&str, &str, Digest)> = named
        .into_iter()
        .map(|path| {
            let text = bundle.files.get(path).map_or("", String::as_str);
            (path, text, Parts::of(path).text(text).seal())
        })
        .collect();
    let schema = OnceLock::new();
    let read = |&(path, text, digest): &(&str, &str, Digest)| {
        let schema = schema.get_or_init(schema::baseline);
        Ok(Arc::new(baselines(path, text, digest, schema)?))
    };
    match pieces.files.all(&texts, |(_, _, digest)| *digest, read) {
        Ok(files) => stop(found).map(|()| files),
        Err(wrong) => {
            found.extend(wrong);
            Err(stop(found).err().unwrap_or_default())
        }
    }
}

/// Reads the baselines of a file.
fn baselines(
    path: &str,
    text: &str,
    digest: Digest,
    schema: &Value,
) -> Result<Baselines, Vec<Diagnostic>> {
    let documents = yaml::parse(path, text).map_err(|error| vec![error])?;
    if documents.is_empty() {
        return Err(vec![empty(path, "a baseline", "app")]);
    }
    let mut found = Vec::new();
    let read = documents
        .into_iter()
        .filter_map(|document| read(document, schema, &mut found))
        .collect();
    if found.is_empty() {
        let path = path.to_owned();
        Ok(Baselines { path, digest, read })
    } else {
        Err(found)
    }
}

pub(super) fn site_file(bundle: &Bundle) -> Result<Read<SiteFile>, Vec<Diagnostic>> {
    let file = &bundle.root;
    let Some(text) = bundle.files.get(file) else {
        return Err(vec![Diagnostic::error(
            "unreadable",
            format!("the bundle has no {file:?}"),
        )]);
    };
    let mut documents = yaml::parse(file, text).map_err(|e| vec![e])?;
    let mut found = Vec::new();
    if let Some(second) = documents.get(1) {
        let message = "a site file is one document; found a second one";
        let help = "put baselines in files of their own and name them under `baselines`";
        found.push(second.error("too-many", &[], message).help(help));
    }
    if documents.is_empty() {
        return Err(vec![empty(file, "a site", "site")]);
    }
    let site = read(documents.remove(0), &schema::site(), &mut found);
    stop(found)?;
    site.ok_or_else(Vec::new)
}

fn empty(file: &str, what: &str, field: &str) -> Diagnostic {
    Diagnostic::error(
        "empty-file",
        format!("the file is empty; {what} was expected"),
    )
    .at(file, 1, 1)
    .help(format!("begin with `{field}: NAME`"))
}

fn read<T: DeserializeOwned>(
    document: Document,
    schema: &Value,
    found: &mut Vec<Diagnostic>,
) -> Option<Read<T>> {
    let wrong: Vec<_> = document
        .tokens()
        .into_iter()
        .chain(shape::check(&document, schema))
        .collect();
    if !wrong.is_empty() {
        found.extend(wrong);
        return None;
    }
    match serde_json::from_value(document.root.to_json()) {
        Ok(value) => Some(Read { value, document }),
        // The shape check finds what the types refuse; this is for what it does not know.
        Err(error) => {
            found.push(document.error("wrong-type", &[], error.to_string()));
            None
        }
    }
}

fn no_baseline(bundle: &Bundle, site: &Read<SiteFile>, index: usize, entry: &str) -> Diagnostic {
    let message = format!(
        "`baselines` names {entry:?}, and there is no such file, and no directory with *.yaml in it"
    );
    let directories = bundle
        .files
        .keys()
        .filter_map(|path| path.rsplit_once('/').map(|(d, _)| d));
    let known = bundle.files.keys().map(String::as_str).chain(directories);
    let help = match nearest(entry, known.filter(|path| *path != bundle.root)) {
        Some(path) => format!("did you mean `{path}`?"),
        None => "write a path relative to the site file".to_owned(),
    };
    site.error("unknown-file", &["baselines", &index.to_string()], message)
        .help(help)
}
