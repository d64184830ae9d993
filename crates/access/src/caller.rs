use std::{collections::BTreeSet, sync::Arc};

use crate::{Act, Fields, Rule, Target, filter::Filter};

/// Kinds that `*` does not mean: who reads them learns what all others do.
const NAMED_ONLY: [&str; 2] = ["audit", "token"];

/// A rule that is ready to be asked.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) rule: Rule,
    pub(crate) filter: Option<Filter>,
}

/// A rule that somebody has, and for what.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) ready: Arc<Ready>,
    pub(crate) role: Arc<str>,
    /// Only what one of these teams owns; none: everything.
    pub(crate) teams: Option<BTreeSet<String>>,
}

/// Somebody, and what he is granted.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    pub(crate) name: String,
    pub(crate) user: Option<String>,
    pub(crate) teams: BTreeSet<String>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) kinds: BTreeSet<String>,
}

impl Grant {
    /// Whether it says something of this act on this kind, whatever the resource.
    pub(crate) fn concerns(&self, act: Act, kind: &str) -> bool {
        let names = |named: &String| named == kind || (named == "*" && !NAMED_ONLY.contains(&kind));
        let rule = &self.ready.rule;
        rule.acts.contains(&act.needed(kind)) && rule.kinds.iter().any(names)
    }

    fn speaks_of(&self, act: Act, target: &Target<'_>) -> bool {
        let owned = |teams: &BTreeSet<String>| target.team.is_some_and(|team| teams.contains(team));
        self.concerns(act, target.kind)
            && self.teams.as_ref().is_none_or(owned)
            && self
                .ready
                .filter
                .as_ref()
                .is_none_or(|filter| filter.holds(target))
    }
}

impl Caller {
    /// As it is written in the audit.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user, where it is one or a program of one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The teams that the user is a member of.
    pub fn teams(&self) -> impl Iterator<Item = &str> {
        self.teams.iter().map(String::as_str)
    }

    /// The roles, each with the teams it is for; none: everywhere.
    pub fn roles(&self) -> Vec<(&str, Option<&BTreeSet<String>>)> {
        let mut roles: Vec<_> = self
            .grants
            .iter()
            .map(|grant| (&*grant.role, grant.teams.as_ref()))
            .collect();
        roles.sort();
        roles.dedup();
        roles
    }

    /// The grants that say something of this act on this kind.
    pub(crate) fn concerning(&self, act: Act, kind: &str) -> impl Iterator<Item = &Grant> {
        let scoped = self.kinds.is_empty() || self.kinds.contains(kind);
        let grants = self.grants.iter().filter(move |_| scoped);
        grants.filter(move |grant| grant.concerns(act, kind))
    }

    /// Which fields of a target he may see (or write, or …): none where the act is not his.
    pub fn fields(&self, act: Act, target: &Target<'_>) -> Fields<'_> {
        let mut fields = Fields::default();
        let scoped = self.kinds.is_empty() || self.kinds.contains(target.kind);
        let grants = self.grants.iter().filter(|_| scoped);
        for grant in grants.filter(|grant| grant.speaks_of(act, target)) {
            fields.add(&grant.ready.rule);
        }
        fields
    }

    /// Whether a rule allows the act, on some field at least.
    pub(crate) fn may(&self, act: Act, target: &Target<'_>) -> bool {
        let scoped = self.kinds.is_empty() || self.kinds.contains(target.kind);
        scoped && self.grants.iter().any(|grant| grant.speaks_of(act, target))
    }

    /// Whether he may do this to every resource of a kind, with all its fields.
    pub fn may_all(&self, act: Act, kind: &str) -> bool {
        let whole = |grant: &Grant| {
            let rule = &grant.ready.rule;
            grant.teams.is_none()
                && grant.ready.filter.is_none()
                && rule.fields.is_empty()
                && rule.except.is_empty()
        };
        self.concerning(act, kind).any(whole)
    }

    /// Whether he may do this to some resource of a kind that there is or could be.
    pub fn may_some(&self, act: Act, kind: &str) -> bool {
        self.concerning(act, kind).next().is_some()
    }

    /// Whether he may read everything there is, so that nothing need be left out for him.
    pub fn reads_everything(&self) -> bool {
        let whole = |grant: &Grant| grant.ready.rule.kinds.iter().any(|kind| kind == "*");
        self.kinds.is_empty()
            && NAMED_ONLY.iter().all(|kind| self.may_all(Act::Read, kind))
            && self.may_all(Act::Read, "*")
            && self.grants.iter().any(whole)
    }
}
