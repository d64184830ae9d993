use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A field that is another in two states.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Its path, such as `disks.size`; empty where the whole is another.
    pub field: String,
    /// What it was; null where it was not there.
    pub before: Value,
    /// What it is; null where it is gone.
    pub after: Value,
}

/// What is different between two bodies, field by field; lists are compared as a whole.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    let (Value::Object(was), Value::Object(is)) = (before, after) else {
        if before != after {
            found.push(Difference {
                field: path.to_owned(),
                before: before.clone(),
                after: after.clone(),
            });
        }
        return;
    };
    let gone = was.keys().filter(|key| !is.contains_key(*key));
    for key in is.keys().chain(gone) {
        let path = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        let side = |side: &serde_json::Map<String, Value>| side.get(key).cloned();
        let (was, is) = (
            side(was).unwrap_or(Value::Null),
            side(is).unwrap_or(Value::Null),
        );
        compare(&path, &was, &is, found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_is_another_is_told_with_both_values() {
        let before = json!({ "a": 1, "b": { "c": 1, "d": 2 }, "e": [1], "f": 1 });
        let after = json!({ "a": 1, "b": { "c": 2 }, "e": [1, 2], "g": 1 });
        let told: Vec<String> = differences(&before, &after)
            .into_iter()
            .map(|one| format!("{} {} {}", one.field, one.before, one.after))
            .collect();
        assert_eq!(
            told,
            [
                "b.c 1 2",
                "b.d 2 null",
                "e [1] [1,2]",
                "g null 1",
                "f 1 null"
            ]
        );
        assert!(differences(&before, &before).is_empty());
    }
}
