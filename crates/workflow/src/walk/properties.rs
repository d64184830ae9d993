//! Random graphs, random failures, random crashes: what always holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

use super::tests::{Sim, error};
use super::{Phase, Standing};
use crate::testing::{in_line, step};
use crate::{JobState, Step, StepRecord, StepState, Verbs};

/// What happens to a step's attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Succeeds,
    /// The first attempts fail and may be made again.
    Flaky(u32),
    Fails,
}

#[derive(Debug, Clone)]
struct Case {
    steps: Vec<Step>,
    fates: Vec<Fate>,
    /// Which undos fail for good.
    stuck: Vec<bool>,
    /// Which of what runs ends next, and whether the process dies first.
    choices: Vec<(u16, bool)>,
    /// Whether steps on one target are begun together.
    in_line: bool,
}

impl Case {
    fn standing(&self) -> Standing {
        Standing {
            verbs: if self.in_line {
                in_line()
            } else {
                Verbs::new()
            },
            ..Standing::default()
        }
    }

    fn sim(&self) -> Sim {
        let records = self.steps.iter().cloned().map(StepRecord::new).collect();
        Sim::of(records, self.standing(), Timestamp::UNIX_EPOCH)
    }
}

fn cases() -> impl Strategy<Value = Case> {
    (1..24_usize).prop_flat_map(|count| {
        let fate = prop_oneof![
            6 => Just(Fate::Succeeds),
            2 => (1..3_u32).prop_map(Fate::Flaky),
            1 => Just(Fate::Fails),
        ];
        let needs = proptest::collection::vec(proptest::collection::vec(any::<u16>(), 0..4), count);
        let scopes = proptest::collection::vec(0..5_u8, count);
        let fates = proptest::collection::vec(fate, count);
        let stuck = proptest::collection::vec(prop::bool::weighted(0.05), count);
        let choices = proptest::collection::vec((any::<u16>(), prop::bool::weighted(0.1)), 1..40);
        let cases = (needs, scopes, fates, stuck, choices, any::<bool>());
        cases.prop_map(|(needs, scopes, fates, stuck, choices, in_line)| Case {
            steps: needs
                .iter()
                .zip(scopes)
                .enumerate()
                .map(|(i, (n, s))| random_step(i, n, s))
                .collect(),
            fates,
            stuck,
            choices,
            in_line,
        })
    })
}

fn random_step(index: usize, needs: &[u16], scope: u8) -> Step {
    let needs: BTreeSet<usize> = needs
        .iter()
        .filter(|_| index > 0)
        .map(|need| usize::from(*need) % index)
        .collect();
    let needs: Vec<String> = needs
        .into_iter()
        .map(|need| format!("s{need:02}"))
        .collect();
    let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
    let mut step = step(&format!("s{index:02}"), &needs);
    step.scope = format!("scope{scope}");
    step.target = Some(format!("h{}", index % 2));
    if index % 4 == 3 {
        step.undo = None;
    }
    step
}

/// Plays a case to its end, with crashes where it says so; checks every start.
fn play(case: &Case, crashes: bool) -> Sim {
    let mut sim = case.sim();
    let mut checked = 0;
    for round in 0.. {
        assert!(round < 5_000, "a job ends");
        let (pick, crash) = case.choices[round % case.choices.len()];
        if crashes && crash && sim.walk.phase != Phase::Done {
            let undoing = sim
                .job
                .clone()
                .filter(|_| sim.walk.phase == Phase::Undoing)
                .map(|job| job.cause);
            let before = sim.running.clone();
            let (starts, job) = (sim.starts.clone(), sim.job.clone());
            sim = sim.restarted(Standing {
                undoing,
                ..case.standing()
            });
            assert_eq!(sim.running, before, "what ran runs again");
            sim.starts = starts;
            sim.job = sim.job.take().or(job);
            checked = sim.starts.len();
        }
        check_starts(&sim, &mut checked);
        if sim.running.is_empty() {
            match sim.walk.wake_at() {
                Some(_) => sim.wait(60_000),
                None => break,
            }
            continue;
        }
        let first = sim.first();
        let index = first[usize::from(pick) % first.len()];
        let undo = sim.running[&index];
        let record = sim.walk.record(index);
        let attempts = record.attempts;
        let result = match case.fates[index] {
            _ if undo && case.stuck[index] => Err(error(false)),
            _ if undo => Ok(Value::Null),
            Fate::Flaky(bad) if attempts <= bad => Err(error(true)),
            Fate::Fails => Err(error(false)),
            Fate::Flaky(_) | Fate::Succeeds => Ok(Value::Null),
        };
        let failed = result.is_err();
        sim.end_index(index, result);
        if failed {
            recall_followers(&mut sim, index);
        }
    }
    sim
}

