//! Tasks by their keys: each is done once, however often it is asked for.

mod under_way;

use std::{
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wright_model::{Facts, InstanceId, InstanceStatus};
use wright_protocol::{Blame, Fault, Task, TaskAnswer, wire::Fence};

use self::under_way::{InFlight, Running};
use crate::{
    error::{host_fault, locked},
    journal::Journal,
};

/// A task with the key that makes it happen once.
#[derive(Debug, Clone)]
pub struct Order {
    /// Job, step and attempt.
    pub key: String,
    /// What to do. May hold secrets.
    pub task: Task,
    /// How long it may take, from now.
    pub deadline: Option<Duration>,
    /// At whose behest, where it is a step of a job.
    pub fence: Option<Fence>,
    /// The key of the task that must have succeeded before this one is begun; its deadline counts
    /// from then.
    pub after: Option<String>,
}

/// What an agent uses of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Processor time since its start, milliseconds.
    pub cpu_ms: u64,
}

/// What tasks do to a host, and what is seen there. The host itself for a real agent.
#[async_trait]
pub trait Effects: Send + Sync + 'static {
    /// Does a task. Dropped where it is cancelled or its time is over: whatever it has begun must
    /// then be ended, or be safe to do again.
    async fn perform(self: Arc<Self>, order: Order, output: Output) -> TaskAnswer;

    /// The answer to the task of this key is recorded: what was kept to find it again may go.
    fn settled(&self, _key: &str) {}

    /// What is seen of every instance.
    fn statuses(&self) -> Vec<InstanceStatus>;

    /// Waits until something has changed: what is seen of the instances that changed, and which
    /// are gone.
    async fn changes(&self) -> (Vec<InstanceStatus>, Vec<InstanceId>);

    /// What the agent uses.
    fn usage(&self) -> Usage;

    /// What is found out about the host: a look takes a few milliseconds.
    fn facts(&self) -> Facts;
}

/// Does tasks through `E`, each key once. Cheap to clone.
pub struct Tasks<E> {
    shared: Arc<Shared<E>>,
}

impl<E> Clone for Tasks<E> {
    fn clone(&self) -> Self {
        Tasks {
            shared: self.shared.clone(),
        }
    }
}

struct Shared<E> {
    effects: Arc<E>,
    journal: Mutex<Journal>,
    running: Mutex<Running>,
}

/// Where the output of a task goes: to whoever asked last.
#[derive(Debug, Clone)]
pub struct Output(Arc<Mutex<mpsc::Sender<Vec<u8>>>>);

impl Output {
    pub(crate) fn new(sender: mpsc::Sender<Vec<u8>>) -> Self {
        Output(Arc::new(Mutex::new(sender)))
    }

    /// Where nobody listens.
    pub fn nowhere() -> Self {
        Output::new(mpsc::channel(1).0)
    }

    fn redirect(&self, sender: mpsc::Sender<Vec<u8>>) {
        *locked(&self.0) = sender;
    }

    /// Sends some; where nobody listens, it is lost.
    pub async fn send(&self, bytes: Vec<u8>) {
        let sender = locked(&self.0).clone();
        // Whoever has gone away does not want it.
        let _ = sender.send(bytes).await;
    }

    /// Whether nobody listens any more.
    pub fn is_closed(&self) -> bool {
        locked(&self.0).is_closed()
    }
}

impl<E: Effects> Tasks<E> {
    /// Does tasks whose answers are forgotten with this process.
    pub fn in_memory(effects: Arc<E>) -> Self {
        Tasks::new(effects, Journal::in_memory())
    }

    pub(crate) fn new(effects: Arc<E>, journal: Journal) -> Self {
        Tasks {
            shared: Arc::new(Shared {
                effects,
                journal: Mutex::new(journal),
                running: Mutex::default(),
            }),
        }
    }

    /// Who does them.
    pub fn effects(&self) -> &Arc<E> {
        &self.shared.effects
    }

    /// Does a task, or waits for the one of the same key that is being done, or answers from the
    /// journal. Its output goes to `output`. The task goes on if the caller goes away.
    ///
    /// # Errors
    /// The task's fault; of a step whose job another server has claimed since, that.
    pub async fn execute(&self, order: Order, output: mpsc::Sender<Vec<u8>>) -> TaskAnswer {
        if let Some(fence) = &order.fence {
            self.shared.admit(fence)?;
        }
        let known = locked(&self.shared.journal).answer(&order.key).cloned();
        if let Some(answer) = known {
            locked(&self.shared.running).tell(&order.key, &answer);
            return answer;
        }
        let mut answer = self.attach(order, output);
        let given = answer.wait_for(Option::is_some).await;
        let given = given.ok().and_then(|answer| answer.clone());
        given.unwrap_or_else(|| Err(Fault::new(Blame::Host, "the task broke off")))
    }

