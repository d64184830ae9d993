//! The inventory: for each host what the tasks in `bench/ansible` are to do there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Serialize;
use serde_json::{Map, Value, json};
use wright_model::{CheckKind, HttpCheck, Name, Operation};
use wright_package::Manifest;

use super::{
    jinja,
    plan::{Plan, Planned},
    program::{self, Program},
};
use crate::Result;

/// How often a host asks whether something is ready, in seconds: the least Ansible takes.
const PAUSE: u64 = 1;

/// A package archive as the peer fetches it.
pub struct Archive {
    /// Where it is.
    pub url: String,
    /// Its SHA-256, the best that Ansible checks.
    pub sha256: String,
    /// Its manifest.
    pub manifest: Manifest,
}

/// What goes into an inventory.
pub struct Site<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The archives by `NAME@VERSION`.
    pub archives: &'a BTreeMap<String, Archive>,
    /// The directory that everything is below.
    pub work: &'a Path,
    /// Whether instances can have users of their own.
    pub is_root: bool,
    /// What secrets are made from.
    pub seed: u64,
}

/// An instance with where it is.
type Laid<'a> = (&'a Name, &'a Planned, Program<'a>);

/// What a host does in one layer.
#[derive(Default, Serialize)]
struct Layer {
    /// Instances to start.
    starts: Vec<Value>,
    /// What must be good before that, on other hosts.
    waits: Checks,
    /// What must be good after it.
    ready: Checks,
}

/// Questions, by the module that asks them.
#[derive(Default, Serialize)]
struct Checks {
    http: Vec<Value>,
    tcp: Vec<Value>,
    command: Vec<Value>,
}

/// Conditions on answers, by the check that has them.
#[derive(Default)]
struct Conditions(Vec<(String, String)>);

impl Conditions {
    /// Remembers what a check expects of the body.
    fn add(&mut self, check: &str, http: &HttpCheck) -> Result {
        let mut all = Vec::new();
        if let Some(text) = &http.expect.contains {
            all.push(format!(
                "{} in answer.content",
                serde_json::to_string(text)?
            ));
        }
        if let Some(cel) = &http.expect.json {
            all.push(jinja::condition(cel)?);
        }
        if !all.is_empty() && self.0.iter().all(|(known, _)| known != check) {
            self.0.push((check.to_owned(), all.join(" and ")));
        }
        Ok(())
    }

    /// One expression for all: the condition of the check that `item` is.
    fn expression(&self) -> String {
        let mut text = "{{ ".to_owned();
        for (check, condition) in &self.0 {
            text.push_str(&format!("({condition}) if item.check == '{check}' else "));
        }
        text + "true }}"
    }
}