/// What follows a failed attempt is given up, and what follows that.
fn recall_followers(sim: &mut Sim, leader: usize) {
    let follows = |sim: &Sim, index: usize| sim.walk.nodes[index].before == Some(leader);
    let running: Vec<usize> = sim.running.keys().copied().collect();
    for index in running {
        if follows(sim, index) {
            sim.recall(index, true);
            recall_followers(sim, index);
        }
    }
}

fn check_starts(sim: &Sim, checked: &mut usize) {
    let records: HashMap<String, StepRecord> = sim
        .records()
        .into_iter()
        .map(|record| (record.step.name.clone(), record))
        .collect();
    for (name, undo) in &sim.starts[*checked..] {
        if *undo {
            for other in records
                .values()
                .filter(|other| needs(&records, &other.step, name))
            {
                let settled = match other.state {
                    StepState::Undone | StepState::Skipped | StepState::Stuck => true,
                    StepState::Failed => other.step.undo.is_none(),
                    // Its scope is whole, or a stuck step of its scope stands on it.
                    StepState::Succeeded => scope_is(&records, &other.step.scope, |scope| {
                        scope.iter().all(|state| *state == StepState::Succeeded)
                            || scope.contains(&StepState::Stuck)
                    }),
                    _ => false,
                };
                assert!(
                    settled,
                    "{name} is undone while {} is {:?}",
                    other.step.name, other.state
                );
            }
        } else {
            let before = sim.walk.nodes[sim.walk.by_name[name]].before;
            for need in &records[name].step.needs {
                let follows = before == Some(sim.walk.by_name[need]);
                assert!(
                    records[need].state == StepState::Succeeded || follows,
                    "{name} started before {need}"
                );
            }
        }
    }
    *checked = sim.starts.len();
}

fn scope_is(
    records: &HashMap<String, StepRecord>,
    scope: &str,
    test: impl Fn(&[StepState]) -> bool,
) -> bool {
    let states = records
        .values()
        .filter(|record| record.step.scope == scope)
        .map(|record| record.state);
    test(&states.collect::<Vec<_>>())
}

/// Whether a step needs another, directly or not.
fn needs(records: &HashMap<String, StepRecord>, step: &Step, name: &str) -> bool {
    step.needs
        .iter()
        .any(|need| need == name || needs(records, &records[need].step, name))
}

/// Which steps cannot run, from the fates alone.
fn expected_skips(case: &Case) -> BTreeSet<String> {
    let mut bad: BTreeMap<String, bool> = BTreeMap::new();
    let mut skipped = BTreeSet::new();
    for (step, fate) in case.steps.iter().zip(&case.fates) {
        let hopeless = step.needs.iter().any(|need| bad[need]);
        if hopeless {
            skipped.insert(step.name.clone());
        }
        bad.insert(step.name.clone(), hopeless || *fate == Fate::Fails);
    }
    skipped
}

