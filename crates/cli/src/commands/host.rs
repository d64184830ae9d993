//! `wright host …`

use wright_server::api::{HostView, OperationAnswer};

use super::{Context, of_group};
use crate::{args::HostCommand, failure::Failure, output};

/// Does it.
pub async fn run(context: Context, command: HostCommand) -> Result<(), Failure> {
    match command {
        HostCommand::List { group } => {
            let path = of_group("/hosts", group.as_deref());
            let hosts: Vec<HostView> = context.client.get(&path).await?;
            output::print(context.format, &hosts, |hosts| table(hosts))
        }
        HostCommand::Show { host } => {
            let host: HostView = context.client.get(&format!("/hosts/{host}")).await?;
            output::print(context.format, &host, |host| {
                table(std::slice::from_ref(host))
            })
        }
        HostCommand::Kill { host } => {
            let answer: OperationAnswer = context
                .client
                .post(&format!("/hosts/{host}/kill"), &())
                .await?;
            output::print(context.format, &answer, |answer| answer.message.clone())
        }
    }
}

fn table(hosts: &[HostView]) -> String {
    let head = [
        "HOST",
        "ADDRESS",
        "STATE",
        "SINCE",
        "INSTANCES",
        "CPU",
        "MEMORY",
        "AGENT",
        "REASON",
    ];
    let rows = hosts.iter().map(|view| {
        let host = &view.host;
        [
            host.name.to_string(),
            host.address.to_string(),
            format!("{:?}", host.state).to_lowercase(),
            output::age(host.since),
            view.instances.to_string(),
            host.capacity.cpu.to_string(),
            host.capacity.memory.to_string(),
            if view.connected {
                output::bytes(view.agent_resident_bytes)
            } else {
                "away".to_owned()
            },
            host.reason.clone(),
        ]
    });
    output::table(head, rows)
}
