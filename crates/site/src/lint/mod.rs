//! Refuses plans that break an invariant. The planner should never make one; this is what says so
//! before anything is touched.

mod rules;

use wright_model::Diagnostic;

use crate::plan::Plan;

/// One invariant.
pub struct Rule {
    /// Its name: the code of its findings.
    pub name: &'static str,
    /// What must hold.
    pub holds: &'static str,
    check: fn(&Plan) -> Vec<String>,
}

/// Every invariant.
pub const RULES: &[Rule] = &[
    Rule {
        name: "duplicate-step",
        holds: "step names are unique",
        check: rules::duplicate_step,
    },
    Rule {
        name: "unknown-step",
        holds: "a step needs steps of the same plan",
        check: rules::unknown_step,
    },
    Rule {
        name: "step-cycle",
        holds: "no step waits for itself",
        check: rules::step_cycle,
    },
    Rule {
        name: "unknown-verb",
        holds: "every step's verb is known",
        check: rules::unknown_verb,
    },
    Rule {
        name: "start-order",
        holds: "what starts was configured before",
        check: rules::start_order,
    },
    Rule {
        name: "gate",
        holds: "a start waits for the readiness of what gates it",
        check: rules::gate,
    },
    Rule {
        name: "provider",
        holds: "every need has a provider in the plan",
        check: rules::provider,
    },
    Rule {
        name: "app-cycle",
        holds: "no app waits for itself",
        check: rules::app_cycle,
    },
    Rule {
        name: "unknown-host",
        holds: "every instance is on a host of the plan",
        check: rules::unknown_host,
    },
    Rule {
        name: "port",
        holds: "one claim on one port of one host",
        check: rules::port,
    },
    Rule {
        name: "capacity",
        holds: "a host carries what is placed on it",
        check: rules::capacity,
    },
    Rule {
        name: "apart",
        holds: "apps that must be apart share no host",
        check: rules::apart,
    },
    Rule {
        name: "store-spread",
        holds: "instances of a store share no host",
        check: rules::store_spread,
    },
    Rule {
        name: "store-data",
        holds: "a store's data is where it was",
        check: rules::store_data,
    },
    Rule {
        name: "unpinned-package",
        holds: "every package is exact",
        check: rules::unpinned_package,
    },
    Rule {
        name: "path",
        holds: "files stay below the instance's home",
        check: rules::path,
    },
    Rule {
        name: "token",
        holds: "tokens name what the instance may see",
        check: rules::token,
    },
    Rule {
        name: "action",
        holds: "what is to be done has steps, and only that",
        check: rules::action,
    },
];

/// Every way in which a plan breaks an invariant; empty for a good plan. Rules do not see each other:
/// all processors check, and what they find is joined in the order of the rules.
pub fn lint(plan: &Plan) -> Vec<Diagnostic> {
    let broken = |rule: &Rule| {
        let finding = |message: String| {
            let message = format!("{message}; in a plan, {}", rule.holds);
            Diagnostic::error(rule.name, message)
                .help("this is a mistake in the planner: please report it with the site's files")
        };
        (rule.check)(plan)
            .into_iter()
            .map(finding)
            .collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = RULES
            .iter()
            .map(|rule| scope.spawn(move || broken(rule)))
            .collect();
        running
            .into_iter()
            .flat_map(crate::together::ended)
            .collect()
    })
}
