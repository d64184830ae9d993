//! Checks and measures of a plan, without any record of its execution. Pure.

use std::collections::{HashMap, HashSet};

use crate::{PlanError, Step};

/// The longest step name, in bytes.
pub const MAX_NAME: usize = 512;
/// The largest step, in bytes of JSON.
pub(crate) const MAX_STEP: usize = 512 << 10;

/// Refuses a plan that cannot be walked: bad or duplicate names, unknown needs, cycles, steps that
/// are too large. Whether the verbs exist is the engine's business.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_plan(steps: &[Step]) -> Result<(), PlanError> {
    let mut index = HashMap::with_capacity(steps.len());
    for (i, step) in steps.iter().enumerate() {
        if step.name.is_empty() || step.name.len() > MAX_NAME {
            return Err(PlanError::Name(step.name.chars().take(80).collect()));
        }
        if index.insert(step.name.as_str(), i).is_some() {
            return Err(PlanError::Duplicate(step.name.clone()));
        }
    }
    let mut needs = Vec::with_capacity(steps.len());
    for step in steps {
        let mut own = Vec::with_capacity(step.needs.len());
        for need in &step.needs {
            let unknown = || PlanError::UnknownNeed {
                step: step.name.clone(),
                need: need.clone(),
            };
            own.push(*index.get(need.as_str()).ok_or_else(unknown)?);
        }
        needs.push(own);
    }
    match topological_order(&needs) {
        Some(_) => Ok(()),
        None => Err(PlanError::Cycle(find_cycle(steps, &needs))),
    }
}

/// The engine's own verb for a step that waits for an answer; see [`Wait`](crate::Wait).
pub const WAIT: &str = "wait";
/// The engine's own verb for a step that is another job; see [`SubJob`](crate::SubJob).
pub const JOB: &str = "job";

/// Whether a verb does nothing but wait: it holds no slot, and minds its deadline itself.
pub(crate) fn only_waits(verb: &str) -> bool {
    verb == WAIT || verb == JOB
}

/// An order in which every node comes after its needs; `None` where there is a cycle.
pub(crate) fn topological_order(needs: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let dependents = invert(needs);
    let mut order: Vec<usize> = (0..needs.len()).filter(|&i| missing[i] == 0).collect();
    let mut next = 0;
    while let Some(&node) = order.get(next) {
        next += 1;
        for &dependent in &dependents[node] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                order.push(dependent);
            }
        }
    }
    (order.len() == needs.len()).then_some(order)
}

/// Who needs each node.
pub(crate) fn invert(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut dependents = vec![Vec::new(); needs.len()];
    for (node, own) in needs.iter().enumerate() {
        for &need in own {
            dependents[need].push(node);
        }
    }
    dependents
}

/// For every node, how long the longest path from its start to the end of the job is expected to
/// take, milliseconds.
pub(crate) fn remaining_path(
    expected_ms: &[u64],
    needs: &[Vec<usize>],
    order: &[usize],
) -> Vec<u64> {
    let mut rest = expected_ms.to_vec();
    for &node in order.iter().rev() {
        for &need in &needs[node] {
            rest[need] = rest[need].max(expected_ms[need].saturating_add(rest[node]));
        }
    }
    rest
}

fn find_cycle(steps: &[Step], needs: &[Vec<usize>]) -> Vec<String> {
    // Take away whatever can be walked; from any node that is left, needs lead round a cycle.
    let mut left: HashSet<usize> = (0..needs.len()).collect();
    let dependents = invert(needs);
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut free: Vec<usize> = (0..needs.len()).filter(|&i| missing[i] == 0).collect();
    while let Some(node) = free.pop() {
        left.remove(&node);
        for &dependent in &dependents[node] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                free.push(dependent);
            }
        }
    }
    let Some(mut node) = left.iter().min().copied() else {
        return Vec::new();
    };
    let mut path = Vec::new();
    let mut seen = HashMap::new();
    loop {
        if let Some(&start) = seen.get(&node) {
            path.push(node);
            return path[start..]
                .iter()
                .map(|&i: &usize| steps[i].name.clone())
                .collect();
        }
        seen.insert(node, path.len());
        path.push(node);
        match needs[node].iter().find(|need| left.contains(need)) {
            Some(&need) => node = need,
            None => return Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::step;

    #[test]
    fn a_cycle_is_shown_as_a_path() {
        let steps = [
            step("a", &["c"]),
            step("b", &["a"]),
            step("c", &["b"]),
            step("d", &["a"]),
        ];
        let message = check_plan(&steps).unwrap_err().to_string();
        assert_eq!(message, "steps wait for each other: a -> c -> b -> a");
    }

    #[test]
    fn unknown_needs_and_duplicates_are_refused() {
        let unknown = check_plan(&[step("a", &["x"])]).unwrap_err();
        assert_eq!(
            unknown,
            PlanError::UnknownNeed {
                step: "a".into(),
                need: "x".into()
            }
        );
        let twice = check_plan(&[step("a", &[]), step("a", &[])]).unwrap_err();
        assert_eq!(twice, PlanError::Duplicate("a".into()));
        assert!(check_plan(&[step("", &[])]).is_err());
    }

    #[test]
    fn the_remaining_path_counts_the_longest_branch() {
        // 0 <- 1 <- 3, 0 <- 2 <- 3
        let needs = vec![vec![], vec![0], vec![0], vec![1, 2]];
        let order = topological_order(&needs).unwrap();
        assert_eq!(
            remaining_path(&[1, 10, 2, 3], &needs, &order),
            [14, 13, 5, 3]
        );
    }
}
