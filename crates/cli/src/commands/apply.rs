//! `wright apply`: what files say, in the inventory.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
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

/// Applies all resources of the files: kinds first, one by one, then the others together.
pub async fn run(context: Context, args: ApplyArgs) -> Result<(), Failure> {
    let mut documents = Vec::new();
    for file in sources(&args.files)? {
        documents.extend(read(&file)?);
    }
    if documents.is_empty() {
        return Err(Failure::usage("there are no resources in these files"));
    }
    let (kinds, mut others): (Vec<_>, Vec<_>) =
        documents.into_iter().partition(|one| one.kind == KIND);
    if args.dry_run {
        skip_unknown(&context, &kinds, &mut others).await?;
    }
    let parts = kinds.chunks(1).chain(others.chunks(TOGETHER));
    let mut done: Vec<OutcomeView> = Vec::new();
    for part in parts {
        let transaction = Transaction {
            writes: part
                .iter()
                .map(|document| applied(document, &args))
                .collect(),
            why: args.why.clone(),
            dry_run: args.dry_run,
        };
        let answer = context.client.post("/transactions", &transaction).await;
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
    kinds: &[Document],
    others: &mut Vec<Document>,
) -> Result<(), Failure> {
    let known: Vec<KindView> = context.client.get("/kinds").await?;
    let is_new = |kind: &str| {
        kinds.iter().any(|one| one.name == kind) && !known.iter().any(|one| one.name == kind)
    };
    others.retain(|one| {
        let is_new = is_new(&one.kind);
        if is_new {
            eprintln!(
                "{}/{} is not looked at: its kind is not there yet",
                one.kind, one.name
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

fn read(file: &Path) -> Result<Vec<Document>, Failure> {
    let about =
        |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(file).map_err(|error| about(&error))?;
    }
    documents(&text).map_err(|error| about(&error))
}

/// YAML, of which JSON is a part: several documents, or one list of them.
fn documents(text: &str) -> Result<Vec<Document>, serde_saphyr::Error> {
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
            .map(|one| format!("{}/{}", one.kind, one.name))
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
    fn what_is_no_resource_is_refused_with_its_place() {
        let error = documents("kind: rack\nname: r1\nbdy: {}\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("bdy") && error.contains('3'), "{error}");
    }
}
