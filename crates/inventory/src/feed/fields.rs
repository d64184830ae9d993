use std::collections::BTreeMap;

use serde_json::Value;

use crate::Resource;

/// The fields in which two states of a resource differ, in order: `labels.tier`, `body.state`,
/// `body.ports.http`. Objects are compared field by field, lists as a whole. Of a resource that is
/// new or gone: all it has or had.
pub fn changed_fields(before: Option<&Resource>, after: Option<&Resource>) -> Vec<String> {
    let mut changed = Vec::new();
    let empty = BTreeMap::new();
    let labels = |side: Option<&Resource>| side.map_or_else(|| empty.clone(), |r| r.labels.clone());
    let (old, new) = (labels(before), labels(after));
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    changed.extend(
        names
            .into_iter()
            .filter(|name| old.get(*name) != new.get(*name))
            .map(|name| format!("labels.{name}")),
    );
    let mut path = "body".to_owned();
    compare(
        &mut path,
        before.map(|resource| &resource.body),
        after.map(|resource| &resource.body),
        &mut changed,
    );
    changed
}

fn compare(
    path: &mut String,
    before: Option<&Value>,
    after: Option<&Value>,
    changed: &mut Vec<String>,
) {
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for (name, old) in before {
                within(path, name, Some(old), after.get(name), changed);
            }
            for (name, new) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
                within(path, name, None, Some(new), changed);
            }
        }
        (Some(Value::Object(fields)), None) if !fields.is_empty() => {
            for (name, old) in fields {
                within(path, name, Some(old), None, changed);
            }
        }
        (None, Some(Value::Object(fields))) if !fields.is_empty() => {
            for (name, new) in fields {
                within(path, name, None, Some(new), changed);
            }
        }
        (before, after) if before != after => changed.push(path.clone()),
        _ => {}
    }
}

fn within(
    path: &mut String,
    name: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    changed: &mut Vec<String>,
) {
    let end = path.len();
    path.push('.');
    path.push_str(name);
    compare(path, before, after, changed);
    path.truncate(end);
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn resource(labels: &[(&str, &str)], body: Value) -> Resource {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Resource {
            kind: "host".to_owned(),
            name: "h1".to_owned(),
            labels: labels.iter().map(owned).collect(),
            body,
            owners: crate::Owners::new(),
            created: 1,
            revision: 1,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn fields_that_differ_are_named_down_to_where_they_do() {
        let before = resource(
            &[("tier", "web"), ("gone", "1")],
            json!({ "cpu": 1, "ports": { "http": 1, "admin": 2 }, "ips": [1], "same": {} }),
        );
        let after = resource(
            &[("tier", "db")],
            json!({ "cpu": 1, "ports": { "http": 9, "new": { "a": 1 } }, "ips": [2], "same": {} }),
        );
        assert_eq!(
            changed_fields(Some(&before), Some(&after)),
            [
                "labels.gone",
                "labels.tier",
                "body.ports.http",
                "body.ports.admin",
                "body.ports.new.a",
                "body.ips"
            ]
        );
        assert!(changed_fields(Some(&after), Some(&after)).is_empty());
    }

    #[test]
    fn of_a_new_resource_and_of_one_that_is_gone_all_fields_are_named() {
        let it = resource(&[("tier", "web")], json!({ "cpu": 1, "empty": {} }));
        let all = ["labels.tier", "body.cpu", "body.empty"];
        assert_eq!(changed_fields(None, Some(&it)), all);
        assert_eq!(changed_fields(Some(&it), None), all);
    }
}
