//! Where an instance's files are on a peer's host, as whom and how its commands run: the same as
//! the agent does it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use wright_model::{Digest, InstanceSpec, Name, Operation, token};
use wright_package::{Action, Expansion, Manifest, RunAs, expand};

use super::plan::Plan;
use crate::{Result, bench::lookup::LOOKUP_PORT};

/// The first user id of the first host. Far from those that agents give.
const FIRST_USER: u32 = 2_100_000_000;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One instance, laid out on its host.
pub struct Program<'a> {
    /// What it is.
    pub spec: &'a InstanceSpec,
    manifest: &'a Manifest,
    /// Its directories.
    pub at: Expansion,
    /// The user it has of its own; none where that would take more rights than there are.
    pub user: Option<u32>,
}

/// A host's directory.
pub fn host(work: &Path, host: &Name) -> PathBuf {
    work.join("hosts").join(host.as_str())
}

impl<'a> Program<'a> {
    /// The `number`th instance of the site.
    pub fn new(
        work: &Path,
        spec: &'a InstanceSpec,
        manifest: &'a Manifest,
        is_root: bool,
        number: usize,
    ) -> Result<Self> {
        let host = host(work, &spec.host);
        let home = host
            .join("instances")
            .join(format!("{}.{}", spec.id.site, spec.id.name));
        let at = Expansion {
            package: host.join("packages").join(spec.package.digest.to_string()),
            etc: home.join("etc"),
            data: home.join("data"),
            run: home.join("run"),
            log: home.join("log"),
            address: spec.address,
            ports: spec.ports.clone(),
            home,
        };
        let user = is_root.then_some(FIRST_USER + u32::try_from(number)?);
        Ok(Program {
            spec,
            manifest,
            at,
            user,
        })
    }

    /// A command with its placeholders replaced, run as the instance's user.
    pub fn command(&self, argv: &[String]) -> Result<Vec<String>> {
        let mut argv = expand(argv, &self.at)?;
        // The example's packages name their own programs with a directory, the system's without.
        if let Some(first) = argv
            .first_mut()
            .filter(|first| first.contains('/') && !first.starts_with('/'))
        {
            *first = self.at.package.join(&*first).to_string_lossy().into_owned();
        }
        let mut words = match (self.manifest.user, self.user) {
            (RunAs::Own, Some(user)) => {
                vec![
                    "setpriv".to_owned(),
                    format!("--reuid={user}"),
                    format!("--regid={user}"),
                    "--clear-groups".to_owned(),
                    "--".to_owned(),
                ]
            }
            _ => Vec::new(),
        };
        words.append(&mut argv);
        Ok(words)
    }

    /// The package's own command for an operation, if it has one.
    pub fn operation(&self, operation: Operation) -> Result<Option<Vec<String>>> {
        match self.manifest.operation(operation).action {
            Action::Command(argv) => self.command(&argv).map(Some),
            _ => Ok(None),
        }
    }

