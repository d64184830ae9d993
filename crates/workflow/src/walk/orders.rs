//! What operators order of a job that is being walked. Each order may be applied twice: it is removed
//! from the job's record after the steps' records are written.

use jiff::Timestamp;

use super::{Phase, Walk};
use crate::{JobAction, JobEvent, StepState};

impl Walk {
    /// Nothing more starts, and effects are not taken back, until this is over; what runs goes on.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// A step is retried or waived. Steps that run, have succeeded or are unknown stay as they are.
    pub fn obey(&mut self, order: &JobEvent, now: Timestamp) {
        let index = order.step.as_ref().and_then(|step| self.by_name.get(step));
        let (Some(&index), Phase::Forward) = (index, self.phase) else {
            return;
        };
        let record = &mut self.nodes[index].record;
        let idle = !matches!(record.state, StepState::Running | StepState::Succeeded);
        let failed = matches!(record.state, StepState::Failed | StepState::Backoff);
        match order.action {
            JobAction::Skip if idle && record.waived.is_none() && !record.dropped => {
                record.state = StepState::Skipped;
                record.waived = Some(order.clone());
                record.ended_at = Some(now);
            }
            JobAction::Retry if failed && !record.dropped => {
                record.state = StepState::Waiting;
                record.forgiven = record.attempts;
                record.ended_at = None;
            }
            _ => return,
        }
        record.next_at = None;
        self.changed(index);
        // What was skipped for its sake gets another chance.
        self.rebuild(now);
    }
}