fn states(sim: &Sim) -> Vec<(String, StepState)> {
    sim.records()
        .into_iter()
        .map(|record| (record.step.name.clone(), record.state))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_job_ends_as_its_steps_deserve(case in cases()) {
        let sim = play(&case, false);
        let fails = case.fates.contains(&Fate::Fails);
        let any_stuck = states(&sim).iter().any(|(_, state)| *state == StepState::Stuck);
        let expected = match (fails, any_stuck) {
            (false, _) => JobState::Succeeded,
            (true, false) => JobState::Failed,
            (true, true) => JobState::Stuck,
        };
        prop_assert_eq!(sim.job_state(), Some(expected));
    }

    #[test]
    fn exactly_what_needs_a_failed_step_is_skipped(case in cases()) {
        let sim = play(&case, false);
        let skipped: BTreeSet<String> = states(&sim)
            .into_iter()
            .filter(|(_, state)| *state == StepState::Skipped)
            .map(|(name, _)| name)
            .collect();
        prop_assert_eq!(skipped, expected_skips(&case));
    }

    #[test]
    fn only_incomplete_scopes_are_undone_and_wholly(case in cases()) {
        let sim = play(&case, false);
        let skipped = expected_skips(&case);
        let bad: BTreeSet<&str> = case.steps.iter().zip(&case.fates)
            .filter(|(step, fate)| **fate == Fate::Fails || skipped.contains(&step.name))
            .map(|(step, _)| step.scope.as_str())
            .collect();
        let any_stuck = case.stuck.contains(&true);
        for record in sim.records() {
            let touched = matches!(record.state, StepState::Undone | StepState::Stuck | StepState::Undoing);
            if !bad.contains(record.step.scope.as_str()) {
                prop_assert_eq!(record.state, StepState::Succeeded);
            } else if !any_stuck && record.state != StepState::Skipped && record.step.undo.is_some() {
                prop_assert!(touched, "{} is {:?}", record.step.name, record.state);
            }
        }
    }

    #[test]
    fn crashes_change_nothing(case in cases()) {
        let (calm, crashed) = (play(&case, false), play(&case, true));
        prop_assert_eq!(states(&calm), states(&crashed));
        prop_assert_eq!(&calm.job, &crashed.job);
        let attempts = |sim: &Sim| sim.records().iter().map(|r| (r.attempts, r.undo_attempts)).collect::<Vec<_>>();
        prop_assert_eq!(attempts(&calm), attempts(&crashed));
    }

    #[test]
    fn an_amendment_keeps_the_states_of_what_it_keeps(case in cases(), kept in 0..24_usize, rounds in 0..30_usize) {
        let case = Case { in_line: false, ..case };
        let mut sim = case.sim();
        for round in 0..rounds {
            let Some(&index) = sim.running.keys().nth(round % sim.running.len().max(1)) else { break };
            sim.end_index(index, Ok(Value::Null));
        }
        prop_assume!(sim.walk.phase == Phase::Forward);
        let before: HashMap<String, StepRecord> =
            sim.records().into_iter().map(|record| (record.step.name.clone(), record)).collect();
        let mut plan: Vec<Step> = case.steps.iter().take(kept).cloned().collect();
        plan.push(step("new", &[]));
        sim.replan(plan.clone(), &[]);
        for step in &plan[..plan.len() - 1] {
            prop_assert_eq!(sim.state(&step.name), before[&step.name].state);
        }
        while let Some((&index, _)) = sim.running.first_key_value() {
            let result = if sim.cancelled.contains(&index) { Err(error(true)) } else { Ok(Value::Null) };
            sim.end_index(index, result);
        }
        prop_assert_eq!(sim.job_state(), Some(JobState::Succeeded));
    }

    #[test]
    fn limits_hold(case in cases(), global in 1..4_usize) {
        let mut sim = Sim::new(Vec::new());
        sim.slots = super::Slots::new(global, 2, 100);
        let records = case.steps.iter().cloned().map(StepRecord::new).collect();
        sim.walk = super::Walk::new(records, sim.now, case.standing(), sim.now);
        sim.job = None;
        sim.advance();
        while let Some(&index) = sim.first().first() {
            let acting = sim.first();
            prop_assert!(acting.len() <= global);
            for target in ["h0", "h1"] {
                let on = |i: &&usize| sim.walk.record(**i).step.target.as_deref() == Some(target);
                prop_assert!(acting.iter().filter(on).count() <= 2);
            }
            sim.end_index(index, Ok(Value::Null));
        }
        prop_assert_eq!(sim.job_state(), Some(JobState::Succeeded));
    }
}
