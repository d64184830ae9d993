//! Tasks whose output is followed while they run.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::{mpsc, mpsc::error::TrySendError, oneshot};
use tokio_util::sync::CancellationToken;
use wright_model::Name;
use wright_protocol::{
    Blame, Fault, Task, TaskAnswer,
    wire::{self, to_agent::Message},
};

use crate::{
    fleet::{Fleet, Shared},
    seat::Following,
};

/// How a followed task ends.
pub type StreamEnd = BoxFuture<'static, TaskAnswer>;

/// How many pieces of output may wait for their reader.
const BACKLOG: usize = 1024;

impl Fleet {
    /// Has the agent of a host do a repeatable task, and follows its output.
    ///
    /// Bound to the agent's present session: it is not sent again, because output would come twice.
    /// Dropping the receiver cancels the task. A reader that falls more than 1,024 pieces behind is
    /// cut off rather than given output with a gap.
    ///
    /// The end is the agent's answer, or a fault with [`Blame::Passing`] where the agent is not
    /// connected, its session ends or the reader is too slow.
    pub fn stream(&self, host: &Name, key: &str, task: Task) -> (mpsc::Receiver<Bytes>, StreamEnd) {
        let (output, receiver) = mpsc::channel(BACKLOG);
        let (answer, end) = oneshot::channel();
        if let Err(fault) = self.begin(host, key, &task, output, answer) {
            return (receiver, futures::future::ready(Err(fault)).boxed());
        }
        let end = end.map(|answer| {
            answer.unwrap_or_else(|_| Err(Fault::new(Blame::Passing, "the task was given up")))
        });
        (receiver, end.boxed())
    }

    fn begin(
        &self,
        host: &Name,
        key: &str,
        task: &Task,
        output: mpsc::Sender<Bytes>,
        answer: oneshot::Sender<TaskAnswer>,
    ) -> Result<(), Fault> {
        let body = serde_json::to_vec(task).map_err(|error| {
            Fault::new(Blame::Request, format!("the task cannot be sent: {error}"))
        })?;
        let mut state = self.0.state();
        let number = state.number();
        let away = || {
            Fault::new(
                Blame::Passing,
                format!("the agent of {host} is not connected"),
            )
        };
        let seat = state.seats.get_mut(host).ok_or_else(away)?;
        let session = seat.session.as_ref().ok_or_else(away)?;
        if seat.streams.contains_key(key) || seat.tasks.contains_key(key) {
            let message = format!("the key {key} is in use for another task of {host}");
            return Err(Fault::new(Blame::Request, message));
        }
        session.order(Message::Task(wire::Task {
            key: key.to_owned(),
            body: body.into(),
            ..wire::Task::default()
        }));
        let over = CancellationToken::new();
        let following = Following {
            number,
            output: output.clone(),
            answer,
            over: over.clone(),
        };
        seat.streams.insert(key.to_owned(), following);
        drop(state);
        let (shared, host, key) = (Arc::clone(&self.0), host.clone(), key.to_owned());
        tokio::spawn(async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = output.closed() => {
                    let fault = Fault::new(Blame::Cancelled, "nobody reads its output any more");
                    shared.cut(&host, &key, Some(number), fault);
                }
            }
        });
        Ok(())
    }
}

impl Shared {
    /// Passes on a piece of a task's output, if somebody follows it.
    pub(crate) fn output(&self, host: &Name, key: &str, data: Vec<u8>) {
        let full = {
            let state = self.state();
            let following = state.seats.get(host).and_then(|seat| seat.streams.get(key));
            let Some(following) = following else { return };
            // A closed one is seen by the watch over its follower.
            matches!(
                following.output.try_send(data.into()),
                Err(TrySendError::Full(_))
            )
        };
        if full {
            let fault = Fault::new(Blame::Passing, "its output was not read fast enough");
            self.cut(host, key, None, fault);
        }
    }

    /// Ends a followed task before its time.
    fn cut(&self, host: &Name, key: &str, number: Option<u64>, fault: Fault) {
        let mut state = self.state();
        let Some(seat) = state.seats.get_mut(host) else {
            return;
        };
        if seat
            .streams
            .get(key)
            .is_none_or(|f| number.is_some_and(|number| number != f.number))
        {
            return;
        }
        if let Some(session) = &seat.session {
            session.cancel(key, None);
        }
        if let Some(following) = seat.streams.remove(key) {
            following.finish(Err(fault));
        }
    }
}
