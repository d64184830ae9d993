//! `wright get`, `history` and `events`.

use futures::StreamExt as _;
use wright_inventory::{Event, Resource};
use wright_model::Name;

use super::Context;
use crate::{failure::Failure, output};

/// One resource, or all of a kind.
pub async fn get(context: Context, kind: &Name, name: Option<&str>) -> Result<(), Failure> {
    match name {
        Some(name) => {
            let resource: Resource = context
                .client
                .get(&format!("/resources/{kind}/{name}"))
                .await?;
            let pretty =
                |resource: &Resource| serde_json::to_string_pretty(resource).unwrap_or_default();
            output::print(context.format, &resource, pretty)
        }
        None => {
            let resources: Vec<Resource> =
                context.client.get(&format!("/resources/{kind}")).await?;
            output::print(context.format, &resources, |resources| table(resources))
        }
    }
}

/// What a resource was, newest last.
pub async fn history(context: Context, kind: &Name, name: &str) -> Result<(), Failure> {
    let past: Vec<serde_json::Value> = context
        .client
        .get(&format!("/resources/{kind}/{name}/history"))
        .await?;
    output::print(context.format, &past, |past| {
        let lines: Vec<String> = past.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

fn table(resources: &[Resource]) -> String {
    let rows = resources.iter().map(|resource| {
        [
            resource.name.clone(),
            resource.revision.to_string(),
            output::age(resource.updated_at),
        ]
    });
    output::table(["NAME", "REVISION", "CHANGED"], rows)
}

/// What happened.
pub async fn events(context: Context, follow: bool, lines: u32) -> Result<(), Failure> {
    let past: Vec<Event> = context
        .client
        .get(&format!("/events?limit={lines}"))
        .await?;
    if !follow {
        return output::print(context.format, &past, |past| {
            let lines: Vec<String> = past.iter().map(line).collect();
            lines.join("\n")
        });
    }
    past.iter().for_each(|event| output::say(&line(event)));
    let mut news = context.client.events("/events/watch").await?;
    while let Some(event) = news.next().await {
        let event: Event =
            serde_json::from_str(&event?).map_err(|error| Failure::failed(error.to_string()))?;
        output::say(&line(&event));
    }
    Ok(())
}

fn line(event: &Event) -> String {
    format!(
        "{:.3}  {:<10} {:<18} {:<24} {}",
        event.at, event.actor, event.kind, event.subject, event.message
    )
}
