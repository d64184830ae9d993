use std::collections::{BTreeMap, BTreeSet};

use wright_model::{Diagnostic, Limits, Name, PackageId, Probe, Span, VersionReq, nearest};

use super::{Read, checks};
use crate::{
    bundle::{Bundle, template_places},
    catalog::Catalog,
    desired::{App, FileTemplate, Need, PortWant, SecretWant, Template},
    input::{
        files::{Baseline, Config, ConfigEntry, Override, Port, SiteFile},
        yaml::written_token,
    },
};

/// What an app is resolved against.
pub(super) struct Known<'a> {
    pub bundle: &'a Bundle,
    pub catalog: &'a dyn Catalog,
    pub site: &'a Read<SiteFile>,
}

/// Ports the agents themselves listen on.
const RESERVED: [u16; 1] = [7070];

/// One app with the site's overrides, or nothing where its package is not known.
pub(super) fn resolve(
    known: &Known<'_>,
    baseline: &Read<Baseline>,
    layer: u32,
    found: &mut Vec<Diagnostic>,
) -> Option<App> {
    let value = &baseline.value;
    let own = known
        .site
        .value
        .apps
        .get(&value.app)
        .cloned()
        .unwrap_or_default();
    ports(baseline, found);
    checks::provides(baseline, found);
    let files = files(known.bundle, baseline, found);
    let package = package(known, baseline, &own, found);
    let ready = checks::ready(baseline, found);
    let verify = checks::verify(baseline, found);
    let resources = own.resources.unwrap_or(value.resources);
    if resources.memory.bytes() < 1 << 20 {
        let message = format!(
            "`resources.memory` is {}; a program needs at least 1MiB",
            resources.memory
        );
        let place = ["resources", "memory"];
        found.push(
            baseline
                .error("out-of-range", &place, message)
                .help("write a larger size"),
        );
    }
    let mut parameters = value.parameters.clone();
    parameters.extend(own.parameters.clone());
    let (probe, ready_within) = ready?;
    Some(App {
        name: value.app.clone(),
        package: package?,
        instances: own.instances.unwrap_or(value.instances),
        limits: Limits {
            cpu: resources.cpu,
            memory: resources.memory,
        },
        ports: value
            .ports
            .iter()
            .map(|(name, port)| (name.clone(), port_want(*port)))
            .collect(),
        provides: value.provides.clone(),
        needs: value
            .needs
            .iter()
            .map(|n| Need {
                app: n.app().clone(),
                gate: n.gate(),
            })
            .collect(),
        away_from: value.away_from.clone(),
        store: value.store,
        parameters,
        secrets: value
            .secrets
            .iter()
            .map(|(name, secret)| {
                (
                    name.clone(),
                    SecretWant {
                        length: secret.length,
                    },
                )
            })
            .collect(),
        env: env(known, baseline, &own),
        files,
        ready: probe,
        ready_within,
        verify,
        layer,
        place: baseline.place(&["app"]),
    })
}

fn port_want(port: Port) -> PortWant {
    match port {
        Port::Fixed(number) => PortWant::Fixed(number),
        Port::Auto(_) => PortWant::Auto,
    }
}

fn ports(baseline: &Read<Baseline>, found: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<u16, &Name> = BTreeMap::new();
    for (name, port) in &baseline.value.ports {
        let Port::Fixed(number) = port else { continue };
        let place = ["ports", name.as_str()];
        if RESERVED.contains(number) {
            let message = format!("port {number} is the agent's own on every host");
            found.push(
                baseline
                    .error("port-clash", &place, message)
                    .help("choose another port"),
            );
        }
        if let Some(other) = taken.insert(*number, name) {
            let message = format!("port {number} is claimed twice: by `{other}` and by `{name}`");
            let help = "choose another port for one of them, or write `auto`";
            found.push(baseline.error("port-clash", &place, message).help(help));
        }
    }
}

fn env(known: &Known<'_>, baseline: &Read<Baseline>, own: &Override) -> BTreeMap<String, Template> {
    let template = |source: &String, place| Template {
        source: source.clone(),
        place,
    };
    let mut env: BTreeMap<_, _> = baseline
        .value
        .env
        .iter()
        .map(|(name, text)| (name.clone(), template(text, baseline.place(&["env", name]))))
        .collect();
    let app = baseline.value.app.as_str();
    env.extend(own.env.iter().map(|(name, text)| {
        (
            name.clone(),
            template(text, known.site.place(&["apps", app, "env", name])),
        )
    }));
    env
}

fn entries(config: &Config) -> Vec<(Vec<String>, &ConfigEntry)> {
    match config {
        Config::One(entry) => vec![(vec!["config".to_owned()], entry)],
        Config::Many(all) => {
            let numbered = all.iter().enumerate();
            numbered
                .map(|(i, e)| (vec!["config".to_owned(), i.to_string()], e))
                .collect()
        }
    }
}

