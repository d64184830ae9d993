//! Two hundred agents at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{done, later, served, submit};
use futures::future::join_all;
use wright_protocol::wire::{self, from_agent::Message as Said, to_agent::Message};
use wright_route::Table;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_agents_do_a_task_and_take_a_table_each() {
    let served = served().await;
    let hosts: Vec<_> = (1..=200).map(|n| format!("h{n}")).collect();
    let agents = join_all(hosts.iter().map(|host| served.agent(host))).await;
    assert_eq!(served.fleet.agents().len(), 200);

    let serving = agents.into_iter().map(|mut agent| {
        tokio::spawn(async move {
            let mut applied = wire::TableApplied::default();
            // Until the test ends: everything asked is answered.
            while let Some(message) = agent.next().await {
                match message {
                    Message::Task(task) => agent.answer(&task.key, &done(&task.key)).await,
                    Message::Table(table) => applied.revision = table.revision,
                    Message::AskApplied(_) => agent.say(Said::TableApplied(applied)).await,
                    other => panic!("{other:?}"),
                }
            }
        })
    });
    let serving: Vec<_> = serving.collect();
    let answers = join_all(hosts.iter().map(|host| submit(&served, host, host))).await;
    for (host, answer) in hosts.iter().zip(answers) {
        assert_eq!(answer.unwrap(), done(host));
    }
    served.fleet.publish(&Table {
        revision: 3,
        ..Table::default()
    });
    served.fleet.wait_applied(3, later()).await.unwrap();
    served.shutdown.cancel();
    join_all(serving).await;
}
