use std::collections::BTreeMap;

use crate::{Act, Role, Rule};

/// The role that may do everything. It cannot be changed: nobody shuts everybody out.
pub const ADMINISTRATOR: &str = "administrator";

fn rule(kinds: &[&str], acts: &[Act]) -> Rule {
    Rule {
        kinds: kinds.iter().map(ToString::to_string).collect(),
        acts: acts.to_vec(),
        ..Rule::default()
    }
}

/// The roles that are there without anybody writing them. All but [`ADMINISTRATOR`] give way to a role
/// of the same name in the inventory.
pub fn shipped_roles() -> BTreeMap<String, Role> {
    let role = |description: &str, rules: Vec<Rule>| Role {
        description: description.to_owned(),
        rules,
    };
    let what_teams_run = ["app", "instance", "job", "package", "service", "site"];
    [
        (
            ADMINISTRATOR,
            role(
                "everything",
                vec![rule(&["*", "audit", "token"], &Act::ALL)],
            ),
        ),
        (
            "operator",
            role(
                "runs everything; changes nobody's rights",
                vec![rule(
                    &["*"],
                    &[Act::Read, Act::Write, Act::Approve, Act::Operate],
                )],
            ),
        ),
        (
            "developer",
            role(
                "reads everything, builds and changes sites and what is on them",
                vec![
                    rule(&["*"], &[Act::Read]),
                    rule(&what_teams_run, &[Act::Write, Act::Operate]),
                ],
            ),
        ),
        (
            "viewer",
            role("reads everything", vec![rule(&["*"], &[Act::Read])]),
        ),
    ]
    .into_iter()
    .map(|(name, role)| (name.to_owned(), role))
    .collect()
}
