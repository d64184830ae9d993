//! What a finished job tells about time and reliability. Pure.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::{remaining_path, topological_order};
use crate::{Step, StepRecord, StepState};

/// One step on a critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathPart {
    /// The step's name.
    pub step: String,
    /// Its verb.
    pub verb: String,
    /// What it acted on.
    pub target: Option<String>,
    /// From when everything it needed was done to its start, milliseconds: it waited for a slot.
    pub waiting_ms: u64,
    /// From its start to its end, milliseconds; back-off between attempts is part of it.
    pub running_ms: u64,
}

/// The chain of steps that decided when a job ended, first step first, and its length in
/// milliseconds: from the step that ended last, back through the need that ended last.
pub fn critical_path(records: &[StepRecord]) -> (Vec<PathPart>, u64) {
    let done: HashMap<&str, &StepRecord> = records
        .iter()
        .filter(|record| record.ended_at.is_some() && record.started_at.is_some())
        .map(|record| (record.step.name.as_str(), record))
        .collect();
    // The later name decides between equal times, so that the path is the same every time.
    let last = |a: &&StepRecord, b: &&StepRecord| {
        (a.ended_at, &a.step.name).cmp(&(b.ended_at, &b.step.name))
    };
    let planned = done.values().copied().filter(|record| !record.dropped);
    let mut next = planned.max_by(last);
    let mut path = Vec::new();
    let mut bounds: Option<(Timestamp, Timestamp)> = None;
    while let Some(record) = next {
        let (Some(started), Some(ended)) = (record.started_at, record.ended_at) else {
            break;
        };
        let ready = record.ready_at.unwrap_or(started);
        bounds = Some((ready, bounds.map_or(ended, |(_, end)| end)));
        path.push(PathPart {
            step: record.step.name.clone(),
            verb: record.step.verb.clone(),
            target: record.step.target.clone(),
            waiting_ms: millis(ready, started),
            running_ms: millis(started, ended),
        });
        if path.len() > records.len() {
            // Records that need each other in a circle never come from this engine.
            break;
        }
        next = record
            .step
            .needs
            .iter()
            .filter_map(|need| done.get(need.as_str()).copied())
            .max_by(last);
    }
    path.reverse();
    (path, bounds.map_or(0, |(begin, end)| millis(begin, end)))
}

/// The chain of steps that will decide when a job ends if every step takes as long as expected, and
/// its length in milliseconds. Empty where steps need each other in a circle.
pub fn expected_critical_path(steps: &[Step]) -> (Vec<PathPart>, u64) {
    let expected: Vec<(&Step, u64)> = steps.iter().map(|step| (step, step.expected_ms)).collect();
    longest_path(&expected)
}

/// The chain of steps that takes longest if each takes its milliseconds, and its length. Empty where
/// steps need each other in a circle.
pub fn longest_path(steps: &[(&Step, u64)]) -> (Vec<PathPart>, u64) {
    let index: HashMap<&str, usize> = steps
        .iter()
        .enumerate()
        .map(|(i, (step, _))| (step.name.as_str(), i))
        .collect();
    let needs: Vec<Vec<usize>> = steps
        .iter()
        .map(|(step, _)| {
            step.needs
                .iter()
                .filter_map(|need| index.get(need.as_str()).copied())
                .collect()
        })
        .collect();
    let Some(order) = topological_order(&needs) else {
        return (Vec::new(), 0);
    };
    let expected: Vec<u64> = steps.iter().map(|(_, takes)| *takes).collect();
    let rest = remaining_path(&expected, &needs, &order);
    let dependents = crate::plan::invert(&needs);
    let longest = |nodes: &mut dyn Iterator<Item = usize>| {
        nodes.min_by_key(|&i| (std::cmp::Reverse(rest[i]), i))
    };
    let mut next = longest(&mut (0..steps.len()).filter(|&i| needs[i].is_empty()));
    let total = next.map_or(0, |first| rest[first]);
    let mut path = Vec::new();
    while let Some(node) = next {
        let (step, takes) = steps[node];
        path.push(PathPart {
            step: step.name.clone(),
            verb: step.verb.clone(),
            target: step.target.clone(),
            waiting_ms: 0,
            running_ms: takes,
        });
        next = longest(&mut dependents[node].iter().copied());
    }
    (path, total)
}

