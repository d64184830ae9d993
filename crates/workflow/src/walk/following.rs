//! Steps that are begun while the one before them runs.

use jiff::Timestamp;
use serde_json::Value;

use super::tests::{Sim, error};
use super::{Slots, Standing};
use crate::testing::{in_line, step};
use crate::{JobState, Step, StepRecord, StepState};

fn on(target: &str, name: &str, needs: &[&str]) -> Step {
    Step {
        target: Some(target.to_owned()),
        ..step(name, needs)
    }
}

fn standing() -> Standing {
    Standing {
        verbs: in_line(),
        ..Standing::default()
    }
}

fn sim(steps: Vec<Step>) -> Sim {
    let records = steps.into_iter().map(StepRecord::new).collect();
    Sim::of(records, standing(), Timestamp::UNIX_EPOCH)
}

fn chain() -> Sim {
    sim(vec![
        on("h1", "a", &[]),
        on("h1", "b", &["a"]),
        on("h1", "c", &["b"]),
    ])
}

impl Sim {
    fn index(&self, name: &str) -> usize {
        self.walk.by_name[name]
    }

    /// What a running attempt follows.
    fn before(&self, name: &str) -> Option<usize> {
        self.walk.nodes[self.index(name)].before
    }

    fn recalled(&mut self, name: &str, spared: bool) {
        self.recall(self.index(name), spared);
    }
}

#[test]
fn what_waits_for_one_step_on_its_target_only_is_begun_with_it() {
    let sim = sim(vec![
        on("h1", "a", &[]),
        on("h1", "b", &["a"]),
        on("h1", "c", &["b"]),
        on("h2", "elsewhere", &["a"]),
        on("h2", "other", &[]),
        on("h1", "both", &["a", "other"]),
        step("nowhere", &["a"]),
    ]);
    assert_eq!(sim.running(), ["a", "b", "c", "other"]);
    let before = ["a", "b", "c", "other"].map(|name| sim.before(name));
    assert_eq!(before, [None, Some(0), Some(1), None]);
}

#[test]
fn a_followers_time_begins_with_its_leaders_end() {
    let mut sim = chain();
    sim.now += jiff::SignedDuration::from_secs(5);
    sim.ok("a");
    let record = &sim.records()[1];
    assert_eq!(
        (record.ready_at, record.started_at),
        (Some(sim.now), Some(sim.now))
    );
    sim.ok("b");
    sim.ok("c");
    assert_eq!(sim.job_state(), Some(JobState::Succeeded));
    assert!(sim.records().iter().all(|record| record.attempts == 1));
}

