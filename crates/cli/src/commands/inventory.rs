//! `wright get`, `history`, `restore`, `delete` and `events`.

use futures::StreamExt as _;
use serde::Serialize;
use serde_json::Value;
use wright_inventory::{Action, Difference, Event, Past, Resource, kind::KIND};
use wright_model::Name;
use wright_server::api::{KindView, OutcomeView, Restore, TransactionAnswer};

use super::{Context, confirm, encoded};
use crate::{
    args::{DeleteArgs, Format, GetArgs, RestoreArgs},
    failure::Failure,
    output,
};

/// How many past states are asked for at once.
const PAGE: usize = 500;

/// One resource, or all of a kind.
pub async fn get(context: Context, args: GetArgs) -> Result<(), Failure> {
    let (client, kind) = (&context.client, &args.kind);
    if kind.as_str() == KIND && args.name.is_none() && args.is_all() {
        let kinds: Vec<KindView> = client.get("/kinds").await?;
        return output::print(context.format, &kinds, |kinds| kind_table(kinds));
    }
    match &args.name {
        Some(name) => {
            let path = format!("/resources/{kind}/{}", encoded(name));
            let resource: Resource = client.get(&path).await?;
            let pretty =
                |resource: &Resource| serde_json::to_string_pretty(resource).unwrap_or_default();
            output::print(context.format, &resource, pretty)
        }
        None => {
            let resources: Vec<Resource> = match args.is_all() {
                true => client.get(&format!("/resources/{kind}")).await?,
                false => chosen(&context, &args).await?,
            };
            let columns = match context.format {
                Format::Table => columns(&context, kind).await,
                _ => Vec::new(),
            };
            output::print(context.format, &resources, |resources| {
                table(resources, &columns)
            })
        }
    }
}

/// Page by page, until there are as many as wanted.
async fn chosen(context: &Context, args: &GetArgs) -> Result<Vec<Resource>, Failure> {
    const PAGE: usize = 1000;
    let limit = args.limit.unwrap_or(usize::MAX);
    let filter = args.filter.as_deref().map(|filter| ("filter", filter));
    let group = args.group.as_deref().map(|group| ("group", group));
    let (label, sort) = (args.labels.join(","), args.sort.join(","));
    let both = [("label", label.as_str()), ("sort", sort.as_str())];
    let said = both.into_iter().filter(|(_, value)| !value.is_empty());
    let said = said.chain(filter).chain(group);
    let said = said.map(|(key, value)| format!("&{key}={}", encoded(value)));
    let kind = &args.kind;
    let mut path = format!("/resources/{kind}?limit={}", PAGE.min(limit));
    path.extend(said);
    let mut all = Vec::new();
    loop {
        let (page, next) = context.client.page::<Resource>(&path).await?;
        all.extend(page);
        match next.filter(|_| all.len() < limit) {
            Some(next) => path = next,
            None => {
                all.truncate(limit);
                return Ok(all);
            }
        }
    }
}

/// The fields that the kind shows in tables.
async fn columns(context: &Context, kind: &Name) -> Vec<String> {
    let kind = context
        .client
        .get::<KindView>(&format!("/kinds/{kind}"))
        .await;
    // A kind that nobody defined has none.
    kind.map(|kind| kind.definition.display).unwrap_or_default()
}

fn table(resources: &[Resource], columns: &[String]) -> String {
    let head = std::iter::once("NAME".to_owned())
        .chain(columns.iter().map(|column| column.to_uppercase()))
        .chain(["REVISION".to_owned(), "CHANGED".to_owned()]);
    let rows = resources.iter().map(|resource| {
        let fields = columns
            .iter()
            .map(|column| shown(resource.body.get(column)));
        std::iter::once(resource.name.clone())
            .chain(fields)
            .chain([
                resource.revision.to_string(),
                output::age(resource.updated_at),
            ])
            .collect()
    });
    output::wide_table(head.collect(), rows)
}

fn kind_table(kinds: &[KindView]) -> String {
    let rows = kinds.iter().map(|kind| {
        let from = match (kind.shipped, kind.revision) {
            (true, 0) => "shipped",
            (true, _) => "extended",
            (false, _) => "defined",
        };
        let definition = &kind.definition;
        [
            kind.name.clone(),
            definition.group.clone(),
            definition.fields.len().to_string(),
            from.to_owned(),
            definition.description.clone(),
        ]
    });
    output::table(["NAME", "GROUP", "FIELDS", "FROM", "WHAT FOR"], rows)
}

/// A value in a cell.
pub fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| shown(Some(item))).collect();
            items.join(", ")
        }
        Some(Value::Object(map)) if map.len() == 1 && map.contains_key("sealed") => {
            "(sealed)".to_owned()
        }
        Some(other) => other.to_string(),
    }
}

/// The JSON Schema of a kind's bodies.
pub async fn schema(context: Context, kind: &Name) -> Result<(), Failure> {
    let schema: Value = context.client.get(&format!("/kinds/{kind}/schema")).await?;
    let text = serde_json::to_string_pretty(&schema);
    output::say(&text.map_err(|error| Failure::failed(error.to_string()))?);
    Ok(())
}

