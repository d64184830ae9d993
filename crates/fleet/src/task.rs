//! Tasks: given to an agent, answered once, across reconnections.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use wright_model::Name;
use wright_protocol::{Blame, Fault, Task, TaskAnswer, wire};

use crate::{
    fleet::{Fleet, Shared},
    seat::Pending,
};

/// How much earlier than ours an agent's deadline is, at most (never more than a tenth).
pub(crate) const MARGIN: Duration = Duration::from_millis(500);

/// How long a cancelled task may take to end before its waiter goes without its answer.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// What makes a task happen once, and at the behest of whoever has its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskKey {
    key: String,
    fence: Option<wire::Fence>,
    after: Option<After>,
}

/// What a task follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct After {
    /// The key of the other task.
    pub(crate) key: String,
    /// How long the follower may take once it is begun.
    pub(crate) takes: Duration,
}

impl TaskKey {
    /// The key of a job's task: refused by an agent that has seen a higher claim of the job.
    pub fn fenced(key: impl Into<String>, job: impl ToString, claim: u64) -> Self {
        let job = job.to_string();
        TaskKey {
            key: key.into(),
            fence: Some(wire::Fence { job, claim }),
            after: None,
        }
    }

    /// The same for a task that the agent is to begin when another one, given to it before or later,
    /// has succeeded, and that may take so long from then on. If that one fails it is not begun:
    /// [`Blame::NotBegun`].
    #[must_use]
    pub fn after(mut self, key: impl Into<String>, takes: Duration) -> Self {
        let key = key.into();
        self.after = Some(After { key, takes });
        self
    }
}

impl From<&str> for TaskKey {
    fn from(key: &str) -> Self {
        TaskKey {
            key: key.to_owned(),
            fence: None,
            after: None,
        }
    }
}

impl From<&String> for TaskKey {
    fn from(key: &String) -> Self {
        key.as_str().into()
    }
}

impl Fleet {
    /// Has the agent of a host do a task, and answers with its answer.
    ///
    /// Waits for the agent while it is away; sends the task again, under the same key, when it
    /// comes back. Several calls with one key share one task. Cancelling tells the agent and waits
    /// up to five seconds for the task to end. Dropping the call leaves the task running.
    ///
    /// # Errors
    /// The agent's fault, or one of: no such host, or it was given up ([`Blame::Host`]); the
    /// deadline is over ([`Blame::Deadline`]); cancelled ([`Blame::Cancelled`]); the key is in use
    /// for another task ([`Blame::Request`]).
    pub async fn submit(
        &self,
        host: &Name,
        key: impl Into<TaskKey>,
        task: Task,
        deadline: Instant,
        cancel: CancellationToken,
    ) -> TaskAnswer {
        let key = key.into();
        let mut waiter = Waiter::join(&self.0, host, &key, &task, deadline)?;
        // Asked after joining: a host given up before is off the roster, one given up from here on
        // fails its waiters.
        if !self.0.roster.is_known(host).await {
            return Err(unknown(host));
        }
        waiter.send();
        tokio::select! {
            biased;
            answer = answered(&mut waiter.answer) => answer,
            () = cancel.cancelled() => waiter.cancel().await,
            () = sleep_until(deadline) => waiter.expire(),
        }
    }
}

pub(crate) fn unknown(host: &Name) -> Fault {
    Fault::new(
        Blame::Host,
        format!("there is no host {host}, or it was given up"),
    )
}

/// One call's share in a pending task.
struct Waiter<'a> {
    shared: &'a Shared,
    host: &'a Name,
    key: &'a str,
    number: u64,
    answer: watch::Receiver<Option<TaskAnswer>>,
}

async fn answered(answer: &mut watch::Receiver<Option<TaskAnswer>>) -> TaskAnswer {
    match answer
        .wait_for(Option::is_some)
        .await
        .map(|answer| answer.clone())
    {
        Ok(Some(answer)) => answer,
        // The sender lives as long as somebody waits; without it nobody will answer.
        Ok(None) | Err(_) => Err(Fault::new(Blame::Passing, "the task was given up")),
    }
}

