//! The executor's core: records and events in, decisions out. No I/O and no clock.
//!
//! A [`Walk`] holds one job's steps. The driver tells it what happened ([`Walk::ended`],
//! [`Walk::tick`], [`Walk::cancel`], [`Walk::replan`]), calls [`Walk::dispatch`], takes the
//! [`Decisions`], writes what changed and only then does what is to start. Every method costs what
//! changed; only [`Walk::new`], [`Walk::replan`] and the beginning of undoing look at every step.

mod forward;
mod rebuild;
mod slots;
mod undo;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

pub(crate) use slots::Slots;

use crate::records::Planned;
use crate::{JobState, Retry, StepRecord, StepState};

/// What the walk decided since it was last asked.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// Steps whose records are to be written, in the order of their first change.
    pub changed: Vec<usize>,
    /// Attempts to start once that is durable.
    pub start: Vec<Start>,
    /// Running attempts to cancel.
    pub cancel: Vec<usize>,
    /// The job's new state, to be written last.
    pub job: Option<JobChange>,
}

impl Decisions {
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
            && self.start.is_empty()
            && self.cancel.is_empty()
            && self.job.is_none()
    }
}

/// An attempt to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    pub index: usize,
    pub attempt: u32,
    pub undo: bool,
}

/// A job's new state and the one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobChange {
    pub state: JobState,
    pub cause: String,
}

/// Which way the job goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Forward,
    /// Nothing new starts; waits for what runs.
    Cancelling,
    /// Undoing is decided but not begun: the job's state must be durable first.
    Turning,
    Undoing,
    Done,
}

/// Among what is ready, what has the longest path before it comes first.
type Turn = (Reverse<u64>, usize);

#[derive(Debug)]
struct Node {
    record: StepRecord,
    needs: Vec<usize>,
    dependents: Vec<usize>,
    /// Forward: needs that have not succeeded. Undoing: dependents that are not settled.
    missing: usize,
    /// The longest path expected from this step's start to the job's end, milliseconds.
    rest_ms: u64,
    /// Whether an attempt runs, and so a slot is held.
    running: bool,
    /// Whether the running attempt was told to end.
    cancelled: bool,
    /// Whether it is in [`Decisions::changed`].
    dirty: bool,
    /// Undoing: whether its effect is to be taken back.
    to_undo: bool,
    /// Undoing: whether a step of its scope that needs it is stuck, so that it must stay.
    held_back: bool,
}

/// One job being walked.
#[derive(Debug)]
pub(crate) struct Walk {
    nodes: Vec<Node>,
    by_name: HashMap<String, usize>,
    created_at: Timestamp,
    phase: Phase,
    /// Why the job was cancelled, if it was.
    cancelled: Option<String>,
    /// Steps that are not settled in this phase.
    open: usize,
    ready: BTreeSet<Turn>,
    /// Ready, but their target is full.
    full: HashMap<String, BTreeSet<Turn>>,
    timers: BTreeSet<(Timestamp, usize)>,
    first_failure: Option<usize>,
    /// Why effects are taken back; told once, for undoing changes the records it came from.
    root_cause: Option<String>,
    first_stuck: Option<usize>,
    decisions: Decisions,
}

/// Where a job stands besides its steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Why effects are being taken back, if they are.
    pub undoing: Option<String>,
    /// Why it was cancelled, if it was.
    pub cancelled: Option<String>,
    /// Whether an operator began it again, and that is not yet in the records.
    pub resume: bool,
}

impl Walk {
    /// From the records, as a predecessor left them. What was running is started again with the
    /// same attempt number.
    pub fn new(
        records: Vec<StepRecord>,
        created_at: Timestamp,
        standing: Standing,
        now: Timestamp,
    ) -> Self {
        let mut walk = Walk {
            nodes: Vec::with_capacity(records.len()),
            by_name: HashMap::with_capacity(records.len()),
            created_at,
            // Nothing is skipped or made ready anew once effects are taken back.
            phase: if standing.undoing.is_some() {
                Phase::Undoing
            } else {
                Phase::Forward
            },
            cancelled: None,
            open: 0,
            ready: BTreeSet::new(),
            full: HashMap::new(),
            timers: BTreeSet::new(),
            first_failure: None,
            root_cause: None,
            first_stuck: None,
            decisions: Decisions::default(),
        };
        for record in records {
            walk.push(record);
        }
        if standing.resume {
            walk.forgive();
        }
        walk.rebuild(now);
        if standing.undoing.is_some() {
            walk.cancelled = standing.cancelled;
            walk.root_cause = standing.undoing;
            walk.begin_undo();
        } else if let Some(reason) = standing.cancelled {
            walk.cancel(reason, now);
        }
        walk
    }

    /// Takes a new plan: its steps in order, with those that it no longer has.
    pub fn replan(&mut self, plan: Vec<Planned>, now: Timestamp) {
        for planned in plan {
            match self.by_name.get(&planned.step.name) {
                Some(&index) => {
                    let record = &mut self.nodes[index].record;
                    record.step = planned.step;
                    (record.dropped, record.abandoned) = (planned.dropped, planned.abandoned);
                }
                None => {
                    let mut record = StepRecord::new(planned.step);
                    (record.dropped, record.abandoned) = (planned.dropped, planned.abandoned);
                    self.push(record);
                }
            }
        }
        self.rebuild(now);
    }

