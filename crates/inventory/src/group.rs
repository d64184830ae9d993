use serde::Deserialize;
use serde_json::{Map, Value};
use wright_query::{Filter, Index};

use crate::{Inventory, Refused, kind::Violation};

/// The kind of the resources that are groups.
pub const GROUP: &str = "group";

/// Resources of a kind that are taken together: the body of a resource of the kind `group`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// The kind of its members.
    pub kind: String,
    /// What is true of its members, CEL.
    #[serde(default)]
    pub filter: Option<String>,
    /// Their names, where they are fixed.
    #[serde(default)]
    pub members: Option<Vec<String>>,
}

impl Group {
    /// What is true of its members, and of no others, CEL.
    pub fn condition(&self) -> String {
        let names = |members: &Vec<String>| {
            let names = members.iter().map(|name| name.as_str().into()).collect();
            format!("self.name in {}", Value::Array(names))
        };
        match (&self.filter, &self.members) {
            (Some(filter), _) => filter.clone(),
            (None, members) => members.as_ref().map_or("false".to_owned(), names),
        }
    }

    /// What is wrong with it, among these kinds.
    fn faults(&self, kinds: &Index) -> Option<Violation> {
        let wrong = |field: &str, found: &str, expected: &str| {
            Some(Violation::new("group", field, found, expected))
        };
        match (&self.filter, &self.members) {
            (Some(_), Some(_)) => return wrong("members", "a list beside a filter", "one of them"),
            (None, None) => return wrong("filter", "nothing", "a filter, or members"),
            _ => {}
        }
        if kinds.schema(&self.kind).is_none() {
            return wrong("kind", &format!("{:?}", self.kind), "a kind that there is");
        }
        let error = Filter::compile(&self.condition(), &self.kind, kinds).err()?;
        let field = if self.filter.is_some() {
            "filter"
        } else {
            "members"
        };
        let found = Violation::new("filter", field, error.to_string(), "a condition in CEL");
        Some(found.help(error.help))
    }
}

impl Inventory {
    /// Refuses groups of which nobody could say who their members are.
    pub(crate) async fn check_groups(
        &self,
        groups: Vec<(String, Map<String, Value>)>,
    ) -> Result<(), Refused> {
        if groups.is_empty() {
            return Ok(());
        }
        let kinds = self.schemas().await?;
        let mut violations = Vec::new();
        for (name, body) in groups {
            // Fields of other types were refused by the kind before.
            let group = serde_json::from_value::<Group>(body.into()).unwrap_or_default();
            violations.extend(group.faults(&kinds).map(|fault| fault.of(GROUP, &name)));
        }
        match violations.is_empty() {
            true => Ok(()),
            false => Err(Refused::Invalid(violations)),
        }
    }
}

#[cfg(test)]
mod tests {
    use wright_query::{Schema, Sort};

    use super::*;

    fn kinds() -> Index {
        let mut kinds = Index::default();
        kinds.declare(Schema::new("rack", [("units", Sort::Integer)]));
        kinds
    }

    fn group(kind: &str, filter: Option<&str>, members: Option<&[&str]>) -> Group {
        Group {
            kind: kind.to_owned(),
            filter: filter.map(str::to_owned),
            members: members.map(|names| names.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn a_group_is_a_filter_that_is_understood_or_a_list() {
        let kinds = kinds();
        let faults = |group: Group| group.faults(&kinds).map(|fault| (fault.field, fault.found));
        assert_eq!(faults(group("rack", Some("rack.units > 40"), None)), None);
        assert_eq!(faults(group("rack", None, Some(&["r1", "r\"2"]))), None);
        let (field, found) = faults(group("rack", Some("true && rack.unit > 40"), None)).unwrap();
        assert_eq!(field, "filter");
        assert!(found.starts_with("column 14"), "{found}");
        for wrong in [
            group("rack", None, None),
            group("rack", Some("true"), Some(&[])),
            group("rak", Some("true"), None),
        ] {
            assert!(wrong.faults(&kinds).is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn the_members_of_a_list_are_named_whatever_is_in_their_names() {
        let condition = group("rack", None, Some(&["r1", "r\"2"])).condition();
        assert_eq!(condition, r#"self.name in ["r1","r\"2"]"#);
        assert_eq!(
            group("rack", None, Some(&[])).condition(),
            "self.name in []"
        );
    }
}
