use std::collections::{BTreeMap, BTreeSet};

use crate::{Act, Caller};

/// Which resources of a kind somebody may read: what a search, a count or a watch is narrowed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// None.
    Nothing,
    /// All of them.
    Everything,
    /// Those of which this CEL expression (over `self`) is true.
    Where(String),
}

impl Reach {
    /// A filter narrowed to it; `None`: nothing can be found.
    pub fn narrow(&self, filter: Option<&str>) -> Option<Option<String>> {
        match (self, filter) {
            (Reach::Nothing, _) => None,
            (Reach::Everything, filter) => Some(filter.map(str::to_owned)),
            (Reach::Where(own), None) => Some(Some(own.clone())),
            // Each ends its line: it may end with a comment.
            (Reach::Where(own), Some(filter)) => Some(Some(format!("({own}\n) && ({filter}\n)"))),
        }
    }
}

impl Caller {
    /// Which resources of a kind he may do this to. `sites` says which team owns which site: what is on
    /// a site (label `site`) is its team's.
    pub fn reach(&self, act: Act, kind: &str, sites: &BTreeMap<String, String>) -> Reach {
        let mut ways = BTreeSet::new();
        for grant in self.concerning(act, kind) {
            let mut parts = Vec::new();
            if let Some(teams) = &grant.teams {
                parts.push(owned(teams, sites));
            }
            if let Some(filter) = &grant.ready.filter {
                parts.push(format!("({}\n)", filter.text));
            }
            if parts.is_empty() {
                return Reach::Everything;
            }
            ways.insert(parts.join(" && "));
        }
        if ways.is_empty() {
            return Reach::Nothing;
        }
        let ways: Vec<String> = ways.iter().map(|way| format!("({way})")).collect();
        Reach::Where(ways.join(" || "))
    }
}

fn owned(teams: &BTreeSet<String>, sites: &BTreeMap<String, String>) -> String {
    let theirs = sites.iter().filter(|(_, team)| teams.contains(*team));
    let on_sites = theirs.map(|(site, _)| format!("self.labels.site == {}", quoted(site)));
    let own = teams
        .iter()
        .map(|team| format!("self.team == {}", quoted(team)));
    let own: Vec<String> = own.collect();
    let on_sites: Vec<String> = on_sites.collect();
    let mut ways = Vec::new();
    if !own.is_empty() {
        ways.push(format!("(has(self.team) && ({}))", own.join(" || ")));
    }
    if !on_sites.is_empty() {
        ways.push(format!(
            "(has(self.labels.site) && ({}))",
            on_sites.join(" || ")
        ));
    }
    match ways.is_empty() {
        true => "false".to_owned(),
        false => format!("({})", ways.join(" || ")),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}
