use serde_json::{Map, Value, json};

use crate::{Difference, Resource, differences};

/// What differs in two states of a resource: `labels.tier`, `body.state`, `body.ports.http`. Of a
/// resource that is new or gone: each field that it has or had.
pub fn changed_fields(before: Option<&Resource>, after: Option<&Resource>) -> Vec<Difference> {
    let none = Value::Object(Map::new());
    let labels = |side: Option<&Resource>| side.map_or_else(|| none.clone(), |it| json!(it.labels));
    let mut changed = within("labels", &labels(before), &labels(after));
    let body = |side: Option<&Resource>| side.map_or(none.clone(), |it| it.body.clone());
    changed.extend(match (before, after) {
        (Some(before), Some(after)) => within("body", &before.body, &after.body),
        _ => within("body", &body(before), &body(after)),
    });
    changed
}

fn within(part: &str, before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = differences(before, after);
    for one in &mut found {
        one.field = match one.field.as_str() {
            "" => part.to_owned(),
            field => format!("{part}.{field}"),
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

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

    fn fields(before: Option<&Resource>, after: Option<&Resource>) -> Vec<String> {
        let mut fields: Vec<String> = changed_fields(before, after)
            .into_iter()
            .map(|one| one.field)
            .collect();
        fields.sort();
        fields
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
            fields(Some(&before), Some(&after)),
            [
                "body.ips",
                "body.ports.admin",
                "body.ports.http",
                "body.ports.new",
                "labels.gone",
                "labels.tier"
            ]
        );
        assert!(fields(Some(&after), Some(&after)).is_empty());
    }

    #[test]
    fn of_a_new_resource_and_of_one_that_is_gone_all_fields_are_named() {
        let it = resource(&[("tier", "web")], json!({ "cpu": 1, "empty": {} }));
        let all = ["body.cpu", "body.empty", "labels.tier"];
        assert_eq!(fields(None, Some(&it)), all);
        assert_eq!(fields(Some(&it), None), all);
    }
}
