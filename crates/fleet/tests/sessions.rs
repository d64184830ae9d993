//! Who is let in, who is told, and how a session ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Agent, hello, name, served, served_with, submit, until};
use jiff::Timestamp;
use tonic::{
    Code,
    transport::{Certificate, ClientTlsConfig},
};
use wright_fleet::{FleetEvent, FleetSettings};
use wright_model::{Digest, InstanceStatus, Phase};
use wright_pki::{Authority, SERVER_NAME};
use wright_protocol::wire::{self, from_agent::Message as Said, to_agent::Message};

fn status(id: &str, phase: Phase) -> InstanceStatus {
    InstanceStatus::new(id.parse().unwrap(), phase, Timestamp::UNIX_EPOCH)
}

fn json(status: &InstanceStatus) -> Vec<u8> {
    serde_json::to_vec(status).unwrap()
}

#[tokio::test]
async fn an_agent_that_says_hello_is_connected_until_it_goes() {
    let served = served().await;
    let mut events = served.fleet.subscribe();
    let agent = served.agent("h1").await;
    let connected = FleetEvent::Connected {
        host: name("h1"),
        boot_id: "boot-1".into(),
        version: "1.0.0".into(),
    };
    assert_eq!(events.recv().await, Some(connected));
    assert!(served.fleet.is_connected("h1"));
    drop(agent);
    assert_eq!(
        events.recv().await,
        Some(FleetEvent::Disconnected {
            host: name("h1"),
            with_server: false,
        })
    );
    assert!(served.fleet.agents().is_empty());
}

