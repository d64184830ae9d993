//! Several servers, each of which sees the agents of all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use wright_fleet::{FleetEvent, FleetSettings, Subscription, TaskKey};
use wright_model::{InstanceStatus, Phase};
use wright_protocol::wire::{self, from_agent::Message as Said};
use wright_route::Table;

fn status(phase: Phase) -> InstanceStatus {
    let id = "shop/web-1".parse().unwrap();
    InstanceStatus::new(id, phase, Timestamp::UNIX_EPOCH)
}

async fn connected(events: &mut Subscription, host: &str) {
    until(
        events,
        |event| matches!(event, FleetEvent::Connected { host: of, .. } if of.as_str() == host),
    )
    .await;
}

async fn gone(events: &mut Subscription, host: &str) {
    until(
        events,
        |event| matches!(event, FleetEvent::Disconnected { host: of, .. } if of.as_str() == host),
    )
    .await;
}

/// Two servers of which the first follows the second.
async fn two() -> (Served, Served, Subscription) {
    let one = served().await;
    let other = beside(&one).await;
    let events = one.fleet.subscribe();
    drop(one.follow(&other.as_peer("other")));
    (one, other, events)
}

#[tokio::test]
async fn agents_of_another_server_are_seen_with_what_they_report() {
    let one = served().await;
    let other = beside(&one).await;
    let early = other.agent("h1").await;
    let mut events = one.fleet.subscribe();
    drop(one.follow(&other.as_peer("other")));
    connected(&mut events, "h1").await;
    let late = other.agent("h2").await;
    connected(&mut events, "h2").await;
    early
        .say(Said::Report(wire::Report {
            instances: vec![serde_json::to_vec(&status(Phase::Ready)).unwrap()],
            removed: Vec::new(),
        }))
        .await;
    until(&mut events, |event| matches!(event, FleetEvent::Status(_))).await;
    assert_eq!(one.fleet.agents().len(), 2);
    assert_eq!(one.fleet.connected_here(), 0);
    drop(late);
    gone(&mut events, "h2").await;
    assert!(one.fleet.is_connected("h1") && !one.fleet.is_connected("h2"));
}

#[tokio::test]
async fn a_task_goes_to_the_agent_through_its_server_and_the_answer_comes_back() {
    let (one, other, mut events) = two().await;
    let mut agent = other.agent("h1").await;
    connected(&mut events, "h1").await;
    let answer = submit(&one, "h1", "k");
    let (key, _) = agent.next_task().await;
    agent.answer(&key, &done("stopped")).await;
    assert_eq!(answer.await.unwrap(), done("stopped"));
}

#[tokio::test]
async fn a_task_moves_with_its_agent_from_server_to_server() {
    let (one, other, mut events) = two().await;
    let mut agent = other.agent("h1").await;
    connected(&mut events, "h1").await;
    let answer = submit(&one, "h1", "k");
    let (first, _) = agent.next_task().await;
    let mut agent = one.agent("h1").await;
    let (again, _) = agent.next_task().await;
    assert_eq!(first, again);
    agent.answer(&again, &done("stopped")).await;
    assert_eq!(answer.await.unwrap(), done("stopped"));
}

#[tokio::test]
async fn a_cancel_and_a_fence_reach_the_agent_of_another_server() {
    let (one, other, mut events) = two().await;
    let mut agent = other.agent("h1").await;
    connected(&mut events, "h1").await;
    let (fleet, cancel) = (one.fleet.clone(), CancellationToken::new());
    let (token, h1) = (cancel.clone(), name("h1"));
    let answer = tokio::spawn(async move {
        let key = TaskKey::fenced("k", "job-1", 7);
        fleet.submit(&h1, key, stop(), later(), token).await
    });
    let fence = Some(wire::Fence {
        job: "job-1".to_owned(),
        claim: 7,
    });
    assert_eq!(agent.next_fence().await, fence);
    cancel.cancel();
    assert_eq!(agent.next_cancel().await, "k");
    agent.answer("k", &done("ended")).await;
    answer.await.unwrap().unwrap();
}

#[tokio::test]
async fn when_a_server_ends_its_agents_are_away_until_they_connect_elsewhere() {
    let (one, other, mut events) = two().await;
    let _agent = other.agent("h1").await;
    connected(&mut events, "h1").await;
    other.shutdown.cancel();
    let left = FleetEvent::Disconnected {
        host: name("h1"),
        with_server: true,
    };
    until(&mut events, |event| *event == left).await;
    let _agent = one.agent("h1").await;
    connected(&mut events, "h1").await;
    assert_eq!(one.fleet.connected_here(), 1);
}

