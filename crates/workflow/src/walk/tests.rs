use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Decisions, JobChange, Slots, Standing, Walk};
use crate::records::Planned;
use crate::testing::step;
use crate::{JobState, Step, StepError, StepRecord, StepState};

/// A walk with a clock of its own; keeps what runs and how the job ended.
pub(super) struct Sim {
    pub walk: Walk,
    pub slots: Slots,
    pub now: Timestamp,
    /// Attempts that run: step, and whether it is its undo.
    pub running: BTreeMap<usize, bool>,
    pub cancelled: BTreeSet<usize>,
    pub job: Option<JobChange>,
    /// Every start, in order: name and whether undo.
    pub starts: Vec<(String, bool)>,
}

impl Sim {
    pub fn new(steps: Vec<Step>) -> Self {
        Sim::of(
            steps.into_iter().map(StepRecord::new).collect(),
            Standing::default(),
            Timestamp::UNIX_EPOCH,
        )
    }

    pub fn of(records: Vec<StepRecord>, standing: Standing, now: Timestamp) -> Self {
        let mut walk = Walk::new(records, Timestamp::UNIX_EPOCH, standing, now);
        let mut slots = Slots::new(100, 100, 100);
        walk.resume(&mut slots);
        let mut sim = Sim {
            walk,
            slots,
            now,
            running: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            job: None,
            starts: Vec::new(),
        };
        sim.advance();
        sim
    }

    /// Dispatches until nothing more is decided, as the driver does.
    pub fn advance(&mut self) {
        loop {
            self.walk.dispatch(self.now, &mut self.slots);
            let Decisions {
                changed,
                start,
                cancel,
                job,
            } = self.walk.take();
            if changed.is_empty() && start.is_empty() && cancel.is_empty() && job.is_none() {
                return;
            }
            for start in start {
                let twice = self.running.insert(start.index, start.undo);
                assert_eq!(twice, None, "a step runs once at a time");
                self.starts
                    .push((self.walk.record(start.index).step.name.clone(), start.undo));
            }
            self.cancelled.extend(cancel);
            self.job = job.or(self.job.take());
        }
    }

    pub fn end(&mut self, name: &str, result: Result<Value, StepError>) {
        let index = self.walk.by_name[name];
        assert!(self.running.contains_key(&index), "{name} does not run");
        self.end_index(index, result);
    }

    /// An attempt is given up with the one that it follows.
    pub fn recall(&mut self, index: usize, spared: bool) {
        self.running.remove(&index);
        self.walk.recalled(index, spared, self.now, &mut self.slots);
        self.advance();
    }

    /// Of what runs, what follows nothing that still runs.
    pub fn first(&self) -> Vec<usize> {
        let running = self.running.keys().copied();
        running
            .filter(|index| self.walk.nodes[*index].before.is_none())
            .collect()
    }

    pub fn end_index(&mut self, index: usize, result: Result<Value, StepError>) {
        self.running.remove(&index);
        self.now += SignedDuration::from_millis(1);
        self.walk.ended(index, result, self.now, &mut self.slots);
        self.advance();
    }

    pub fn ok(&mut self, name: &str) {
        self.end(name, Ok(Value::Null));
    }

    pub fn fail(&mut self, name: &str) {
        self.end(name, Err(error(false)));
    }

    pub fn wait(&mut self, millis: i64) {
        self.now += SignedDuration::from_millis(millis);
        self.walk.tick(self.now);
        self.advance();
    }

    pub fn state(&self, name: &str) -> StepState {
        self.walk.record(self.walk.by_name[name]).state
    }

    pub fn running(&self) -> Vec<String> {
        let name = |(&index, &undo): (&usize, &bool)| {
            let name = &self.walk.record(index).step.name;
            if undo {
                format!("undo {name}")
            } else {
                name.clone()
            }
        };
        self.running.iter().map(name).collect()
    }

    pub fn job_state(&self) -> Option<JobState> {
        self.job.as_ref().map(|job| job.state)
    }

    pub fn replan(&mut self, steps: Vec<Step>, abandon: &[&str]) {
        let names: BTreeSet<String> = steps.iter().map(|step| step.name.clone()).collect();
        let kept = steps.into_iter().map(Planned::from);
        let records = self.records();
        let old = records
            .into_iter()
            .filter(|record| !names.contains(&record.step.name));
        let dropped = old.map(|record| Planned {
            dropped: true,
            abandoned: record.abandoned || abandon.contains(&record.step.scope.as_str()),
            step: record.step,
        });
        let plan = kept.chain(dropped).collect();
        self.walk.replan(plan, self.now);
        self.advance();
    }

    pub fn records(&self) -> Vec<StepRecord> {
        self.walk
            .nodes
            .iter()
            .map(|node| node.record.clone())
            .collect()
    }

    /// As a new process finds the job.
    pub fn restarted(&self, standing: Standing) -> Sim {
        Sim::of(self.records(), standing, self.now)
    }
}

