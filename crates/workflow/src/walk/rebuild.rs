//! Everything that follows from the records: the graph, what waits for how many, what is ready.

use jiff::Timestamp;

use super::{Phase, Walk};
use crate::StepState;
use crate::plan::{invert, remaining_path, topological_order};

impl Walk {
    /// An operator's retry: what did not succeed gets a new set of attempts.
    pub(super) fn forgive(&mut self) {
        for index in 0..self.nodes.len() {
            let record = &mut self.nodes[index].record;
            let waived = record.waived.is_some() && !record.dropped;
            if waived && record.state != StepState::Skipped {
                record.state = StepState::Skipped;
                self.changed(index);
                continue;
            }
            if record.dropped || record.is_satisfied() || record.state == StepState::Waiting {
                continue;
            }
            record.state = StepState::Waiting;
            record.forgiven = record.attempts;
            record.undo_forgiven = record.undo_attempts;
            record.error = None;
            (record.ready_at, record.started_at, record.attempt_at) = (None, None, None);
            (record.next_at, record.ended_at) = (None, None);
            self.changed(index);
        }
    }

    /// Computes what follows from the records, in the forward phase.
    pub(super) fn rebuild(&mut self, now: Timestamp) {
        let order = self.rebuild_graph();
        self.clear_queues();
        self.open = 0;
        for index in order {
            self.drop_unless_planned(index, now);
            self.place(index, now);
        }
        let failed = (0..self.nodes.len())
            .filter(|&i| self.state(i) == StepState::Failed && !self.nodes[i].record.dropped);
        self.first_failure = failed.min_by_key(|&i| (self.nodes[i].record.ended_at, i));
        self.first_stuck = (0..self.nodes.len()).find(|&i| self.state(i) == StepState::Stuck);
    }

    fn rebuild_graph(&mut self) -> Vec<usize> {
        let needs: Vec<Vec<usize>> = (0..self.nodes.len()).map(|i| self.needs_of(i)).collect();
        let expected: Vec<u64> = self
            .nodes
            .iter()
            .map(|node| {
                if node.record.dropped {
                    0
                } else {
                    node.record.step.expected_ms
                }
            })
            .collect();
        // Plans are checked for cycles, and nothing planned needs what was dropped.
        let order = topological_order(&needs).unwrap_or_else(|| (0..needs.len()).collect());
        let rest = remaining_path(&expected, &needs, &order);
        let dependents = invert(&needs);
        let own = needs.into_iter().zip(dependents).zip(rest);
        for (node, ((needs, dependents), rest_ms)) in self.nodes.iter_mut().zip(own) {
            (node.needs, node.dependents, node.rest_ms) = (needs, dependents, rest_ms);
        }
        order
    }

    /// What a step needs; of what was waived, also what that needs: it may have to be done anew.
    fn needs_of(&self, index: usize) -> Vec<usize> {
        let mut needs: Vec<usize> = self.planned_needs(index).collect();
        let mut next = 0;
        while let Some(&need) = needs.get(next) {
            next += 1;
            if self.nodes[need].record.waived.is_some() {
                for more in self.planned_needs(need) {
                    if !needs.contains(&more) {
                        needs.push(more);
                    }
                }
            }
        }
        needs
    }

    /// A dropped step may need what was never planned under its job's later plans.
    fn planned_needs(&self, index: usize) -> impl Iterator<Item = usize> {
        let needs = self.nodes[index].record.step.needs.iter();
        needs.filter_map(|need| self.by_name.get(need).copied())
    }

    /// What a later plan no longer has does not go on.
    fn drop_unless_planned(&mut self, index: usize, now: Timestamp) {
        let node = &mut self.nodes[index];
        let record = &mut node.record;
        if !record.dropped {
            return;
        }
        match record.state {
            StepState::Waiting | StepState::Backoff | StepState::Failed => {
                record.state = StepState::Skipped;
                record.next_at = None;
                record.forgiven = record.attempts;
                record.ended_at.get_or_insert(now);
                self.changed(index);
            }
            StepState::Running if !node.cancelled => {
                node.cancelled = true;
                if node.running {
                    self.decisions.cancel.push(index);
                }
            }
            _ => {}
        }
    }

    /// Puts a step where its state says; its needs have been placed before.
    fn place(&mut self, index: usize, now: Timestamp) {
        let left = self.phase == Phase::Forward && !self.nodes[index].running;
        if left && self.state(index) == StepState::Running {
            self.take_up_follower(index);
        }
        let (mut missing, mut hopeless) = (0, false);
        let mut ready_at = self.created_at;
        for &need in &self.nodes[index].needs {
            let need = &self.nodes[need].record;
            match need.state {
                _ if need.is_satisfied() => {
                    ready_at = ready_at.max(need.ended_at.unwrap_or(ready_at));
                }
                StepState::Failed | StepState::Skipped => hopeless = true,
                _ => missing += 1,
            }
        }
        let node = &mut self.nodes[index];
        node.missing = missing;
        let record = &mut node.record;
        if self.phase != Phase::Forward {
            return;
        }
        let before = record.state;
        let undecided = matches!(before, StepState::Waiting | StepState::Skipped);
        if !record.dropped && record.waived.is_none() && undecided {
            // Skipping follows from the records: with a new plan it may be otherwise.
            record.state = if hopeless {
                StepState::Skipped
            } else {
                StepState::Waiting
            };
            if record.state != before {
                record.ended_at = hopeless.then_some(now);
            }
        }
        let state = record.state;
        match state {
            StepState::Waiting if missing == 0 => {
                record.ready_at = Some(ready_at);
                self.queue(index);
            }
            StepState::Backoff => {
                self.timers.insert((record.next_at.unwrap_or(now), index));
            }
            _ => {}
        }
        if matches!(
            state,
            StepState::Waiting | StepState::Backoff | StepState::Running
        ) {
            self.open += 1;
        }
        if state != before {
            self.changed(index);
        }
    }
}