#[tokio::test]
async fn an_older_session_that_another_server_still_has_takes_nobodys_place() {
    let one = served().await;
    let other = beside(&one).await;
    let stale = other.agent("h1").await;
    let client = one.client(&one.identity("h1")).await.unwrap();
    let mut agent = Agent::open(client).await.unwrap();
    agent
        .say(Said::Hello(wire::Hello {
            session: 1,
            ..hello()
        }))
        .await;
    agent.next().await;
    let mut events = one.fleet.subscribe();
    drop(one.follow(&other.as_peer("other")));
    let _second = other.agent("h2").await;
    connected(&mut events, "h2").await;
    assert_eq!(one.fleet.connected_here(), 1);
    drop(stale);
}

#[tokio::test]
async fn it_is_known_whether_all_servers_are_seen() {
    let (one, other, mut events) = two().await;
    let _agent = other.agent("h1").await;
    connected(&mut events, "h1").await;
    assert!(one.fleet.sees_all_peers());
    other.shutdown.cancel();
    gone(&mut events, "h1").await;
    assert!(!one.fleet.sees_all_peers());
    one.fleet.part("other");
    assert!(one.fleet.sees_all_peers());
}

#[tokio::test]
async fn output_comes_from_an_agent_of_another_server() {
    let (one, other, mut events) = two().await;
    let mut agent = other.agent("h1").await;
    connected(&mut events, "h1").await;
    let (mut output, end) = one.fleet.stream(&name("h1"), "logs", stop());
    let (key, _) = agent.next_task().await;
    agent
        .say(Said::Output(wire::TaskOutput {
            key: key.clone(),
            data: b"a line".to_vec(),
        }))
        .await;
    assert_eq!(output.recv().await.as_deref(), Some(b"a line".as_slice()));
    agent.answer(&key, &done("all")).await;
    assert_eq!(end.await, done("all"));
}

#[tokio::test]
async fn a_table_is_waited_for_at_every_server() {
    let (one, other, mut events) = two().await;
    let agent = other.agent("h1").await;
    connected(&mut events, "h1").await;
    let empty = |revision| Table {
        revision,
        ..Table::default()
    };
    one.fleet.publish(&empty(7));
    other.fleet.publish(&empty(8));
    let fleet = one.fleet.clone();
    let waiting = tokio::spawn(async move { fleet.wait_applied(7, later()).await });
    agent
        .say(Said::TableApplied(wire::TableApplied { revision: 8 }))
        .await;
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_is_gone_is_waited_for_no_longer() {
    let (one, other, _) = two().await;
    one.fleet.publish(&Table::default());
    let peer = other.as_peer("other");
    assert!(!peer.is_gone().await);
    other.shutdown.cancel();
    other.serving.await.unwrap().unwrap();
    assert!(peer.is_gone().await);
    let fleet = one.fleet.clone();
    let waiting = tokio::spawn(async move { fleet.wait_applied(0, later()).await });
    one.fleet.part("other");
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_agent_cannot_ask_what_servers_ask() {
    let one = served_with(FleetSettings::default()).await;
    let peer = wright_fleet::Peer::new("x", &one.address.to_string(), &one.identity("h1")).unwrap();
    let refused = one.fleet.follow(&peer).await;
    assert!(
        !refused.followed && refused.why.contains("only servers"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_archive_comes_from_another_server() {
    let one = served().await;
    let other = beside(&one).await;
    let bytes = vec![7_u8; 200_000];
    let digest = wright_model::Digest::of(&bytes);
    let shelf = other.directory.path();
    std::fs::write(shelf.join(digest.to_string()), &bytes).unwrap();
    std::fs::write(
        shelf.join(digest.to_string()).with_extension("sig"),
        b"signed",
    )
    .unwrap();
    let peer = other.as_peer("other");
    let file = one.directory.path().join("fetched");
    let signature = peer.archive(digest, &file).await.unwrap();
    assert_eq!(signature.as_deref(), Some(b"signed".as_slice()));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let unknown = wright_model::Digest::of(b"unknown");
    assert_eq!(peer.archive(unknown, &file).await.unwrap(), None);
    peer.keep(digest).await.unwrap();
    assert!(peer.keep(unknown).await.is_err());
}
