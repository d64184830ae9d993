//! What waits to be read, in two lanes, and the threads that read it.

use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// One read, with what is done with its answer.
pub(super) type Work = Box<dyn FnOnce() + Send>;

thread_local! {
    static LANE: Cell<Lane> = const { Cell::new(Lane::Others) };
}

/// Whose read it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// Somebody waits for an answer and asks for little at a time.
    Answers,
    /// All else, such as what the steps of a job need: thousands may come at once.
    Others,
}

/// From now on, what this thread asks an embedded store to read goes before what others have asked
/// for. For threads that answer people: a job may ask for thousands of reads at once.
pub fn reads_go_first() {
    LANE.set(Lane::Answers);
}

/// Whether this thread has said that its reads go first.
pub(super) fn go_first_here() -> bool {
    LANE.get() == Lane::Answers
}

/// The two lanes. Those who read hold on to it; it closes when [`Lanes`] is dropped.
#[derive(Default)]
struct Waiting {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Work>,
    others: VecDeque<Work>,
    closed: bool,
}

impl Waiting {
    /// Held for a few instructions.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is next for a thread that prefers a lane; `None` once nothing more can come.
    fn next(&self, preferred: Lane) -> Option<Work> {
        let mut state = self.state();
        loop {
            let State {
                answers, others, ..
            } = &mut *state;
            let lanes = match preferred {
                Lane::Answers => [answers, others],
                Lane::Others => [others, answers],
            };
            if let Some(work) = lanes.into_iter().find_map(VecDeque::pop_front) {
                return Some(work);
            }
            if state.closed {
                return None;
            }
            state = self
                .came
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What panics answers nothing, which whoever waits for it notices.
    fn work_off(&self, preferred: Lane) {
        while let Some(work) = self.next(preferred) {
            drop(catch_unwind(AssertUnwindSafe(work)));
        }
    }
}

/// The way to the threads that read. When it is dropped they do what waits, and end.
pub(super) struct Lanes(Arc<Waiting>);

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").finish_non_exhaustive()
    }
}

impl Lanes {
    /// Starts so many threads, two at least.
    ///
    /// # Errors
    /// Where there are none to be had.
    pub fn start(threads: usize) -> io::Result<Self> {
        let lanes = Lanes(Arc::default());
        for number in 0..threads.max(2) {
            // Neither may keep the other from being read at all: one thread has it the other way round.
            let preferred = match number {
                0 => Lane::Others,
                _ => Lane::Answers,
            };
            let waiting = lanes.0.clone();
            let thread = thread::Builder::new().name("store-reader".to_owned());
            thread.spawn(move || waiting.work_off(preferred))?;
        }
        Ok(lanes)
    }

    /// Has a thread do this, in the lane of the thread that asks.
    pub fn send(&self, work: Work) {
        let mut state = self.0.state();
        match LANE.get() {
            Lane::Answers => state.answers.push_back(work),
            Lane::Others => state.others.push_back(work),
        }
        drop(state);
        self.0.came.notify_one();
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.came.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    const THREADS: usize = 4;
    const MANY: usize = 1000;
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Asks for reads of a lane that each take until `released` is dropped.
    fn ask_for_slow(lanes: &Lanes, lane: Lane, how_many: usize, released: &Arc<Mutex<()>>) {
        LANE.set(lane);
        for _ in 0..how_many {
            let released = released.clone();
            lanes.send(Box::new(move || drop(released.lock().unwrap())));
        }
    }

    /// Whether one read of a lane is done while all threads are about to be busy with many of the other,
    /// which were asked for before.
    fn overtakes(lane: Lane, many_of: Lane) -> bool {
        let lanes = Lanes::start(THREADS).unwrap();
        let (first, others) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let (busy, slow) = (first.lock().unwrap(), others.lock().unwrap());
        ask_for_slow(&lanes, many_of, THREADS, &first);
        ask_for_slow(&lanes, many_of, MANY, &others);
        LANE.set(lane);
        let (done, is_done) = mpsc::channel();
        lanes.send(Box::new(move || done.send(()).unwrap()));
        drop(busy);
        let overtaken = is_done.recv_timeout(PATIENCE).is_ok();
        drop(slow);
        overtaken
    }

    #[test]
    fn a_read_for_an_answer_overtakes_a_thousand_others() {
        assert!(overtakes(Lane::Answers, Lane::Others));
    }

    #[test]
    fn a_thousand_reads_for_answers_do_not_keep_the_others_waiting() {
        assert!(overtakes(Lane::Others, Lane::Answers));
    }

    #[test]
    fn what_waits_is_done_after_the_lanes_were_dropped_and_after_a_panic() {
        let lanes = Lanes::start(THREADS).unwrap();
        let (done, all_done) = mpsc::channel();
        for number in 0..MANY {
            let done = done.clone();
            lanes.send(Box::new(move || {
                assert!(number % 2 == 0, "as expected");
                done.send(number).unwrap();
            }));
        }
        drop((lanes, done));
        assert_eq!(all_done.iter().count(), MANY / 2);
    }
}