    fn push(&mut self, record: StepRecord) {
        self.by_name
            .insert(record.step.name.clone(), self.nodes.len());
        self.nodes.push(Node {
            record,
            needs: Vec::new(),
            dependents: Vec::new(),
            missing: 0,
            rest_ms: 0,
            running: false,
            cancelled: false,
            dirty: false,
            to_undo: false,
            held_back: false,
        });
    }

    /// The record of a step.
    pub fn record(&self, index: usize) -> &StepRecord {
        &self.nodes[index].record
    }

    /// When the next back-off is over.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether something waits for a slot.
    pub fn waits_for_slot(&self) -> bool {
        !self.ready.is_empty() || !self.full.is_empty()
    }

    /// Whether an attempt's outcome is still of interest: a step that a later plan dropped records
    /// no facts, for they would overwrite those of its successor.
    pub fn records_facts(&self, index: usize) -> bool {
        !self.nodes[index].record.dropped || self.phase == Phase::Undoing
    }

    /// Time has passed: back-offs that are over make their steps ready.
    pub fn tick(&mut self, now: Timestamp) {
        while let Some(&(at, index)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            self.queue(index);
        }
    }

    /// What to do now. Called after the events; what it decides is taken with [`Walk::take`].
    pub fn dispatch(&mut self, now: Timestamp, slots: &mut Slots) {
        if self.phase == Phase::Turning && self.decisions.job.is_none() {
            self.begin_undo();
        }
        self.settle();
        let targets: Vec<String> = self
            .full
            .keys()
            .filter(|target| slots.free_on(target) > 0)
            .cloned()
            .collect();
        for target in targets {
            let Some(mut turns) = self.full.remove(&target) else {
                continue;
            };
            for _ in 0..slots.free_on(&target) {
                let Some(turn) = turns.pop_first() else { break };
                self.ready.insert(turn);
            }
            if !turns.is_empty() {
                self.full.insert(target, turns);
            }
        }
        while slots.any_free() {
            let Some(turn) = self.ready.pop_first() else {
                break;
            };
            let target = self.nodes[turn.1].record.step.target.clone();
            match target {
                Some(target) if slots.free_on(&target) == 0 => {
                    self.full.entry(target).or_default().insert(turn);
                }
                target => {
                    slots.take(target.as_deref());
                    self.start(turn.1, now);
                }
            }
        }
    }

    /// Takes slots for what ran before a restart and starts it again, same attempt, same effect key.
    pub fn resume(&mut self, slots: &mut Slots) {
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            let undo = self.phase == Phase::Undoing;
            let was_running = match node.record.state {
                StepState::Running => !undo,
                StepState::Undoing => undo && node.to_undo && node.record.next_at.is_none(),
                _ => false,
            };
            if was_running && !node.running {
                node.running = true;
                slots.take(node.record.step.target.as_deref());
                let attempt = if undo {
                    node.record.undo_attempts
                } else {
                    node.record.attempts
                };
                self.decisions.start.push(Start {
                    index,
                    attempt,
                    undo,
                });
                if node.cancelled {
                    self.decisions.cancel.push(index);
                }
            }
        }
    }

    /// Gives all slots back: the walk is given up.
    pub fn release_slots(&mut self, slots: &mut Slots) {
        for node in self.nodes.iter_mut().filter(|node| node.running) {
            node.running = false;
            slots.release(node.record.step.target.as_deref());
        }
    }

    /// What was decided; the next call answers only with what came after.
    pub fn take(&mut self) -> Decisions {
        let decisions = std::mem::take(&mut self.decisions);
        for &index in &decisions.changed {
            self.nodes[index].dirty = false;
        }
        decisions
    }

    fn changed(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if !node.dirty {
            node.dirty = true;
            self.decisions.changed.push(index);
        }
    }

    fn queue(&mut self, index: usize) {
        self.ready
            .insert((Reverse(self.nodes[index].rest_ms), index));
    }

    fn start(&mut self, index: usize, now: Timestamp) {
        let undo = self.phase == Phase::Undoing;
        let node = &mut self.nodes[index];
        node.running = true;
        node.cancelled = false;
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
        });
        self.changed(index);
    }

    fn state(&self, index: usize) -> StepState {
        self.nodes[index].record.state
    }
}

/// How long to wait after the `failed`th attempt in a row (from 1).
fn back_off(retry: &Retry, failed: u32) -> jiff::SignedDuration {
    let doubled = retry
        .first
        .millis()
        .saturating_mul(1_u64 << failed.saturating_sub(1).min(32));
    let millis = doubled.min(retry.cap.millis());
    jiff::SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// One line: the step, its target, what went wrong.
fn describe(record: &StepRecord) -> String {
    let message = record
        .error
        .as_ref()
        .map_or("no message", |error| error.message.as_str());
    let message = message.lines().next().unwrap_or("no message");
    match &record.step.target {
        Some(target) => format!("{} on {target}: {message}", record.step.name),
        None => format!("{}: {message}", record.step.name),
    }
}
