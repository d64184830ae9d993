//! Small sites whose programs behave as a test wants.

use std::{fmt::Write as _, fs, path::Path};

/// One app of a test site.
#[derive(Debug, Clone)]
pub struct App {
    name: String,
    needs: Vec<String>,
    instances: u32,
    port: u16,
    version: String,
    within: String,
    store: bool,
    secret: bool,
    /// Lines of the program's configuration beyond `listen`.
    pub lines: Vec<String>,
}

impl App {
    /// An app with one instance on this port.
    pub fn new(name: &str, port: u16) -> Self {
        App {
            name: name.to_owned(),
            needs: Vec::new(),
            instances: 1,
            port,
            version: "1".to_owned(),
            within: "20s".to_owned(),
            store: false,
            secret: false,
            lines: Vec::new(),
        }
    }

    /// What it needs.
    #[must_use]
    pub fn needs(mut self, needs: &[&str]) -> Self {
        self.needs = needs.iter().map(|need| (*need).to_owned()).collect();
        self
    }

    /// How many instances.
    #[must_use]
    pub fn instances(mut self, count: u32) -> Self {
        self.instances = count;
        self
    }

    /// A line of the program's configuration.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// The package's version, as a baseline writes it.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// How long it may take to become ready.
    #[must_use]
    pub fn within(mut self, within: &str) -> Self {
        within.clone_into(&mut self.within);
        self
    }

    /// It keeps data.
    #[must_use]
    pub fn store(mut self) -> Self {
        self.store = true;
        self
    }

    /// It asks for a secret named `password` and has it in its configuration.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    fn baseline(&self) -> String {
        let App {
            name,
            instances,
            port,
            version,
            within,
            ..
        } = self;
        let needs = self.needs.join(", ");
        let mut text = format!(
            "app: {name}\npackage: program@{version}\ninstances: {instances}\n\
             resources: {{ cpu: 0.05, memory: 32MiB }}\nports: {{ http: {port} }}\nprovides: [http]\nneeds: [{needs}]\n\
             config: {{ file: etc/program.conf, template: {name}.j2 }}\n\
             ready: {{ http: {{ port: http, path: /healthz }}, within: {within} }}\n\
             verify:\n  - http: {{ path: /, expect: {{ status: 200 }} }}\n"
        );
        if self.store {
            text.push_str("store: true\n");
        }
        if self.secret {
            text.push_str("secrets: { password: { length: 32 } }\n");
        }
        text
    }

    fn template(&self) -> String {
        let mut text = "listen {{ instance.address }}:{{ instance.ports.http }}\n".to_owned();
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        if self.secret {
            text.push_str("password {{ secrets.password }}\n");
        }
        text
    }
}

/// A test site.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its apps.
    pub apps: Vec<App>,
}

impl Site {
    /// A site of these apps, named `test`.
    pub fn new(apps: Vec<App>) -> Self {
        Site { apps }
    }

    /// Layers of apps, each needing every app of the layer before; two instances of each app.
    pub fn layered(layers: u16, width: u16, line: &str) -> Self {
        let name =
            |layer: u16, number: u16| format!("l{layer}-{}", char::from(b'a' + number as u8));
        let mut apps = Vec::new();
        for layer in 0..layers {
            for number in 0..width {
                let needs: Vec<String> = if layer == 0 {
                    Vec::new()
                } else {
                    (0..width).map(|n| name(layer - 1, n)).collect()
                };
                let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
                let app = App::new(&name(layer, number), 8100 + layer * 20 + number)
                    .needs(&needs)
                    .instances(2);
                apps.push(app.line(line));
            }
        }
        Site { apps }
    }

    /// The app of this name.
    ///
    /// # Panics
    /// Where there is none.
    pub fn app(&mut self, name: &str) -> &mut App {
        #[allow(clippy::expect_used)]
        self.apps
            .iter_mut()
            .find(|app| app.name == name)
            .expect("an app of the site")
    }

    /// Writes the files; gives the path of `site.yaml`.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn write(&self, directory: &Path) -> std::io::Result<std::path::PathBuf> {
        let baselines = directory.join("baselines");
        let _ = fs::remove_dir_all(&baselines);
        fs::create_dir_all(&baselines)?;
        for app in &self.apps {
            fs::write(baselines.join(format!("{}.yaml", app.name)), app.baseline())?;
            fs::write(baselines.join(format!("{}.j2", app.name)), app.template())?;
        }
        let file = directory.join("site.yaml");
        fs::write(&file, "site: test\nbaselines: [baselines]\n")?;
        Ok(file)
    }
}
