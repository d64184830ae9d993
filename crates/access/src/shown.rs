use std::collections::{BTreeMap, BTreeSet};

use wright_query::{Shown, Way};

use crate::{Act, Caller};

impl Caller {
    /// Of which resources and fields of a kind he may do this, for queries: the same of which
    /// [`Caller::fields`] says so one by one. `sites` says which team owns which site: what is on a site
    /// (label `site`) is its team's, where it names none itself.
    pub fn shown(&self, act: Act, kind: &str, sites: &BTreeMap<String, String>) -> Shown {
        if self.may_all(act, kind) {
            return Shown::All;
        }
        let mut ways: Vec<Way> = Vec::new();
        for grant in self.concerning(act, kind) {
            let rule = &grant.ready.rule;
            let mut conditions = Vec::new();
            if let Some(teams) = &grant.teams {
                conditions.push(owned(teams, sites));
            }
            if let Some(filter) = &grant.ready.filter {
                if filter.on(kind).is_none() {
                    continue;
                }
                conditions.push(vec![filter.text.clone()]);
            }
            let way = Way {
                conditions,
                fields: rule.fields.clone(),
                except: rule.except.clone(),
            };
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        Shown::Ways(ways)
    }
}

/// Of what belongs to one of the teams, one of these is true.
fn owned(teams: &BTreeSet<String>, sites: &BTreeMap<String, String>) -> Vec<String> {
    let theirs = sites.iter().filter(|(_, team)| teams.contains(*team));
    let on_sites = list(theirs.map(|(site, _)| site));
    vec![
        format!("self.team in {}", list(teams.iter())),
        format!("self.labels.site in {on_sites} && (!has(self.team) || self.team == null)"),
    ]
}

fn list<'t>(texts: impl Iterator<Item = &'t String>) -> String {
    let texts: Vec<serde_json::Value> = texts.map(|text| text.as_str().into()).collect();
    serde_json::Value::Array(texts).to_string()
}
