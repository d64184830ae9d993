use std::collections::BTreeMap;

use serde_json::Value;

/// What somebody wants to do something to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Its name; empty: the kind as a whole, of which only rules without team and filter speak.
    pub name: &'a str,
    /// The team that owns it.
    pub team: Option<&'a str>,
    /// Its labels.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// Its fields; none where it is not there: a rule with a filter does not speak of it then.
    pub body: Option<&'a Value>,
}

impl<'a> Target<'a> {
    /// A resource of which no more is known.
    pub fn new(kind: &'a str, name: &'a str) -> Self {
        Target {
            kind,
            name,
            ..Target::default()
        }
    }

    /// All of a kind.
    pub fn kind(kind: &'a str) -> Self {
        Target::new(kind, "")
    }

    /// Owned by a team.
    #[must_use]
    pub fn team(self, team: Option<&'a str>) -> Self {
        Target { team, ..self }
    }

    /// With labels.
    #[must_use]
    pub fn labels(self, labels: &'a BTreeMap<String, String>) -> Self {
        Target {
            labels: Some(labels),
            ..self
        }
    }

    /// With fields. One named `team` says whose it is, where nothing else does.
    #[must_use]
    pub fn body(self, body: &'a Value) -> Self {
        let own = body.get("team").and_then(Value::as_str);
        Target {
            team: self.team.or(own),
            body: Some(body),
            ..self
        }
    }
}
