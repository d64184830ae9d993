use std::collections::BTreeMap;

use wright_model::{
    Check, CheckKind, Diagnostic, Expectation, HttpCheck, Name, Probe, Span, nearest,
};

use super::{
    Read,
    app::{READY_WITHIN, ReadyWithin},
};
use crate::input::files::{Baseline, Http, Port, Tcp};

const LONGEST: Span = Span::from_secs(3600);

/// Provided ports that the app does not have.
pub(super) fn provides(baseline: &Read<Baseline>, found: &mut Vec<Diagnostic>) {
    for (index, port) in baseline.value.provides.iter().enumerate() {
        let index = index.to_string();
        known_port(baseline, port, &["provides", &index], found);
    }
}

fn known_port(
    baseline: &Read<Baseline>,
    port: &Name,
    path: &[&str],
    found: &mut Vec<Diagnostic>,
) -> bool {
    let ports: &BTreeMap<Name, Port> = &baseline.value.ports;
    if ports.contains_key(port) {
        return true;
    }
    let message = format!("`{}` has no port `{port}`", baseline.value.app);
    let help = match nearest(port.as_str(), ports.keys().map(Name::as_str)) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("add it: `ports: {{ {port}: 8080 }}`"),
    };
    found.push(baseline.error("unknown-port", path, message).help(help));
    false
}

/// The readiness check, or nothing where it is wrong.
pub(super) fn ready(baseline: &Read<Baseline>, found: &mut Vec<Diagnostic>) -> Option<ReadyWithin> {
    let five = Span::from_secs(5);
    let Some(ready) = &baseline.value.ready else {
        let check = match baseline.value.ports.keys().next() {
            Some(port) => CheckKind::Tcp(port.clone()),
            None => CheckKind::Monitor,
        };
        return Some((
            Probe {
                check,
                every: five,
                timeout: five,
            },
            READY_WITHIN,
        ));
    };
    if ready.monitor == Some(false) {
        let message = "`ready.monitor` can only be `true`";
        let help = "write `true`, or another check";
        found.push(
            baseline
                .error("wrong-type", &["ready", "monitor"], message)
                .help(help),
        );
        return None;
    }
    let parts = Parts {
        http: ready.http.as_ref(),
        tcp: ready.tcp.as_ref(),
        command: ready.command.as_ref(),
        monitor: ready.monitor.is_some(),
    };
    let check = kind(
        baseline,
        &["ready"],
        &parts,
        "http, tcp, command, monitor",
        found,
    )?;
    let times = [
        ("within", ready.within),
        ("every", ready.every),
        ("timeout", ready.timeout),
    ];
    for (field, span) in times {
        span_in_range(baseline, &["ready", field], field, span, found);
    }
    let probe = Probe {
        check,
        every: ready.every.unwrap_or(five),
        timeout: ready.timeout.unwrap_or(five),
    };
    Some((probe, ready.within.unwrap_or(READY_WITHIN)))
}

/// The checks made once an instance is ready.
pub(super) fn verify(baseline: &Read<Baseline>, found: &mut Vec<Diagnostic>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (index, entry) in baseline.value.verify.iter().enumerate() {
        let index = index.to_string();
        let path = ["verify", index.as_str()];
        let parts = Parts {
            http: entry.http.as_ref(),
            tcp: entry.tcp.as_ref(),
            command: entry.command.as_ref(),
            monitor: false,
        };
        let check = kind(baseline, &path, &parts, "http, tcp, command", found);
        span_in_range(
            baseline,
            &[path[0], path[1], "within"],
            "within",
            entry.within,
            found,
        );
        if let Some(check) = check {
            checks.push(Check {
                check,
                within: entry.within.unwrap_or(Span::from_secs(30)),
            });
        }
    }
    checks
}

fn span_in_range(
    baseline: &Read<Baseline>,
    path: &[&str],
    field: &str,
    span: Option<Span>,
    found: &mut Vec<Diagnostic>,
) {
    if let Some(span) = span.filter(|s| s.millis() < 10 || *s > LONGEST) {
        let message = format!("`{field}` must be from 10ms to {LONGEST}; found {span}");
        found.push(
            baseline
                .error("out-of-range", path, message)
                .help("write another length of time"),
        );
    }
}

