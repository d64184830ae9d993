use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use wright_query::Index;

use crate::{
    ADMINISTRATOR, Binding, Caller, FilterError, Identity, Role, Team, User,
    caller::{Grant, Ready},
    filter::Filter,
    shipped_roles,
};

/// What rights are made of, as the inventory has it.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Roles, by name, beside the shipped ones.
    pub roles: BTreeMap<String, Role>,
    /// Who has them.
    pub bindings: Vec<Binding>,
    /// Teams, by name.
    pub teams: BTreeMap<String, Team>,
    /// Users, by name.
    pub users: BTreeMap<String, User>,
}

/// A rule that grants nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its filter is none.
    #[error("role {role}, rule {rule}: {source}")]
    Filter {
        /// The role.
        role: String,
        /// Which of its rules, from 1.
        rule: usize,
        /// What is wrong.
        #[source]
        source: FilterError,
    },
    /// A binding names a role that is not there.
    #[error("a binding names the role {0}, which is not there")]
    NoRole(String),
}

/// Who is granted what, ready to be asked.
#[derive(Debug, Default)]
pub struct Policy {
    roles: BTreeMap<String, Granted>,
    bindings: Vec<Binding>,
    teams_of: BTreeMap<String, BTreeSet<String>>,
    users: BTreeMap<String, User>,
}

#[derive(Debug)]
struct Granted {
    name: Arc<str>,
    rules: Vec<Arc<Ready>>,
}

impl Policy {
    /// Makes it of its sources. What is wrong in them grants nothing, and is told. `kinds` knows the
    /// kinds that the rules' filters are about, and has no documents.
    pub fn compile(sources: Sources, kinds: &Arc<Index>) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut roles = shipped_roles();
        let own = sources.roles.into_iter();
        roles.extend(own.filter(|(name, _)| name != ADMINISTRATOR));
        let roles: BTreeMap<String, Granted> = roles
            .into_iter()
            .map(|(name, role)| {
                let rules = ready(&name, role, kinds, &mut faults);
                let granted = Granted {
                    name: Arc::from(&*name),
                    rules,
                };
                (name, granted)
            })
            .collect();
        let unknown = |binding: &&Binding| !roles.contains_key(&binding.role);
        let unknown = sources.bindings.iter().filter(unknown);
        faults.extend(unknown.map(|binding| Fault::NoRole(binding.role.clone())));
        let mut teams_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, team) in sources.teams {
            for member in team.members {
                teams_of.entry(member).or_default().insert(name.clone());
            }
        }
        let policy = Policy {
            roles,
            bindings: sources.bindings,
            teams_of,
            users: sources.users,
        };
        (policy, faults)
    }

    /// A user's record, if there is one.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// Whether there is a role of this name.
    pub fn has_role(&self, name: &str) -> bool {
        self.roles.contains_key(name)
    }

    /// What somebody is granted. A user who is disabled, or not there, is granted nothing, and neither
    /// are his tokens.
    pub fn caller(&self, identity: &Identity) -> Caller {
        let user = identity.user.as_deref();
        let known = user.and_then(|user| self.users.get(user));
        let mut caller = Caller {
            name: identity.name.clone(),
            user: identity.user.clone(),
            kinds: identity.scope.kinds.clone(),
            ..Caller::default()
        };
        if user.is_some() && known.is_none_or(|user| user.disabled) {
            return caller;
        }
        if let Some(teams) = user.and_then(|user| self.teams_of.get(user)) {
            caller.teams.clone_from(teams);
        }
        for role in &identity.roles {
            self.grant(role, None, identity, &mut caller.grants);
        }
        for binding in &self.bindings {
            let has = user.is_some_and(|user| binding.users.iter().any(|name| name == user))
                || binding.teams.iter().any(|team| caller.teams.contains(team))
                || binding
                    .groups
                    .iter()
                    .any(|group| identity.groups.contains(group));
            let taken = &identity.scope.roles;
            if has && (taken.is_empty() || taken.contains(&binding.role)) {
                self.grant(
                    &binding.role,
                    binding.team.as_ref(),
                    identity,
                    &mut caller.grants,
                );
            }
        }
        caller
    }

    fn grant(
        &self,
        role: &str,
        team: Option<&String>,
        identity: &Identity,
        grants: &mut Vec<Grant>,
    ) {
        let Some(granted) = self.roles.get(role) else {
            return;
        };
        let scope = &identity.scope.teams;
        let teams = match (team, scope.is_empty()) {
            (None, true) => None,
            (None, false) => Some(scope.clone()),
            (Some(team), true) => Some(BTreeSet::from([team.clone()])),
            (Some(team), false) if scope.contains(team) => Some(BTreeSet::from([team.clone()])),
            (Some(_), false) => return,
        };
        grants.extend(granted.rules.iter().map(|ready| Grant {
            ready: ready.clone(),
            role: granted.name.clone(),
            teams: teams.clone(),
        }));
    }
}

fn ready(name: &str, role: Role, kinds: &Arc<Index>, faults: &mut Vec<Fault>) -> Vec<Arc<Ready>> {
    let mut rules = Vec::new();
    for (number, rule) in role.rules.into_iter().enumerate() {
        let compile = |text| Filter::compile(text, &rule.kinds, kinds);
        let filter = rule.filter.as_deref().map(compile);
        match filter.transpose() {
            Ok(filter) => rules.push(Arc::new(Ready { rule, filter })),
            Err(source) => faults.push(Fault::Filter {
                role: name.to_owned(),
                rule: number + 1,
                source,
            }),
        }
    }
    rules
}