#[tokio::test]
async fn a_host_that_is_not_known_is_refused() {
    let served = served().await;
    served.hosts.strike("h1");
    let client = served.client(&served.identity("h1")).await.unwrap();
    let refused = Agent::open(client).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let served = served().await;
    let other = Authority::open(&served.directory.path().join("other")).unwrap();
    let mut identity = other.issue_agent(&name("h1")).unwrap();
    identity.ca = served.authority.certificate().to_owned();
    // TLS 1.3 tells a client that it was refused with the first answer, not with the handshake.
    let refused = match served.client(&identity).await {
        Ok(client) => Agent::open(client).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    assert!(served.fleet.agents().is_empty());
}

#[tokio::test]
async fn nobody_comes_in_without_a_certificate() {
    let served = served().await;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(served.authority.certificate()))
        .domain_name(SERVER_NAME);
    let refused = match served.dial(tls).await {
        Ok(client) => Agent::open(client).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
}

#[tokio::test]
async fn the_servers_own_certificate_is_no_agents() {
    let served = served().await;
    let identity = served.authority.issue_server(&[], &[]).unwrap();
    let refused = match served.client(&identity).await {
        Ok(client) => Agent::open(client).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
}

#[tokio::test]
async fn a_newer_session_ends_the_older_one_without_a_disconnection() {
    let served = served().await;
    let mut old = served.agent("h1").await;
    let mut events = served.fleet.subscribe();
    let mut new = served.agent("h1").await;
    assert_eq!(old.next().await, None);
    let _waiting = submit(&served, "h1", "k");
    assert_eq!(new.next_task().await.0, "k");
    assert!(matches!(
        events.recv().await,
        Some(FleetEvent::Connected { .. })
    ));
    served.hosts.strike("h1");
    served.fleet.forget(&name("h1"));
    assert!(matches!(
        events.recv().await,
        Some(FleetEvent::Disconnected { .. })
    ));
}

#[tokio::test]
async fn a_session_that_falls_silent_is_closed() {
    let served = served_with(FleetSettings {
        heartbeat: Duration::from_millis(20),
    })
    .await;
    let mut events = served.fleet.subscribe();
    let mut agent = served.agent("h1").await;
    until(&mut events, |e| {
        matches!(e, FleetEvent::Disconnected { .. })
    })
    .await;
    assert_eq!(agent.next().await, None);
}

#[tokio::test]
async fn a_heartbeat_tells_what_the_agent_costs() {
    let served = served().await;
    let mut events = served.fleet.subscribe();
    let agent = served.agent("h1").await;
    agent
        .say(Said::Heartbeat(wire::Heartbeat {
            resident_bytes: 9 << 20,
            cpu_ms: 70,
        }))
        .await;
    until(&mut events, |e| matches!(e, FleetEvent::Heartbeat { .. })).await;
    let view = served.fleet.agents().remove(0);
    assert_eq!((view.resident_bytes, view.cpu_ms), (9 << 20, 70));
}

#[tokio::test]
async fn facts_are_told_of_by_their_digest_and_asked_for() {
    let served = served().await;
    let mut events = served.fleet.subscribe();
    let client = served.client(&served.identity("h1")).await.unwrap();
    let mut agent = Agent::open(client).await.unwrap();
    let digest = Digest::of(b"{}");
    let told = |body: Option<&'static [u8]>| FleetEvent::Facts {
        host: name("h1"),
        digest,
        body: body.map(Into::into),
    };
    agent
        .say(Said::Hello(wire::Hello {
            facts_digest: digest.as_bytes().to_vec(),
            ..hello()
        }))
        .await;
    until(&mut events, |e| *e == told(None)).await;
    served.fleet.ask_facts(&name("h1"));
    while !matches!(agent.next().await, Some(Message::FactsWanted(_))) {}
    let facts = wire::Facts {
        digest: digest.as_bytes().to_vec(),
        body: b"{}".to_vec(),
    };
    agent.say(Said::Facts(facts)).await;
    until(&mut events, |e| *e == told(Some(b"{}"))).await;
}

#[tokio::test]
async fn statuses_are_kept_while_the_agent_is_away_and_mended_when_it_returns() {
    let served = served().await;
    let mut events = served.fleet.subscribe();
    let agent = served.agent("h1").await;
    let report = [
        status("shop/web-1", Phase::Ready),
        status("shop/web-2", Phase::Ready),
    ];
    let instances = report.iter().map(json).collect();
    agent
        .say(Said::Report(wire::Report {
            instances,
            removed: vec![],
        }))
        .await;
    until(&mut events, |e| *e == FleetEvent::Status(report[1].clone())).await;
    drop(agent);
    until(&mut events, |e| {
        matches!(e, FleetEvent::Disconnected { .. })
    })
    .await;
    assert_eq!(served.fleet.statuses().len(), 2);

    // Back with one instance only, and that one unchanged: one removal, no other event.
    let client = served.client(&served.identity("h1")).await.unwrap();
    let agent = Agent::open(client).await.unwrap();
    let instances = vec![json(&report[0])];
    agent
        .say(Said::Hello(wire::Hello {
            instances,
            ..hello()
        }))
        .await;
    assert!(matches!(
        events.recv().await,
        Some(FleetEvent::Connected { .. })
    ));
    assert_eq!(
        events.recv().await,
        Some(FleetEvent::Removed("shop/web-2".parse().unwrap()))
    );
    assert_eq!(
        served.fleet.statuses().into_values().collect::<Vec<_>>(),
        report[..1]
    );
}

#[tokio::test]
async fn of_two_hosts_with_one_instance_the_connected_one_counts() {
    let served = served().await;
    let mut events = served.fleet.subscribe();
    let (old, new) = (served.agent("h1").await, served.agent("h2").await);
    for (agent, phase) in [(&old, Phase::Ready), (&new, Phase::Starting)] {
        let instances = vec![json(&status("shop/web-1", phase))];
        agent
            .say(Said::Report(wire::Report {
                instances,
                removed: vec![],
            }))
            .await;
        until(&mut events, |e| matches!(e, FleetEvent::Status(_))).await;
    }
    let phase =
        |served: &common::Served| served.fleet.statuses().into_values().next().unwrap().phase;
    assert_eq!(phase(&served), Phase::Ready);
    drop(old);
    until(&mut events, |e| {
        matches!(e, FleetEvent::Disconnected { .. })
    })
    .await;
    assert_eq!(phase(&served), Phase::Starting);
}

#[tokio::test]
async fn shutting_down_ends_open_sessions() {
    let served = served().await;
    let mut agent = served.agent("h1").await;
    served.shutdown.cancel();
    assert_eq!(agent.next().await, None);
    drop(agent);
    served.serving.await.unwrap().unwrap();
}
