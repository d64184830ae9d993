//! How refused writes leave.

use wright_inventory::{Refused, kind::Violation};
use wright_model::Diagnostic;

use crate::http::answer::Refusal;

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        let problem = |status, kind, title| Refusal::new(status, kind, title, detail.clone());
        match refused {
            Refused::NoKind { .. } => problem(404, "no-kind", "no such kind"),
            Refused::NotFound { .. } => problem(404, "not-found", "not found"),
            Refused::Invalid(violations) => {
                Refusal::findings("this is not as its kind says", findings(&violations))
            }
            Refused::Broken {
                offenders,
                count,
                kind,
            } => {
                let mut refusal = Refusal::findings(
                    &format!("{count} resource(s) of the kind {kind} would not be as it says"),
                    findings(&offenders),
                );
                refusal.0.kind = "urn:wright:broken".to_owned();
                refusal.0.status = 409;
                refusal
            }
            Refused::Exists { .. } => problem(409, "exists", "it is there already"),
            Refused::Conflict { .. } => problem(412, "changed", "changed meanwhile"),
            Refused::Taken { .. } => problem(409, "taken", "taken"),
            Refused::NoTarget { .. } => {
                problem(409, "no-target", "what is referred to is not there")
            }
            Refused::Referenced { .. } => problem(409, "referenced", "others refer to it"),
            Refused::Owned { .. } => problem(409, "owned", "another manager owns it"),
            Refused::Platform { .. } => problem(409, "platform", "the platform has it"),
            Refused::InUse { .. } => problem(409, "in-use", "in use"),
            Refused::TooMany { .. } => problem(413, "too-many", "too many in one transaction"),
            Refused::Together(_) => problem(400, "together", "not in one transaction"),
            Refused::NotAllowed(_) => problem(403, "forbidden", "not allowed"),
            Refused::Busy => problem(503, "busy", "others were quicker"),
            Refused::Inventory(error) => Refusal::internal(error),
        }
    }
}

fn findings(violations: &[Violation]) -> Vec<Diagnostic> {
    let finding = |violation: &Violation| {
        Diagnostic::error(violation.code, violation.to_string()).help(violation.help.clone())
    };
    violations.iter().map(finding).collect()
}

/// The same for a caller who may not read everything: without what others have.
pub(super) fn discreet(refused: Refused) -> Refused {
    const HIDDEN: &str = "another value";
    match refused {
        Refused::Taken {
            kind, name, what, ..
        } => Refused::Taken {
            kind,
            name,
            what,
            owner: "another".to_owned(),
        },
        Refused::Referenced {
            kind, name, count, ..
        } => Refused::Referenced {
            kind,
            name,
            referrers: Vec::new(),
            count,
        },
        Refused::InUse { kind, .. } => Refused::InUse {
            kind,
            by: "others".to_owned(),
        },
        Refused::Broken { kind, count, .. } => Refused::Broken {
            kind,
            offenders: Vec::new(),
            count,
        },
        Refused::Owned {
            kind,
            name,
            mut fields,
        } => {
            for field in &mut fields {
                HIDDEN.clone_into(&mut field.found);
            }
            Refused::Owned { kind, name, fields }
        }
        Refused::Invalid(mut violations) => {
            for violation in violations.iter_mut().filter(|one| one.code == "immutable") {
                "what it is, for it never changes".clone_into(&mut violation.expected);
            }
            Refused::Invalid(violations)
        }
        other => other,
    }
}
