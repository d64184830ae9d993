//! Field owners: what each manager applies is the manager's. Pure.

use std::collections::BTreeMap;

use indexmap::IndexSet;
use serde_json::{Map, Value};

use super::{Content, Contested};
use crate::{
    kind::{Kind, Violation, quoted, sealed},
    record::{Owners, Record},
};

const LABEL: &str = "labels:";

/// The paths of what is said, in the order in which it is said: `field`, `field/key` of a map or an object, `labels:key`.
fn paths(
    kind: &Kind,
    labels: &BTreeMap<String, String>,
    body: &Map<String, Value>,
) -> IndexSet<String> {
    let mut paths: IndexSet<String> = labels.keys().map(|key| format!("{LABEL}{key}")).collect();
    for (field, value) in body {
        match value {
            Value::Object(map) if kind.has_keys(field) && sealed(value).is_none() => {
                paths.extend(map.keys().map(|key| format!("{field}/{key}")));
            }
            Value::Null => {}
            _ => {
                paths.insert(field.clone());
            }
        }
    }
    paths
}

/// What stands at a path.
fn at(path: &str, labels: &BTreeMap<String, String>, body: &Map<String, Value>) -> Option<Value> {
    if let Some(label) = path.strip_prefix(LABEL) {
        return labels.get(label).map(|value| Value::String(value.clone()));
    }
    match path.split_once('/') {
        Some((field, key)) => body.get(field)?.get(key).cloned(),
        None => body.get(path).cloned(),
    }
}

fn set(
    path: &str,
    value: Option<Value>,
    labels: &mut BTreeMap<String, String>,
    body: &mut Map<String, Value>,
) {
    if let Some(label) = path.strip_prefix(LABEL) {
        match value {
            Some(Value::String(text)) => labels.insert(label.to_owned(), text),
            _ => labels.remove(label),
        };
        return;
    }
    let Some((field, key)) = path.split_once('/') else {
        match value {
            Some(value) => body.insert(path.to_owned(), value),
            None => body.shift_remove(path),
        };
        return;
    };
    match value {
        Some(value) => {
            let map = body
                .entry(field)
                .or_insert_with(|| Value::Object(Map::new()));
            if !map.is_object() {
                *map = Value::Object(Map::new());
            }
            if let Value::Object(map) = map {
                // The order in which keys are said is that in which they are shown.
                map.shift_remove(key);
                map.insert(key.to_owned(), value);
            }
        }
        None => {
            if let Some(Value::Object(map)) = body.get_mut(field) {
                map.shift_remove(key);
                if map.is_empty() {
                    body.shift_remove(field);
                }
            }
        }
    }
}

/// What is applied, on the way from what people send to what is stored.
pub(super) struct Applied {
    /// What will stand, before it is validated.
    pub content: Content,
    paths: IndexSet<String>,
    owners: Owners,
    manager: String,
}

/// Lays what a manager applies over what is there; what the manager no longer applies goes.
pub(super) fn lay(
    kind: &Kind,
    before: Option<&Record>,
    applied: Content,
    manager: &str,
) -> Result<Applied, Vec<Violation>> {
    let Value::Object(given) = applied.body else {
        let found = quoted(&applied.body);
        let violation = Violation::new("body", "", found, "an object of fields");
        return Err(vec![violation]);
    };
    let paths = paths(kind, &applied.labels, &given);
    let (mut labels, mut body, mut owners) = before.map_or_else(Default::default, |before| {
        (
            before.labels.clone(),
            before.body.clone(),
            before.owners.clone(),
        )
    });
    owners.retain(|path, managers| {
        if !paths.contains(path) {
            let held = managers.len();
            managers.retain(|one| one != manager);
            if held > 0 && managers.is_empty() {
                set(path, None, &mut labels, &mut body);
            }
        }
        !managers.is_empty()
    });
    for path in &paths {
        let value = at(path, &applied.labels, &given);
        set(path, value, &mut labels, &mut body);
    }
    Ok(Applied {
        content: Content {
            labels,
            body: Value::Object(body),
        },
        paths,
        owners,
        manager: manager.to_owned(),
    })
}

impl Applied {
    /// Who owns what from now on, where the manager may apply it.
    pub fn owners(
        mut self,
        before: Option<&Record>,
        after: &Record,
        force: bool,
    ) -> Result<Owners, Vec<Contested>> {
        let mut contested = Vec::new();
        for path in self.paths {
            let is = at(&path, &after.labels, &after.body);
            let was = before.and_then(|before| at(&path, &before.labels, &before.body));
            let managers = self.owners.entry(path.clone()).or_default();
            let others = managers.iter().any(|one| *one != self.manager);
            if is == was {
                if !managers.contains(&self.manager) {
                    managers.push(self.manager.clone());
                }
                continue;
            }
            if others && !force {
                let value = |value: Option<Value>| quoted(&value.unwrap_or(Value::Null));
                contested.push(Contested {
                    field: path,
                    owners: managers
                        .iter()
                        .filter(|one| **one != self.manager)
                        .cloned()
                        .collect(),
                    found: value(was),
                    applied: value(is),
                });
                continue;
            }
            *managers = vec![self.manager.clone()];
        }
        if contested.is_empty() {
            Ok(self.owners)
        } else {
            Err(contested)
        }
    }
}

/// Who owns what after somebody wrote without applying: what he changed is his.
pub(super) fn after_write(kind: &Kind, before: &Record, after: &Record, actor: &str) -> Owners {
    let mut owners = before.owners.clone();
    if owners.is_empty() {
        return owners;
    }
    let (was, is) = (
        paths(kind, &before.labels, &before.body),
        paths(kind, &after.labels, &after.body),
    );
    for path in was.union(&is) {
        let now = at(path, &after.labels, &after.body);
        if now.is_none() {
            owners.remove(path);
        } else if now != at(path, &before.labels, &before.body) {
            owners.insert(path.clone(), vec![actor.to_owned()]);
        }
    }
    owners
}
