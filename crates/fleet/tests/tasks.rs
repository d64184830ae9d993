//! Tasks are answered once, across reconnections, cancellation and loss.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{done, later, name, served, stop, submit, submit_with, until};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wright_fleet::{FleetEvent, TaskKey};
use wright_protocol::{Blame, Fault, Task, wire::to_agent::Message};

#[tokio::test]
async fn a_task_is_answered_by_its_agent() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let waiting = submit(&served, "h1", "job/stop/1");
    assert_eq!(agent.next_task().await, ("job/stop/1".to_owned(), stop()));
    agent.answer("job/stop/1", &done("stopped")).await;
    assert_eq!(waiting.await.unwrap(), done("stopped"));
}

#[tokio::test]
async fn an_agents_fault_is_passed_on_as_it_is() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let waiting = submit(&served, "h1", "k");
    agent.next_task().await;
    let fault = Fault::new(Blame::Program, "exited with code 3").with_evidence(vec!["boom".into()]);
    agent.answer("k", &Err(fault.clone())).await;
    assert_eq!(waiting.await.unwrap(), Err(fault));
}

#[tokio::test]
async fn a_task_waits_for_an_agent_that_is_away() {
    let served = served().await;
    let waiting = submit(&served, "h1", "k");
    let mut agent = served.agent("h1").await;
    agent.next_task().await;
    agent.answer("k", &done("late")).await;
    assert_eq!(waiting.await.unwrap(), done("late"));
}

#[tokio::test]
async fn a_task_without_an_answer_is_sent_again_under_its_key_after_a_reconnection() {
    let served = served().await;
    let mut events = served.fleet.subscribe();
    let mut agent = served.agent("h1").await;
    let waiting = submit(&served, "h1", "k");
    let first = agent.next_task().await;
    drop(agent);
    until(&mut events, |e| {
        matches!(e, FleetEvent::Disconnected { .. })
    })
    .await;
    let mut agent = served.agent("h1").await;
    assert_eq!(agent.next_task().await, first);
    agent.answer("k", &done("once")).await;
    assert_eq!(waiting.await.unwrap(), done("once"));
}

#[tokio::test]
async fn a_task_that_was_answered_is_not_sent_again() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let waiting = submit(&served, "h1", "old");
    agent.next_task().await;
    agent.answer("old", &done("")).await;
    waiting.await.unwrap().unwrap();
    let mut agent = served.agent("h1").await;
    let _waiting = submit(&served, "h1", "new");
    assert_eq!(agent.next_task().await.0, "new");
}

#[tokio::test]
async fn waiters_for_one_key_share_the_task() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let (one, other) = (submit(&served, "h1", "k"), submit(&served, "h1", "k"));
    agent.next_task().await;
    // A third task of another key shows that the second was not sent in between.
    let third = submit(&served, "h1", "other");
    assert_eq!(agent.next_task().await.0, "other");
    agent.answer("k", &done("shared")).await;
    agent.answer("other", &done("")).await;
    assert_eq!(one.await.unwrap(), done("shared"));
    assert_eq!(other.await.unwrap(), done("shared"));
    third.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_key_in_use_takes_no_other_task() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let _waiting = submit(&served, "h1", "k");
    agent.next_task().await;
    let other = Task::Clear;
    let cancel = CancellationToken::new();
    let fault = served
        .fleet
        .submit(&name("h1"), "k", other, later(), cancel)
        .await
        .unwrap_err();
    assert_eq!(fault.blame, Blame::Request);
}

#[tokio::test]
async fn cancelling_tells_the_agent_and_waits_for_the_tasks_end() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let cancel = CancellationToken::new();
    let waiting = submit_with(&served, "h1", "k", cancel.clone());
    agent.next_task().await;
    cancel.cancel();
    assert_eq!(agent.next_cancel().await, "k");
    assert!(!waiting.is_finished());
    let fault = Fault::new(Blame::Cancelled, "stopped half-way, cleaned up");
    agent.answer("k", &Err(fault.clone())).await;
    assert_eq!(waiting.await.unwrap(), Err(fault));
}

#[tokio::test]
async fn a_task_cancelled_while_its_agent_is_away_is_cancelled_when_it_returns() {
    let served = served().await;
    let mut events = served.fleet.subscribe();
    let mut agent = served.agent("h1").await;
    let cancel = CancellationToken::new();
    let waiting = submit_with(&served, "h1", "k", cancel.clone());
    agent.next_task().await;
    drop(agent);
    until(&mut events, |e| {
        matches!(e, FleetEvent::Disconnected { .. })
    })
    .await;
    cancel.cancel();
    assert_eq!(waiting.await.unwrap().unwrap_err().blame, Blame::Cancelled);
    assert_eq!(served.agent("h1").await.next_cancel().await, "k");
}

#[tokio::test]
async fn one_of_two_waiters_can_leave_without_ending_the_task() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let cancel = CancellationToken::new();
    let staying = submit(&served, "h1", "k");
    agent.next_task().await;
    let leaving = submit_with(&served, "h1", "k", cancel.clone());
    cancel.cancel();
    assert_eq!(leaving.await.unwrap().unwrap_err().blame, Blame::Cancelled);
    agent.answer("k", &done("stayed")).await;
    assert_eq!(staying.await.unwrap(), done("stayed"));
}