    /// A shell's line that starts the program in a session of its own and leaves it running, its
    /// output in its log.
    pub fn start(&self) -> Result<String> {
        let argv = match self.manifest.operation(Operation::Start).action {
            Action::Run(argv) | Action::Command(argv) => argv,
            _ => self.manifest.run.clone(),
        };
        let log = self.at.log.join("output.log");
        // The log is opened by its user: nginx opens it again by its name.
        let script = format!("exec \"$@\" >>{} 2>&1", quote(&log.to_string_lossy()));
        let run: Vec<String> = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned).into();
        let mut words = vec!["setsid".to_owned(), "--fork".to_owned()];
        let command = self.command(&argv)?;
        let user = command
            .iter()
            .position(|word| word == "--")
            .map_or(0, |end| end + 1);
        words.extend_from_slice(&command[..user]);
        words.extend(run);
        words.extend_from_slice(&command[user..]);
        let line = words
            .iter()
            .map(|word| quote(word))
            .collect::<Vec<_>>()
            .join(" ");
        Ok(format!("{line} </dev/null >/dev/null 2>&1"))
    }

    /// A shell's line that makes its directories.
    pub fn directories(&self) -> String {
        let quoted = |path: &Path| quote(&path.to_string_lossy());
        let below = |file: &str| self.at.home.join(file).parent().map(Path::to_path_buf);
        let mut directories = vec![
            self.at.etc.clone(),
            self.at.data.clone(),
            self.at.run.clone(),
            self.at.log.clone(),
        ];
        directories.extend(self.spec.files.iter().filter_map(|file| below(&file.path)));
        directories.sort();
        directories.dedup();
        let (group, owner) = match self.user {
            Some(user) => (
                format!(" -m 1770 -g {user}"),
                format!(" -o {user} -g {user}"),
            ),
            None => (" -m 700".to_owned(), String::new()),
        };
        let mut line = format!(
            "install -d{group} {} && install -d -m 700{owner}",
            quoted(&self.at.home)
        );
        for directory in &directories {
            let _ = write!(line, " {}", quoted(directory));
        }
        line
    }

    /// A configuration file or variable with its tokens replaced.
    pub fn text(&self, plan: &Plan, text: &str, seed: u64) -> Result<String> {
        token::replace(text, |token| match token {
            token::Token::Path(name) => {
                let at = &self.at;
                let known = [
                    ("package", &at.package),
                    ("home", &at.home),
                    ("etc", &at.etc),
                    ("data", &at.data),
                    ("run", &at.run),
                    ("log", &at.log),
                ];
                let path = known.into_iter().find(|(known, _)| known == name);
                Ok(path.map(|(_, path)| path.to_string_lossy().into_owned()))
            }
            token::Token::Secret { app, name } => {
                let want = plan.apps.get(app).and_then(|app| app.secrets.get(name));
                let want =
                    want.ok_or_else(|| format!("the secret {app}/{name} is not in the plan"))?;
                Ok(Some(secret(app, name, want.length, seed)))
            }
        })
    }

    /// The variables that its commands find.
    pub fn environment(&self, plan: &Plan, seed: u64) -> Result<BTreeMap<String, String>> {
        let (spec, at) = (self.spec, &self.at);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), PATH.to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("HOME".to_owned(), text(&at.home)),
        ]);
        env.extend(self.manifest.env.clone());
        for (name, value) in &spec.env {
            env.insert(name.clone(), self.text(plan, value, seed)?);
        }
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
            (
                "LOOKUP",
                format!(
                    "http://{}:{LOOKUP_PORT}/v1/sites/{}/services",
                    spec.address, spec.id.site
                ),
            ),
        ];
        env.extend(own.map(|(name, value)| (format!("WRIGHT_{name}"), value)));
        let port_name = |name: &Name| {
            format!(
                "WRIGHT_PORT_{}",
                name.as_str().to_ascii_uppercase().replace('-', "_")
            )
        };
        env.extend(
            spec.ports
                .iter()
                .map(|(name, port)| (port_name(name), port.to_string())),
        );
        Ok(env)
    }
}

/// A secret of the wanted length: the same for all who use it, another for another seed.
fn secret(app: &Name, name: &Name, length: usize, seed: u64) -> String {
    let mut secret = String::new();
    while secret.len() < length {
        secret.push_str(
            &Digest::of(format!("{seed}/{app}/{name}/{}", secret.len()).as_bytes()).to_string(),
        );
    }
    secret.truncate(length);
    secret
}

/// A word as a shell reads it back.
fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,@+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quote("a/b-c.d"), "a/b-c.d");
        assert_eq!(quote("it's; $x"), r"'it'\''s; $x'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn secrets_have_their_length_and_follow_from_the_seed() {
        let (app, name) = ("db".parse().unwrap(), "password".parse().unwrap());
        assert_eq!(secret(&app, &name, 100, 1).len(), 100);
        assert_eq!(secret(&app, &name, 32, 1), secret(&app, &name, 32, 1));
        assert_ne!(secret(&app, &name, 32, 1), secret(&app, &name, 32, 2));
    }
}
