use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use wright_model::Name;

/// The placeholders of fixed name; `{port.NAME}` comes to them.
pub(crate) const FIXED: [&str; 7] = ["package", "etc", "data", "run", "log", "home", "address"];

/// What the placeholders in `run` and `command` stand for, for one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expansion {
    /// `{package}`: the unpacked package.
    pub package: PathBuf,
    /// `{home}`: the instance's directory.
    pub home: PathBuf,
    /// `{etc}`: its configuration.
    pub etc: PathBuf,
    /// `{data}`: what it keeps.
    pub data: PathBuf,
    /// `{run}`: sockets and process ids.
    pub run: PathBuf,
    /// `{log}`: its logs.
    pub log: PathBuf,
    /// `{address}`: where it listens.
    pub address: IpAddr,
    /// `{port.NAME}`: its ports.
    pub ports: BTreeMap<Name, u16>,
}

/// Why a command could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The baseline gives the instance no port of this name.
    #[error(
        "`{{port.{port}}}` stands for nothing: the baseline has the ports [{known}]; add `ports: {{ {port}: auto }}` to it"
    )]
    UnknownPort {
        /// The name asked for.
        port: String,
        /// The names there are.
        known: String,
    },
    /// No such placeholder. Manifests are checked when they are read, so theirs never has one.
    #[error("`{{{0}}}` is not a placeholder; write `{{{{{0}}}}}` for the text itself")]
    UnknownPlaceholder(String),
    /// A directory's name is not UTF-8 and cannot stand in a command.
    #[error("the path {} is not UTF-8 and cannot stand in a command", .0.display())]
    NotUtf8(PathBuf),
}

/// Puts an instance's values for the placeholders of a command.
///
/// `{name}` is a placeholder; `{{name}}` stands for the text `{name}`; braces around anything else,
/// and `${NAME}`, stay as they are, so that shell, awk and JSON can be written without escapes.
///
/// # Errors
/// Where a placeholder stands for nothing.
pub fn expand(argv: &[String], expansion: &Expansion) -> Result<Vec<String>, ExpandError> {
    argv.iter()
        .map(|word| expand_word(word, expansion))
        .collect()
}

fn expand_word(word: &str, expansion: &Expansion) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(word.len());
    for piece in pieces(word) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Placeholder(name) => out.push_str(&value(name, expansion)?),
        }
    }
    Ok(out)
}

fn value(name: &str, expansion: &Expansion) -> Result<String, ExpandError> {
    let path = match name {
        "package" => &expansion.package,
        "home" => &expansion.home,
        "etc" => &expansion.etc,
        "data" => &expansion.data,
        "run" => &expansion.run,
        "log" => &expansion.log,
        "address" => return Ok(expansion.address.to_string()),
        _ => return port(name, &expansion.ports),
    };
    utf8(path)
}

fn utf8(path: &Path) -> Result<String, ExpandError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| ExpandError::NotUtf8(path.to_owned()))
}

fn port(name: &str, ports: &BTreeMap<Name, u16>) -> Result<String, ExpandError> {
    let port = name
        .strip_prefix("port.")
        .ok_or_else(|| ExpandError::UnknownPlaceholder(name.to_owned()))?;
    ports
        .get(port)
        .map(u16::to_string)
        .ok_or_else(|| ExpandError::UnknownPort {
            port: port.to_owned(),
            known: ports
                .keys()
                .map(Name::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// The first thing in a word that looks like a placeholder and is none, with its byte offset.
pub(crate) fn first_unknown(word: &str) -> Option<(usize, &str)> {
    pieces(word).into_iter().find_map(|piece| match piece {
        Piece::Placeholder(name) if !is_known(name) => {
            Some((name.as_ptr().addr() - word.as_ptr().addr() - 1, name))
        }
        _ => None,
    })
}

fn is_known(name: &str) -> bool {
    FIXED.contains(&name)
        || name
            .strip_prefix("port.")
            .is_some_and(|port| port.parse::<Name>().is_ok())
}

enum Piece<'w> {
    Text(&'w str),
    Placeholder(&'w str),
}

fn pieces(word: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut done, mut at) = (0, 0);
    while let Some(open) = word[at..].find('{').map(|found| at + found) {
        at = open + 1;
        let shell = word[..open].ends_with('$');
        let doubled = word[at..].starts_with('{');
        let start = if doubled { at + 1 } else { at };
        let end = start + identifier(&word[start..]);
        let closing = if doubled { "}}" } else { "}" };
        if shell || end == start || !word[end..].starts_with(closing) {
            continue;
        }
        pieces.push(Piece::Text(&word[done..open]));
        pieces.push(if doubled {
            Piece::Text(&word[at..=end])
        } else {
            Piece::Placeholder(&word[start..end])
        });
        done = end + closing.len();
        at = done;
    }
    pieces.push(Piece::Text(&word[done..]));
    pieces
}

/// The length of the identifier at the beginning: a letter, then letters, digits, `.`, `-` and `_`.
fn identifier(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_'))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> Expansion {
        let home = PathBuf::from("/srv/shop.catalog-1");
        Expansion {
            package: "/srv/packages/ab".into(),
            etc: home.join("etc"),
            data: home.join("data"),
            run: home.join("run"),
            log: home.join("log"),
            home,
            address: "127.77.0.3".parse().unwrap(),
            ports: BTreeMap::from([("http".parse().unwrap(), 8080)]),
        }
    }

    fn expanded(word: &str) -> Result<String, ExpandError> {
        expand(&[word.to_owned()], &instance()).map(|mut words| words.remove(0))
    }

    #[test]
    fn placeholders_become_the_instances_values() {
        assert_eq!(
            expanded("--listen={address}:{port.http}").unwrap(),
            "--listen=127.77.0.3:8080"
        );
        assert_eq!(expanded("{package}/bin").unwrap(), "/srv/packages/ab/bin");
        for name in FIXED {
            assert!(
                !expanded(&format!("{{{name}}}")).unwrap().contains('{'),
                "{name}"
            );
        }
    }

    #[test]
    fn other_braces_stay_as_they_are() {
        for text in [
            "${HOME}",
            "{ print $1 }",
            "{}",
            r#"{"a":{"b":1}}"#,
            "{",
            "a{b",
            "ä{1}ö",
        ] {
            assert_eq!(expanded(text).unwrap(), text);
        }
        assert_eq!(expanded("{{data}}").unwrap(), "{data}");
    }

    #[test]
    fn a_port_the_baseline_does_not_give_is_an_error() {
        let error = expanded("{port.grpc}").unwrap_err().to_string();
        assert!(
            error.contains("`{port.grpc}` stands for nothing") && error.contains("[http]"),
            "{error}"
        );
    }

    #[test]
    fn what_looks_like_a_placeholder_and_is_none_is_found() {
        assert_eq!(first_unknown("--dir={dtaa}"), Some((6, "dtaa")));
        assert_eq!(first_unknown("{port.HTTP}"), Some((0, "port.HTTP")));
        assert_eq!(first_unknown("{data} ${DATA} {{x}}"), None);
    }
}