impl Site<'_> {
    /// The inventory, in Ansible's YAML format, of which JSON is a part.
    pub fn inventory(&self) -> Result<Value> {
        let mut conditions = Conditions::default();
        let mut programs = Vec::new();
        for (number, (name, planned)) in self.plan.instances.iter().enumerate() {
            let archive = self.archive(&planned.spec)?;
            let program = Program::new(
                self.work,
                &planned.spec,
                &archive.manifest,
                self.is_root,
                number,
            )?;
            programs.push((name, planned, program));
        }
        let mut hosts = Map::new();
        for host in self.plan.hosts.keys() {
            let here: Vec<_> = programs
                .iter()
                .filter(|(_, planned, _)| planned.spec.host == *host)
                .collect();
            let variables = self.host(host, &here, &mut conditions)?;
            hosts.insert(host.to_string(), variables);
        }
        let text = |path: &str| self.work.join(path).to_string_lossy().into_owned();
        let all = json!({
            "ansible_connection": "local",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_async_dir": text("async"),
            "pause": PAUSE,
        });
        let mut inventory = json!({ "all": { "hosts": hosts, "vars": all } });
        refuse_templates(&inventory)?;
        inventory["all"]["vars"]["holds"] = conditions.expression().into();
        Ok(inventory)
    }

    fn archive(&self, spec: &wright_model::InstanceSpec) -> Result<&Archive> {
        let id = spec.package.to_string();
        self.archives
            .get(&id)
            .ok_or_else(|| format!("there is no archive of {id}").into())
    }

    fn host(&self, host: &Name, here: &[&Laid<'_>], conditions: &mut Conditions) -> Result<Value> {
        let home = program::host(self.work, host);
        let cache = home.join("cache");
        let mut packages = BTreeMap::new();
        for (_, planned, program) in here {
            let archive = self.archive(&planned.spec)?;
            let package = json!({
                "name": planned.spec.package.to_string(),
                "url": archive.url,
                "checksum": format!("sha256:{}", archive.sha256),
                "archive": cache.join(planned.spec.package.digest.to_string()),
                "directory": program.at.package,
            });
            packages.insert(program.at.package.clone(), package);
        }
        let mut directories = vec![cache];
        directories.extend(packages.keys().cloned());
        let packages: Vec<_> = packages.into_values().collect();
        let mut variables = json!({ "directories": directories, "packages": packages });
        let (mut instances, mut files, mut hooks) = (Vec::new(), Vec::new(), Vec::new());
        for (name, planned, program) in here {
            instances.push(json!({ "name": name, "directories": program.directories() }));
            for file in &planned.spec.files {
                let content = program.text(self.plan, &file.content, self.seed)?;
                files.push(json!({ "path": program.at.home.join(&file.path), "content": content, "user": program.user }));
            }
            if let Some(argv) = program.operation(Operation::Install)? {
                hooks.push(self.command(name, program, argv)?);
            }
        }
        let mut verify = Checks::default();
        for (_, planned, program) in here {
            let app = self.plan.apps.get(&planned.spec.app);
            for (number, check) in app.into_iter().flat_map(|app| &app.verify).enumerate() {
                let id = format!("{}/verify-{number}", planned.spec.app);
                verify.add(self, planned, Some(program), &id, &check.check, conditions)?;
            }
        }
        // What runs here has been waited for when it was started.
        let mut known = here.iter().map(|(name, ..)| (*name).clone()).collect();
        let mut layers = Vec::new();
        for layer in 0..self.plan.layers() {
            layers.push(self.layer(layer, here, &mut known, conditions)?);
        }
        variables["instances"] = instances.into();
        variables["files"] = files.into();
        variables["hooks"] = hooks.into();
        variables["layers"] = serde_json::to_value(layers)?;
        variables["verify"] = serde_json::to_value(verify)?;
        Ok(variables)
    }

    /// What a host does in one layer; `known` is what it knows to be ready by then.
    fn layer(
        &self,
        layer: usize,
        here: &[&Laid<'_>],
        known: &mut BTreeSet<Name>,
        conditions: &mut Conditions,
    ) -> Result<Layer> {
        let mut found = Layer::default();
        for (name, planned, program) in here.iter().filter(|(_, planned, _)| planned.layer == layer)
        {
            let mut start = self.command(name, program, Vec::new())?;
            start["line"] = program.start()?.into();
            found.starts.push(start);
            let id = format!("{}/ready", planned.spec.app);
            let check = &planned.spec.ready.check;
            found
                .ready
                .add(self, planned, Some(program), &id, check, conditions)?;
            for gate in self.plan.gates(&planned.spec.app) {
                if known.insert(gate.spec.id.name.clone()) {
                    let id = format!("{}/ready", gate.spec.app);
                    let check = &gate.spec.ready.check;
                    found.waits.add(self, gate, None, &id, check, conditions)?;
                }
            }
        }
        Ok(found)
    }

    /// A command of an instance.
    fn command(&self, name: &Name, program: &Program<'_>, argv: Vec<String>) -> Result<Value> {
        let environment = program.environment(self.plan, self.seed)?;
        Ok(
            json!({ "name": name, "argv": argv, "home": program.at.home, "environment": environment }),
        )
    }
}

impl Checks {
    /// Adds a question to an instance. From another host (no `program`) only its ports can be asked.
    fn add(
        &mut self,
        site: &Site<'_>,
        asked: &Planned,
        program: Option<&Program<'_>>,
        id: &str,
        check: &CheckKind,
        conditions: &mut Conditions,
    ) -> Result {
        let spec = &asked.spec;
        let name = &spec.id.name;
        let port = |port: &Name| {
            spec.ports
                .get(port)
                .copied()
                .ok_or_else(|| format!("{name} has no port {port}"))
        };
        let tcp = |port: u16| json!({ "name": name, "host": spec.address, "port": port });
        let argv = match (check, program) {
            (CheckKind::Http(http), _) => {
                conditions.add(id, http)?;
                self.http.push(json!({
                    "name": name,
                    "check": id,
                    "url": format!("http://{}:{}{}", spec.address, port(&http.port)?, http.path),
                    "method": http.method,
                    "headers": http.headers,
                    "body": http.body,
                    "status": http.expect.status.map_or_else(|| (200..400).collect(), |status| vec![status]),
                }));
                return Ok(());
            }
            (CheckKind::Tcp(named), _) => {
                self.tcp.push(tcp(port(named)?));
                return Ok(());
            }
            (_, None) => {
                self.tcp.extend(spec.ports.values().map(|port| tcp(*port)));
                return Ok(());
            }
            (CheckKind::Command(argv), Some(program)) => program.command(argv)?,
            (CheckKind::Monitor, Some(program)) => {
                let own = program.operation(Operation::Monitor)?;
                own.ok_or_else(|| format!("{}: `monitor` has no command of its own", spec.package))?
            }
        };
        if let Some(program) = program {
            self.command.push(site.command(name, program, argv)?);
        }
        Ok(())
    }
}

/// Ansible takes braces in variables for templates of its own.
fn refuse_templates(value: &Value) -> Result {
    match value {
        Value::String(text)
            if text.contains("{{") || text.contains("{%") || text.contains("{#") =>
        {
            Err(format!("Ansible would take this for a template: {text}").into())
        }
        Value::Array(values) => values.iter().try_for_each(refuse_templates),
        Value::Object(values) => values.values().try_for_each(refuse_templates),
        _ => Ok(()),
    }
}
