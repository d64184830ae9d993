//! What a baseline file names of templates, without a look at the rest of it.

use std::collections::BTreeSet;

use super::yaml::{self, Document, Value};

/// The templates that the baselines of a file name; of a file that is not YAML, none.
pub(crate) fn templates(file: &str, text: &str) -> BTreeSet<String> {
    let sections = sections(text);
    let mut found = BTreeSet::new();
    for section in sections.iter().flatten() {
        match yaml::parse(file, section) {
            Ok(documents) => found.extend(documents.iter().flat_map(named)),
            // It may be right where the rest of the document is with it.
            Err(_) => return parsed(file, text),
        }
    }
    match sections {
        Some(_) => found,
        None => parsed(file, text),
    }
}

fn parsed(file: &str, text: &str) -> BTreeSet<String> {
    let documents = yaml::parse(file, text).unwrap_or_default();
    documents.iter().flat_map(named).collect()
}

/// The templates that a document names.
fn named(document: &Document) -> Vec<String> {
    let Some(config) = document.root.get("config") else {
        return Vec::new();
    };
    let entries = match &config.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![config],
    };
    let named = entries
        .into_iter()
        .filter_map(|entry| match &entry.get("template")?.value {
            Value::Text(name) => Some(name.clone()),
            _ => None,
        });
    named.collect()
}

/// The different `config` sections of a file's documents, each from its key to the next one; `None`
/// where a document is not written as keys at the beginning of lines, as people write them.
fn sections(text: &str) -> Option<BTreeSet<&str>> {
    let mut sections = BTreeSet::new();
    let (mut begun, mut at) = (None, 0);
    for line in text.split_inclusive('\n') {
        let begins = at;
        at += line.len();
        let bare = line.trim_end();
        // What a key holds may go on at the beginning of a line as a list or the end of brackets.
        if bare.is_empty() || bare.starts_with([' ', '#', '}', ']']) || bare.starts_with("- ") {
            continue;
        }
        sections.extend(begun.take().map(|from| &text[from..begins]));
        if bare == "---" {
            continue;
        }
        let (key, rest) = bare.split_once(':')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if key.is_empty() || !key.chars().all(plain) || !(rest.is_empty() || rest.starts_with(' '))
        {
            return None;
        }
        if key == "config" {
            begun = Some(begins);
        }
    }
    sections.extend(begun.map(|from| &text[from..]));
    Some(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_those_that_the_whole_file_names_however_it_is_written() {
        let texts = [
            "app: a\nconfig: { file: x, template: a.j2 }\nready: {}\n---\napp: b\nconfig:\n- file: y\n  template: b.j2\n# so\n- { file: z, template: c.j2 }\nstore: true\n",
            "app: a\nconfig: {\n  file: x, template: a.j2\n}\n",
            "{ app: a, config: { template: a.j2 } }\n",
            "app: a\n\"config\": { template: a.j2 }\n",
            "app: a\nenv: { template: no.j2 }\n",
            "app: a\nparameters: &all { template: a.j2 }\nconfig: *all\n",
            "app: a\nenv:\n  x: |\n    config: { template: no.j2 }\nconfig:\n  template: a.j2",
            "app: a\nconfig: { template: a.j2",
            "",
        ];
        for text in texts {
            assert_eq!(templates("f", text), parsed("f", text), "{text}");
        }
        let two = templates("f", texts[0]);
        assert_eq!(
            two.iter().map(String::as_str).collect::<Vec<_>>(),
            ["a.j2", "b.j2", "c.j2"]
        );
    }
}
