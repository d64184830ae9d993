use serde::de::DeserializeOwned;
use serde_json::Value;
use wright_model::{Diagnostic, nearest};

use super::{Read, stop};
use crate::{
    bundle::Bundle,
    input::{
        files::{Baseline, SiteFile},
        schema, shape,
        yaml::{self, Document},
    },
};

/// The site file and its baselines.
type Files = (Read<SiteFile>, Vec<Read<Baseline>>);

/// Reads the site file and every baseline it names.
pub(super) fn load(bundle: &Bundle) -> Result<Files, Vec<Diagnostic>> {
    let site = site_file(bundle)?;
    let schema = schema::baseline();
    let mut found = Vec::new();
    let mut baselines = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (index, entry) in site.value.baselines.iter().enumerate() {
        let files = bundle.baselines_of(entry);
        if files.is_empty() {
            found.push(no_baseline(bundle, &site, index, entry));
        }
        for file in files {
            if !seen.insert(file) {
                continue;
            }
            let text = bundle.files.get(file).map_or("", String::as_str);
            match yaml::parse(file, text) {
                Ok(documents) if documents.is_empty() => {
                    found.push(empty(file, "a baseline", "app"))
                }
                Ok(documents) => {
                    for document in documents {
                        baselines.extend(read(document, &schema, &mut found));
                    }
                }
                Err(error) => found.push(error),
            }
        }
    }
    stop(found)?;
    Ok((site, baselines))
}

fn site_file(bundle: &Bundle) -> Result<Read<SiteFile>, Vec<Diagnostic>> {
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
