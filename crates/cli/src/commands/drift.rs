//! `wright drift`.

use serde_json::Value;
use wright_server::api::{DriftView, Resolution, Resolve, Resolved};

use super::{Context, encoded, inventory::shown};
use crate::{
    args::{DriftArgs, DriftCommand, ResolveArgs},
    failure::Failure,
    output,
};

/// What differs from what was discovered, or what becomes of it.
pub async fn drift(context: Context, args: DriftArgs) -> Result<(), Failure> {
    match args.command {
        Some(DriftCommand::Accept { field, value }) => {
            let value = value.map(|text| {
                // What is no JSON is a text.
                serde_json::from_str(&text).unwrap_or(Value::String(text))
            });
            resolve(context, field, Resolution::Accept, value).await
        }
        Some(DriftCommand::Tolerate { field }) => {
            resolve(context, field, Resolution::Tolerate, None).await
        }
        Some(DriftCommand::Revert { field }) => {
            resolve(context, field, Resolution::Revert, None).await
        }
        None => {
            let mut asked = vec![format!("all={}", args.all)];
            asked.extend(args.kind.map(|kind| format!("kind={kind}")));
            asked.extend(args.name.map(|name| format!("name={}", encoded(&name))));
            let path = format!("/drift?{}", asked.join("&"));
            let drift: Vec<DriftView> = context.client.get(&path).await?;
            output::print(context.format, &drift, |drift| table(drift))
        }
    }
}

fn table(drift: &[DriftView]) -> String {
    if drift.is_empty() {
        return "nothing differs from what was discovered".to_owned();
    }
    let rows = drift.iter().map(|one| {
        [
            format!("{}/{}", one.kind, one.name),
            one.drift.field.clone(),
            shown(Some(&one.drift.declared)),
            shown(Some(&one.drift.discovered)),
            one.since.map_or_else(String::new, output::age),
            one.drift.tolerated.clone().unwrap_or_default(),
        ]
    });
    let head = [
        "RESOURCE",
        "FIELD",
        "DECLARED",
        "DISCOVERED",
        "SINCE",
        "TOLERATED",
    ];
    output::table(head, rows)
}

async fn resolve(
    context: Context,
    of: ResolveArgs,
    act: Resolution,
    value: Option<Value>,
) -> Result<(), Failure> {
    let path = format!("/resources/{}/{}/drift", of.kind, encoded(&of.name));
    let wanted = Resolve {
        field: of.field,
        act,
        value,
        why: of.why,
        dry_run: of.dry_run,
    };
    let done: Resolved = context.client.post(&path, &wanted).await?;
    output::print(context.format, &done, |done| done.message.clone())
}
