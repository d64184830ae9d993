//! A generated site as the files that people would have written.

use std::{
    collections::BTreeMap, fmt::Write as _, fs, io, os::unix::fs::PermissionsExt as _, path::Path,
};

use super::{App, Blueprint};

/// The baselines that stand in one file.
const IN_A_FILE: usize = 100;

/// What every app's configuration is made from.
const TEMPLATE: &str = "listen {{ instance.address }}:{{ instance.ports.http }}
lookup {{ lookup }}
name {{ instance.name }}
";

/// The package that every app runs. Real hosts would start it, too: it waits to be stopped.
const MANIFEST: &str = "name = \"simulated\"
version = \"1.0.0\"
description = \"stands for any program on simulated hosts\"
run = [\"bin/wait\"]
";
const PROGRAM: &str = "#!/bin/sh\nexec sleep infinity\n";

impl Blueprint {
    /// The site's files, by path: `site.yaml` and what it names.
    pub fn files(&self, site: &str) -> BTreeMap<String, String> {
        let mut files = BTreeMap::from([
            (
                "site.yaml".to_owned(),
                format!("site: {site}\nbaselines: [baselines]\n"),
            ),
            ("baselines/app.conf.j2".to_owned(), TEMPLATE.to_owned()),
        ]);
        for (number, apps) in self.apps.chunks(IN_A_FILE).enumerate() {
            let each: Vec<String> = apps.iter().map(|app| self.baseline(app)).collect();
            files.insert(
                format!("baselines/apps-{number:02}.yaml"),
                each.join("---\n"),
            );
        }
        files
    }

    fn baseline(&self, app: &App) -> String {
        let App {
            name,
            instances,
            cpu_millis,
            memory_mib,
            ..
        } = app;
        let needs: Vec<&str> = app
            .needs
            .iter()
            .map(|need| self.apps[*need].name.as_str())
            .collect();
        let cpu = f64::from(*cpu_millis) / 1000.0;
        let mut text = format!(
            "app: {name}\npackage: simulated@1\ninstances: {instances}\n\
             resources: {{ cpu: {cpu}, memory: {memory_mib}MiB }}\n\
             ports: {{ http: auto }}\nprovides: [http]\nneeds: [{}]\n\
             config: {{ file: etc/app.conf, template: app.conf.j2 }}\n\
             ready: {{ http: {{ port: http, path: /healthz }}, within: 60s }}\n\
             verify:\n  - http: {{ path: /healthz, expect: {{ status: 200 }} }}\n",
            needs.join(", ")
        );
        if app.store {
            let _ = writeln!(text, "store: true");
        }
        text
    }

    /// Writes the site below a directory, and beside it in `package` the one package that it needs:
    /// build and push it first.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(&self, site: &str, directory: &Path) -> io::Result<()> {
        for (path, text) in self.files(site) {
            put(&directory.join(path), &text)?;
        }
        put(&directory.join("package/package.toml"), MANIFEST)?;
        let program = directory.join("package/bin/wait");
        put(&program, PROGRAM)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
    }
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    fs::write(path, text)
}
