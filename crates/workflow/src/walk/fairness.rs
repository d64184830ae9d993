//! Several jobs on the same slots, with time simulated: tenants take turns, and no slot is left over.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::Value;

use super::{Slots, Standing, Walk};
use crate::testing::step;
use crate::{Step, StepRecord};

/// A job in the room; its steps take as long as expected.
struct Job {
    walk: Walk,
    ended_ms: Option<u64>,
}

/// Jobs that share slots.
struct Room {
    slots: Slots,
    limit: usize,
    jobs: Vec<Job>,
    now_ms: u64,
    /// What runs: until when, which job, which step.
    running: BinaryHeap<Reverse<(u64, usize, usize)>>,
}

impl Room {
    fn new(limit: usize) -> Self {
        Room {
            slots: Slots::new(limit, 1_000, limit),
            limit,
            jobs: Vec::new(),
            now_ms: 0,
            running: BinaryHeap::new(),
        }
    }

    fn now(&self) -> Timestamp {
        let since = SignedDuration::from_millis(i64::try_from(self.now_ms).unwrap());
        Timestamp::UNIX_EPOCH + since
    }

    fn submit(&mut self, tenant: &str, steps: &[Step]) {
        let records = steps.iter().cloned().map(StepRecord::new).collect();
        let standing = Standing {
            tenant: tenant.to_owned(),
            ..Standing::default()
        };
        let walk = Walk::new(records, self.now(), standing, self.now());
        self.jobs.push(Job {
            walk,
            ended_ms: None,
        });
        self.dispatch();
    }

    /// Lets the jobs look for slots until none of them changes anything.
    fn dispatch(&mut self) {
        let now = self.now();
        let mut again = true;
        while again {
            again = false;
            for (number, job) in self.jobs.iter_mut().enumerate() {
                let less = job.walk.dispatch(now, &mut self.slots);
                let decisions = job.walk.take();
                again |= less || !decisions.is_empty();
                for start in decisions.start {
                    let takes = job.walk.record(start.index).step.expected_ms;
                    let end = (self.now_ms + takes, number, start.index);
                    self.running.push(Reverse(end));
                }
                if decisions.job.is_some() {
                    job.ended_ms = Some(self.now_ms);
                }
            }
        }
        assert!(self.running.len() <= self.limit);
        // What waits for its target may leave slots free.
        let waits = self
            .jobs
            .iter()
            .any(|job| !job.walk.ready.is_empty() && !job.walk.paused);
        assert!(
            !waits || self.running.len() == self.limit,
            "no slot is left"
        );
    }

    /// The next attempt ends; `false` where none runs.
    fn pass(&mut self) -> bool {
        let Some(Reverse((at, number, index))) = self.running.pop() else {
            return false;
        };
        self.now_ms = at;
        let now = self.now();
        let walk = &mut self.jobs[number].walk;
        walk.ended(index, Ok(Value::Null), now, &mut self.slots);
        self.dispatch();
        true
    }

    /// Lets attempts end until it is so late, or all have.
    fn pass_until(&mut self, at_ms: u64) {
        while self.now_ms < at_ms && self.pass() {}
    }

    /// When a job ends, milliseconds.
    fn end_of(&mut self, number: usize) -> u64 {
        loop {
            if let Some(at) = self.jobs[number].ended_ms {
                return at;
            }
            assert!(self.pass(), "nobody waits for a slot for ever");
        }
    }
}

fn flood(steps: usize, durations: &[u64]) -> Vec<Step> {
    let durations = durations.iter().cycle();
    (0..steps)
        .zip(durations)
        .map(|(n, ms)| Step {
            expected_ms: *ms,
            ..step(&format!("f{n:05}"), &[])
        })
        .collect()
}

/// Steps that need at most one earlier one each: a forest.
fn forest(shape: &[(u64, usize)]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (n, (ms, need)) in shape.iter().enumerate() {
        let need = format!("s{:05}", need % (n + 1));
        let own = format!("s{n:05}");
        let needs: &[&str] = if need == own { &[] } else { &[&need] };
        steps.push(Step {
            expected_ms: *ms,
            ..step(&own, needs)
        });
    }
    steps
}

/// The longest chain of needs: how many steps, how many milliseconds.
fn depth(steps: &[Step]) -> (u64, u64) {
    let mut ends: std::collections::HashMap<&str, (u64, u64)> = std::collections::HashMap::new();
    for step in steps {
        let before = step.needs.iter().map(|need| ends[need.as_str()]);
        let before = before.fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        ends.insert(&step.name, (before.0 + 1, before.1 + step.expected_ms));
    }
    ends.values()
        .fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)))
}

