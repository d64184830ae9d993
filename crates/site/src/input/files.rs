//! What people write: the site file and baselines. The published JSON Schema is derived from these
//! types, and files are checked against it before they are read into them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use wright_model::{ByteSize, CpuShare, Name, Span, VersionReq};

use super::kinds;

/// A site: which baselines, and what this site sets otherwise.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SiteFile {
    /// The site's name.
    #[schemars(schema_with = "kinds::name")]
    pub site: Name,
    /// Baseline files, or directories of `*.yaml`, relative to this file.
    #[schemars(schema_with = "kinds::paths")]
    pub baselines: Vec<String>,
    /// Values for templates: `{{ site.parameters.NAME }}`.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
    /// What this site sets otherwise than the baselines, by app.
    #[serde(default)]
    #[schemars(schema_with = "kinds::by_name::<Override>")]
    pub apps: BTreeMap<Name, Override>,
}

/// What a site sets otherwise than an app's baseline.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Override {
    /// How many instances.
    #[schemars(range(min = 1, max = 1000))]
    pub instances: Option<u32>,
    /// Which package.
    #[schemars(schema_with = "kinds::package")]
    #[serde(default)]
    pub package: Option<VersionReq>,
    /// Parameters that replace the baseline's of the same name.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
    /// Resources that replace the baseline's.
    pub resources: Option<Resources>,
    /// Environment variables that replace the baseline's of the same name.
    #[serde(default)]
    #[schemars(schema_with = "kinds::variables")]
    pub env: BTreeMap<String, String>,
}

/// Everything needed to deploy one app.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Baseline {
    /// The app's name.
    #[schemars(schema_with = "kinds::name")]
    pub app: Name,
    /// The package and the leading numbers of its version; the newest that fits is taken.
    #[schemars(schema_with = "kinds::package")]
    pub package: VersionReq,
    /// How many instances.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub instances: u32,
    /// What one instance may use.
    #[serde(default)]
    pub resources: Resources,
    /// Ports by name: a number, or `auto`.
    #[serde(default)]
    #[schemars(schema_with = "kinds::by_name::<Port>")]
    pub ports: BTreeMap<Name, Port>,
    /// Ports by which other apps reach it.
    #[serde(default)]
    #[schemars(schema_with = "kinds::names")]
    pub provides: Vec<Name>,
    /// Apps it needs.
    #[serde(default)]
    pub needs: Vec<NeedEntry>,
    /// Apps that must not be on its hosts.
    #[serde(default)]
    #[schemars(schema_with = "kinds::names")]
    pub away_from: Vec<Name>,
    /// Whether it keeps data that must not be lost.
    #[serde(default)]
    pub store: bool,
    /// Values for templates: `{{ parameters.NAME }}`.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
    /// Secrets that are generated once per site: `{{ secrets.NAME }}`.
    #[serde(default)]
    #[schemars(schema_with = "kinds::by_name::<SecretEntry>")]
    pub secrets: BTreeMap<Name, SecretEntry>,
    /// Environment variables; values may be templates.
    #[serde(default)]
    #[schemars(schema_with = "kinds::variables")]
    pub env: BTreeMap<String, String>,
    /// Configuration files: one, or a list.
    #[serde(default)]
    pub config: Config,
    /// When an instance counts as ready. Default: its first port accepts connections.
    pub ready: Option<Ready>,
    /// Checks that are made once an instance is ready.
    #[serde(default)]
    pub verify: Vec<Verify>,
}

fn one() -> u32 {
    1
}

/// What one instance may use.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Resources {
    /// Processors reserved.
    #[schemars(schema_with = "kinds::cpu")]
    pub cpu: CpuShare,
    /// Memory reserved, and the cap.
    #[schemars(schema_with = "kinds::size")]
    pub memory: ByteSize,
}

impl Default for Resources {
    fn default() -> Self {
        Resources {
            cpu: CpuShare::from_millis(100),
            memory: ByteSize::from_bytes(64 << 20),
        }
    }
}

