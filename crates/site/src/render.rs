//! Templates into configuration files and environment variables. Secrets and directories become
//! tokens (see [`wright_model::token`]).

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use minijinja::{
    AutoEscape, Environment, UndefinedBehavior,
    syntax::SyntaxConfig,
    value::{Serde, Value},
};
use serde_json::{Map, Value as Json, json};
use wright_model::{ConfigFile, Diagnostic, Name, token::Token};

use crate::{
    desired::{App, Desired, PortWant, Template},
    pieces::{KnownApp, Parts, Pieces, digest_of},
};

/// Where one instance is: what templates may know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub name: Name,
    pub ordinal: u32,
    pub host: Name,
    pub address: IpAddr,
    pub ports: BTreeMap<Name, u16>,
}

/// Every instance of every app, in the order of ordinals.
pub(crate) type Topology = BTreeMap<Name, Vec<Slot>>;

/// The rendered parts of an instance's specification.
pub(crate) struct Rendered {
    pub files: Vec<ConfigFile>,
    pub env: BTreeMap<String, String>,
}

/// Bounds the work of one template, so that a loop cannot hold the planner.
const FUEL: u64 = 2_000_000;
const MAX_RENDERED: usize = 1 << 20;
const DIRECTORIES: [&str; 6] = ["package", "home", "etc", "data", "run", "log"];

/// Renders what belongs to the instances of one app.
pub(crate) struct Renderer<'a> {
    app: &'a App,
    environment: Environment<'a>,
    /// What is the same for all instances of the app.
    shared: Map<String, Json>,
    site: &'a Name,
}

impl<'a> Renderer<'a> {
    /// Compiles the app's templates.
    pub(crate) fn new(
        desired: &'a Desired,
        topology: &Topology,
        app: &'a App,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut environment = environment();
        let mut found = Vec::new();
        for (name, template) in templates(app) {
            if let Err(error) = environment.add_template_owned(name, template.source.clone()) {
                found.push(refusal(&error, template, ""));
            }
        }
        let shared = shared(desired, topology, app);
        if found.is_empty() {
            Ok(Renderer {
                app,
                environment,
                shared,
                site: &desired.site,
            })
        } else {
            Err(found)
        }
    }

    /// Renders what belongs to one instance.
    pub(crate) fn render(&self, slot: &Slot) -> Result<Rendered, Vec<Diagnostic>> {
        let mut context = self.shared.clone();
        context.insert("instance".to_owned(), instance(slot));
        let lookup = format!(
            "http://{}:7070/v1/sites/{}/services",
            url_host(slot.address),
            self.site
        );
        context.insert("lookup".to_owned(), lookup.into());
        let context = Value::from(Serde(Json::Object(context)));

        let mut found = Vec::new();
        let mut texts = BTreeMap::new();
        for (name, template) in templates(self.app) {
            let text = self
                .environment
                .get_template(&name)
                .and_then(|t| t.render(&context));
            match text {
                Ok(text) if text.len() > MAX_RENDERED => {
                    let message = format!(
                        "the template renders to {} bytes; at most {MAX_RENDERED} are allowed",
                        text.len()
                    );
                    found.push(
                        template
                            .place
                            .error("too-large", message)
                            .help("keep large files in packages"),
                    );
                }
                Ok(text) => drop(texts.insert(name, text)),
                Err(error) => found.push(refusal(&error, template, slot.name.as_str())),
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        let file = |file: &crate::desired::FileTemplate| ConfigFile {
            path: file.path.clone(),
            content: texts
                .get(&file_name(&file.path))
                .cloned()
                .unwrap_or_default(),
        };
        let variable = |name: &String| {
            (
                name.clone(),
                texts.get(&variable_name(name)).cloned().unwrap_or_default(),
            )
        };
        Ok(Rendered {
            files: self.app.files.iter().map(file).collect(),
            env: self.app.env.keys().map(variable).collect(),
        })
    }
}

fn file_name(path: &str) -> String {
    format!("file/{path}")
}

fn variable_name(name: &str) -> String {
    format!("env/{name}")
}

fn templates(app: &App) -> impl Iterator<Item = (String, &Template)> {
    let files = app
        .files
        .iter()
        .map(|file| (file_name(&file.path), &file.template));
    files.chain(
        app.env
            .iter()
            .map(|(name, template)| (variable_name(name), template)),
    )
}

fn environment<'a>() -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    if let Ok(syntax) = syntax {
        environment.set_syntax(syntax);
    }
    environment
}

fn url_host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn instance(slot: &Slot) -> Json {
    json!({
        "name": slot.name,
        "ordinal": slot.ordinal,
        "host": slot.host,
        "address": slot.address,
        "ports": slot.ports,
    })
}

fn secrets(app: &App) -> Json {
    let token = |name: &Name| {
        Token::Secret {
            app: app.name.clone(),
            name: name.clone(),
        }
        .to_string()
    };
    app.secrets
        .keys()
        .map(|name| (name.to_string(), Json::from(token(name))))
        .collect()
}

