//! `wright query` and `wright search`.

use wright_inventory::catalog::{Answer, Hit, Query};

use super::{Context, encoded};
use crate::{args::QueryArgs, failure::Failure, output};

/// Asks, page by page until there are as many as wanted.
pub async fn query(context: Context, args: QueryArgs) -> Result<(), Failure> {
    let kind = args.kind.clone().filter(|kind| kind != "*");
    let query = Query {
        kind,
        filter: args.filter.clone(),
        group: args.group.clone(),
        text: args.text.clone(),
        sort: args.sort.clone(),
        select: args.select.clone(),
        group_by: args.group_by.clone(),
        count: args.count,
        limit: args.limit,
        explain: args.explain,
        ..Query::default()
    };
    let mut answer: Answer = context.client.post("/query", &query).await?;
    let mut cursor = answer.cursor.take();
    while let Some(next) = cursor.filter(|_| args.all) {
        let query = Query {
            cursor: Some(next),
            ..Query::default()
        };
        let page: Answer = context.client.post("/query", &query).await?;
        answer.rows.extend(page.rows);
        cursor = page.cursor;
    }
    output::print(context.format, &answer, |answer| table(answer, &args))
}

fn table(answer: &Answer, args: &QueryArgs) -> String {
    let mut text = if !args.group_by.is_empty() {
        let head = args.group_by.iter().map(|field| field.to_uppercase());
        let head = head.chain(["COUNT".to_owned()]);
        let rows = answer.groups.iter().map(|group| {
            let values = group.values.iter().map(shown);
            values.chain([group.count.to_string()]).collect()
        });
        output::wide_table(head.collect(), rows)
    } else if args.count {
        answer.total.to_string()
    } else {
        let head = ["NAME".to_owned()].into_iter();
        let head = head.chain(args.select.iter().map(|field| field.to_uppercase()));
        let rows = answer.rows.iter().map(|row| {
            let name = [row.name.clone()].into_iter();
            name.chain(row.values.iter().map(shown)).collect()
        });
        let mut text = output::wide_table(head.collect(), rows);
        let shown = answer.rows.len() as u64;
        if shown < answer.total {
            text.push_str(&format!(
                "\n{shown} of {}; --all or --limit for more",
                answer.total
            ));
        }
        text
    };
    if args.explain {
        let head = ["OPERATION", "CONDITION", "ESTIMATED", "ROWS", "COST"];
        let rows = answer.steps.iter().map(|step| {
            [
                step.operation.clone(),
                step.condition.clone(),
                step.estimated.to_string(),
                step.rows.to_string(),
                format!("{:.3} ms", step.cost as f64 / 1e6),
            ]
        });
        text.push_str("\n\n");
        text.push_str(&output::table(head, rows));
    }
    text
}

/// A text as it is, anything else as JSON.
fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Looks for words.
pub async fn search(
    context: Context,
    words: &[String],
    kinds: &[String],
    limit: usize,
) -> Result<(), Failure> {
    let (words, kinds) = (encoded(&words.join(" ")), encoded(&kinds.join(",")));
    let path = format!("/search?q={words}&kind={kinds}&limit={limit}");
    let hits: Vec<Hit> = context.client.get(&path).await?;
    output::print(context.format, &hits, |hits| {
        let rows = hits.iter().map(|hit| [hit.kind.clone(), hit.name.clone()]);
        output::table(["KIND", "NAME"], rows)
    })
}