/// The templates that a baseline names.
pub(super) fn templates(baseline: &Read<Baseline>) -> impl Iterator<Item = &str> {
    let entries = entries(&baseline.value.config).into_iter();
    entries.map(|(_, entry)| entry.template.as_str())
}

fn files(
    bundle: &Bundle,
    baseline: &Read<Baseline>,
    found: &mut Vec<Diagnostic>,
) -> Vec<FileTemplate> {
    let mut paths = BTreeSet::new();
    let mut files = Vec::new();
    for (path, entry) in entries(&baseline.value.config) {
        let at = |field: &'static str| {
            path.iter()
                .map(String::as_str)
                .chain([field])
                .collect::<Vec<_>>()
        };
        if !paths.insert(&entry.file) {
            let message = format!("`{}` is written twice", entry.file);
            let help = "give one of the two another `file`";
            found.push(
                baseline
                    .error("duplicate-file", &at("file"), message)
                    .help(help),
            );
        }
        let places = template_places(&baseline.document.file, &entry.template);
        let there = places
            .iter()
            .find_map(|place| bundle.files.get_key_value(place));
        let Some((file, source)) = there else {
            found.push(no_template(
                bundle,
                baseline,
                &at("template"),
                &entry.template,
                &places,
            ));
            continue;
        };
        found.extend(tokens(file, source));
        let template = Template {
            source: source.clone(),
            place: crate::desired::Place {
                file: file.clone(),
                line: 1,
                column: 1,
            },
        };
        files.push(FileTemplate {
            path: entry.file.clone(),
            template,
        });
    }
    files
}

fn no_template(
    bundle: &Bundle,
    baseline: &Read<Baseline>,
    path: &[&str],
    template: &str,
    places: &[String],
) -> Diagnostic {
    let message = format!(
        "there is no template {template:?}; looked for {}",
        places.join(", ")
    );
    let names = bundle
        .files
        .keys()
        .map(|path| path.rsplit('/').next().unwrap_or(path));
    let help = match nearest(template, names) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "put it beside the baseline or in `templates/`".to_owned(),
    };
    baseline.error("unknown-template", path, message).help(help)
}

fn tokens(file: &str, source: &str) -> Vec<Diagnostic> {
    let numbered = source.lines().zip(1..);
    let found = numbered.filter_map(|(text, line)| {
        let before = text.split_once(wright_model::token::MARK)?.0;
        Some(written_token(
            file,
            line,
            u32::try_from(before.chars().count()).ok()? + 1,
        ))
    });
    found.collect()
}

fn package(
    known: &Known<'_>,
    baseline: &Read<Baseline>,
    own: &Override,
    found: &mut Vec<Diagnostic>,
) -> Option<PackageId> {
    let req = own.package.as_ref().unwrap_or(&baseline.value.package);
    let refuse = |message: String, help: String| {
        let app = baseline.value.app.as_str();
        match own.package {
            Some(_) => known
                .site
                .error("unknown-package", &["apps", app, "package"], message),
            None => baseline.error("unknown-package", &["package"], message),
        }
        .help(help)
    };
    let Some(facts) = known.catalog.newest(req) else {
        let (message, help) = missing_package(known.catalog, req);
        found.push(refuse(message, help));
        return None;
    };
    if !["any", "linux-x86_64", "linux-aarch64"].contains(&facts.platform.as_str()) {
        let message = format!(
            "package {} is for {:?}, which no host is",
            facts.id, facts.platform
        );
        found.push(refuse(
            message,
            "build it for the hosts' platform, or for `any`".to_owned(),
        ));
        return None;
    }
    Some(facts.id)
}

fn missing_package(catalog: &dyn Catalog, req: &VersionReq) -> (String, String) {
    let packages = catalog.packages();
    let of_name = packages.iter().filter(|id| id.name == req.name);
    let versions: BTreeSet<_> = of_name.map(|id| id.version).collect();
    if !versions.is_empty() {
        let message = format!("no version of `{}` fits {req}", req.name);
        return (message, format!("there are: {}", list(&versions)));
    }
    let message = format!("there is no package `{}`", req.name);
    let help = match nearest(
        req.name.as_str(),
        packages.iter().map(|id| id.name.as_str()),
    ) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("push it first: wright package push {}", req.name),
    };
    (message, help)
}

fn list(versions: &BTreeSet<wright_model::Version>) -> String {
    versions
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// How long a start may take, where nothing is said.
pub(super) const READY_WITHIN: Span = Span::from_secs(60);

/// A readiness check and how long after the start it may take.
pub(super) type ReadyWithin = (Probe, Span);
