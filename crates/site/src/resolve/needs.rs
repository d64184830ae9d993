use std::collections::{BTreeMap, BTreeSet};

use wright_model::{Diagnostic, Name, nearest};

use super::Read;
use crate::input::files::{Baseline, NeedEntry};

impl NeedEntry {
    pub(super) fn app(&self) -> &Name {
        match self {
            NeedEntry::App(app) => app,
            NeedEntry::Gated(need) => &need.app,
        }
    }

    pub(super) fn gate(&self) -> bool {
        match self {
            NeedEntry::App(_) => true,
            NeedEntry::Gated(need) => need.gate,
        }
    }
}

/// Needs and `away-from` that name no app of the site, themselves, or one app twice.
pub(super) fn unknown(baselines: &[&Read<Baseline>]) -> Vec<Diagnostic> {
    let known: BTreeSet<&str> = baselines.iter().map(|b| b.value.app.as_str()).collect();
    let mut found = Vec::new();
    for baseline in baselines {
        let needs = baseline.value.needs.iter().map(NeedEntry::app).collect();
        let away = baseline.value.away_from.iter().collect();
        for (field, code, apps) in [
            ("needs", "unknown-need", needs),
            ("away-from", "unknown-app", away),
        ] {
            let apps: Vec<&Name> = apps;
            let mut seen = BTreeSet::new();
            for (index, app) in apps.into_iter().enumerate() {
                let index = index.to_string();
                let refuse = |code: &str, message: String| {
                    baseline.error(code, &[field, index.as_str()], message)
                };
                let own = &baseline.value.app;
                if !known.contains(app.as_str()) {
                    let message =
                        format!("`{own}` names `{app}` in `{field}`, and no baseline describes it");
                    let help = match nearest(app.as_str(), known.iter().copied()) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("add a baseline for `{app}`, or remove it from `{field}`"),
                    };
                    found.push(refuse(code, message).help(help));
                } else if app == own {
                    let help = match field {
                        "needs" => "remove it",
                        _ => "remove it: instances of one app spread over hosts by themselves",
                    };
                    let message = format!("`{own}` names itself in `{field}`");
                    found.push(refuse("self-reference", message).help(help));
                } else if !seen.insert(app) {
                    let message = format!("`{app}` is twice in `{field}`");
                    found.push(refuse("duplicate-entry", message).help("remove one of the two"));
                }
            }
        }
    }
    found
}

/// Apps whose instances' names would be too long for a [`Name`].
pub(super) fn long_names(baselines: &[&Read<Baseline>]) -> Vec<Diagnostic> {
    let too_long = baselines.iter().filter(|b| b.value.app.as_str().len() > 58);
    let refuse = |baseline: &&Read<Baseline>| {
        let message = format!(
            "`{}` is too long for an app: its instances' names would be longer than 63 characters",
            baseline.value.app
        );
        baseline
            .error("bad-name", &["app"], message)
            .help("write at most 58 characters")
    };
    too_long.map(refuse).collect()
}

/// The layer of every app by the needs that gate; a cycle is reported as a path.
pub(super) fn layers(
    baselines: &[&Read<Baseline>],
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<Name, u32> {
    let by_name: BTreeMap<&Name, &Read<Baseline>> =
        baselines.iter().map(|b| (&b.value.app, *b)).collect();
    let mut walk = Walk {
        by_name: &by_name,
        layers: BTreeMap::new(),
        path: Vec::new(),
        found,
    };
    for app in by_name.keys() {
        walk.visit(app);
    }
    walk.layers
        .into_iter()
        .map(|(name, layer)| (name.clone(), layer))
        .collect()
}

struct Walk<'a, 'f> {
    by_name: &'a BTreeMap<&'a Name, &'a Read<Baseline>>,
    layers: BTreeMap<&'a Name, u32>,
    path: Vec<(&'a Name, usize)>,
    found: &'f mut Vec<Diagnostic>,
}

impl<'a> Walk<'a, '_> {
    /// Recursion is bounded by the number of apps, which the bundle's size bounds at some
    /// thousands of short documents.
    fn visit(&mut self, app: &'a Name) -> u32 {
        if let Some(layer) = self.layers.get(app) {
            return *layer;
        }
        let Some(baseline) = self.by_name.get(app) else {
            return 0;
        };
        let mut layer = 0;
        for (index, need) in baseline.value.needs.iter().enumerate() {
            if !need.gate() || need.app() == app {
                continue;
            }
            self.path.push((app, index));
            if let Some(start) = self.path.iter().position(|(name, _)| *name == need.app()) {
                self.cycle(start);
            } else {
                layer = layer
                    .max(self.visit(need.app()) + u32::from(self.by_name.contains_key(need.app())));
            }
            self.path.pop();
        }
        self.layers.insert(app, layer);
        layer
    }

    fn cycle(&mut self, start: usize) {
        let mut names: Vec<_> = self.path[start..]
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        names.extend(names.first().copied());
        let message = format!("these apps wait for each other: {}", names.join(" -> "));
        let Some((app, index)) = self.path.last() else {
            return;
        };
        let Some(baseline) = self.by_name.get(app) else {
            return;
        };
        let help = "remove one of these needs, or write `{ app: NAME, gate: false }` where one can start without the other";
        let place = ["needs", &index.to_string()];
        self.found
            .push(baseline.error("cycle", &place, message).help(help));
    }
}
