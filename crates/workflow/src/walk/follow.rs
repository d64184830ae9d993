//! Steps that are begun while the one before them runs: what acts on the same target and waits for
//! nothing else is handed over with it.
//!
//! Each has its own record, attempt and slot. An attempt that follows another counts only if that one
//! succeeds; otherwise it is recalled, and its step waits again.

use jiff::Timestamp;

use super::{Phase, Slots, Walk};
use crate::StepState;

impl Walk {
    /// Begins what may follow a step that was just begun, and what may follow that.
    pub(super) fn lead(&mut self, first: usize, now: Timestamp, slots: &mut Slots) {
        if self.phase != Phase::Forward {
            return;
        }
        let mut leaders = vec![first];
        while let Some(leader) = leaders.pop() {
            for position in 0..self.nodes[leader].dependents.len() {
                let follower = self.nodes[leader].dependents[position];
                let waits =
                    self.state(follower) == StepState::Waiting && self.nodes[follower].missing == 1;
                if waits && self.may_follow(follower, leader) && self.seat(follower, leader, slots)
                {
                    self.begin(follower, Some(leader), now);
                    leaders.push(follower);
                }
            }
        }
    }

    fn may_follow(&self, follower: usize, leader: usize) -> bool {
        let (follower, leader) = (&self.nodes[follower].record, &self.nodes[leader].record);
        follower.step.target.is_some()
            && follower.step.target == leader.step.target
            && !follower.dropped
            && self.verbs.follows(&follower.step.verb, &leader.step.verb)
    }

    /// Sees that a follower has a slot when its turn comes: its leader's, or one that is free now.
    fn seat(&mut self, follower: usize, leader: usize, slots: &mut Slots) -> bool {
        if self.inherits(follower, leader) {
            return true;
        }
        let target = self.nodes[follower].record.step.target.clone();
        let target = target.as_deref();
        let room = target.is_none_or(|target| slots.room_on(&self.tenant, target) > 0);
        let free = room && slots.admits(&self.tenant);
        if free {
            slots.take(&self.tenant, target);
            self.nodes[follower].slot = true;
        }
        free
    }

    /// Makes a follower the one that gets its leader's slot, if there is none yet.
    pub(super) fn inherits(&mut self, follower: usize, leader: usize) -> bool {
        *self.nodes[leader].heir.get_or_insert(follower) == follower
    }

    /// An attempt has succeeded and given its slot back: what follows it has its turn.
    pub(super) fn pass_on(&mut self, leader: usize, now: Timestamp, slots: &mut Slots) {
        let heir = self.nodes[leader].heir.take();
        for position in 0..self.nodes[leader].dependents.len() {
            let follower = self.nodes[leader].dependents[position];
            let node = &mut self.nodes[follower];
            if node.before != Some(leader) {
                continue;
            }
            node.before = None;
            let record = &mut node.record;
            (record.ready_at, record.attempt_at) = (Some(now), Some(now));
            if record.failed_attempts == 0 {
                record.started_at = Some(now);
            }
            if heir == Some(follower) {
                slots.take(&self.tenant, record.step.target.as_deref());
                node.slot = true;
            }
        }
    }

    /// An attempt was given up because the one that it follows failed, or before that had ended;
    /// `spared` where its effect was certainly not begun: then it is as if it had never been made.
    pub fn recalled(&mut self, index: usize, spared: bool, now: Timestamp, slots: &mut Slots) {
        let node = &mut self.nodes[index];
        if !node.running {
            return;
        }
        (node.running, node.before) = (false, None);
        self.release_slot(index, slots);
        let hopeless = self.nodes[index].needs.iter().any(|need| {
            let need = &self.nodes[*need].record;
            let lost = matches!(need.state, StepState::Failed | StepState::Skipped);
            lost && !need.is_satisfied()
        });
        let node = &mut self.nodes[index];
        let record = &mut node.record;
        if spared {
            // The world never heard of its key.
            record.attempts = record.attempts.saturating_sub(1);
            (record.started_at, record.attempt_at) = (None, None);
        }
        if record.dropped {
            record.forgiven = record.attempts;
        }
        if record.dropped || hopeless || self.phase != Phase::Forward {
            record.state = StepState::Skipped;
            record.ended_at = Some(now);
            self.open -= 1;
            self.skip_dependents(index, now);
        } else {
            record.state = StepState::Waiting;
            if node.missing == 0 {
                record.ready_at = Some(now);
                self.queue(index);
            }
        }
        self.changed(index);
    }

    /// What a predecessor left running although something that it needs has not succeeded: it follows
    /// that, or it was recalled and waits.
    pub(super) fn take_up_follower(&mut self, index: usize) {
        let open = |need: &&usize| !self.nodes[**need].record.is_satisfied();
        let mut open = self.nodes[index].needs.iter().filter(open);
        let leader = match (open.next(), open.next()) {
            (None, _) => return,
            (Some(&only), None) => Some(only),
            _ => None,
        };
        let leader = leader.filter(|leader| {
            self.state(*leader) == StepState::Running && self.may_follow(index, *leader)
        });
        let node = &mut self.nodes[index];
        node.before = leader;
        if leader.is_none() {
            node.record.state = StepState::Waiting;
            self.changed(index);
        }
    }

    /// Every step, those that follow others after these.
    pub(super) fn leaders_first(&self) -> Vec<usize> {
        let depth = |index: &usize| {
            let mut depth = 0;
            let mut at = *index;
            while let Some(before) = self.nodes[at].before {
                (at, depth) = (before, depth + 1);
            }
            depth
        };
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(depth);
        order
    }
}
