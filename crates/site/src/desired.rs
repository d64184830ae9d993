use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wright_model::{Check, Diagnostic, Limits, Name, PackageId, Probe, Span};

/// A site as its files ask for it, checked and complete: what [`crate::plan`] plans from.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The site.
    pub site: Name,
    /// For templates.
    pub parameters: BTreeMap<String, Value>,
    /// Every app. Needs name apps of this map and have no cycle among those that gate.
    pub apps: BTreeMap<Name, Arc<App>>,
}

/// One app as the site asks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Its name.
    pub name: Name,
    /// The exact package.
    pub package: PackageId,
    /// From 1 to 1,000.
    pub instances: u32,
    /// What one instance may use.
    pub limits: Limits,
    /// Its ports by name.
    pub ports: BTreeMap<Name, PortWant>,
    /// Ports by which other apps reach it.
    pub provides: Vec<Name>,
    /// The apps it needs.
    pub needs: Vec<Need>,
    /// Apps that must not be on its hosts.
    pub away_from: Vec<Name>,
    /// Whether it keeps data that must not be lost.
    pub store: bool,
    /// For templates.
    pub parameters: BTreeMap<String, Value>,
    /// Secrets it asks for.
    pub secrets: BTreeMap<Name, SecretWant>,
    /// Environment variables; values are templates.
    pub env: BTreeMap<String, Template>,
    /// Configuration files.
    pub files: Vec<FileTemplate>,
    /// When an instance counts as ready.
    pub ready: Probe,
    /// How long after the start it may take to become ready.
    pub ready_within: Span,
    /// Checks made once an instance is ready.
    pub verify: Vec<Check>,
    /// 0: needs nothing; else one more than the highest layer it waits for.
    pub layer: u32,
    /// Where its baseline begins.
    pub place: Place,
}

/// A port that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortWant {
    /// This one.
    Fixed(u16),
    /// One that is free on the host.
    Auto,
}

/// An app that another needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The app.
    pub app: Name,
    /// Whether its readiness is waited for before the start.
    pub gate: bool,
}

/// A secret that an app asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretWant {
    /// Characters.
    pub length: u32,
}

/// A Jinja template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// The text.
    pub source: String,
    /// Where its first line stands.
    pub place: Place,
}

/// A configuration file to render.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTemplate {
    /// Below the instance's home.
    pub path: String,
    /// What it is made from.
    pub template: Template,
}

/// A place in a file of the bundle; line and column from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Place {
    /// An error here.
    pub(crate) fn error(&self, code: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, message).at(&self.file, self.line, self.column)
    }
}

impl App {
    /// The names of its instances, `{app}-{ordinal}`, with their ordinals from 1.
    pub fn instance_names(&self) -> impl Iterator<Item = (u32, String)> {
        (1..=self.instances).map(|ordinal| (ordinal, format!("{}-{ordinal}", self.name)))
    }
}

impl Desired {
    /// Every secret that an app of the site asks for: app, name, length in characters.
    pub fn secrets(&self) -> Vec<(Name, Name, usize)> {
        let of_app = |app: &Arc<App>| {
            let wants = app.secrets.iter();
            let row = |(name, want): (&Name, &SecretWant)| {
                (
                    app.name.clone(),
                    name.clone(),
                    usize::try_from(want.length).unwrap_or(32),
                )
            };
            wants.map(row).collect::<Vec<_>>()
        };
        self.apps.values().flat_map(of_app).collect()
    }
}