/// One change of a resource.
#[derive(Debug, Serialize)]
pub struct Changed {
    #[serde(flatten)]
    past: Past,
    changes: Vec<Difference>,
}

/// Past states with what was changed since the one before.
pub fn changes(past: Vec<Past>) -> Vec<Changed> {
    let mut changed: Vec<Changed> = Vec::with_capacity(past.len());
    for state in past {
        let changes = state.since(changed.last().map(|before| &before.past));
        changed.push(Changed {
            past: state,
            changes,
        });
    }
    changed
}

/// What a resource was, newest last, with who changed what and why.
pub async fn history(context: Context, kind: &Name, name: &str) -> Result<(), Failure> {
    let path = format!("/resources/{kind}/{}/history", encoded(name));
    let mut past: Vec<Past> = Vec::new();
    loop {
        let after = past
            .last()
            .map_or_else(String::new, |last| format!("&after={}", last.id));
        let page: Vec<Past> = context
            .client
            .get(&format!("{path}?limit={PAGE}{after}"))
            .await?;
        let is_last = page.len() < PAGE;
        past.extend(page);
        if is_last {
            break;
        }
    }
    output::print(context.format, &changes(past), |changes| {
        history_table(changes)
    })
}

pub fn history_table(changes: &[Changed]) -> String {
    let rows = changes.iter().map(|Changed { past, changes }| {
        let by = past.by.clone().unwrap_or_default();
        let who = if by.actor.is_empty() {
            "the platform".to_owned()
        } else {
            by.actor
        };
        let what = match &past.body {
            None => "removed".to_owned(),
            Some(_) => told(changes),
        };
        [
            past.revision.to_string(),
            format!("{:.0}", past.at),
            who,
            by.why,
            what,
        ]
    });
    output::table(["REVISION", "WHEN", "WHO", "WHY", "WHAT"], rows)
}

/// The beginning of a text that is too long for a line of a table.
fn short(text: String) -> String {
    const LONG: usize = 60;
    match text.char_indices().nth(LONG) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Changes in a line, the first few of them.
fn told(changes: &[Difference]) -> String {
    const FEW: usize = 4;
    if let [
        Difference {
            field,
            before: Value::Null,
            ..
        },
    ] = changes
        && field.is_empty()
    {
        return "made".to_owned();
    }
    let one = |change: &Difference| {
        let value = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            value => short(shown(Some(value))),
        };
        format!(
            "{}: {} → {}",
            change.field,
            value(&change.before),
            value(&change.after)
        )
    };
    let mut lines: Vec<String> = changes.iter().take(FEW).map(one).collect();
    if changes.len() > FEW {
        lines.push(format!("and {} more", changes.len() - FEW));
    }
    lines.join("; ")
}

/// Removes a resource, after it was shown what goes with it.
pub async fn delete(context: Context, args: DeleteArgs) -> Result<(), Failure> {
    let path = format!("/resources/{}/{}", args.kind, encoded(&args.name));
    let ask = format!("{path}?dry_run=true");
    let preview: TransactionAnswer = context.client.delete(&ask).await?;
    if args.dry_run {
        return outcomes(context.format, &preview.outcomes);
    }
    let others = preview.outcomes.len().saturating_sub(1);
    if others > 0 && !args.yes {
        eprintln!("{}", outcome_table(&preview.outcomes));
        confirm(&format!("Delete it, with these {others}?"), false)?;
    }
    let why = encoded(&args.why);
    let done: TransactionAnswer = context.client.delete(&format!("{path}?why={why}")).await?;
    outcomes(context.format, &done.outcomes)
}

/// Makes a resource what it was.
pub async fn restore(context: Context, args: RestoreArgs) -> Result<(), Failure> {
    let path = format!("/resources/{}/{}", args.kind, encoded(&args.name));
    let now = context.client.get::<Resource>(&path).await;
    let restore = Restore {
        at: args.at,
        why: args.why,
        dry_run: args.dry_run,
    };
    let restored: Resource = context
        .client
        .post(&format!("{path}/restore"), &restore)
        .await?;
    output::print(context.format, &restored, |restored| {
        let before = now.map(|now| now.body).unwrap_or_default();
        let changes = wright_inventory::differences(&before, &restored.body);
        match changes.is_empty() {
            true => "it was so already".to_owned(),
            false => told(&changes),
        }
    })
}

/// What became of resources.
pub fn outcomes(format: Format, outcomes: &[OutcomeView]) -> Result<(), Failure> {
    output::print(format, &outcomes, |outcomes| outcome_table(outcomes))
}

fn outcome_table(outcomes: &[OutcomeView]) -> String {
    let word = |action: Action| match action {
        Action::Created => "created",
        Action::Changed => "changed",
        Action::Deleted => "deleted",
        Action::Cleared => "no longer refers to it",
        Action::Unchanged => "unchanged",
    };
    let line = |one: &OutcomeView| format!("{}/{} {}", one.kind, one.name, word(one.action));
    outcomes.iter().map(line).collect::<Vec<_>>().join("\n")
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
