use std::{cmp::Reverse, collections::HashMap};

use serde::{Deserialize, Serialize};
use wright_model::Name;

use super::{
    cause::clock,
    scene::{Explanation, Why},
};

/// The causes that are told; the others are counted.
const CAUSES: usize = 20;
/// The instances that are named with each.
const NAMED: usize = 5;

/// Why instances do not run, by cause: as long for 50,000 of them as for a few.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Causes {
    /// How many do not run.
    pub instances: usize,
    /// Those of the most instances first, twenty at the most.
    pub causes: Vec<CommonCause>,
    /// How many more causes there are.
    pub more_causes: usize,
    /// How many instances do not run because of those.
    pub more_instances: usize,
}

/// A cause, and whom it keeps from running.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommonCause {
    /// The cause; of several instances, with the time of the one it kept longest.
    #[serde(flatten)]
    pub why: Why,
    /// How many instances.
    pub instances: usize,
    /// The first of them, by name.
    pub first: Vec<Name>,
}

impl Causes {
    /// Of explanations in the order of their instances' names. Causes that differ in nothing but the
    /// time are one.
    pub fn of(explanations: impl IntoIterator<Item = Explanation>) -> Self {
        let (mut all, mut places) = (Vec::<CommonCause>::new(), HashMap::new());
        let mut instances = 0;
        for told in explanations {
            instances += 1;
            let Explanation { instance, why } = told;
            let timeless = why.cause.replacen(&clock(why.since), "", 1);
            let key = (timeless, why.last_error.clone(), why.help.clone());
            let place = *places.entry(key).or_insert(all.len());
            match all.get_mut(place) {
                Some(common) => common.join(instance, why),
                None => all.push(CommonCause {
                    why,
                    instances: 1,
                    first: vec![instance],
                }),
            }
        }
        // Stable: of as many, the one that was met first.
        all.sort_by_key(|common| Reverse(common.instances));
        let more = all.split_off(all.len().min(CAUSES));
        Causes {
            instances,
            causes: all,
            more_causes: more.len(),
            more_instances: more.iter().map(|common| common.instances).sum(),
        }
    }
}

impl CommonCause {
    fn join(&mut self, instance: Name, why: Why) {
        self.instances += 1;
        if self.first.len() < NAMED {
            self.first.push(instance);
        }
        if why.since < self.why.since {
            (self.why.cause, self.why.since) = (why.cause, why.since);
        }
    }
}
