use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use wright_model::Facts;
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

    fn facts(&self) -> Facts {
        Facts::default()
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