/// How the steps of one verb went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerbStatistics {
    /// The verb.
    pub verb: String,
    /// Steps that were begun.
    pub count: usize,
    /// Attempts that ended.
    pub attempts: u64,
    /// Of those, how many succeeded, 0 to 1.
    pub success_rate: f64,
    /// Attempts after a step's first.
    pub retries: u64,
    /// How long successful attempts took, the median (nearest rank), milliseconds.
    pub p50_ms: u64,
    /// The same for all but the slowest in a hundred.
    pub p99_ms: u64,
}

/// How the steps of each verb went, by the verb's name. Undos are not counted.
pub fn statistics(records: &[StepRecord]) -> Vec<VerbStatistics> {
    let mut by_verb: BTreeMap<&str, Vec<&StepRecord>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.attempts > 0) {
        by_verb.entry(&record.step.verb).or_default().push(record);
    }
    by_verb
        .into_iter()
        .map(|(verb, records)| verb_statistics(verb, &records))
        .collect()
}

fn verb_statistics(verb: &str, records: &[&StepRecord]) -> VerbStatistics {
    let running = records
        .iter()
        .filter(|record| record.state == StepState::Running)
        .count() as u64;
    let attempts = records
        .iter()
        .map(|record| u64::from(record.attempts))
        .sum::<u64>()
        - running;
    let failed: u64 = records
        .iter()
        .map(|record| u64::from(record.failed_attempts))
        .sum();
    let mut times: Vec<u64> = records
        .iter()
        .filter(|record| matches!(record.state, StepState::Succeeded | StepState::Undone))
        .filter_map(|record| Some(millis(record.attempt_at?, record.ended_at?)))
        .collect();
    times.sort_unstable();
    VerbStatistics {
        verb: verb.to_owned(),
        count: records.len(),
        attempts,
        success_rate: if attempts == 0 {
            1.0
        } else {
            attempts.saturating_sub(failed) as f64 / attempts as f64
        },
        retries: records
            .iter()
            .map(|record| u64::from(record.attempts) - 1)
            .sum(),
        p50_ms: percentile(&times, 50),
        p99_ms: percentile(&times, 99),
    }
}

/// Nearest rank; 0 of nothing.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::step;

    fn ran(name: &str, needs: &[&str], ready: i64, started: i64, ended: i64) -> StepRecord {
        let at = |ms| Timestamp::from_millisecond(ms).ok();
        let mut record = StepRecord::new(step(name, needs));
        record.state = StepState::Succeeded;
        record.attempts = 1;
        (record.ready_at, record.started_at) = (at(ready), at(started));
        (record.attempt_at, record.ended_at) = (at(started), at(ended));
        record
    }

    #[test]
    fn the_critical_path_goes_through_the_need_that_ended_last() {
        let records = [
            ran("a", &[], 0, 5, 50),
            ran("b", &[], 0, 0, 80),
            ran("c", &["a", "b"], 80, 90, 100),
            ran("d", &["a"], 50, 50, 60),
        ];
        let (path, total) = critical_path(&records);
        let parts: Vec<_> = path
            .iter()
            .map(|p| (p.step.as_str(), p.waiting_ms, p.running_ms))
            .collect();
        assert_eq!(parts, [("b", 0, 80), ("c", 10, 10)]);
        assert_eq!(total, 100);
    }

    #[test]
    fn the_expected_path_is_the_longest() {
        let mut steps = [
            step("a", &[]),
            step("b", &["a"]),
            step("c", &["a"]),
            step("d", &["b", "c"]),
        ];
        steps[2].expected_ms = 70;
        let (path, total) = expected_critical_path(&steps);
        assert_eq!(
            path.iter()
                .map(|part| part.step.as_str())
                .collect::<Vec<_>>(),
            ["a", "c", "d"]
        );
        assert_eq!(total, 90);
    }

    #[test]
    fn statistics_count_attempts_and_retries() {
        let mut records = vec![ran("a", &[], 0, 0, 10), ran("b", &[], 0, 0, 30)];
        (records[1].attempts, records[1].failed_attempts) = (3, 2);
        let all = statistics(&records);
        assert_eq!((all[0].count, all[0].attempts, all[0].retries), (2, 4, 2));
        assert_eq!(
            (all[0].success_rate, all[0].p50_ms, all[0].p99_ms),
            (0.5, 10, 30)
        );
    }
}
