//! Tasks by their keys: each is done once, however often it is asked for.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wright_model::{InstanceId, InstanceStatus};
use wright_protocol::{Blame, Fault, Task, TaskAnswer, wire::Fence};

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

/// Tasks of which nothing is recorded and whose ends are remembered for those that follow them.
const REMEMBERED: usize = 256;

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

/// What is under way.
#[derive(Default)]
struct Running {
    tasks: HashMap<String, InFlight>,
    /// Tasks that others follow and that were not heard of yet.
    awaited: HashMap<String, watch::Sender<Option<bool>>>,
    /// How repeatable tasks ended, the newest last.
    ended: VecDeque<(String, bool)>,
}

impl Running {
    /// A task has ended: tells those who heard of it before it came.
    fn tell(&mut self, key: &str, answer: &TaskAnswer) {
        if let Some(followers) = self.awaited.remove(key) {
            followers.send_replace(Some(answer.is_ok()));
        }
    }

    fn end(&mut self, key: String, answer: &TaskAnswer, recorded: bool) {
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

/// What a task waits for before it is begun.
enum Before {
    Ended(bool),
    Runs(watch::Receiver<Option<TaskAnswer>>),
    Comes(watch::Receiver<Option<bool>>),
}

impl Before {
    /// Whether it succeeded. It fails where it is never heard of again.
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

/// A task that somebody waits for.
#[derive(Clone)]
struct InFlight {
    cancel: CancellationToken,
    answer: watch::Receiver<Option<TaskAnswer>>,
    output: Output,
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
        let before = before.map(|key| self.shared.before(&mut running, key));
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

impl InFlight {
    /// Waits for the turn of a task that may follow another.
    async fn turn(&self, before: Option<Before>) -> Result<(), Fault> {
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

impl<E: Effects> Shared<E> {
    /// What is known of a task that another follows.
    fn before(&self, running: &mut Running, key: &str) -> Before {
        if let Some(found) = running.tasks.get(key) {
            return Before::Runs(found.answer.clone());
        }
        if let Some(answer) = locked(&self.journal).answer(key) {
            return Before::Ended(answer.is_ok());
        }
        let ended = running.ended.iter().rev().find(|(ended, _)| ended == key);
        if let Some((_, well)) = ended {
            return Before::Ended(*well);
        }
        // Those that nobody follows any more.
        running.awaited.retain(|_, ended| !ended.is_closed());
        let awaited = running.awaited.entry(key.to_owned()).or_default();
        Before::Comes(awaited.subscribe())
    }

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
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;
    use wright_protocol::Answer;

    use super::*;

    /// Counts what it is asked to do; ends it when told to.
    #[derive(Default)]
    struct Counted {
        begun: AtomicUsize,
        ends: Notify,
    }

    #[async_trait]
    impl Effects for Counted {
        async fn perform(self: Arc<Self>, _: Order, _: Output) -> TaskAnswer {
            self.begun.fetch_add(1, Ordering::Relaxed);
            self.ends.notified().await;
            Ok(Answer::default())
        }

        fn statuses(&self) -> Vec<InstanceStatus> {
            Vec::new()
        }

        async fn changes(&self) -> (Vec<InstanceStatus>, Vec<InstanceId>) {
            std::future::pending().await
        }

        fn usage(&self) -> Usage {
            Usage::default()
        }
    }

    fn claim(claim: u64) -> Fence {
        let job = "job-1".to_owned();
        Fence { job, claim }
    }

    fn order(key: &str, fence: Fence) -> Order {
        Order {
            key: key.to_owned(),
            task: Task::Clear,
            deadline: None,
            fence: Some(fence),
            after: None,
        }
    }

    fn open(path: &std::path::Path) -> Tasks<Counted> {
        Tasks::new(Arc::default(), Journal::open(path).unwrap())
    }

    async fn does(tasks: &Tasks<Counted>, key: &str, of: u64) -> TaskAnswer {
        tasks.effects().ends.notify_one();
        tasks
            .execute(order(key, claim(of)), mpsc::channel(1).0)
            .await
    }

    #[tokio::test]
    async fn steps_of_a_lost_claim_are_refused_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let tasks = open(&path);
        does(&tasks, "a", 1).await.unwrap();
        does(&tasks, "b", 2).await.unwrap();
        let refused = does(&tasks, "c", 1).await.unwrap_err();
        assert!(refused.message.contains("another server"), "{refused}");
        // Not even what is known is told.
        assert!(does(&tasks, "a", 1).await.is_err());
        drop(tasks);
        let tasks = open(&path);
        assert!(does(&tasks, "c", 1).await.is_err());
        assert_eq!(tasks.effects().begun.load(Ordering::Relaxed), 0);
        does(&tasks, "a", 2).await.unwrap();
        assert_eq!(tasks.effects().begun.load(Ordering::Relaxed), 0);
        does(&tasks, "c", 2).await.unwrap();
    }

    #[tokio::test]
    async fn who_has_lost_a_claim_cancels_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let tasks = open(&directory.path().join("journal"));
        let running = {
            let tasks = tasks.clone();
            let order = order("a", claim(2));
            tokio::spawn(async move { tasks.execute(order, mpsc::channel(1).0).await })
        };
        while tasks.effects().begun.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        tasks.cancel("a", Some(&claim(1)));
        tasks.effects().ends.notify_one();
        running.await.unwrap().unwrap();
    }

    /// Gives a task that may follow another; its answer comes by the handle.
    fn given(
        tasks: &Tasks<Counted>,
        key: &str,
        after: Option<&str>,
        task: Task,
    ) -> tokio::task::JoinHandle<TaskAnswer> {
        let order = Order {
            after: after.map(str::to_owned),
            task,
            ..order(key, claim(1))
        };
        let tasks = tasks.clone();
        tokio::spawn(async move { tasks.execute(order, mpsc::channel(1).0).await })
    }

    /// Lets everything that can happen happen.
    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    fn begun(tasks: &Tasks<Counted>) -> usize {
        tasks.effects().begun.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_task_is_begun_when_the_one_that_it_follows_has_succeeded() {
        let tasks = Tasks::in_memory(Arc::new(Counted::default()));
        let first = given(&tasks, "a", None, Task::Clear);
        settle().await;
        let second = given(&tasks, "b", Some("a"), Task::Clear);
        settle().await;
        assert_eq!(begun(&tasks), 1);
        tasks.effects().ends.notify_one();
        first.await.unwrap().unwrap();
        settle().await;
        assert_eq!(begun(&tasks), 2);
        tasks.effects().ends.notify_one();
        second.await.unwrap().unwrap();
        // Known by then.
        tasks.effects().ends.notify_one();
        let third = given(&tasks, "c", Some("b"), Task::Clear);
        third.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_follower_may_come_before_the_task_that_it_follows() {
        let tasks = Tasks::in_memory(Arc::new(Counted::default()));
        let second = given(&tasks, "b", Some("a"), Task::Clear);
        settle().await;
        assert_eq!(begun(&tasks), 0);
        let first = given(&tasks, "a", None, Task::Clear);
        tasks.effects().ends.notify_one();
        first.await.unwrap().unwrap();
        settle().await;
        assert_eq!(begun(&tasks), 2);
        tasks.effects().ends.notify_one();
        second.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn followers_of_a_failed_or_cancelled_task_are_not_begun_and_can_be_given_again() {
        let tasks = Tasks::in_memory(Arc::new(Counted::default()));
        let first = given(&tasks, "a", None, Task::Clear);
        let second = given(&tasks, "b", Some("a"), Task::Clear);
        let third = given(&tasks, "c", Some("b"), Task::Clear);
        settle().await;
        tasks.cancel("a", None);
        assert_eq!(first.await.unwrap().unwrap_err().blame, Blame::Cancelled);
        for follower in [second, third] {
            let fault = follower.await.unwrap().unwrap_err();
            assert_eq!(fault.blame, Blame::NotBegun);
        }
        assert_eq!(begun(&tasks), 1);
        tasks.effects().ends.notify_one();
        let again = given(&tasks, "b", None, Task::Clear);
        again.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_follower_that_is_cancelled_is_not_begun() {
        let tasks = Tasks::in_memory(Arc::new(Counted::default()));
        let first = given(&tasks, "a", None, Task::Clear);
        let second = given(&tasks, "b", Some("a"), Task::Clear);
        settle().await;
        tasks.cancel("b", None);
        assert_eq!(second.await.unwrap().unwrap_err().blame, Blame::NotBegun);
        tasks.effects().ends.notify_one();
        first.await.unwrap().unwrap();
        assert_eq!(begun(&tasks), 1);
    }

    #[tokio::test]
    async fn a_task_may_follow_one_of_which_nothing_is_recorded_and_that_has_ended() {
        let instance: InstanceId = "shop/web-1".parse().unwrap();
        let tasks = Tasks::in_memory(Arc::new(Counted::default()));
        tasks.effects().ends.notify_one();
        let ready = Task::AwaitReady { instance };
        given(&tasks, "a", None, ready).await.unwrap().unwrap();
        tasks.effects().ends.notify_one();
        let second = given(&tasks, "b", Some("a"), Task::Clear);
        second.await.unwrap().unwrap();
    }
}