/// A port: its number, or `auto` for one that is free.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Port {
    /// This one.
    Fixed(#[schemars(range(min = 1, max = 65535))] u16),
    /// One that is free on its host.
    Auto(Auto),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Auto {
    /// One that is free.
    Auto,
}

/// An app that is needed: its name, or its name and whether its readiness is waited for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum NeedEntry {
    /// Waits until it is ready.
    App(#[schemars(schema_with = "kinds::name")] Name),
    /// Says whether to wait.
    Gated(GatedNeed),
}

/// An app that is needed, and whether its readiness is waited for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct GatedNeed {
    /// The app.
    #[schemars(schema_with = "kinds::name")]
    pub app: Name,
    /// Whether to wait for its readiness before starting.
    #[serde(default = "yes")]
    pub gate: bool,
}

fn yes() -> bool {
    true
}

/// A secret to generate.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct SecretEntry {
    /// Characters.
    #[schemars(range(min = 8, max = 256))]
    pub length: u32,
}

impl Default for SecretEntry {
    fn default() -> Self {
        SecretEntry { length: 32 }
    }
}

/// Configuration files: one, or a list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Config {
    /// One.
    One(ConfigEntry),
    /// Several.
    Many(Vec<ConfigEntry>),
}

impl Default for Config {
    fn default() -> Self {
        Config::Many(Vec::new())
    }
}

/// A configuration file and the template it is made from.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ConfigEntry {
    /// The file, below the instance's home.
    #[schemars(schema_with = "kinds::path")]
    pub file: String,
    /// The template, beside the baseline or in `templates/` next to its directory.
    #[schemars(schema_with = "kinds::path")]
    pub template: String,
}

/// When an instance counts as ready: exactly one of `http`, `tcp`, `command` and `monitor`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Ready {
    /// An HTTP request is answered as expected.
    pub http: Option<Http>,
    /// A port accepts connections.
    pub tcp: Option<Tcp>,
    /// A command exits 0.
    #[schemars(length(min = 1, max = 64))]
    pub command: Option<Vec<String>>,
    /// The package's `monitor` operation exits 0.
    pub monitor: Option<bool>,
    /// How long after the start it may take. Default 60s.
    #[schemars(schema_with = "kinds::span")]
    #[serde(default)]
    pub within: Option<Span>,
    /// How often, once it was ready. Default 5s.
    #[schemars(schema_with = "kinds::span")]
    #[serde(default)]
    pub every: Option<Span>,
    /// How long one try may take. Default 5s.
    #[schemars(schema_with = "kinds::span")]
    #[serde(default)]
    pub timeout: Option<Span>,
}

/// A check: exactly one of `http`, `tcp` and `command`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Verify {
    /// An HTTP request is answered as expected.
    pub http: Option<Http>,
    /// A port accepts connections.
    pub tcp: Option<Tcp>,
    /// A command exits 0.
    #[schemars(length(min = 1, max = 64))]
    pub command: Option<Vec<String>>,
    /// How long it may take, retries included. Default 30s.
    #[schemars(schema_with = "kinds::span")]
    #[serde(default)]
    pub within: Option<Span>,
}

/// A TCP check.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Tcp {
    /// The name of the port.
    #[schemars(schema_with = "kinds::name")]
    pub port: Name,
}

/// An HTTP check.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Http {
    /// The name of the port. Default: `http`, or the only one.
    #[schemars(schema_with = "kinds::name")]
    #[serde(default)]
    pub port: Option<Name>,
    /// Path and query.
    #[schemars(schema_with = "kinds::url_path")]
    pub path: String,
    /// The method. Default GET.
    pub method: Option<Method>,
    /// Request headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Request body.
    pub body: Option<String>,
    /// What the answer must be. Default: any status below 400.
    #[serde(default)]
    pub expect: Expect,
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// What an HTTP answer must be.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Expect {
    /// The exact status.
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
    /// A CEL expression over `body`, the parsed JSON answer, that must be true.
    pub json: Option<String>,
    /// A text that the body must contain.
    pub contains: Option<String>,
}
