//! Undoing: the effects of incomplete scopes are taken back, dependents before what they need.

use jiff::Timestamp;
use serde_json::Value;

use super::{Phase, Walk, back_off};
use crate::{StepError, StepState};

impl Walk {
    /// Turns round: every step waits for its dependents to be settled. Steps that are not to be
    /// undone settle by themselves, so that order holds through them.
    pub(super) fn begin_undo(&mut self) {
        self.phase = Phase::Undoing;
        self.clear_queues();
        let incomplete = self.incomplete_scopes();
        self.open = 0;
        for node in &mut self.nodes {
            let record = &node.record;
            let acted =
                record.attempts > 0 && !record.abandoned && incomplete.contains(&record.step.scope);
            node.to_undo = acted
                && match record.state {
                    StepState::Succeeded | StepState::Undoing => true,
                    // Its effect may be half there.
                    StepState::Failed | StepState::Running | StepState::Backoff => {
                        record.step.undo.is_some()
                    }
                    StepState::Skipped if record.dropped || record.waived.is_some() => {
                        record.step.undo.is_some()
                    }
                    // An attempt that was recalled, and nobody knows whether it had begun.
                    StepState::Skipped | StepState::Waiting => {
                        record.attempts > record.forgiven && record.step.undo.is_some()
                    }
                    StepState::Undone | StepState::Stuck => false,
                };
            node.held_back = false;
            node.missing = node.dependents.len();
            self.open += usize::from(node.to_undo);
        }
        let free: Vec<usize> = (0..self.nodes.len())
            .filter(|&i| self.nodes[i].missing == 0)
            .collect();
        self.undo_next(free);
    }

    /// These steps' dependents are all settled.
    fn undo_next(&mut self, mut free: Vec<usize>) {
        while let Some(index) = free.pop() {
            let node = &mut self.nodes[index];
            if !node.to_undo {
                self.settle_undo(index, &mut free);
            } else if node.held_back {
                self.open -= 1;
                self.settle_undo(index, &mut free);
            } else if node.record.step.undo.is_none() {
                node.record.state = StepState::Undone;
                node.to_undo = false;
                self.open -= 1;
                self.changed(index);
                self.settle_undo(index, &mut free);
            } else if let Some(at) = node.record.next_at
                && node.record.state == StepState::Undoing
            {
                self.timers.insert((at, index));
            } else if node.record.state != StepState::Undoing {
                node.record.next_at = None;
                self.queue(index);
            }
            // What is being undone since before a restart is started by `resume`.
        }
    }

    fn settle_undo(&mut self, index: usize, free: &mut Vec<usize>) {
        let holds = self.state(index) == StepState::Stuck || self.nodes[index].held_back;
        for position in 0..self.nodes[index].needs.len() {
            let need = self.nodes[index].needs[position];
            // What a stuck step of the same scope stands on stays.
            let same_scope =
                self.nodes[need].record.step.scope == self.nodes[index].record.step.scope;
            let node = &mut self.nodes[need];
            node.held_back |= holds && same_scope;
            node.missing -= 1;
            if node.missing == 0 {
                free.push(need);
            }
        }
    }

    pub(super) fn undo_ended(
        &mut self,
        index: usize,
        result: Result<Value, StepError>,
        now: Timestamp,
    ) {
        let record = &mut self.nodes[index].record;
        match result {
            Ok(_) => record.state = StepState::Undone,
            Err(error) => {
                let made = record.undo_attempts - record.undo_forgiven;
                if error.retry && made < record.step.retry.attempts {
                    let at = now
                        .checked_add(back_off(&record.step.retry, made))
                        .unwrap_or(now);
                    record.next_at = Some(at);
                    self.timers.insert((at, index));
                    return self.changed(index);
                }
                record.state = StepState::Stuck;
                record.error = Some(error);
                // The first in the plan, not in time: a restart knows only the former.
                self.first_stuck = Some(self.first_stuck.map_or(index, |first| first.min(index)));
            }
        }
        self.nodes[index].to_undo = false;
        self.open -= 1;
        self.changed(index);
        let mut free = Vec::new();
        self.settle_undo(index, &mut free);
        self.undo_next(free);
    }
}
