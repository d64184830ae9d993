use serde_json::Value;

use crate::Rule;

/// Which fields of a target somebody may see or write: those that one of his rules allows.
#[derive(Debug, Clone, Default)]
pub struct Fields<'a> {
    rules: Vec<&'a Rule>,
}

impl<'a> Fields<'a> {
    pub(crate) fn add(&mut self, rule: &'a Rule) {
        self.rules.push(rule);
    }

    /// Whether not one is allowed: the rules do not speak of the target.
    pub fn is_none(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether all of them are.
    pub fn is_all(&self) -> bool {
        let whole = |rule: &&Rule| rule.fields.is_empty() && rule.except.is_empty();
        self.rules.iter().any(whole)
    }

    /// Whether the field at this path (names with dots between, no indexes) is, with all below it.
    pub fn cover(&self, path: &str) -> bool {
        let one = |rule: &&Rule| {
            let taken = |except: &String| within(path, except) || within(except, path);
            named(rule, path) && !rule.except.iter().any(taken)
        };
        self.rules.iter().any(one)
    }

    /// Whether the field at this path is, or something below it.
    fn touch(&self, path: &str) -> bool {
        let one = |rule: &&Rule| {
            let below = rule.fields.iter().any(|field| within(field, path));
            (named(rule, path) || below) && !rule.except.iter().any(|field| within(path, field))
        };
        self.rules.iter().any(one)
    }

    /// Takes out of a body what is not allowed.
    pub fn prune(&self, body: &mut Value) {
        if !self.is_all() {
            self.prune_at("", body);
        }
    }

    fn prune_at(&self, path: &str, value: &mut Value) {
        match value {
            Value::Object(fields) => fields.retain(|name, value| {
                let path = join(path, name);
                if self.cover(&path) {
                    return true;
                }
                let holds_more = matches!(value, Value::Object(_) | Value::Array(_));
                if !holds_more || !self.touch(&path) {
                    return false;
                }
                self.prune_at(&path, value);
                true
            }),
            // What a list holds has the list's path; a bare value in it is the field itself.
            Value::Array(items) => items.retain_mut(|item| {
                let holds_more = matches!(item, Value::Object(_) | Value::Array(_));
                if holds_more {
                    self.prune_at(path, item);
                }
                holds_more
            }),
            _ => {}
        }
    }

    /// The first field that differs between two bodies and is not allowed.
    pub fn trespass(&self, before: Option<&Value>, after: Option<&Value>) -> Option<String> {
        if self.is_all() {
            return None;
        }
        self.trespass_at(
            "",
            before.unwrap_or(&Value::Null),
            after.unwrap_or(&Value::Null),
        )
    }

    fn trespass_at(&self, path: &str, before: &Value, after: &Value) -> Option<String> {
        if before == after || (!path.is_empty() && self.cover(path)) {
            return None;
        }
        let fields = |value: &Value| match value {
            Value::Object(fields) => Some(fields.keys().cloned().collect::<Vec<_>>()),
            Value::Null => Some(Vec::new()),
            _ => None,
        };
        let (Some(mut names), Some(more)) = (fields(before), fields(after)) else {
            return Some(path.to_owned());
        };
        if !path.is_empty() && (before.is_null() || after.is_null()) && !self.touch(path) {
            return Some(path.to_owned());
        }
        names.extend(more);
        names.iter().find_map(|name| {
            let part = |value: &Value| value.get(name).cloned().unwrap_or(Value::Null);
            self.trespass_at(&join(path, name), &part(before), &part(after))
        })
    }
}

fn named(rule: &Rule, path: &str) -> bool {
    rule.fields.is_empty() || rule.fields.iter().any(|field| within(path, field))
}

/// Whether a path is another, or below it.
fn within(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(fields: &[&str], except: &[&str]) -> Rule {
        Rule {
            fields: fields.iter().map(ToString::to_string).collect(),
            except: except.iter().map(ToString::to_string).collect(),
            ..Rule::default()
        }
    }

    fn pruned(rules: &[Rule], mut body: Value) -> Value {
        let mut fields = Fields::default();
        rules.iter().for_each(|rule| fields.add(rule));
        fields.prune(&mut body);
        body
    }

    #[test]
    fn only_named_fields_stay_with_what_is_below_them() {
        let body = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "ab": 4 });
        let rules = [rule(&["a", "b.c"], &[])];
        assert_eq!(pruned(&rules, body), json!({ "a": 1, "b": { "c": 2 } }));
    }

    #[test]
    fn an_excepted_field_goes_from_every_item_of_a_list() {
        let body = json!({ "disks": [{ "size": 1, "key": "x" }, { "size": 2 }], "cost": 9 });
        let rules = [rule(&[], &["disks.key", "cost"])];
        let left = json!({ "disks": [{ "size": 1 }, { "size": 2 }] });
        assert_eq!(pruned(&rules, body), left);
    }

    #[test]
    fn what_one_rule_excepts_another_may_allow() {
        let rules = [rule(&[], &["cost"]), rule(&["cost"], &[])];
        let body = json!({ "cost": 1, "x": 2 });
        assert_eq!(pruned(&rules, body.clone()), body);
    }

    #[test]
    fn a_change_outside_the_allowed_fields_is_named() {
        let one = rule(&["a", "b.c"], &[]);
        let mut fields = Fields::default();
        fields.add(&one);
        for (before, after, found) in [
            (json!({ "a": 1 }), json!({ "a": 2 }), None),
            (json!({ "a": 1 }), json!({ "a": 1, "z": 1 }), Some("z")),
            (json!({ "z": 1 }), json!({}), Some("z")),
            (
                json!({ "b": { "c": 1, "d": 1 } }),
                json!({ "b": { "c": 2, "d": 1 } }),
                None,
            ),
            (
                json!({ "b": { "d": 1 } }),
                json!({ "b": { "d": 2 } }),
                Some("b.d"),
            ),
            (json!({}), json!({ "b": { "c": 2 } }), None),
            (json!({}), json!({ "b": { "d": 2 } }), Some("b.d")),
            (json!({ "b": { "d": 1 } }), json!({ "b": 2 }), Some("b")),
        ] {
            let trespass = fields.trespass(Some(&before), Some(&after));
            assert_eq!(trespass.as_deref(), found, "{before} {after}");
        }
    }
}
