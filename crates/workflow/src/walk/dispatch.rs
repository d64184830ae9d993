//! What starts now: the queues of what is ready, and the slots that it takes.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::{Phase, Slots, Start, Turn, Walk};
use crate::plan::only_waits;
use crate::{StepRecord, StepState};

impl Walk {
    /// Whether something waits for a slot.
    pub fn waits_for_slot(&self) -> bool {
        !self.paused && (!self.ready.is_empty() || !self.full.is_empty())
    }

    /// What to do now. Called after the events; what it decides is taken with [`Walk::take`].
    /// Whether other jobs may get now what this one no longer waits for.
    pub fn dispatch(&mut self, now: Timestamp, slots: &mut Slots) -> bool {
        if self.phase == Phase::Turning && self.decisions.job.is_none() {
            self.begin_undo();
        }
        self.settle();
        if !self.paused {
            while let Some(index) = self.slotless.pop_first() {
                self.start(index, now);
            }
            self.look_at_targets(slots);
            self.start_ready(now, slots);
        }
        self.tell_wants(slots)
    }

    /// What waited for a target that has room is ready again.
    fn look_at_targets(&mut self, slots: &Slots) {
        let room = |target: &String| slots.room_on(&self.tenant, target);
        let targets: Vec<(String, usize)> = self
            .full
            .keys()
            .map(|target| (target, room(target)))
            .filter(|(_, room)| *room > 0)
            .map(|(target, room)| (target.clone(), room))
            .collect();
        for (target, room) in targets {
            let Some(mut turns) = self.full.remove(&target) else {
                continue;
            };
            for _ in 0..room {
                let Some(turn) = turns.pop_first() else { break };
                self.ready.insert(turn);
            }
            if !turns.is_empty() {
                self.full.insert(target, turns);
            }
        }
    }

    fn start_ready(&mut self, now: Timestamp, slots: &mut Slots) {
        while slots.admits(&self.tenant) {
            let Some(turn) = self.ready.pop_first() else {
                break;
            };
            let target = self.nodes[turn.1].record.step.target.clone();
            match target {
                Some(target) if slots.room_on(&self.tenant, &target) == 0 => {
                    self.full.entry(target).or_default().insert(turn);
                }
                target => {
                    slots.take(&self.tenant, target.as_deref());
                    self.nodes[turn.1].slot = true;
                    self.start(turn.1, now);
                    self.lead(turn.1, now, slots);
                }
            }
        }
    }

    /// Tells the slots what this job waits for. Whether that is less than before.
    fn tell_wants(&mut self, slots: &mut Slots) -> bool {
        let before = self.wants_on.len();
        let (tenant, full, paused) = (&self.tenant, &self.full, self.paused);
        self.wants_on.retain(|target| {
            let stays = !paused && full.contains_key(target);
            if !stays {
                slots.want_no_more(tenant, Some(target));
            }
            stays
        });
        let mut less = self.wants_on.len() < before;
        if !paused && self.wants_on.len() < full.len() {
            for target in full.keys() {
                if self.wants_on.insert(target.clone()) {
                    slots.want(tenant, Some(target));
                }
            }
        }
        let wants = !paused && !self.ready.is_empty();
        match (self.wants, wants) {
            (false, true) => slots.want(tenant, None),
            (true, false) => {
                slots.want_no_more(tenant, None);
                less = true;
            }
            _ => {}
        }
        self.wants = wants;
        less
    }

    /// Takes slots for what ran before a restart and starts it again, same attempt, same effect key.
    pub fn resume(&mut self, slots: &mut Slots) {
        for index in self.leaders_first() {
            let node = &self.nodes[index];
            let undo = self.phase == Phase::Undoing;
            let was_running = match node.record.state {
                StepState::Running => !undo,
                StepState::Undoing => undo && node.to_undo && node.record.next_at.is_none(),
                _ => false,
            };
            if was_running && !node.running {
                let after = self.nodes[index].before;
                let inherits = after.is_some_and(|after| self.inherits(index, after));
                let slot = !inherits && self.needs_slot(index);
                let node = &mut self.nodes[index];
                (node.running, node.slot) = (true, slot);
                if slot {
                    slots.take(&self.tenant, node.record.step.target.as_deref());
                }
                let attempt = if undo {
                    node.record.undo_attempts
                } else {
                    node.record.attempts
                };
                self.decisions.start.push(Start {
                    index,
                    attempt,
                    undo,
                    after,
                });
                if node.cancelled {
                    self.decisions.cancel.push(index);
                }
            }
        }
    }

    /// Gives all slots back, and waits for none: the walk is given up.
    pub fn release_slots(&mut self, slots: &mut Slots) {
        for index in 0..self.nodes.len() {
            self.nodes[index].running = false;
            self.release_slot(index, slots);
        }
        self.clear_queues();
        self.tell_wants(slots);
    }

    /// Ends the walk; the records of all steps, in the order of [`Walk::records`].
    pub fn end(&mut self, slots: &mut Slots) -> Vec<StepRecord> {
        self.release_slots(slots);
        let nodes = std::mem::take(&mut self.nodes);
        nodes.into_iter().map(|node| node.record).collect()
    }

    pub(super) fn release_slot(&mut self, index: usize, slots: &mut Slots) {
        let node = &mut self.nodes[index];
        if std::mem::take(&mut node.slot) {
            slots.release(&self.tenant, node.record.step.target.as_deref());
        }
    }

    /// Nothing is ready any more.
    pub(super) fn clear_queues(&mut self) {
        self.ready.clear();
        self.full.clear();
        self.slotless.clear();
        self.timers.clear();
    }

    pub(super) fn queue(&mut self, index: usize) {
        if self.needs_slot(index) {
            let turn: Turn = (Reverse(self.nodes[index].rest_ms), index);
            self.ready.insert(turn);
        } else {
            self.slotless.insert(index);
        }
    }

    /// Whether an attempt at this step, or at its undo, does more than wait.
    fn needs_slot(&self, index: usize) -> bool {
        let step = &self.nodes[index].record.step;
        let verb = match &step.undo {
            Some(undo) if self.phase == Phase::Undoing => &undo.verb,
            _ => &step.verb,
        };
        !only_waits(verb)
    }

    fn start(&mut self, index: usize, now: Timestamp) {
        self.begin(index, None, now);
    }

    pub(super) fn begin(&mut self, index: usize, after: Option<usize>, now: Timestamp) {
        let undo = self.phase == Phase::Undoing;
        let node = &mut self.nodes[index];
        node.running = true;
        node.cancelled = false;
        (node.before, node.heir) = (after, None);
        let record = &mut node.record;
        record.next_at = None;
        let attempt = if undo {
            record.state = StepState::Undoing;
            record.undo_attempts += 1;
            record.undo_attempts
        } else {
            record.state = StepState::Running;
            record.started_at.get_or_insert(now);
            record.attempt_at = Some(now);
            record.attempts += 1;
            record.attempts
        };
        self.decisions.start.push(Start {
            index,
            attempt,
            undo,
            after,
        });
        self.changed(index);
    }
}
