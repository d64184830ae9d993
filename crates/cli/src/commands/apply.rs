//! `wright apply`: what files say, in the inventory.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use wright_inventory::{Change, Content, Write, kind::KIND};
use wright_server::api::{KindView, OutcomeView, Transaction, TransactionAnswer};

use super::{Context, inventory::outcomes};
use crate::{args::ApplyArgs, failure::Failure};

/// How many resources go into one transaction: as many as fit into a commit where each has a few
/// references and constraints.
const TOGETHER: usize = 100;

/// A resource as files have it; what a reader got may be applied again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    kind: String,
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    created: u64,
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    updated_at: String,
    #[serde(default)]
    owners: Value,
}

/// A resource and where it begins.
#[derive(Debug)]
struct Written {
    file: String,
    line: u32,
    document: Document,
}

impl Written {
    /// As the server calls it in what it finds.
    fn label(&self) -> String {
        format!("{}/{}", self.document.kind, self.document.name)
    }
}

/// Applies all resources of the files: kinds first, one by one, then the others together.
pub async fn run(context: Context, args: ApplyArgs) -> Result<(), Failure> {
    let mut documents = Vec::new();
    for file in sources(&args.files)? {
        documents.extend(read(&file)?);
    }
    if documents.is_empty() {
        return Err(Failure::usage("there are no resources in these files"));
    }
    let (kinds, mut others): (Vec<_>, Vec<_>) = documents
        .into_iter()
        .partition(|one: &Written| one.document.kind == KIND);
    if args.dry_run {
        skip_unknown(&context, &kinds, &mut others).await?;
    }
    let parts = kinds.chunks(1).chain(others.chunks(TOGETHER));
    let mut done: Vec<OutcomeView> = Vec::new();
    for part in parts {
        let transaction = Transaction {
            writes: part
                .iter()
                .map(|one| applied(&one.document, &args))
                .collect(),
            why: args.why.clone(),
            dry_run: args.dry_run,
        };
        let answer = context.client.post("/transactions", &transaction).await;
        let answer = answer.map_err(|mut failure: Failure| {
            for one in part {
                failure.place(&one.label(), &one.file, one.line);
            }
            failure
        });
        let answer: TransactionAnswer = match answer {
            Ok(answer) => answer,
            Err(failure) if done.is_empty() => return Err(failure),
            Err(failure) => {
                // What stands before it was committed on its own.
                outcomes(context.format, &done)?;
                return Err(failure.about(&"the others were not applied"));
            }
        };
        done.extend(answer.outcomes);
    }
    outcomes(context.format, &done)
}

/// Of a dry run, leaves out resources of kinds that the same files would make: there is nothing yet to
/// hold them against.
async fn skip_unknown(
    context: &Context,
    kinds: &[Written],
    others: &mut Vec<Written>,
) -> Result<(), Failure> {
    let known: Vec<KindView> = context.client.get("/kinds").await?;
    let is_new = |kind: &str| {
        kinds.iter().any(|one| one.document.name == kind)
            && !known.iter().any(|one| one.name == kind)
    };
    others.retain(|one| {
        let is_new = is_new(&one.document.kind);
        if is_new {
            eprintln!(
                "{} is not looked at: its kind is not there yet",
                one.label()
            );
        }
        !is_new
    });
    Ok(())
}

fn applied(document: &Document, args: &ApplyArgs) -> Write {
    let body = match &document.body {
        Value::Null => Value::Object(Map::new()),
        body => body.clone(),
    };
    let change = Change::Apply {
        content: Content {
            labels: document.labels.clone(),
            body,
        },
        manager: args.manager.clone(),
        force: args.force,
    };
    Write::new(&document.kind, &document.name, change)
}

/// The files that are meant; of directories, those that hold resources, by name.
fn sources(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let about = |error| Failure::usage(format!("{}: {error}", path.display()));
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(about)? {
            let file = entry.map_err(about)?.path();
            let sort = file.extension().and_then(|sort| sort.to_str());
            if matches!(sort, Some("yaml" | "yml" | "json")) {
                inside.push(file);
            }
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

fn read(file: &Path) -> Result<Vec<Written>, Failure> {
    let about =
        |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(file).map_err(|error| about(&error))?;
    }
    let documents = documents(&text).map_err(|error| about(&error))?;
    let written = documents.into_iter().map(|one| Written {
        file: file.display().to_string(),
        line: u32::try_from(one.referenced.line()).unwrap_or(0).max(1),
        document: one.value,
    });
    Ok(written.collect())
}

/// YAML, of which JSON is a part: several documents, or one list of them.
fn documents(text: &str) -> Result<Vec<Spanned<Document>>, serde_saphyr::Error> {
    let said = |line: &&str| !line.is_empty() && !line.starts_with('#') && *line != "---";
    let first = text.lines().map(str::trim).find(said).unwrap_or_default();
    if first.starts_with(['-', '[']) {
        serde_saphyr::from_str(text)
    } else {
        serde_saphyr::from_multiple(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let documents = documents(text).unwrap();
        documents
            .into_iter()
            .map(|one| format!("{}/{}", one.value.kind, one.value.name))
            .collect()
    }

    #[test]
    fn several_documents_a_list_and_json_are_resources() {
        let wanted = ["rack/r1", "room/b2"];
        for text in [
            "kind: rack\nname: r1\nbody: { units: 4 }\n---\nkind: room\nname: b2\n",
            "---\nkind: rack\nname: r1\n---\nkind: room\nname: b2\nlabels: { a: b }\n",
            "- { kind: rack, name: r1 }\n- { kind: room, name: b2 }\n",
            "---\n- { kind: rack, name: r1 }\n- { kind: room, name: b2 }\n",
            r#"[{ "kind": "rack", "name": "r1", "revision": 7 }, { "kind": "room", "name": "b2" }]"#,
        ] {
            assert_eq!(names(text), wanted, "{text}");
        }
    }

    #[test]
    fn each_resource_is_found_where_it_begins() {
        let lines = |text: &str| -> Vec<_> {
            let documents = documents(text).unwrap();
            documents.iter().map(|one| one.referenced.line()).collect()
        };
        let several = "kind: rack\nname: r1\n---\n# the room\nkind: room\nname: b2\n";
        assert_eq!(lines(several), [1, 5]);
        let list = "- { kind: rack, name: r1 }\n- kind: room\n  name: b2\n";
        assert_eq!(lines(list), [1, 2]);
    }

    #[test]
    fn what_is_no_resource_is_refused_with_its_place() {
        let error = documents("kind: rack\nname: r1\nbdy: {}\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("bdy") && error.contains('3'), "{error}");
    }
}
