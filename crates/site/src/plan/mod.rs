//! From what is desired and what is there to a graph of steps.
//!
//! A plan is made in pieces, each from as little as it depends on: where everything is, from what the
//! apps want of hosts; an app's instances, from the app and where it and what it needs are; an app's
//! steps, from its instances and those that gate it. What went into a piece has a digest, under which
//! [`crate::Pieces`] keeps it, so that the next plan makes only the others anew.

mod critical;
mod decide;
mod down;
mod draft;
mod label;
mod part;
mod path;
mod slots;
mod steps;
mod summary;
mod types;

use std::collections::BTreeMap;

pub use down::{plan_down, without_host};
pub use draft::{Draft, draft};
pub use label::Label;
pub(crate) use part::{Part, Way};
pub(crate) use path::order;
pub(crate) use slots::Placed;
pub(crate) use steps::VERBS;
pub use summary::{PlanSummary, Touched, TouchedLayer};
pub use types::{Action, Observed, Plan, Planned, PlannedApp, PlannedHost};
use wright_model::{Diagnostic, Name};

use crate::{
    desired::{App, Desired},
    pieces::Pieces,
};

/// Plans the way from what is there to what is desired.
///
/// `parent` is the revision of what was observed; a plan whose parent is no longer the newest is
/// refused by whoever executes it. The same input gives the byte-identical plan.
///
/// # Errors
/// Instances that no host takes, with the rule each host breaks; templates that cannot be rendered with the real addresses.
pub fn plan(desired: &Desired, observed: &Observed, parent: u64) -> Result<Plan, Vec<Diagnostic>> {
    Ok(draft(desired, observed, parent, &mut Pieces::default())?.whole())
}

/// What graphs, checks and later plans need to know of a site's apps; see [`Observed::apps`].
pub fn apps(desired: &Desired) -> BTreeMap<Name, PlannedApp> {
    let apps = desired.apps.iter();
    apps.map(|(name, app)| (name.clone(), planned_app(app)))
        .collect()
}

pub(crate) fn planned_app(app: &App) -> PlannedApp {
    PlannedApp {
        package: app.package.to_string(),
        instances: app.instances,
        layer: app.layer,
        needs: app.needs.clone(),
        provides: app.provides.clone(),
        away_from: app.away_from.clone(),
        secrets: app.secrets.clone(),
        store: app.store,
        verify: app.verify.clone(),
    }
}