impl<'a> Waiter<'a> {
    fn join(
        shared: &'a Shared,
        host: &'a Name,
        TaskKey { key, fence, after }: &'a TaskKey,
        task: &Task,
        deadline: Instant,
    ) -> Result<Self, Fault> {
        let body = Bytes::from(serde_json::to_vec(task).map_err(|error| {
            Fault::new(Blame::Request, format!("the task cannot be sent: {error}"))
        })?);
        let mut state = shared.state();
        let number = state.number();
        let seat = state.seat(host);
        seat.abandoned.remove(key);
        let pending = seat.tasks.entry(key.clone()).or_insert_with(|| Pending {
            number,
            body: body.clone(),
            fence: None,
            after: after.clone(),
            deadline,
            answer: watch::Sender::new(None),
            waiters: 0,
            sent: false,
            cancelled: false,
        });
        if pending.body != body {
            let message = format!("the key {key} is in use for another task of {host}");
            return Err(Fault::new(Blame::Request, message));
        }
        pending.waiters += 1;
        let claim = |fence: &Option<wire::Fence>| fence.as_ref().map(|fence| fence.claim);
        if claim(&pending.fence) < claim(fence) {
            pending.fence.clone_from(fence);
        }
        pending.deadline = pending.deadline.max(deadline);
        let (number, answer) = (pending.number, pending.answer.subscribe());
        drop(state);
        Ok(Waiter {
            shared,
            host,
            key,
            number,
            answer,
        })
    }

    /// Sends the task if the agent is there and has not got it; otherwise its next session does.
    fn send(&self) {
        let mut state = self.shared.state();
        if let Some(seat) = state.seats.get_mut(self.host)
            && let Some(session) = &seat.session
            && let Some(pending) = seat.tasks.get_mut(self.key)
            && pending.number == self.number
            && !pending.sent
        {
            session.order(pending.order(self.key));
        }
    }

    fn is_connected(&self) -> bool {
        self.shared
            .state()
            .seats
            .get(self.host)
            .is_some_and(|seat| seat.session.is_some())
    }

    async fn cancel(mut self) -> TaskAnswer {
        let ending = self.withdraw();
        let answer = async { timeout(CANCEL_GRACE, answered(&mut self.answer)).await.ok() };
        let answer = if ending { answer.await } else { None };
        answer.unwrap_or_else(|| Err(Fault::new(Blame::Cancelled, "cancelled")))
    }

    fn expire(self) -> TaskAnswer {
        let connected = self.withdraw() || self.is_connected();
        let host = self.host;
        let message = if connected {
            format!("time ran out before the agent of {host} answered")
        } else {
            format!("time ran out while the agent of {host} was not connected")
        };
        Err(Fault::new(Blame::Deadline, message))
    }

    /// Tells the agent to give up, if nobody else waits for the task. Whether an answer to that
    /// can be expected.
    fn withdraw(&self) -> bool {
        let mut state = self.shared.state();
        let seat = state.seat(self.host);
        let Some(pending) = seat.tasks.get_mut(self.key) else {
            return true;
        };
        if pending.number != self.number {
            return true;
        }
        if pending.waiters > 1 || !pending.sent {
            return false;
        }
        pending.cancelled = true;
        match &seat.session {
            Some(session) => session.cancel(self.key, pending.fence.clone()),
            None => {
                let fence = pending.fence.clone();
                seat.abandoned.insert(self.key.to_owned(), fence);
            }
        }
        seat.session.is_some()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let Some(seat) = state.seats.get_mut(self.host) else {
            return;
        };
        if let Some(pending) = seat.tasks.get_mut(self.key)
            && pending.number == self.number
        {
            pending.waiters -= 1;
            if pending.waiters == 0 {
                if pending.cancelled && seat.session.is_none() {
                    let fence = pending.fence.clone();
                    seat.abandoned.insert(self.key.to_owned(), fence);
                }
                seat.tasks.remove(self.key);
            }
        }
        if seat.is_idle() {
            state.seats.remove(self.host);
        }
    }
}
