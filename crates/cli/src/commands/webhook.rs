//! `wright webhook …`

use wright_server::api::{DeadLetter, Replay, WebhookView};

use super::Context;
use crate::{args::WebhookCommand, failure::Failure, output};

/// Does it.
pub async fn run(context: Context, command: WebhookCommand) -> Result<(), Failure> {
    match command {
        WebhookCommand::List => {
            let hooks: Vec<WebhookView> = context.client.get("/webhooks").await?;
            output::print(context.format, &hooks, |hooks| {
                let head = ["WEBHOOK", "URL", "KINDS", "POSITION", "DEAD", "STATE"];
                output::table(head, hooks.iter().map(row))
            })
        }
        WebhookCommand::Dead { webhook } => {
            let path = format!("/webhooks/{webhook}/dead");
            let dead: Vec<DeadLetter> = context.client.get(&path).await?;
            output::print(context.format, &dead, |dead| {
                let rows = dead.iter().map(|dead| {
                    [
                        dead.letter.id.clone(),
                        dead.letter.about.clone(),
                        dead.attempts.to_string(),
                        output::age(dead.at),
                        dead.error.clone(),
                    ]
                });
                output::table(["LETTER", "ABOUT", "TRIES", "AGE", "ERROR"], rows)
            })
        }
        WebhookCommand::Replay {
            webhook,
            from,
            dead,
        } => {
            let path = format!("/webhooks/{webhook}/replay");
            let replay: Replay = context.client.post(&path, &Replay { from, dead }).await?;
            output::print(context.format, &replay, |replay| {
                match (&replay.from, &replay.dead) {
                    (Some(from), _) => format!("{webhook} goes on after {from}"),
                    (None, dead) => format!("{} has arrived", dead.as_deref().unwrap_or_default()),
                }
            })
        }
    }
}

fn row(hook: &WebhookView) -> [String; 6] {
    let state = match &hook.failing {
        _ if !hook.active => "not active".to_owned(),
        None => "delivering".to_owned(),
        Some(failing) => format!("try {} failed: {}", failing.attempts, failing.error),
    };
    let kinds = match hook.kinds.as_slice() {
        [] => "all".to_owned(),
        kinds => kinds.join(","),
    };
    [
        hook.name.clone(),
        hook.url.clone(),
        kinds,
        hook.position.to_string(),
        hook.dead.to_string(),
        state,
    ]
}
