//! From files to [`Desired`]: everything that can be known without looking at hosts.

mod app;
mod checks;
mod load;
mod needs;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use wright_model::{Diagnostic, Digest, Name, nearest};

use crate::{
    bundle::Bundle,
    catalog::Catalog,
    desired::{Desired, Place},
    input::{
        files::{Baseline, SiteFile},
        yaml::Document,
    },
    pieces::{Parts, Pieces},
    render,
};

/// A value and the document it was read from.
#[derive(Debug)]
pub(crate) struct Read<T> {
    pub value: T,
    pub document: Document,
}

/// The baselines of one file.
#[derive(Debug)]
pub(crate) struct Baselines {
    pub path: String,
    /// Of the path and the text.
    pub digest: Digest,
    pub read: Vec<Read<Baseline>>,
}

impl<T> Read<T> {
    pub(crate) fn error(
        &self,
        code: &str,
        path: &[&str],
        message: impl Into<String>,
    ) -> Diagnostic {
        self.document.error(code, path, message)
    }

    pub(crate) fn place(&self, path: &[&str]) -> Place {
        let (line, column) = self.document.place(path);
        Place {
            file: self.document.file.clone(),
            line,
            column,
        }
    }
}

/// Checks a site's files and makes one complete value of them.
///
/// # Errors
/// Everything that is wrong, as far as it can be told at once: mistakes in the shape of files hide
/// mistakes in what they mean, and those hide mistakes in templates.
pub fn resolve(bundle: &Bundle, catalog: &dyn Catalog) -> Result<Desired, Vec<Diagnostic>> {
    resolve_with(bundle, catalog, &mut Pieces::default())
}

/// As [`resolve()`], with what is kept of the last time.
///
/// # Errors
/// See [`resolve()`].
pub fn resolve_with(
    bundle: &Bundle,
    catalog: &dyn Catalog,
    pieces: &mut Pieces,
) -> Result<Desired, Vec<Diagnostic>> {
    let desired = resolve_pieces(bundle, catalog, pieces);
    let made = desired.is_ok();
    pieces.files.end(made);
    pieces.apps.end(made);
    pieces.rehearsed.end(made);
    desired
}

fn resolve_pieces(
    bundle: &Bundle,
    catalog: &dyn Catalog,
    pieces: &mut Pieces,
) -> Result<Desired, Vec<Diagnostic>> {
    stop(bundle.findings())?;
    let site = load::site_file(bundle)?;
    let files = load::load(bundle, &site, pieces)?;
    let baselines: Vec<&Read<Baseline>> = files.iter().flat_map(|file| &file.read).collect();
    stop(duplicates(&baselines))?;
    let mut found = unknown_overrides(&site, &baselines);
    found.extend(needs::unknown(&baselines));
    found.extend(needs::long_names(&baselines));
    let layers = needs::layers(&baselines, &mut found);
    let known = app::Known {
        bundle,
        catalog,
        site: &site,
    };
    let context = context(&known, &files);
    let mut apps = BTreeMap::new();
    for file in files.iter() {
        for (index, baseline) in file.read.iter().enumerate() {
            let layer = layers.get(&baseline.value.app).copied().unwrap_or(0);
            let key = Parts::of("app")
                .digest(context)
                .digest(file.digest)
                .number(index as u64)
                .number(u64::from(layer))
                .seal();
            let app = match pieces.apps.get(key) {
                Some(app) => Some(app),
                None => {
                    let before = found.len();
                    let app = app::resolve(&known, baseline, layer, &mut found).map(Arc::new);
                    let right = app.as_ref().filter(|_| found.len() == before);
                    if let Some(app) = right {
                        pieces.apps.put(key, app.clone());
                    }
                    app
                }
            };
            apps.extend(app.map(|app| (app.name.clone(), app)));
        }
    }
    stop(found)?;
    let desired = Desired {
        site: site.value.site,
        parameters: site.value.parameters,
        apps,
    };
    render::rehearse(&desired, pieces).or_else(stop)?;
    Ok(desired)
}

/// The digest of what is looked at beside the baseline when an app is resolved: the site's file, the
/// packages, and every file, those of other baselines only by their names.
fn context(known: &app::Known<'_>, files: &[Arc<Baselines>]) -> Digest {
    fn last(path: &str) -> &str {
        path.rsplit('/').next().unwrap_or(path)
    }
    let baselines: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let read = files.iter().flat_map(|file| &file.read);
    let templates: BTreeSet<&str> = read.flat_map(app::templates).map(last).collect();
    let mut parts = Parts::of(&known.bundle.root);
    for (path, text) in &known.bundle.files {
        parts.add(path.as_bytes());
        if !baselines.contains(path.as_str()) || templates.contains(last(path)) {
            parts.add(Digest::of(text.as_bytes()).as_bytes());
        }
    }
    for package in known.catalog.packages() {
        parts.add(package.to_string().as_bytes());
        parts.add(package.digest.as_bytes());
    }
    parts.seal()
}

/// Stops where something is wrong, findings in the order of files and lines.
fn stop(mut found: Vec<Diagnostic>) -> Result<(), Vec<Diagnostic>> {
    if found.is_empty() {
        return Ok(());
    }
    found.sort_by(|a, b| {
        (&a.file, a.line, a.column, &a.code).cmp(&(&b.file, b.line, b.column, &b.code))
    });
    found.dedup();
    Err(found)
}

fn duplicates(baselines: &[&Read<Baseline>]) -> Vec<Diagnostic> {
    let mut first: BTreeMap<&Name, &Read<Baseline>> = BTreeMap::new();
    let mut found = Vec::new();
    for baseline in baselines {
        match first.get(&baseline.value.app) {
            Some(earlier) => {
                let place = earlier.place(&["app"]);
                let message = format!(
                    "app `{}` is already described in {}:{}",
                    baseline.value.app, place.file, place.line
                );
                let help = "rename one of them, or remove it";
                found.push(
                    baseline
                        .error("duplicate-app", &["app"], message)
                        .help(help),
                );
            }
            None => {
                first.insert(&baseline.value.app, baseline);
            }
        }
    }
    found
}

fn unknown_overrides(site: &Read<SiteFile>, baselines: &[&Read<Baseline>]) -> Vec<Diagnostic> {
    let known = || baselines.iter().map(|b| b.value.app.as_str());
    let names: BTreeSet<&str> = known().collect();
    let unknown = site
        .value
        .apps
        .keys()
        .filter(|app| !names.contains(app.as_str()));
    let refuse = |app: &Name| {
        let message = format!("`apps` names `{app}`, and no baseline describes it");
        let help = match nearest(app.as_str(), known()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "remove it, or add its baseline to `baselines`".to_owned(),
        };
        site.error("unknown-app", &["apps", app.as_str()], message)
            .help(help)
    };
    unknown.map(refuse).collect()
}
