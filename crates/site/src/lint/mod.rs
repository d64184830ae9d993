//! Refuses plans that break an invariant. The planner should never make one; this is what says so
//! before anything is touched.

mod rules;

use std::collections::BTreeMap;

use wright_model::{Diagnostic, Name};
use wright_workflow::Step;

use crate::plan::{Plan, Planned, PlannedApp, PlannedHost};

/// One invariant.
pub struct Rule {
    /// Its name: the code of its findings.
    pub name: &'static str,
    /// What must hold.
    pub holds: &'static str,
    check: Check,
}

/// What breaks a rule, in words; by what there must be to see it.
enum Check {
    /// One app's instances and steps.
    App(fn(&Sight<'_>) -> Vec<String>),
    /// All instances.
    Whole(fn(&Whole<'_>) -> Vec<String>),
    /// All steps.
    Graph(fn(&[Step]) -> Vec<String>),
}

/// The instances and steps of some apps.
pub(crate) struct Sight<'a> {
    pub instances: Vec<&'a Planned>,
    /// Every app.
    pub apps: &'a BTreeMap<&'a Name, &'a PlannedApp>,
    pub steps: &'a [Step],
    /// Instances beside these that all of their starts wait for, and their `ready` steps.
    pub gates: Vec<(String, String)>,
}

/// All instances and apps of a plan.
pub(crate) struct Whole<'a> {
    pub hosts: &'a BTreeMap<Name, PlannedHost>,
    pub instances: &'a [&'a Planned],
    pub apps: &'a BTreeMap<&'a Name, &'a PlannedApp>,
}

/// Every invariant.
pub const RULES: &[Rule] = &[
    Rule {
        name: "duplicate-step",
        holds: "step names are unique",
        check: Check::Graph(rules::duplicate_step),
    },
    Rule {
        name: "unknown-step",
        holds: "a step needs steps of the same plan",
        check: Check::Graph(rules::unknown_step),
    },
    Rule {
        name: "step-cycle",
        holds: "no step waits for itself",
        check: Check::Graph(rules::step_cycle),
    },
    Rule {
        name: "unknown-verb",
        holds: "every step's verb is known",
        check: Check::App(rules::unknown_verb),
    },
    Rule {
        name: "start-order",
        holds: "what starts was configured before",
        check: Check::App(rules::start_order),
    },
    Rule {
        name: "gate",
        holds: "a start waits for the readiness of what gates it",
        check: Check::App(rules::gate),
    },
    Rule {
        name: "provider",
        holds: "every need has a provider in the plan",
        check: Check::Whole(rules::provider),
    },
    Rule {
        name: "app-cycle",
        holds: "no app waits for itself",
        check: Check::Whole(rules::app_cycle),
    },
    Rule {
        name: "unknown-host",
        holds: "every instance is on a host of the plan",
        check: Check::Whole(rules::unknown_host),
    },
    Rule {
        name: "port",
        holds: "one claim on one port of one host",
        check: Check::Whole(rules::port),
    },
    Rule {
        name: "capacity",
        holds: "a host carries what is placed on it",
        check: Check::Whole(rules::capacity),
    },
    Rule {
        name: "apart",
        holds: "apps that must be apart share no host",
        check: Check::Whole(rules::apart),
    },
    Rule {
        name: "store-spread",
        holds: "instances of a store share no host",
        check: Check::Whole(rules::store_spread),
    },
    Rule {
        name: "store-data",
        holds: "a store's data is where it was",
        check: Check::App(rules::store_data),
    },
    Rule {
        name: "unpinned-package",
        holds: "every package is exact",
        check: Check::App(rules::unpinned_package),
    },
    Rule {
        name: "path",
        holds: "files stay below the instance's home",
        check: Check::App(rules::path),
    },
    Rule {
        name: "token",
        holds: "tokens name what the instance may see",
        check: Check::App(rules::token),
    },
    Rule {
        name: "action",
        holds: "what is to be done has steps, and only that",
        check: Check::App(rules::action),
    },
];

impl Rule {
    fn finding(&self, message: &str) -> Diagnostic {
        let message = format!("{message}; in a plan, {}", self.holds);
        Diagnostic::error(self.name, message)
            .help("this is a mistake in the planner: please report it with the site's files")
    }
}

/// Every way in which a plan breaks an invariant; empty for a good plan. Rules do not see each other:
/// all processors check, and what they find is joined in the order of the rules.
pub fn lint(plan: &Plan) -> Vec<Diagnostic> {
    let apps: BTreeMap<&Name, &PlannedApp> = plan.apps.iter().collect();
    let instances: Vec<&Planned> = plan.instances.values().collect();
    let whole = Whole {
        hosts: &plan.hosts,
        instances: &instances,
        apps: &apps,
    };
    let sight = Sight {
        instances: instances.clone(),
        apps: &apps,
        steps: &plan.steps,
        gates: Vec::new(),
    };
    let rules: Vec<&Rule> = RULES.iter().collect();
    let found = |rule: &&Rule| {
        let broken = match rule.check {
            Check::App(check) => check(&sight),
            Check::Whole(check) => check(&whole),
            Check::Graph(check) => check(&plan.steps),
        };
        let finding = |message: &String| rule.finding(message);
        broken.iter().map(finding).collect::<Vec<_>>()
    };
    let found = crate::together::map(&rules, found);
    found.into_iter().flatten().collect()
}

/// The rules about the instances and steps of one app.
pub(crate) fn app(sight: &Sight<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for rule in RULES {
        if let Check::App(check) = rule.check {
            found.extend(check(sight).iter().map(|message| rule.finding(message)));
        }
    }
    found
}

/// The rules about what instances and apps are to each other, whatever their steps.
pub(crate) fn whole(whole: &Whole<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for rule in RULES {
        if let Check::Whole(check) = rule.check {
            found.extend(check(whole).iter().map(|message| rule.finding(message)));
        }
    }
    found
}
