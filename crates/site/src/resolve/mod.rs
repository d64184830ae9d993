//! From files to [`Desired`]: everything that can be known without looking at hosts.

mod app;
mod checks;
mod load;
mod needs;

use std::collections::BTreeMap;

use wright_model::{Diagnostic, Name, nearest};

use crate::{
    bundle::Bundle,
    catalog::Catalog,
    desired::{Desired, Place},
    input::{
        files::{Baseline, SiteFile},
        yaml::Document,
    },
    render,
};

/// A value and the document it was read from.
pub(crate) struct Read<T> {
    pub value: T,
    pub document: Document,
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
    stop(bundle.findings())?;
    let (site, baselines) = load::load(bundle)?;
    stop(duplicates(&baselines))?;
    let mut found = unknown_overrides(&site, &baselines);
    let mut apps = BTreeMap::new();
    for baseline in &baselines {
        let known = app::Known {
            bundle,
            catalog,
            site: &site,
        };
        let app = app::resolve(&known, baseline, &mut found);
        if let Some(app) = app {
            apps.insert(app.name.clone(), app);
        }
    }
    found.extend(needs::unknown(&baselines));
    found.extend(needs::long_names(&baselines));
    let layers = needs::layers(&baselines, &mut found);
    stop(found)?;
    for (name, app) in &mut apps {
        app.layer = layers.get(name).copied().unwrap_or(0);
    }
    let desired = Desired {
        site: site.value.site,
        parameters: site.value.parameters,
        apps,
    };
    stop(render::rehearse(&desired))?;
    Ok(desired)
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

fn duplicates(baselines: &[Read<Baseline>]) -> Vec<Diagnostic> {
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

fn unknown_overrides(site: &Read<SiteFile>, baselines: &[Read<Baseline>]) -> Vec<Diagnostic> {
    let known = || baselines.iter().map(|b| b.value.app.as_str());
    let unknown = site
        .value
        .apps
        .keys()
        .filter(|app| !known().any(|name| name == app.as_str()));
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
