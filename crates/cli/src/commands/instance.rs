//! `wright instance …`

use std::io::Write as _;

use wright_model::{InstanceId, Operation};
use wright_server::api::{InstanceView, OperationAnswer};

use super::{Context, confirm, of_group};
use crate::{args::InstanceCommand, failure::Failure, output};

/// Does it.
pub async fn run(context: Context, command: InstanceCommand) -> Result<(), Failure> {
    if let Some((operation, target)) = command.operation() {
        let id = find(&context, &target.instance).await?;
        let path = format!("/instances/{}/{}/{operation}", id.site, id.name);
        let answer: OperationAnswer = context.client.post(&path, &()).await?;
        output::print(context.format, &answer, |answer| {
            let mut lines = vec![format!("{id}: {}", answer.message)];
            lines.extend(answer.lines.iter().map(|line| format!("  {line}")));
            lines.join("\n")
        })?;
        if operation == Operation::Checksum && !answer.lines.is_empty() {
            return Err(Failure::failed(format!("{id} is not what was shipped")));
        }
        return Ok(());
    }
    match command {
        InstanceCommand::Logs {
            target,
            follow,
            lines,
        } => {
            let id = find(&context, &target.instance).await?;
            let path = format!(
                "/instances/{}/{}/logs?lines={lines}&follow={follow}",
                id.site, id.name
            );
            let mut out = std::io::stdout();
            context
                .client
                .follow(&path, |data| {
                    let _ = out.write_all(data).and_then(|()| out.flush());
                })
                .await
        }
        InstanceCommand::Forget { target, yes } => {
            let id = find(&context, &target.instance).await?;
            confirm(&format!("Give up {id} and its data?"), yes)?;
            let path = format!("/instances/{}/{}", id.site, id.name);
            let answer: OperationAnswer = context.client.delete(&path).await?;
            output::print(context.format, &answer, |answer| answer.message.clone())
        }
        InstanceCommand::List { group } => {
            let path = of_group("/instances", group.as_deref());
            let instances: Vec<InstanceView> = context.client.get(&path).await?;
            output::print(context.format, &instances, |instances| table(instances))
        }
        // The operations are done by now.
        _ => Ok(()),
    }
}

/// `SITE/INSTANCE`, or just `INSTANCE` where only one site has it.
async fn find(context: &Context, text: &str) -> Result<InstanceId, Failure> {
    if text.contains('/') {
        return text
            .parse()
            .map_err(|error| Failure::usage(format!("{error}")));
    }
    let instances: Vec<InstanceView> = context.client.get("/instances").await?;
    let mut found = instances
        .into_iter()
        .map(|view| view.record.spec.id)
        .filter(|id| id.name.as_str() == text);
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (Some(first), Some(second)) => Err(Failure::usage(format!(
            "there is {first} and {second}: say which, as SITE/INSTANCE"
        ))),
        _ => Err(Failure::failed(format!(
            "there is no instance {text}; see `wright instance list`"
        ))),
    }
}

fn table(instances: &[InstanceView]) -> String {
    let head = [
        "INSTANCE", "HOST", "ADDRESS", "PORTS", "PACKAGE", "PHASE", "SINCE", "RESTARTS", "TRAFFIC",
    ];
    let rows = instances.iter().map(|view| {
        let spec = &view.record.spec;
        let ports: Vec<String> = spec
            .ports
            .iter()
            .map(|(name, port)| format!("{name}:{port}"))
            .collect();
        let status = view.status.as_ref();
        [
            spec.id.to_string(),
            spec.host.to_string(),
            spec.address.to_string(),
            ports.join(","),
            spec.package.to_string(),
            status.map_or("unknown".to_owned(), |status| {
                format!("{:?}", status.phase).to_lowercase()
            }),
            status.map_or(String::new(), |status| output::age(status.since)),
            status.map_or(String::new(), |status| status.restarts.to_string()),
            format!("{:?}", view.record.traffic).to_lowercase(),
        ]
    });
    output::table(head, rows)
}