struct Parts<'a> {
    http: Option<&'a Http>,
    tcp: Option<&'a Tcp>,
    command: Option<&'a Vec<String>>,
    monitor: bool,
}

fn kind(
    baseline: &Read<Baseline>,
    path: &[&str],
    parts: &Parts<'_>,
    choices: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<CheckKind> {
    let below = |field: &'static str| [path, &[field]].concat();
    match (parts.http, parts.tcp, parts.command, parts.monitor) {
        (Some(entry), None, None, false) => http(baseline, &below("http"), entry, found),
        (None, Some(tcp), None, false) => {
            let known = known_port(
                baseline,
                &tcp.port,
                &[path, &["tcp", "port"]].concat(),
                found,
            );
            known.then(|| CheckKind::Tcp(tcp.port.clone()))
        }
        (None, None, Some(words), false) if !words.is_empty() => {
            Some(CheckKind::Command(words.clone()))
        }
        (None, None, None, true) => Some(CheckKind::Monitor),
        (None, None, Some(_), false) => {
            let message = "`command` is empty; a program and its arguments are expected";
            let error = baseline.error("empty-list", &below("command"), message);
            found.push(error.help("write it as a list: [ \"true\" ]"));
            None
        }
        _ => {
            let message = format!("`{}` must have exactly one of: {choices}", path.join("."));
            let given = parts.http.is_some() || parts.tcp.is_some() || parts.command.is_some();
            let help = if given || parts.monitor {
                "keep one of them"
            } else {
                "add one of them"
            };
            found.push(baseline.error("one-check", path, message).help(help));
            None
        }
    }
}

fn http(
    baseline: &Read<Baseline>,
    path: &[&str],
    entry: &Http,
    found: &mut Vec<Diagnostic>,
) -> Option<CheckKind> {
    let below = |field: &'static str| [path, &[field]].concat();
    let ports = &baseline.value.ports;
    let usual = ports
        .get_key_value("http")
        .or_else(|| ports.first_key_value().filter(|_| ports.len() == 1));
    let port = match (&entry.port, usual) {
        (Some(port), _) => {
            known_port(baseline, port, &below("port"), found).then(|| port.clone())?
        }
        (None, Some((port, _))) => port.clone(),
        (None, None) => {
            let message =
                "which port is asked is not said, and the app has neither `http` nor exactly one";
            let error = baseline.error("unknown-port", path, message);
            found.push(error.help("write `http: { port: NAME, path: … }`"));
            return None;
        }
    };
    if let Some(expression) = &entry.expect.json
        && let Err(errors) = cel::Program::compile(expression)
    {
        let message = format!(
            "`expect.json` is not a CEL expression: {}",
            cause(&errors.to_string())
        );
        let error = baseline.error(
            "bad-expression",
            &[path, &["expect", "json"]].concat(),
            message,
        );
        found.push(error.help("write a condition over `body`, such as size(body) == 1"));
    }
    Some(CheckKind::Http(HttpCheck {
        port,
        path: entry.path.clone(),
        method: entry
            .method
            .map_or("GET", |method| method.as_str())
            .to_owned(),
        headers: entry.headers.clone(),
        body: entry.body.clone(),
        expect: Expectation {
            status: entry.expect.status,
            json: entry.expect.json.clone(),
            contains: entry.expect.contains.clone(),
        },
    }))
}

/// The first error of a CEL parser without its prefix and its list of tokens.
fn cause(text: &str) -> &str {
    let line = text.lines().next().unwrap_or(text);
    let line = line
        .split_once("Syntax error: ")
        .map_or(line, |(_, error)| error);
    line.split(" expecting ").next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_broken_expression_does_not_compile() {
        assert!(cel::Program::compile("size(body) ==").is_err());
        assert!(cel::Program::compile("size(body) == 1").is_ok());
    }
}
