//! Forward: attempts, back-off, failure, skipping, and the turn to undoing.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{JobChange, Phase, Slots, Walk, back_off, describe};
use crate::{JobState, StepError, StepState};

impl Walk {
    /// An attempt, or an attempt at an undo, has ended.
    pub fn ended(
        &mut self,
        index: usize,
        result: Result<Value, StepError>,
        now: Timestamp,
        slots: &mut Slots,
    ) {
        let node = &mut self.nodes[index];
        if !node.running {
            return;
        }
        node.running = false;
        node.before = None;
        self.release_slot(index, slots);
        if result.is_ok() {
            self.pass_on(index, now, slots);
        }
        if self.phase == Phase::Undoing {
            return self.undo_ended(index, result, now);
        }
        let record = &mut self.nodes[index].record;
        if record.dropped {
            // What a dropped step achieved is known, but nothing waits for it.
            record.ended_at = Some(now);
            record.forgiven = record.attempts;
            record.state = StepState::Skipped;
            match result {
                Ok(output) if !record.abandoned => {
                    record.state = StepState::Succeeded;
                    record.output = output;
                }
                Ok(_) => {}
                Err(error) => {
                    record.failed_attempts += 1;
                    record.error = Some(error);
                }
            }
            self.open -= 1;
            return self.changed(index);
        }
        match result {
            Ok(output) => {
                record.state = StepState::Succeeded;
                record.ended_at = Some(now);
                record.output = output;
                self.open -= 1;
                self.release_dependents(index, now);
            }
            Err(error) => self.attempt_failed(index, error, now),
        }
        self.changed(index);
    }

    fn release_dependents(&mut self, index: usize, now: Timestamp) {
        for position in 0..self.nodes[index].dependents.len() {
            let dependent = self.nodes[index].dependents[position];
            let node = &mut self.nodes[dependent];
            node.missing = node.missing.saturating_sub(1);
            if node.missing == 0
                && node.record.state == StepState::Waiting
                && self.phase == Phase::Forward
            {
                node.record.ready_at = Some(now);
                self.queue(dependent);
            }
        }
    }

    fn attempt_failed(&mut self, index: usize, error: StepError, now: Timestamp) {
        let node = &mut self.nodes[index];
        let record = &mut node.record;
        record.failed_attempts += 1;
        let made = record.attempts - record.forgiven;
        // An attempt that a plan cancelled, but that the newest plan wants again, did not fail.
        let revived = node.cancelled && self.phase == Phase::Forward;
        let again = revived || (error.retry && made < record.step.retry.attempts);
        record.error = Some(error);
        if again && self.phase == Phase::Forward {
            if revived {
                record.forgiven = record.attempts;
            }
            let wait = back_off(&record.step.retry, made);
            let at = if revived {
                now
            } else {
                now.checked_add(wait).unwrap_or(now)
            };
            record.state = StepState::Backoff;
            record.next_at = Some(at);
            self.timers.insert((at, index));
        } else {
            record.state = StepState::Failed;
            record.ended_at = Some(now);
            self.open -= 1;
            self.first_failure.get_or_insert(index);
            self.skip_dependents(index, now);
        }
    }

    /// Whatever needs a step that will not succeed will not start.
    pub(super) fn skip_dependents(&mut self, index: usize, now: Timestamp) {
        let mut stack = vec![index];
        while let Some(index) = stack.pop() {
            for position in 0..self.nodes[index].dependents.len() {
                let dependent = self.nodes[index].dependents[position];
                let record = &mut self.nodes[dependent].record;
                if record.state == StepState::Waiting {
                    record.state = StepState::Skipped;
                    record.ended_at = Some(now);
                    self.open -= 1;
                    self.changed(dependent);
                    stack.push(dependent);
                }
            }
        }
    }

    /// Somebody ends the job: nothing new starts, what runs is told to end.
    pub fn cancel(&mut self, reason: String, now: Timestamp) {
        if self.phase != Phase::Forward {
            return;
        }
        self.phase = Phase::Cancelling;
        self.cancelled = Some(reason);
        self.clear_queues();
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            match node.record.state {
                StepState::Waiting => node.record.state = StepState::Skipped,
                StepState::Backoff => node.record.state = StepState::Failed,
                StepState::Running => {
                    node.cancelled = true;
                    // Of what a restart left, `resume` cancels the attempt.
                    if node.running {
                        self.decisions.cancel.push(index);
                    }
                    continue;
                }
                _ => continue,
            }
            node.record.ended_at = Some(now);
            node.record.next_at = None;
            self.open -= 1;
            self.changed(index);
        }
    }

    /// Ends the phase where nothing is open.
    pub(super) fn settle(&mut self) {
        if self.open > 0 {
            return;
        }
        let (state, cause) = match self.phase {
            Phase::Forward | Phase::Cancelling => {
                let incomplete = self.has_incomplete_scope();
                if incomplete && self.paused {
                    // Whoever paused it may still retry or waive what failed.
                    return;
                }
                if !incomplete {
                    self.phase = Phase::Done;
                    match &self.cancelled {
                        None => (JobState::Succeeded, String::new()),
                        Some(reason) => (JobState::Cancelled, reason.clone()),
                    }
                } else {
                    self.phase = Phase::Turning;
                    let cause = self.cause();
                    self.root_cause = Some(cause.clone());
                    (JobState::Undoing, cause)
                }
            }
            Phase::Undoing => {
                self.phase = Phase::Done;
                let state = match (&self.cancelled, self.first_stuck) {
                    (_, Some(_)) => JobState::Stuck,
                    (Some(_), None) => JobState::Cancelled,
                    (None, None) => JobState::Failed,
                };
                (state, self.cause())
            }
            Phase::Turning | Phase::Done => return,
        };
        self.decisions.job = Some(JobChange { state, cause });
    }

    fn has_incomplete_scope(&self) -> bool {
        self.nodes
            .iter()
            .any(|node| !node.record.dropped && !node.record.is_satisfied())
    }

    /// Scopes of which a step has not succeeded; all of them where everything is taken back.
    pub(super) fn incomplete_scopes(&self) -> HashSet<String> {
        let unfinished =
            |record: &&crate::StepRecord| self.whole || (!record.dropped && !record.is_satisfied());
        self.nodes
            .iter()
            .map(|node| &node.record)
            .filter(unfinished)
            .map(|r| r.step.scope.clone())
            .collect()
    }

    fn cause(&self) -> String {
        let root = match (&self.root_cause, &self.cancelled, self.first_failure) {
            (Some(cause), _, _) => cause.clone(),
            (None, Some(reason), _) => reason.clone(),
            (None, None, Some(index)) => describe(&self.nodes[index].record),
            (None, None, None) => "steps did not succeed".to_owned(),
        };
        match self.first_stuck {
            Some(index) => format!(
                "{root}; the undo of {}",
                describe(&self.nodes[index].record)
            ),
            None => root,
        }
    }
}
