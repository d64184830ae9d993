//! The order of a graph of steps, and the longest way through the steps of an app.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use wright_workflow::Step;

use super::steps::{AppSteps, Durations, expected_ms};

/// The indexes of steps in an order in which they could be walked; among those that could come
/// next, the one that was given first does. Steps on a cycle are left out.
pub(crate) fn order(steps: &[Step]) -> Vec<usize> {
    let index: HashMap<&str, usize> = steps
        .iter()
        .enumerate()
        .map(|(i, step)| (step.name.as_str(), i))
        .collect();
    let mut waits = vec![0usize; steps.len()];
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (i, step) in steps.iter().enumerate() {
        for need in step
            .needs
            .iter()
            .filter_map(|need| index.get(need.as_str()))
        {
            waits[i] += 1;
            followers[*need].push(i);
        }
    }
    let free = waits.iter().enumerate().filter(|(_, count)| **count == 0);
    let mut free: BinaryHeap<Reverse<usize>> = free.map(|(i, _)| Reverse(i)).collect();
    let mut order = Vec::with_capacity(steps.len());
    while let Some(Reverse(i)) = free.pop() {
        order.push(i);
        for follower in &followers[i] {
            waits[*follower] -= 1;
            if waits[*follower] == 0 {
                free.push(Reverse(*follower));
            }
        }
    }
    order
}

/// The steps in an order in which they could be walked.
pub(super) fn in_order(steps: Vec<Step>) -> Vec<Step> {
    let order = order(&steps);
    let mut steps: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    let mut sorted: Vec<Step> = order.into_iter().filter_map(|i| steps[i].take()).collect();
    // Those on a cycle stay in the plan, for the linter to name.
    sorted.extend(steps.into_iter().flatten());
    sorted
}

/// The length of the expected critical path in milliseconds, and the names of its steps.
pub(super) fn critical(steps: &[Step]) -> (u64, Vec<String>) {
    let (parts, length) = wright_workflow::expected_critical_path(steps);
    (length, parts.into_iter().map(|part| part.step).collect())
}

/// Steps one after another, by their places among an app's fetches and then its steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// How long they are expected to take, milliseconds.
    pub ms: u64,
    /// First to last.
    pub steps: Vec<usize>,
}

/// The longest way to some steps of an app: as long as what gates the app is early, one that begins
/// within it; later, one that begins where the gates open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub own: Option<Chain>,
    pub gated: Option<Chain>,
}

impl Reach {
    /// When it is over where the gates open at a time, and whether they decide that.
    pub fn at(&self, open: Option<u64>) -> Option<(u64, bool)> {
        let own = self.own.as_ref().map(|chain| (chain.ms, false));
        let gated = open.zip(self.gated.as_ref());
        let gated = gated.map(|(open, chain)| (open.saturating_add(chain.ms), true));
        // Of equal ones the one that is gated: it says more.
        own.max(gated)
    }
}

/// A longest way to a step: how long, and the step before it.
type Longest = Option<(u64, Option<usize>)>;

/// How an app's steps, in an order in which they could be walked, come to its last `ready` and to
/// its end.
pub(super) fn reaches(made: &AppSteps, gates: &[String], durations: &Durations) -> (Reach, Reach) {
    let fetched = made.fetches.len();
    let names: Vec<String> = made.fetches.iter().map(super::steps::Fetch::name).collect();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let (mut own, mut gated): (Vec<Longest>, Vec<Longest>) = (Vec::new(), Vec::new());
    for (place, name) in names.iter().enumerate() {
        places.insert(name, place);
        own.push(Some((expected_ms("fetch", durations), None)));
        gated.push(None);
    }
    for (index, step) in made.steps.iter().enumerate() {
        let needs = || {
            let known = step.needs.iter();
            known.filter_map(|need| places.get(need.as_str()).copied())
        };
        let longest = |to: &[Longest]| {
            let known = needs().filter_map(|need| Some((to[need]?.0, Some(need))));
            known.max_by_key(|(ms, need)| (*ms, Reverse(*need)))
        };
        let then = |(ms, before): (u64, Option<usize>)| (ms + step.expected_ms, before);
        let waits = step.needs.len() > needs().count() && !gates.is_empty();
        let to_own = longest(&own).or(Some((0, None)));
        let to_gated = longest(&gated).or(waits.then_some((0, None)));
        own.push(to_own.map(then));
        gated.push(to_gated.map(then));
        places.insert(&step.name, fetched + index);
    }
    let reach = |takes: &dyn Fn(&Step) -> bool| {
        let chain = |to: &[Longest]| {
            let taken = made.steps.iter().enumerate();
            let taken = taken.filter(|(_, step)| takes(step));
            let ends = taken.map(|(index, _)| fetched + index);
            let ends = ends.filter_map(|place| Some((to[place]?.0, place)));
            let (ms, last) = ends.max_by_key(|(ms, place)| (*ms, Reverse(*place)))?;
            let before = |place: &usize| to[*place].and_then(|(_, before)| before);
            let mut steps: Vec<usize> = std::iter::successors(Some(last), before).collect();
            steps.reverse();
            Some(Chain { ms, steps })
        };
        Reach {
            own: chain(&own),
            gated: chain(&gated),
        }
    };
    (reach(&|step| step.verb == "ready"), reach(&|_| true))
}