pub(super) fn error(retry: bool) -> StepError {
    StepError {
        message: "it broke".to_owned(),
        retry,
        evidence: Vec::new(),
    }
}

fn scoped(name: &str, needs: &[&str], scope: &str) -> Step {
    Step {
        scope: scope.to_owned(),
        ..step(name, needs)
    }
}

#[test]
fn independent_steps_overlap_and_needs_gate() {
    let mut sim = Sim::new(vec![step("a", &[]), step("b", &[]), step("c", &["a", "b"])]);
    assert_eq!(sim.running(), ["a", "b"]);
    sim.ok("a");
    assert_eq!(sim.running(), ["b"]);
    sim.ok("b");
    assert_eq!(sim.running(), ["c"]);
    sim.ok("c");
    assert_eq!(sim.job_state(), Some(JobState::Succeeded));
}

#[test]
fn a_job_without_steps_succeeds() {
    assert_eq!(Sim::new(Vec::new()).job_state(), Some(JobState::Succeeded));
}

#[test]
fn the_longest_remaining_path_starts_first() {
    let mut long = step("long", &["b"]);
    long.expected_ms = 500;
    let mut sim = Sim::new(Vec::new());
    sim = Sim {
        slots: Slots::new(1, 1, 1),
        job: None,
        ..sim
    };
    sim.walk = Walk::new(
        vec![step("a", &[]), step("b", &[]), long]
            .into_iter()
            .map(StepRecord::new)
            .collect(),
        sim.now,
        Standing::default(),
        sim.now,
    );
    sim.advance();
    assert_eq!(sim.running(), ["b"]);
    sim.ok("b");
    assert_eq!(sim.running(), ["long"]);
}

#[test]
fn a_full_target_does_not_hold_up_others() {
    let on = |name: &str, target: &str| Step {
        target: Some(target.to_owned()),
        ..step(name, &[])
    };
    let steps = vec![on("a", "h1"), on("b", "h1"), on("c", "h2")];
    let mut sim = Sim {
        slots: Slots::new(10, 1, 10),
        ..Sim::new(Vec::new())
    };
    sim.walk = Walk::new(
        steps.into_iter().map(StepRecord::new).collect(),
        sim.now,
        Standing::default(),
        sim.now,
    );
    sim.advance();
    assert_eq!(sim.running(), ["a", "c"]);
    sim.ok("a");
    assert_eq!(sim.running(), ["b", "c"]);
}

#[test]
fn retries_double_their_wait_up_to_the_cap_and_end() {
    let mut sim = Sim::new(vec![step("a", &[])]);
    for wait in [1_000, 2_000, 4_000] {
        sim.end("a", Err(error(true)));
        assert_eq!(sim.state("a"), StepState::Backoff);
        sim.wait(wait - 1);
        assert_eq!(sim.running(), [""; 0]);
        sim.wait(1);
        assert_eq!(sim.running(), ["a"]);
    }
    sim.end("a", Err(error(true)));
    assert_eq!(sim.running(), ["undo a"]);
    sim.ok("a");
    let record = sim.walk.record(0);
    assert_eq!(
        (record.attempts, record.failed_attempts, record.state),
        (4, 4, StepState::Undone)
    );
    let job = sim.job.unwrap();
    assert_eq!(
        (job.state, job.cause.as_str()),
        (JobState::Failed, "a: it broke")
    );
}

#[test]
fn a_failure_skips_dependents_and_undoes_its_scope_in_reverse() {
    let mut sim = Sim::new(vec![
        scoped("a", &[], "bad"),
        scoped("b", &["a"], "bad"),
        scoped("c", &["b"], "bad"),
        scoped("x", &["a"], "good"),
    ]);
    sim.ok("a");
    sim.fail("b");
    assert_eq!(sim.state("c"), StepState::Skipped);
    assert_eq!(
        sim.running(),
        ["x"],
        "what is independent goes on to its end"
    );
    sim.ok("x");
    assert_eq!(sim.running(), ["undo b"]);
    sim.ok("b");
    assert_eq!(sim.running(), ["undo a"]);
    sim.ok("a");
    assert_eq!(sim.state("x"), StepState::Succeeded, "a whole scope stays");
    assert_eq!(sim.job_state(), Some(JobState::Failed));
}

#[test]
fn a_failed_undo_leaves_the_job_stuck_and_what_it_stands_on_alone() {
    let mut sim = Sim::new(vec![step("a", &[]), step("b", &["a"]), step("c", &["b"])]);
    sim.ok("a");
    sim.ok("b");
    sim.fail("c");
    sim.ok("c");
    sim.fail("b");
    assert_eq!(
        (sim.state("b"), sim.state("a")),
        (StepState::Stuck, StepState::Succeeded)
    );
    let job = sim.job.unwrap();
    assert_eq!(job.state, JobState::Stuck);
    assert_eq!(job.cause, "c: it broke; the undo of b: it broke");
}

