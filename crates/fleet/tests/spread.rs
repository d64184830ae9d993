//! What goes from the server to many: the service table, archives; and output back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{fs, time::Duration};

use common::{Agent, done, later, name, served, until};
use tokio::time::Instant;
use tonic::Code;
use wright_fleet::{FleetEvent, NotApplied};
use wright_model::Digest;
use wright_protocol::{
    Blame, Task,
    wire::{self, archive_part::Part, from_agent::Message as Said, to_agent::Message},
};
use wright_route::{Difference, Table};

/// Ports that look like chance, so that compression does not make a large table small; of the first
/// endpoint the given one.
fn scattered(port: u64, n: usize) -> u64 {
    (port
        + (n as u64 - 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(23))
        % 65_536
}

/// A table with one service of `endpoints` endpoints.
fn table(revision: u64, port: u64, endpoints: usize) -> Table {
    let endpoint = |n| {
        serde_json::json!({ "instance": format!("web-{n}"), "host": "h1",
            "address": "127.77.0.1", "ports": { "http": scattered(port, n) } })
    };
    let list: Vec<_> = (1..=endpoints).map(endpoint).collect();
    let table = serde_json::json!({ "revision": revision, "sites": { "shop": { "web": list } } });
    serde_json::from_value(table).unwrap()
}

async fn next_table(agent: &mut Agent) -> Table {
    let message = next_message(agent).await;
    assert!(message.since.is_empty(), "a whole table was expected");
    Table::from_json(&message.unpack().unwrap()).unwrap()
}

/// A table with four services, of which `web` is at the given port.
fn four(revision: u64, port: u16) -> Table {
    let endpoint = |port| {
        serde_json::json!([{ "instance": "i-1", "host": "h1", "address": "127.77.0.1",
            "ports": { "http": port } }])
    };
    let services = serde_json::json!({ "cache": endpoint(6379), "db": endpoint(5432),
        "mail": endpoint(25), "web": endpoint(port) });
    let table = serde_json::json!({ "revision": revision, "sites": { "shop": services } });
    serde_json::from_value(table).unwrap()
}

/// The next table, whole or not; what is asked about those before is passed over.
async fn next_message(agent: &mut Agent) -> wire::Table {
    loop {
        match agent.next().await {
            Some(Message::Table(table)) => return table,
            Some(Message::AskApplied(_)) => {}
            other => panic!("a table was expected, not {other:?}"),
        }
    }
}

async fn apply(agent: &Agent, revision: u64) {
    agent
        .say(Said::TableApplied(wire::TableApplied { revision }))
        .await;
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

#[tokio::test]
async fn a_table_reaches_those_who_are_there_and_those_who_come() {
    let served = served().await;
    let mut early = served.agent("h1").await;
    served.fleet.publish(&table(7, 80, 1));
    assert_eq!(next_table(&mut early).await, table(7, 80, 1));
    assert_eq!(next_table(&mut served.agent("h2").await).await.revision, 7);
}

#[tokio::test]
async fn waiting_for_a_table_ends_when_every_agent_uses_it() {
    let served = served().await;
    let (mut one, mut other) = (served.agent("h1").await, served.agent("h2").await);
    served.fleet.publish(&table(7, 80, 1));
    next_table(&mut one).await;
    next_table(&mut other).await;
    let mut events = served.fleet.subscribe();
    apply(&one, 7).await;
    until(&mut events, |e| {
        matches!(e, FleetEvent::TableApplied { revision: 7, .. })
    })
    .await;
    let late = served.fleet.wait_applied(7, soon()).await;
    assert_eq!(
        late,
        Err(NotApplied::Waiting {
            revision: 7,
            agents: vec![name("h2")]
        })
    );
    apply(&other, 7).await;
    served.fleet.wait_applied(7, later()).await.unwrap();
    let unpublished = served.fleet.wait_applied(8, soon()).await;
    assert_eq!(unpublished, Err(NotApplied::Unpublished(8)));
}

#[tokio::test]
async fn agents_say_at_once_that_they_use_a_table_where_somebody_waits_for_it() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let wait = |revision| {
        let fleet = served.fleet.clone();
        tokio::spawn(async move { fleet.wait_applied(revision, later()).await })
    };
    served.fleet.publish(&table(7, 80, 1));
    let too_late = wait(7);
    assert!(!next_message(&mut agent).await.awaited);
    assert!(matches!(agent.next().await, Some(Message::AskApplied(_))));
    apply(&agent, 7).await;
    too_late.await.unwrap().unwrap();
    let in_time = wait(8);
    // On the one thread of this test it waits by then.
    tokio::task::yield_now().await;
    served.fleet.publish(&table(8, 81, 1));
    assert!(next_message(&mut agent).await.awaited);
    apply(&agent, 8).await;
    in_time.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_agent_that_goes_away_is_waited_for_no_longer() {
    let served = served().await;
    let agent = served.agent("h1").await;
    served.fleet.publish(&table(7, 80, 1));
    let fleet = served.fleet.clone();
    let waiting = tokio::spawn(async move { fleet.wait_applied(7, later()).await });
    drop(agent);
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_table_that_serves_the_same_is_not_sent_again() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    served.fleet.publish(&table(7, 80, 1));
    next_table(&mut agent).await;
    apply(&agent, 7).await;
    served.fleet.publish(&table(8, 80, 1));
    served.fleet.wait_applied(8, later()).await.unwrap();
    served.fleet.publish(&table(9, 81, 1));
    assert_eq!(next_table(&mut agent).await.revision, 9);
    // Who comes back with the newest does not get it again either.
    let newest = table(9, 81, 1).to_json().unwrap();
    let held = wire::Table::pack(9, newest);
    served.agent_holding("h1", held).await;
    served.fleet.wait_applied(9, later()).await.unwrap();
}

#[tokio::test]
async fn an_agent_with_another_servers_table_of_the_same_revision_gets_ours() {
    let served = served().await;
    served.fleet.publish(&table(7, 80, 1));
    let theirs = wire::Table::pack(7, table(7, 81, 1).to_json().unwrap());
    let mut agent = served.agent_holding("h1", theirs).await;
    assert!(served.fleet.wait_applied(7, soon()).await.is_err());
    assert_eq!(next_table(&mut agent).await, table(7, 80, 1));
}

#[tokio::test]
async fn who_holds_one_of_the_last_tables_gets_what_is_different() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    served.fleet.publish(&four(7, 80));
    let first = next_message(&mut agent).await;
    let mut held = Table::from_json(&first.unpack().unwrap()).unwrap();
    served.fleet.publish(&four(8, 81));
    let second = next_message(&mut agent).await;
    assert_eq!((&second.since, second.revision), (&first.digest, 8));
    let difference: Difference = serde_json::from_slice(&second.unpack().unwrap()).unwrap();
    assert_eq!(difference.sites[&name("shop")].len(), 1);
    held.take(difference);
    assert_eq!(held, four(8, 81));
    assert_eq!(
        second.digest,
        wire::Table::pack(8, held.to_json().unwrap()).digest
    );
    // Who comes back with what it held then gets the same; who holds something else, all of it.
    let mut back = served.agent_holding("h2", first).await;
    assert_eq!(next_message(&mut back).await, second);
    let other = wire::Table::pack(7, four(7, 99).to_json().unwrap());
    let mut other = served.agent_holding("h3", other).await;
    assert_eq!(next_table(&mut other).await, four(8, 81));
}

#[tokio::test]
async fn a_slow_agent_gets_the_newest_table_not_all_of_them() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let published = 30;
    for revision in 1..=published {
        served.fleet.publish(&table(revision, revision, 4000));
        // Slow, and not gone: on a busy machine all these tables take longer than an agent may be silent.
        agent.say(Said::Heartbeat(wire::Heartbeat::default())).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    let mut received = 1;
    while next_message(&mut agent).await.revision < published {
        received += 1;
    }
    assert!(
        received < published / 2,
        "{received} of {published} tables were sent"
    );
}

#[tokio::test]
async fn an_archive_comes_whole_with_its_signature_first() {
    let served = served().await;
    let bytes: Vec<u8> = (0..1_000_003u32).map(|n| (n % 251) as u8).collect();
    let digest = Digest::of(&bytes);
    let path = served.directory.path().join(digest.to_string());
    fs::write(&path, &bytes).unwrap();
    fs::write(path.with_extension("sig"), "signed").unwrap();

    let mut client = served.client(&served.identity("h1")).await.unwrap();
    let request = wire::ArchiveRequest {
        digest: digest.to_string(),
    };
    let mut parts = client.archive(request).await.unwrap().into_inner();
    let first = parts.message().await.unwrap().unwrap();
    assert_eq!(first.part, Some(Part::Signature(b"signed".to_vec())));
    let mut received = Vec::new();
    while let Some(part) = parts.message().await.unwrap() {
        match part.part {
            Some(Part::Data(data)) => {
                assert!(data.len() <= 256 * 1024);
                received.extend(data);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(Digest::of(&received), digest);
}

#[tokio::test]
async fn an_archive_that_is_not_there_is_not_found() {
    let served = served().await;
    let mut client = served.client(&served.identity("h1")).await.unwrap();
    for (digest, code) in [
        (Digest::of(b"").to_string(), Code::NotFound),
        ("../x".into(), Code::InvalidArgument),
    ] {
        let refused = client
            .archive(wire::ArchiveRequest { digest })
            .await
            .unwrap_err();
        assert_eq!(refused.code(), code);
    }
}

fn logs() -> Task {
    Task::Logs {
        instance: "shop/web-1".parse().unwrap(),
        lines: 10,
        follow: true,
    }
}

#[tokio::test]
async fn output_comes_while_the_task_runs_and_its_end_after_it() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let (mut output, end) = served.fleet.stream(&name("h1"), "logs-1", logs());
    assert_eq!(agent.next_task().await, ("logs-1".to_owned(), logs()));
    let piece = |data: &str| wire::TaskOutput {
        key: "logs-1".into(),
        data: data.into(),
    };
    agent.say(Said::Output(piece("one\n"))).await;
    assert_eq!(output.recv().await.unwrap(), "one\n");
    agent.say(Said::Output(piece("two\n"))).await;
    agent.answer("logs-1", &done("")).await;
    assert_eq!(end.await, done(""));
    assert_eq!(output.recv().await.unwrap(), "two\n");
    assert_eq!(output.recv().await, None);
}

#[tokio::test]
async fn a_follower_that_goes_away_cancels_the_task() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let (output, end) = served.fleet.stream(&name("h1"), "logs-1", logs());
    agent.next_task().await;
    drop(output);
    assert_eq!(agent.next_cancel().await, "logs-1");
    assert_eq!(end.await.unwrap_err().blame, Blame::Cancelled);
}

#[tokio::test]
async fn a_follower_is_told_when_the_agent_is_or_goes_away() {
    let served = served().await;
    let (_output, end) = served.fleet.stream(&name("h1"), "logs-1", logs());
    assert_eq!(end.await.unwrap_err().blame, Blame::Passing);
    let mut agent = served.agent("h1").await;
    let (_output, end) = served.fleet.stream(&name("h1"), "logs-1", logs());
    agent.next_task().await;
    drop(agent);
    assert_eq!(end.await.unwrap_err().blame, Blame::Passing);
}

#[tokio::test]
async fn a_follower_that_does_not_read_is_cut_off_and_holds_up_nobody() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    let (_output, end) = served.fleet.stream(&name("h1"), "logs-1", logs());
    agent.next_task().await;
    for _ in 0..1100 {
        let output = wire::TaskOutput {
            key: "logs-1".into(),
            data: b"line\n".to_vec(),
        };
        agent.say(Said::Output(output)).await;
    }
    let fault = end.await.unwrap_err();
    assert!(fault.message.contains("not read fast enough"), "{fault}");
    assert_eq!(agent.next_cancel().await, "logs-1");
}
