//! A plan as people are shown it.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use wright_model::{Diagnostic, Digest, Name};

use super::types::{Action, Plan, Planned};

/// A plan of which only the instances that are touched are told one by one, and of a large one only
/// how many there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// The site.
    pub site: Name,
    /// The plan's address.
    pub digest: Digest,
    /// Instances by what is done with them ([`Action::verb`]); what does not occur is not there.
    pub counts: BTreeMap<String, usize>,
    /// Those that are touched, by layer and name; empty where there are more than two hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touched: Vec<Touched>,
    /// How many of each layer are touched, and how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<TouchedLayer>,
    /// How many steps there are.
    pub step_count: usize,
    /// How long the critical path is expected to take, milliseconds.
    pub expected_ms: u64,
    /// The names of the steps on the expected critical path, first to last.
    pub critical_path: Vec<String>,
    /// What somebody should know before agreeing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Diagnostic>,
}

/// An instance that a plan touches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Touched {
    /// Its app's layer; 0: needs nothing.
    pub layer: u32,
    /// What is done.
    pub action: Action,
    /// The instance.
    pub instance: Name,
    /// `NAME@VERSION`.
    pub package: String,
    /// Where it is, or was where it is removed.
    pub host: Name,
    /// That host's address.
    pub address: IpAddr,
}

/// The instances of one layer with which the same is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TouchedLayer {
    /// The layer.
    pub layer: u32,
    /// What is done ([`Action::verb`]).
    pub action: String,
    /// How many.
    pub instances: usize,
    /// One of them.
    pub such_as: Name,
}

/// Instances that are told one by one.
const LISTED: usize = 200;

/// What a summary says of instances.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub counts: BTreeMap<String, usize>,
    pub touched: Vec<Touched>,
    pub layers: Vec<TouchedLayer>,
}

impl Tally {
    pub fn of<'a>(instances: impl Iterator<Item = &'a Planned>) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut layers: BTreeMap<(u32, &str), (usize, &Planned)> = BTreeMap::new();
        let mut touched: Vec<&Planned> = Vec::new();
        for planned in instances {
            let verb = planned.action.verb();
            *counts.entry(verb).or_default() += 1;
            if planned.action == Action::Keep {
                continue;
            }
            let of_layer = layers.entry((planned.layer, verb)).or_insert((0, planned));
            of_layer.0 += 1;
            if touched.len() <= LISTED {
                touched.push(planned);
            }
        }
        if touched.len() > LISTED {
            touched.clear();
        }
        touched.sort_by_key(|planned| (planned.layer, &planned.spec.id.name));
        let line = |((layer, action), (instances, such_as)): ((u32, &str), (usize, &Planned))| {
            TouchedLayer {
                layer,
                action: action.to_owned(),
                instances,
                such_as: such_as.spec.id.name.clone(),
            }
        };
        let counts = counts.into_iter();
        Tally {
            counts: counts
                .map(|(verb, count)| (verb.to_owned(), count))
                .collect(),
            layers: layers.into_iter().map(line).collect(),
            touched: touched.into_iter().map(Touched::of).collect(),
        }
    }
}

impl Touched {
    fn of(planned: &Planned) -> Self {
        let spec = &planned.spec;
        Touched {
            layer: planned.layer,
            action: planned.action.clone(),
            instance: spec.id.name.clone(),
            package: spec.package.to_string(),
            host: spec.host.clone(),
            address: spec.address,
        }
    }
}

impl PlanSummary {
    /// How many instances something is done with.
    pub fn count(&self, verb: &str) -> usize {
        self.counts.get(verb).copied().unwrap_or(0)
    }
}

impl Plan {
    /// The plan as people are shown it.
    pub fn summary(&self) -> PlanSummary {
        let Tally {
            counts,
            touched,
            layers,
        } = Tally::of(self.instances.values());
        PlanSummary {
            site: self.site.clone(),
            digest: self.digest,
            counts,
            touched,
            layers,
            step_count: self.step_count,
            expected_ms: self.expected_ms,
            critical_path: self.critical_path.clone(),
            warnings: self.warnings.clone(),
        }
    }
}