    fn attach(
        &self,
        order: Order,
        output: mpsc::Sender<Vec<u8>>,
    ) -> watch::Receiver<Option<TaskAnswer>> {
        let mut running = locked(&self.shared.running);
        if let Some(found) = running.tasks.get(&order.key) {
            found.output.redirect(output);
            return found.answer.clone();
        }
        let before = order.after.as_deref();
        let before = before.map(|key| running.before(&locked(&self.shared.journal), key));
        let (answered, answer) = watch::channel(None);
        let flight = InFlight {
            cancel: CancellationToken::new(),
            answer: answer.clone(),
            output: Output::new(output),
        };
        running.tasks.insert(order.key.clone(), flight.clone());
        drop(running);
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let key = order.key.clone();
            let recorded = !order.task.is_repeatable();
            let result = match flight.turn(before).await {
                Ok(()) => shared.perform(order, &flight).await,
                Err(fault) => Err(fault),
            };
            // In the journal before out of the list: whoever asks finds it in one of them.
            locked(&shared.running).end(key, &result, recorded);
            answered.send_replace(Some(result));
        });
        answer
    }

    /// Gives up a task that runs, unless that is the wish of a server that has lost the task's job.
    pub fn cancel(&self, key: &str, fence: Option<&Fence>) {
        if fence.is_some_and(|fence| self.shared.admit(fence).is_err()) {
            return;
        }
        if let Some(found) = locked(&self.shared.running).tasks.get(key) {
            found.cancel.cancel();
        }
    }
}

impl<E> Shared<E> {
    /// Remembers the highest claim of a job and refuses lower ones.
    fn admit(&self, fence: &Fence) -> Result<(), Fault> {
        let mut journal = locked(&self.journal);
        let known = journal.claim(&fence.job);
        if fence.claim < known {
            let message = format!(
                "refused: another server goes on with job {} (claim {known}, this is of claim {})",
                fence.job, fence.claim
            );
            return Err(Fault::new(Blame::Request, message));
        }
        if fence.claim == known {
            return Ok(());
        }
        let path = journal.path().to_owned();
        let noted = journal.fence(&fence.job, fence.claim);
        noted.map_err(|error| host_fault("write", &path)(error))
    }
}

impl<E: Effects> Shared<E> {
    async fn perform(&self, order: Order, flight: &InFlight) -> TaskAnswer {
        let recorded = !order.task.is_repeatable();
        if recorded {
            let begun = locked(&self.journal).begin(&order.key);
            begun.map_err(|error| host_fault("write", &self.journal_path())(error))?;
        }
        let what = describe(&order.task);
        let (key, deadline) = (order.key.clone(), order.deadline);
        let effects = self.effects.clone();
        let effect = effects.perform(order, flight.output.clone());
        let answer = limited(effect, &what, deadline, &flight.cancel).await;
        if recorded {
            let ended = locked(&self.journal).end(&key, &answer);
            match ended {
                Ok(()) => self.effects.settled(&key),
                // The effect stands; asked again, it is found done.
                Err(error) => tracing::error!(%error, key, "cannot record an answer"),
            }
        }
        answer
    }

    fn journal_path(&self) -> PathBuf {
        locked(&self.journal).path().to_owned()
    }
}

/// Waits for a task no longer than it may take.
async fn limited(
    task: impl Future<Output = TaskAnswer>,
    what: &str,
    deadline: Option<Duration>,
    cancel: &CancellationToken,
) -> TaskAnswer {
    let too_late = async {
        match deadline {
            Some(deadline) => tokio::time::sleep(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        answer = task => answer,
        () = cancel.cancelled() => Err(Fault::new(Blame::Cancelled, format!("{what} was cancelled"))),
        () = too_late => Err(Fault::new(
            Blame::Deadline,
            format!("{what} took longer than {:?}", deadline.unwrap_or_default()),
        )),
    }
}

/// The task for people, without anything that may be secret.
fn describe(task: &Task) -> String {
    match task {
        Task::Fetch { package } => format!("fetching {package}"),
        Task::Install { spec } => format!("installing {}", spec.id),
        Task::Configure { spec } => format!("configuring {}", spec.id),
        Task::Start { instance } => format!("starting {instance}"),
        Task::AwaitReady { instance } => format!("waiting for {instance}"),
        Task::Stop { instance } => format!("stopping {instance}"),
        Task::Uninstall { instance } => format!("uninstalling {instance}"),
        Task::Operate {
            instance,
            operation,
        } => format!("{operation} of {instance}"),
        Task::Check { instance, .. } => format!("checking {instance}"),
        Task::Logs { instance, .. } => format!("reading the log of {instance}"),
        Task::Clear => "clearing the host".to_owned(),
    }
}

#[cfg(test)]
mod tests;