#[test]
fn ten_steps_beside_a_flood_of_ten_thousand_wait_for_one_attempt_each_at_most() {
    let ten = forest(&[0, 0, 0, 1, 2, 3, 4, 5, 6, 7].map(|need| (100, need)));
    let mut alone = Room::new(64);
    alone.submit("small", &ten);
    let alone = alone.end_of(0);

    let mut room = Room::new(64);
    // Attempts that do not end all at once.
    let durations: Vec<u64> = (0..64).map(|n| 70 + n).collect();
    room.submit("flood", &flood(10_000, &durations));
    room.pass_until(1_000);
    let begin = room.now_ms;
    room.submit("small", &ten);
    let beside = room.end_of(1) - begin;
    let flooded = room.end_of(0);
    let (chain, _) = depth(&ten);
    println!(
        "ten steps, {chain} deep: alone {alone} ms, beside a flood of {flooded} ms {beside} ms"
    );
    assert!(beside <= alone + chain * 134, "{beside} ms");
    assert!(flooded > 10 * beside, "{flooded} ms");
}

#[test]
fn tenants_with_much_to_do_use_as_many_slots_each() {
    let mut room = Room::new(60);
    for tenant in ["a", "b", "c"] {
        room.submit(tenant, &flood(3_000, &[10, 11, 13]));
    }
    room.pass_until(1_000);
    let mut running = [0; 3];
    for Reverse((_, number, _)) in &room.running {
        running[*number] += 1;
    }
    assert!(running.iter().all(|n| (19..=21).contains(n)), "{running:?}");
}

#[test]
fn a_single_slot_goes_round() {
    let mut room = Room::new(1);
    for tenant in ["a", "b", "c"] {
        room.submit(tenant, &flood(5, &[10]));
    }
    let mut order = Vec::new();
    while let Some(Reverse((_, number, _))) = room.running.peek() {
        order.push(*number);
        room.pass();
    }
    assert_eq!(order, [0, 1, 2].repeat(5));
}

#[test]
fn a_tenants_limit_holds_where_nobody_else_wants_anything() {
    let mut room = Room::new(10);
    room.slots = Slots::new(10, 10, 3);
    room.limit = 3;
    room.submit("a", &flood(20, &[5]));
    assert_eq!(room.running.len(), 3);
    room.end_of(0);
}

#[test]
fn a_paused_or_given_up_job_keeps_nobody_waiting() {
    let mut room = Room::new(2);
    room.submit("a", &flood(10, &[5]));
    room.submit("b", &flood(10, &[5]));
    room.jobs[1].walk.pause(true);
    room.dispatch();
    room.end_of(0);
    // What waits for slots and is given up: a server that dies.
    room.submit("c", &flood(3, &[5]));
    room.submit("d", &flood(3, &[5]));
    for job in &mut room.jobs[1..3] {
        job.walk.release_slots(&mut room.slots);
    }
    let gone: Vec<_> = room
        .running
        .drain()
        .filter(|Reverse(end)| end.1 == 3)
        .collect();
    room.running.extend(gone);
    room.jobs[1].walk.pause(true);
    room.jobs[2].walk.pause(true);
    room.dispatch();
    room.end_of(3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// With two tenants, each has half of the slots to itself: its work on these, its longest chain,
    /// and for each step of that chain the wait for an attempt of the other to end.
    #[test]
    fn a_flood_delays_another_tenant_by_no_more_than_its_share(
        limit in 2..40_usize,
        durations in proptest::collection::vec(1..50_u64, 1..30),
        shape in proptest::collection::vec((1..50_u64, any::<usize>()), 1..30),
        begin in 0..200_u64,
    ) {
        let mut room = Room::new(limit);
        room.submit("flood", &flood(1_500, &durations));
        room.pass_until(begin);
        let begin = room.now_ms;
        let steps = forest(&shape);
        room.submit("small", &steps);
        let took = room.end_of(1) - begin;
        let work: u64 = steps.iter().map(|step| step.expected_ms).sum();
        let (chain, chain_ms) = depth(&steps);
        let longest = durations.iter().chain(shape.iter().map(|(ms, _)| ms)).max().unwrap();
        let bound = work / (limit as u64 / 2) + chain_ms + (chain + 1) * longest;
        prop_assert!(took <= bound, "{took} ms, bound {bound} ms");
        room.end_of(0);
    }

    #[test]
    fn jobs_on_few_targets_all_end(
        shape in proptest::collection::vec((1..9_u64, any::<usize>(), 0..3_usize, 0..4_usize), 1..60),
        limit in 1..6_usize,
    ) {
        let mut room = Room::new(limit);
        room.slots = Slots::new(limit, 2, limit);
        let tenants: BTreeSet<usize> = shape.iter().map(|part| part.3).collect();
        for tenant in tenants {
            let own: Vec<_> = shape.iter().filter(|part| part.3 == tenant).collect();
            let places: Vec<(u64, usize)> = own.iter().map(|part| (part.0, part.1)).collect();
            let mut steps = forest(&places);
            for (step, part) in steps.iter_mut().zip(&own) {
                step.target = Some(format!("h{}", part.2));
            }
            room.submit(&tenant.to_string(), &steps);
        }
        for number in 0..room.jobs.len() {
            room.end_of(number);
        }
    }
}