#[tokio::test]
async fn letting_go_leaves_the_task_running_for_whoever_asks_again() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let dropped = submit(&served, "h1", "k");
    agent.next_task().await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    let again = submit(&served, "h1", "k");
    // Not a cancel: the same task once more.
    assert_eq!(agent.next_task().await.0, "k");
    agent.answer("k", &done("kept")).await;
    assert_eq!(again.await.unwrap(), done("kept"));
}

#[tokio::test]
async fn a_deadline_ends_the_wait_and_says_that_the_agent_was_away() {
    let served = served().await;
    let deadline = Instant::now() + Duration::from_millis(20);
    let cancel = CancellationToken::new();
    let answer = served
        .fleet
        .submit(&name("h1"), "k", stop(), deadline, cancel)
        .await;
    let fault = answer.unwrap_err();
    assert_eq!(fault.blame, Blame::Deadline);
    assert!(fault.message.contains("h1 was not connected"), "{fault}");
}

#[tokio::test]
async fn an_agent_gets_a_deadline_before_ours_and_a_cancel_after_it() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let (fleet, cancel) = (served.fleet.clone(), CancellationToken::new());
    let deadline = Instant::now() + Duration::from_millis(200);
    let waiting = tokio::spawn(async move {
        fleet
            .submit(&name("h1"), "k", stop(), deadline, cancel)
            .await
    });
    match agent.next().await {
        Some(Message::Task(task)) => assert!((1..=180).contains(&task.deadline_ms)),
        other => panic!("{other:?}"),
    }
    assert_eq!(agent.next_cancel().await, "k");
    assert_eq!(waiting.await.unwrap().unwrap_err().blame, Blame::Deadline);
}

#[tokio::test]
async fn a_host_that_is_not_on_the_roster_gets_no_tasks() {
    let served = served().await;
    let cancel = CancellationToken::new();
    let answer = served
        .fleet
        .submit(&name("nobody"), "k", stop(), later(), cancel)
        .await;
    assert_eq!(answer.unwrap_err().blame, Blame::Host);
}

#[tokio::test]
async fn forgetting_a_host_fails_what_waits_for_it_and_ends_its_session() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let waiting = submit(&served, "h1", "k");
    agent.next_task().await;
    served.hosts.strike("h1");
    served.fleet.forget(&name("h1"));
    assert_eq!(waiting.await.unwrap().unwrap_err().blame, Blame::Host);
    assert_eq!(agent.next().await, None);
}

/// Gives a task that follows another.
fn submit_after(
    served: &common::Served,
    key: &str,
    before: &str,
) -> tokio::task::JoinHandle<Result<wright_protocol::Answer, Fault>> {
    let key = TaskKey::fenced(key, "job", 1).after(before, Duration::from_secs(30));
    let fleet = served.fleet.clone();
    tokio::spawn(async move {
        let (host, cancel) = (name("h1"), CancellationToken::new());
        fleet.submit(&host, key, stop(), later(), cancel).await
    })
}

async fn next_after(agent: &mut common::Agent) -> (String, String, u64) {
    match agent.next().await {
        Some(Message::Task(task)) => (task.key, task.after, task.deadline_ms),
        other => panic!("a task was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn a_task_that_follows_another_is_sent_with_it_and_with_its_own_time() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let first = submit(&served, "h1", "a");
    assert_eq!(agent.next_task().await.0, "a");
    let second = submit_after(&served, "b", "a");
    let (key, after, deadline_ms) = next_after(&mut agent).await;
    assert_eq!((key.as_str(), after.as_str()), ("b", "a"));
    assert!((29_000..30_000).contains(&deadline_ms), "{deadline_ms}");
    agent.answer("a", &done("first")).await;
    agent.answer("b", &done("second")).await;
    assert_eq!(first.await.unwrap(), done("first"));
    assert_eq!(second.await.unwrap(), done("second"));
}

#[tokio::test]
async fn what_follows_a_failed_task_is_answered_without_its_agent_and_not_sent_again() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let first = submit(&served, "h1", "a");
    agent.next_task().await;
    let second = submit_after(&served, "b", "a");
    next_after(&mut agent).await;
    let fault = Fault::new(Blame::Program, "broken");
    agent.answer("a", &Err(fault.clone())).await;
    assert_eq!(first.await.unwrap(), Err(fault));
    let fault = second.await.unwrap().unwrap_err();
    assert_eq!(fault.blame, Blame::NotBegun);
    assert!(fault.message.contains("broken"), "{fault}");
    let mut agent = served.agent("h1").await;
    let _third = submit(&served, "h1", "c");
    assert_eq!(agent.next_task().await.0, "c");
}

#[tokio::test]
async fn a_follower_is_sent_again_alone_where_the_other_has_succeeded() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let first = submit(&served, "h1", "a");
    agent.next_task().await;
    let second = submit_after(&served, "b", "a");
    next_after(&mut agent).await;
    agent.answer("a", &done("")).await;
    first.await.unwrap().unwrap();
    let mut agent = served.agent("h1").await;
    let (key, after, _) = next_after(&mut agent).await;
    assert_eq!((key.as_str(), after.as_str()), ("b", ""));
    agent.answer("b", &done("")).await;
    second.await.unwrap().unwrap();
}
