//! What is under way, and what comes after it.

use std::collections::{HashMap, VecDeque};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wright_protocol::{Blame, Fault, TaskAnswer};

use super::Output;
use crate::journal::Journal;

/// Tasks of which nothing is recorded and whose ends are remembered for those that follow them.
const REMEMBERED: usize = 256;

/// A task that somebody waits for.
#[derive(Clone)]
pub(super) struct InFlight {
    pub cancel: CancellationToken,
    pub answer: watch::Receiver<Option<TaskAnswer>>,
    pub output: Output,
}

/// The tasks that are under way, by key.
#[derive(Default)]
pub(super) struct Running {
    pub tasks: HashMap<String, InFlight>,
    /// Tasks that others follow and that were not heard of yet.
    awaited: HashMap<String, watch::Sender<Option<bool>>>,
    /// How repeatable tasks ended, the newest last.
    ended: VecDeque<(String, bool)>,
}

/// What a task waits for before it is begun.
pub(super) enum Before {
    Ended(bool),
    Runs(watch::Receiver<Option<TaskAnswer>>),
    Comes(watch::Receiver<Option<bool>>),
}

impl Running {
    /// What is known of a task that another follows.
    pub fn before(&mut self, journal: &Journal, key: &str) -> Before {
        if let Some(found) = self.tasks.get(key) {
            return Before::Runs(found.answer.clone());
        }
        if let Some(answer) = journal.answer(key) {
            return Before::Ended(answer.is_ok());
        }
        let ended = self.ended.iter().rev().find(|(ended, _)| ended == key);
        if let Some((_, well)) = ended {
            return Before::Ended(*well);
        }
        // Those that nobody follows any more.
        self.awaited.retain(|_, ended| !ended.is_closed());
        let awaited = self.awaited.entry(key.to_owned()).or_default();
        Before::Comes(awaited.subscribe())
    }

    /// A task has ended: tells those who heard of it before it came.
    pub fn tell(&mut self, key: &str, answer: &TaskAnswer) {
        if let Some(followers) = self.awaited.remove(key) {
            followers.send_replace(Some(answer.is_ok()));
        }
    }

    /// A task has ended; `recorded` where the journal remembers how.
    pub fn end(&mut self, key: String, answer: &TaskAnswer, recorded: bool) {
        self.tasks.remove(&key);
        self.tell(&key, answer);
        if !recorded {
            if self.ended.len() == REMEMBERED {
                self.ended.pop_front();
            }
            self.ended.push_back((key, answer.is_ok()));
        }
    }
}

impl Before {
    /// Whether it succeeded. It has not where it is never heard of again.
    async fn succeeded(self) -> bool {
        match self {
            Before::Ended(well) => well,
            Before::Runs(mut answer) => {
                let answer = answer.wait_for(Option::is_some).await;
                answer.is_ok_and(|answer| matches!(*answer, Some(Ok(_))))
            }
            Before::Comes(mut ended) => {
                let ended = ended.wait_for(Option::is_some).await;
                ended.is_ok_and(|ended| *ended == Some(true))
            }
        }
    }
}

impl InFlight {
    /// Waits for the turn of a task that may follow another.
    pub async fn turn(&self, before: Option<Before>) -> Result<(), Fault> {
        let Some(before) = before else { return Ok(()) };
        let well = tokio::select! {
            biased;
            () = self.cancel.cancelled() => false,
            well = before.succeeded() => well,
        };
        let message = "not begun, since what it follows failed or it was cancelled before";
        well.then_some(())
            .ok_or_else(|| Fault::new(Blame::NotBegun, message))
    }
}