#[test]
fn an_operators_retry_begins_again_what_did_not_succeed() {
    let mut sim = Sim::new(vec![
        scoped("x", &[], "good"),
        step("a", &[]),
        step("b", &["a"]),
    ]);
    sim.ok("x");
    sim.ok("a");
    sim.fail("b");
    sim.ok("b");
    sim.ok("a");
    let mut again = sim.restarted(Standing {
        resume: true,
        ..Standing::default()
    });
    assert_eq!(again.running(), ["a"]);
    again.ok("a");
    again.ok("b");
    assert_eq!(again.job_state(), Some(JobState::Succeeded));
    assert_eq!(
        again.walk.record(1).attempts,
        2,
        "a new attempt has a new effect key"
    );
}

#[test]
fn cancelling_starts_nothing_and_undoes_what_is_half_made() {
    let mut sim = Sim::new(vec![
        step("a", &[]),
        step("b", &["a"]),
        scoped("x", &[], "good"),
    ]);
    sim.ok("x");
    sim.walk
        .cancel("cancelled by me: changed my mind".to_owned(), sim.now);
    sim.advance();
    assert_eq!(sim.cancelled, BTreeSet::from([0]));
    sim.end("a", Err(error(true)));
    assert_eq!(sim.running(), ["undo a"]);
    sim.ok("a");
    assert_eq!(
        (sim.state("b"), sim.state("x")),
        (StepState::Skipped, StepState::Succeeded)
    );
    assert_eq!(sim.job_state(), Some(JobState::Cancelled));
}

#[test]
fn a_restart_repeats_the_running_attempt_and_keeps_the_back_off() {
    let mut sim = Sim::new(vec![step("a", &[]), step("b", &[])]);
    sim.end("b", Err(error(true)));
    let mut again = sim.restarted(Standing::default());
    assert_eq!(again.running(), ["a"]);
    assert_eq!(again.walk.record(0).attempts, 1);
    again.wait(1_000);
    assert_eq!(again.running(), ["a", "b"]);
    assert_eq!(again.walk.record(1).attempts, 2);
}

#[test]
fn a_restart_goes_on_undoing() {
    let mut sim = Sim::new(vec![step("a", &[]), step("b", &["a"])]);
    sim.ok("a");
    sim.fail("b");
    let mut again = sim.restarted(Standing {
        undoing: Some("b: it broke".to_owned()),
        ..Standing::default()
    });
    assert_eq!(again.running(), ["undo b"]);
    assert_eq!(again.walk.record(1).undo_attempts, 1);
    again.ok("b");
    again.ok("a");
    assert_eq!(again.job.unwrap().cause, "b: it broke");
}

#[test]
fn a_new_plan_keeps_states_drops_and_adds() {
    let mut sim = Sim::new(vec![
        step("a", &[]),
        step("b", &["a"]),
        step("old", &["a"]),
        step("later", &["b"]),
    ]);
    sim.ok("a");
    sim.replan(
        vec![
            step("a", &[]),
            step("b", &["a"]),
            step("new", &["a"]),
            step("end", &["b", "new"]),
        ],
        &[],
    );
    assert_eq!(sim.running(), ["b", "old", "new"]);
    assert_eq!(sim.cancelled, BTreeSet::from([2]));
    assert_eq!(sim.state("later"), StepState::Skipped);
    sim.fail("old");
    assert_eq!(sim.state("old"), StepState::Skipped);
    sim.ok("b");
    sim.ok("new");
    sim.ok("end");
    assert_eq!(sim.job_state(), Some(JobState::Succeeded));
}

#[test]
fn a_new_plan_gives_skipped_steps_another_chance() {
    let mut sim = Sim::new(vec![
        step("on h1", &[]),
        step("after", &["on h1"]),
        step("slow", &[]),
    ]);
    sim.fail("on h1");
    assert_eq!(sim.state("after"), StepState::Skipped);
    sim.replan(
        vec![
            step("on h2", &[]),
            step("after", &["on h2"]),
            step("slow", &[]),
        ],
        &["s"],
    );
    sim.ok("slow");
    sim.ok("on h2");
    sim.ok("after");
    assert_eq!(sim.job_state(), Some(JobState::Succeeded));
}

#[test]
fn abandoned_steps_are_never_undone() {
    let mut sim = Sim::new(vec![step("on h1", &[]), step("after", &["on h1"])]);
    sim.ok("on h1");
    sim.replan(vec![step("on h2", &[]), step("after", &["on h2"])], &["s"]);
    sim.ok("on h2");
    // What ran when the plan was replaced is wanted still and goes on.
    assert_eq!(sim.running(), ["after"]);
    sim.fail("after");
    assert_eq!(sim.running(), ["undo after"]);
    sim.ok("after");
    assert_eq!(sim.running(), ["undo on h2"]);
    sim.ok("on h2");
    assert_eq!(sim.state("on h1"), StepState::Succeeded);
    assert_eq!(sim.job_state(), Some(JobState::Failed));
}
