use std::{
    collections::BTreeMap,
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use wright_model::Operation;
use wright_model::{Digest, InstanceSpec, token};
use wright_package::{Action, Expansion, Manifest, RunAs, expand};
use wright_protocol::{Blame, Fault};

use crate::{InstanceDirs, instance::Instance, launch::LaunchRequest};

const OPEN_FILES: u64 = 65_536;
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One instance with one specification: what its commands are, as whom and where they run.
pub(crate) struct Program {
    pub spec: InstanceSpec,
    /// The digest of the specification as it was handed out.
    pub digest: Digest,
    pub manifest: Manifest,
    pub expansion: Expansion,
    /// The user of its own that the instance has; its package may be allowed to run as root
    /// nevertheless.
    user: Option<u32>,
    lookup_port: u16,
}

impl Program {
    pub(crate) fn new(
        instance: &Instance,
        spec: &InstanceSpec,
        digest: Digest,
        manifest: Manifest,
    ) -> Self {
        let InstanceDirs {
            home,
            etc,
            data,
            run,
            log,
        } = instance.dirs.clone();
        let package = instance.host.layout.package(&spec.package.digest);
        let (address, ports) = (spec.address, spec.ports.clone());
        Program {
            spec: spec.clone(),
            digest,
            manifest,
            expansion: Expansion {
                package,
                home,
                etc,
                data,
                run,
                log,
                address,
                ports,
            },
            user: instance.record().user,
            lookup_port: instance.host.settings.lookup_port,
        }
    }

    /// As whom commands run; none: as the agent.
    pub(crate) fn runs_as(&self) -> Option<u32> {
        match self.manifest.user {
            RunAs::Own => self.user,
            RunAs::Root => None,
        }
    }

    /// What `start` runs.
    pub(crate) fn start_command(&self) -> Vec<String> {
        match self.manifest.operation(Operation::Start).action {
            Action::Run(argv) | Action::Command(argv) => argv,
            _ => self.manifest.run.clone(),
        }
    }

    /// What to ask the launcher for, with every placeholder and token replaced.
    pub(crate) fn request(&self, argv: &[String]) -> Result<LaunchRequest, Fault> {
        let mut argv = expand(argv, &self.expansion).map_err(|error| {
            Fault::new(Blame::Package, format!("{}: {error}", self.spec.package))
        })?;
        let path = env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
        if let Some(first) = argv.first_mut() {
            *first = self.find(first, &path)?;
        }
        Ok(LaunchRequest {
            argv,
            env: self.environment(path),
            directory: self.expansion.home.clone(),
            user: self.runs_as(),
            groups: Vec::new(),
            open_files: OPEN_FILES,
            log: None,
        })
    }

    /// A first word without `/` at its beginning is looked for in the package, then in `PATH`.
    fn find(&self, word: &str, path: &str) -> Result<String, Fault> {
        let package = &self.expansion.package;
        let found = if word.starts_with('/') {
            Some(PathBuf::from(word)).filter(|p| is_executable(p))
        } else {
            let in_path = || {
                env::split_paths(path)
                    .map(|d| d.join(word))
                    .find(|p| is_executable(p))
            };
            Some(package.join(word))
                .filter(|p| is_executable(p))
                .or_else(|| if word.contains('/') { None } else { in_path() })
        };
        found
            .and_then(|p| p.to_str().map(str::to_owned))
            .ok_or_else(|| {
                let places = if word.contains('/') {
                    ""
                } else {
                    " or in PATH"
                };
                Fault::new(
                    Blame::Program,
                    format!(
                        "{}: there is no program `{word}` in the package{places}",
                        self.spec.package
                    ),
                )
            })
    }

    fn environment(&self, path: String) -> BTreeMap<String, String> {
        let at = &self.expansion;
        let spec = &self.spec;
        let lookup = format!(
            "http://{}/v1/sites/{}/services",
            std::net::SocketAddr::new(spec.address, self.lookup_port),
            spec.id.site
        );
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), path),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("HOME".to_owned(), text(&at.home)),
        ]);
        env.extend(self.manifest.env.clone());
        env.extend(
            spec.env
                .iter()
                .map(|(name, value)| (name.clone(), self.with_paths(value))),
        );
        let own = [
            ("SITE", spec.id.site.to_string()),
            ("APP", spec.app.to_string()),
            ("INSTANCE", spec.id.name.to_string()),
            ("HOST", spec.host.to_string()),
            ("PACKAGE", text(&at.package)),
            ("HOME", text(&at.home)),
            ("ETC", text(&at.etc)),
            ("DATA", text(&at.data)),
            ("RUN", text(&at.run)),
            ("LOG", text(&at.log)),
            ("ADDRESS", spec.address.to_string()),
            ("LOOKUP", lookup),
        ];
        env.extend(own.map(|(name, value)| (format!("WRIGHT_{name}"), value)));
        env.extend(spec.ports.iter().map(|(name, port)| {
            let name = name.as_str().to_ascii_uppercase().replace('-', "_");
            (format!("WRIGHT_PORT_{name}"), port.to_string())
        }));
        env
    }

    /// A text with its path tokens replaced.
    pub(crate) fn with_paths(&self, text: &str) -> String {
        let at = &self.expansion;
        let replaced = token::replace(text, |token| {
            let token::Token::Path(name) = token else {
                return Ok(None);
            };
            let path = match name.as_str() {
                "package" => &at.package,
                "home" => &at.home,
                "etc" => &at.etc,
                "data" => &at.data,
                "run" => &at.run,
                "log" => &at.log,
                _ => return Ok(None),
            };
            Ok::<_, std::convert::Infallible>(Some(path.to_string_lossy().into_owned()))
        });
        match replaced {
            Ok(text) => text,
            Err(never) => match never {},
        }
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
