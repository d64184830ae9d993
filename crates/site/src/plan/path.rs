//! The order of a graph of steps.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use wright_workflow::Step;

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
