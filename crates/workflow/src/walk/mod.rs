//! The executor's core: records and events in, decisions out. No I/O and no clock.
//!
//! A [`Walk`] holds one job's steps. The driver tells it what happened ([`Walk::ended`],
//! [`Walk::tick`], [`Walk::cancel`], [`Walk::replan`]), calls [`Walk::dispatch`], takes the
//! [`Decisions`], writes what changed and only then does what is to start. Every method costs what
//! changed; only [`Walk::new`], [`Walk::replan`] and the beginning of undoing look at every step.

mod dispatch;
mod follow;
mod forward;
mod orders;
mod rebuild;
mod slots;
mod undo;

#[cfg(test)]
mod fairness;
#[cfg(test)]
mod following;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use wright_model::BackOff;

pub(crate) use slots::{Slots, Tenant};

use crate::records::Planned;
use crate::{JobEvent, JobState, Retry, StepRecord, StepState, Verbs};

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
    /// The step whose attempt, started before in the same turn, this one follows.
    pub after: Option<usize>,
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
    /// Whether an attempt runs.
    running: bool,
    /// Whether that attempt holds a slot.
    slot: bool,
    /// The step whose attempt that attempt follows, as long as that one runs.
    before: Option<usize>,
    /// Of those who follow that attempt the one that gets its slot.
    heir: Option<usize>,
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
    tenant: Tenant,
    verbs: Verbs,
    phase: Phase,
    /// Whether nothing more is to start.
    paused: bool,
    /// Whether everything is taken back, also what is complete.
    whole: bool,
    /// Why the job was cancelled, if it was.
    cancelled: Option<String>,
    /// Steps that are not settled in this phase.
    open: usize,
    ready: BTreeSet<Turn>,
    /// Ready, but their target is full, or it is another tenant's turn there.
    full: HashMap<String, BTreeSet<Turn>>,
    /// Ready, and in need of no slot: they only wait.
    slotless: BTreeSet<usize>,
    /// Whether the slots know that it wants one, and on which targets.
    wants: bool,
    wants_on: HashSet<String>,
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
    /// Whether it is paused.
    pub paused: bool,
    /// Whether everything is being taken back, also what is complete.
    pub whole: bool,
    /// What operators ordered of steps, and is not yet in the records.
    pub orders: Vec<JobEvent>,
    /// With whom it shares.
    pub tenant: String,
    /// What its steps do.
    pub verbs: Verbs,
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
            tenant: standing.tenant.as_str().into(),
            verbs: standing.verbs,
            paused: standing.paused,
            whole: standing.whole,
            cancelled: None,
            open: 0,
            ready: BTreeSet::new(),
            full: HashMap::new(),
            slotless: BTreeSet::new(),
            wants: false,
            wants_on: HashSet::new(),
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
        for order in &standing.orders {
            walk.obey(order, now);
        }
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
            slot: false,
            before: None,
            heir: None,
            cancelled: false,
            dirty: false,
            to_undo: false,
            held_back: false,
        });
    }

    /// The records of all steps; in the plan's order until the first [`Walk::replan`].
    pub fn records(&self) -> Vec<&StepRecord> {
        self.nodes.iter().map(|node| &node.record).collect()
    }

    /// The record of a step.
    pub fn record(&self, index: usize) -> &StepRecord {
        &self.nodes[index].record
    }

    /// When the next back-off is over.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
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

    fn state(&self, index: usize) -> StepState {
        self.nodes[index].record.state
    }
}

/// How long to wait after the `failed`th attempt in a row (from 1).
fn back_off(retry: &Retry, failed: u32) -> jiff::SignedDuration {
    let waits = BackOff {
        first: retry.first.duration(),
        longest: retry.cap.duration(),
    };
    jiff::SignedDuration::try_from(waits.after(failed)).unwrap_or(jiff::SignedDuration::MAX)
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