#[test]
fn followers_of_a_failed_attempt_wait_and_are_begun_with_the_next() {
    let mut sim = chain();
    sim.end("a", Err(error(true)));
    sim.recalled("b", true);
    sim.recalled("c", true);
    let states = ["a", "b", "c"].map(|name| sim.state(name));
    assert_eq!(
        states,
        [StepState::Backoff, StepState::Waiting, StepState::Waiting]
    );
    sim.wait(60_000);
    assert_eq!(sim.running(), ["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        sim.ok(name);
    }
    assert_eq!(sim.job_state(), Some(JobState::Succeeded));
    assert_eq!(sim.records()[1].attempts, 1, "it was tried once");
}

#[test]
fn a_follower_that_is_given_up_late_has_its_turn_when_its_leader_succeeded_meanwhile() {
    let mut sim = chain();
    sim.end("a", Err(error(true)));
    sim.wait(60_000);
    sim.ok("a");
    sim.recalled("b", false);
    assert_eq!(sim.running(), ["b", "c"]);
    assert_eq!(sim.before("b"), None);
    sim.recalled("c", true);
    sim.ok("b");
    assert_eq!(sim.running(), ["c"]);
}

#[test]
fn followers_of_a_step_that_failed_for_good_are_skipped() {
    let mut sim = chain();
    sim.fail("a");
    assert_eq!(sim.job_state(), None, "what it does is not known yet");
    sim.recalled("b", true);
    sim.recalled("c", true);
    assert_eq!(sim.running(), ["undo a"]);
    sim.ok("a");
    let states = ["a", "b", "c"].map(|name| sim.state(name));
    assert_eq!(
        states,
        [StepState::Undone, StepState::Skipped, StepState::Skipped]
    );
    assert_eq!(sim.job_state(), Some(JobState::Failed));
}

#[test]
fn a_follower_of_which_nobody_knows_whether_it_had_begun_is_undone() {
    let mut sim = chain();
    sim.fail("a");
    sim.recalled("b", false);
    sim.recalled("c", true);
    assert_eq!(sim.running(), ["undo b"]);
    sim.ok("b");
    sim.ok("a");
    assert_eq!(sim.job_state(), Some(JobState::Failed));
}

#[test]
fn after_a_restart_they_follow_each_other_as_before() {
    let mut sim = chain();
    sim.ok("a");
    let again = sim.restarted(standing());
    assert_eq!(again.running(), ["b", "c"]);
    assert_eq!((again.before("b"), again.before("c")), (None, Some(1)));
    assert!(again.records().iter().all(|record| record.attempts == 1));
}

#[test]
fn after_a_restart_followers_of_what_does_not_run_wait() {
    let mut sim = chain();
    sim.end("a", Err(error(true)));
    let mut again = sim.restarted(standing());
    assert!(again.running().is_empty());
    assert_eq!(again.state("c"), StepState::Waiting);
    // Nobody knows whether they had begun.
    again.wait(60_000);
    assert_eq!(again.records()[1].attempts, 2);
    again.fail("a");
    again.recalled("b", true);
    again.recalled("c", true);
    assert_eq!(again.job_state(), Some(JobState::Undoing));
}

#[test]
fn cancelling_ends_followers_too() {
    let mut sim = chain();
    sim.walk.cancel("enough".to_owned(), sim.now);
    sim.advance();
    assert_eq!(sim.cancelled.len(), 3);
    sim.recalled("c", true);
    sim.recalled("b", true);
    sim.end("a", Err(error(true)));
    sim.end("a", Ok(Value::Null));
    assert_eq!(sim.job_state(), Some(JobState::Cancelled));
}

#[test]
fn only_one_follower_has_its_leaders_slot_and_the_others_need_free_ones() {
    let steps = vec![
        on("h1", "a", &[]),
        on("h1", "b", &["a"]),
        on("h1", "c", &["a"]),
        on("h1", "d", &["a"]),
    ];
    let mut sim = sim(Vec::new());
    sim.slots = Slots::new(10, 2, 10);
    sim.job = None;
    let records = steps.into_iter().map(StepRecord::new).collect();
    sim.walk = super::Walk::new(records, sim.now, standing(), sim.now);
    sim.advance();
    assert_eq!(sim.running(), ["a", "b", "c"]);
    assert_eq!(sim.slots.room_on(&"".into(), "h1"), 0);
    sim.ok("a");
    assert_eq!(sim.running(), ["b", "c"]);
    sim.ok("b");
    assert_eq!(sim.running(), ["c", "d"]);
    sim.ok("c");
    sim.ok("d");
    assert_eq!(sim.slots.room_on(&"".into(), "h1"), 2);
}

#[test]
fn what_a_plan_drops_while_it_follows_is_given_up_without_its_successors() {
    let mut sim = chain();
    sim.replan(vec![on("h1", "a", &[]), on("h1", "c", &["a"])], &[]);
    assert_eq!(sim.cancelled, [1].into());
    sim.recalled("b", true);
    sim.ok("a");
    // It still ends by what it followed, and has its turn anew.
    sim.recalled("c", true);
    assert_eq!(sim.running(), ["c"]);
    sim.ok("c");
    assert_eq!(sim.job_state(), Some(JobState::Succeeded));
    assert_eq!(sim.state("b"), StepState::Skipped);
}