fn shared(desired: &Desired, topology: &Topology, app: &App) -> Map<String, Json> {
    let mut needs = Map::new();
    for need in &app.needs {
        let (Some(other), Some(slots)) = (desired.apps.get(&need.app), topology.get(&need.app))
        else {
            continue;
        };
        let endpoint = |slot: &Slot| json!({ "instance": slot.name, "address": slot.address, "ports": slot.ports });
        let mut entry = Map::new();
        if let Some(first) = slots.first() {
            entry.insert("address".to_owned(), json!(first.address));
            entry.insert("ports".to_owned(), json!(first.ports));
        }
        entry.insert("endpoints".to_owned(), slots.iter().map(endpoint).collect());
        entry.insert("secrets".to_owned(), secrets(other));
        entry.insert("parameters".to_owned(), json!(other.parameters));
        needs.insert(need.app.to_string(), Json::Object(entry));
    }
    let paths: Map<String, Json> = DIRECTORIES
        .iter()
        .map(|path| {
            (
                (*path).to_owned(),
                Token::Path((*path).to_owned()).to_string().into(),
            )
        })
        .collect();
    let mut context = Map::new();
    context.insert(
        "site".to_owned(),
        json!({ "name": desired.site, "parameters": desired.parameters }),
    );
    context.insert("app".to_owned(), json!(app.name));
    context.insert("parameters".to_owned(), json!(app.parameters));
    context.insert("secrets".to_owned(), secrets(app));
    context.insert("needs".to_owned(), Json::Object(needs));
    context.insert("paths".to_owned(), Json::Object(paths));
    context
}

fn refusal(error: &minijinja::Error, template: &Template, instance: &str) -> Diagnostic {
    let line = error
        .line()
        .and_then(|line| u32::try_from(line).ok())
        .unwrap_or(1);
    let span = error
        .range()
        .and_then(|range| Some((range.start, template.source.get(range)?)));
    let column = span.map_or(1, |(start, _)| {
        let before = template.source.get(..start).unwrap_or("");
        before.rsplit('\n').next().unwrap_or("").chars().count() + 1
    });
    let column = u32::try_from(column).unwrap_or(1);
    let kind = error.kind();
    let detail = error
        .detail()
        .map_or_else(|| kind.to_string(), |d| format!("{kind}: {d}"));
    let near = span
        .map(|(_, text)| text.trim())
        .filter(|text| !text.is_empty());
    let said = match (kind, error.detail(), near) {
        (minijinja::ErrorKind::UndefinedError, Some(what), _) => what.to_owned(),
        (_, _, Some(text)) => format!(
            "{detail}, at `{}`",
            text.chars().take(80).collect::<String>()
        ),
        _ => detail,
    };
    let whom = if instance.is_empty() {
        String::new()
    } else {
        format!(" for {instance}")
    };
    let help = match kind {
        minijinja::ErrorKind::UndefinedError => {
            "in scope: site, app, instance, parameters, secrets, paths, lookup, needs (only apps under `needs`); write names with a hyphen as needs['postgres-replica']"
        }
        minijinja::ErrorKind::OutOfFuel => "make the loop shorter",
        minijinja::ErrorKind::TemplateNotFound => "write what it holds into this template",
        _ => "see the Jinja template language; `{{ … }}` prints, `{% … %}` decides",
    };
    // The template's first line may stand inside a YAML file, then its column is only known there.
    let place = &template.place;
    let (line, column) = match line {
        1 if place.column > 1 => (place.line, place.column),
        _ => (place.line + line - 1, column),
    };
    Diagnostic::error(
        "template",
        format!("the template cannot be rendered{whom}: {said}"),
    )
    .at(&place.file, line, column)
    .help(help)
}

/// Renders every template with made-up addresses, so that mistakes are found before hosts are
/// looked at.
pub(crate) fn rehearse(desired: &Desired, pieces: &mut Pieces) -> Result<(), Vec<Diagnostic>> {
    let Ok(host) = "host".parse::<Name>() else {
        return Ok(());
    };
    let known = pieces.known(desired.apps.values());
    let by_name: HashMap<&Name, &Arc<KnownApp>> =
        known.iter().map(|known| (&known.app.name, known)).collect();
    let needed = |known: &KnownApp| {
        let needs = known.app.needs.iter();
        needs
            .filter_map(|need| by_name.get(&need.app).copied())
            .collect::<Vec<_>>()
    };
    let site = digest_of(&(&desired.site, &desired.parameters));
    let key = |known: &Arc<KnownApp>| {
        let parts = Parts::of("rehearsed").digest(site).digest(known.whole);
        let with = |parts: Parts, need: &Arc<KnownApp>| {
            let parts = parts.text(need.app.name.as_str());
            parts.digest(need.seen).digest(need.wants)
        };
        needed(known).into_iter().fold(parts, with).seal()
    };
    let done = pieces.rehearsed.all(&known, key, |known| {
        let apps = needed(known).into_iter().chain([known]);
        let topology: Topology = apps
            .map(|known| (known.app.name.clone(), made_up(&known.app, &host)))
            .collect();
        rehearse_app(desired, &topology, &known.app)
    });
    done.map(drop)
}

fn rehearse_app(desired: &Desired, topology: &Topology, app: &App) -> Result<(), Vec<Diagnostic>> {
    let renderer = Renderer::new(desired, topology, app)?;
    let slots = topology.get(&app.name).into_iter().flatten();
    // Ordinals beyond the second differ only in numbers.
    for slot in slots.take(2) {
        renderer.render(slot)?;
    }
    Ok(())
}

/// The instances of an app, all on one host.
fn made_up(app: &App, host: &Name) -> Vec<Slot> {
    let number = |port| match port {
        PortWant::Fixed(number) => number,
        PortWant::Auto => 20_000,
    };
    let ports = app.ports.iter();
    let ports: BTreeMap<Name, u16> = ports
        .map(|(name, port)| (name.clone(), number(*port)))
        .collect();
    let names = app
        .instance_names()
        .filter_map(|(ordinal, name)| Some((ordinal, name.parse().ok()?)));
    names
        .map(|(ordinal, name)| Slot {
            name,
            ordinal,
            host: host.clone(),
            address: Ipv4Addr::LOCALHOST.into(),
            ports: ports.clone(),
        })
        .collect()
}
