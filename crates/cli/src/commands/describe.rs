//! `wright describe`.

use indexmap::IndexMap;
use serde_json::Value;
use wright_inventory::{
    Past, Resource,
    kind::{Definition, FieldDefinition, FieldType},
};
use wright_server::api::KindView;

use super::{
    Context, encoded,
    inventory::{changes, history_table, shown},
};
use crate::{
    args::{DescribeArgs, Format},
    failure::Failure,
    output,
};

/// A resource and its kind.
type Known = (Resource, Definition);

/// What a resource is a part of, from its parent outwards. Further than what one may see, and than
/// anything reasonable, nobody looks.
async fn ancestors(context: &Context, own: &Known) -> Vec<Known> {
    const HIGHEST: usize = 16;
    let mut line: Vec<Known> = Vec::new();
    while line.len() < HIGHEST {
        let Some((to, name)) = parent(line.last().unwrap_or(own)) else {
            break;
        };
        let above = format!("/resources/{to}/{}", encoded(&name));
        let Ok(above) = context.client.get::<Resource>(&above).await else {
            break;
        };
        let Ok(kind) = context
            .client
            .get::<KindView>(&format!("/kinds/{to}"))
            .await
        else {
            break;
        };
        line.push((above, kind.definition));
    }
    line
}

/// The kind and the name of what a resource is a part of.
fn parent((resource, definition): &Known) -> Option<(String, String)> {
    let (path, to) = definition.parent()?;
    let name = path
        .split('.')
        .try_fold(&resource.body, |at, key| at.get(key))?;
    Some((to.to_owned(), name.as_str()?.to_owned()))
}

/// From the outermost to itself: `site/berlin room/b2 rack/r7`. What one may not see is named.
fn main_line(own: &Known, ancestors: &[Known]) -> String {
    let named = |resource: &Resource| format!("{}/{}", resource.kind, resource.name);
    let outermost = parent(ancestors.last().unwrap_or(own));
    let hidden = outermost.map(|(kind, name)| format!("{kind}/{name}"));
    let shown = ancestors.iter().rev().map(|(resource, _)| named(resource));
    let line: Vec<String> = hidden
        .into_iter()
        .chain(shown)
        .chain([named(&own.0)])
        .collect();
    line.join(" ")
}

/// The fields that a resource has from what it is a part of: field, value, from whom.
fn inherited(own: &Known, ancestors: &[Known]) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    for field in &own.1.inherit {
        for above in std::iter::once(own).chain(ancestors) {
            if let Some(value) = above.0.body.get(field) {
                if !std::ptr::eq(above, own) {
                    let from = format!("from {}/{}", above.0.kind, above.0.name);
                    rows.push([format!("  {field}"), shown(Some(value)), from]);
                }
                break;
            }
            // What is above has it from further above only where its kind says so.
            if !std::ptr::eq(above, own) && !above.1.inherit.contains(field) {
                break;
            }
        }
    }
    rows
}

/// One resource for people: where it is, its fields with their units, who owns them, and what changed last.
pub async fn describe(context: Context, args: DescribeArgs) -> Result<(), Failure> {
    let (client, kind) = (&context.client, &args.kind);
    let path = format!("/resources/{kind}/{}", encoded(&args.name));
    let at = args
        .at
        .as_deref()
        .map_or_else(String::new, |at| format!("?at={}", encoded(at)));
    let resource: Resource = client.get(&format!("{path}{at}")).await?;
    if context.format != Format::Table {
        return output::print(context.format, &resource, |_| String::new());
    }
    let definition = client.get::<KindView>(&format!("/kinds/{kind}")).await;
    let definition = definition.map(|kind| kind.definition).unwrap_or_default();
    let known = (resource, definition);
    let ancestors = ancestors(&context, &known).await;
    let mut lines = vec![main_line(&known, &ancestors)];
    let inherited = inherited(&known, &ancestors);
    let (resource, definition) = known;
    for (key, value) in &resource.labels {
        lines.push(format!("  label {key} = {value}"));
    }
    lines.push(field_table(&resource, &definition, inherited));
    // One more than is shown: the first is what the second is compared with.
    let past: Vec<Past> = client.get(&format!("{path}/history?newest=6")).await?;
    let more = past.len() > 5;
    let changes = changes(past);
    let last = &changes[usize::from(more)..];
    lines.push(String::new());
    lines.push(history_table(last));
    output::say(&lines.join("\n"));
    Ok(())
}

/// The fields with their units and who applied them; those of an object each in a line.
fn field_table(
    resource: &Resource,
    definition: &Definition,
    inherited: Vec<[String; 3]>,
) -> String {
    let Value::Object(body) = &resource.body else {
        return String::new();
    };
    let mut rows = Vec::new();
    for (name, value) in body {
        let owners = resource.owners.get(name).map(|owners| owners.join(", "));
        let owners = owners.unwrap_or_default();
        let field = definition.fields.get(name);
        let inner = field.filter(|field| field.of_type == FieldType::Object);
        match (inner, value) {
            (Some(field), Value::Object(_)) => flat(name, value, &field.fields, &owners, &mut rows),
            _ => rows.push(field_row(name, value, field, &owners)),
        }
    }
    rows.extend(inherited);
    output::table(["  FIELD", "VALUE", "APPLIED BY"], rows)
}

fn flat(
    path: &str,
    value: &Value,
    fields: &IndexMap<String, FieldDefinition>,
    owners: &str,
    rows: &mut Vec<[String; 3]>,
) {
    let Value::Object(inner) = value else {
        return;
    };
    for (name, value) in inner {
        let (path, field) = (format!("{path}.{name}"), fields.get(name));
        match (field, value) {
            (Some(field), Value::Object(_)) => flat(&path, value, &field.fields, owners, rows),
            _ => rows.push(field_row(&path, value, field, owners)),
        }
    }
}

fn field_row(
    path: &str,
    value: &Value,
    field: Option<&FieldDefinition>,
    owners: &str,
) -> [String; 3] {
    let unit = field.map_or("", |field| field.unit.as_str());
    let value = match value {
        // Disks and the like: one in each line.
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let lines: Vec<String> = items.iter().map(in_words).collect();
            lines.join("\n")
        }
        value => format!("{} {unit}", shown(Some(value)))
            .trim_end()
            .to_owned(),
    };
    [format!("  {path}"), value, owners.to_owned()]
}

/// An object's values, with the names of those that do not speak for themselves.
fn in_words(item: &Value) -> String {
    let Value::Object(fields) = item else {
        return shown(Some(item));
    };
    let word = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(false) | Value::Null => None,
        Value::Bool(true) => Some(name.clone()),
        other => Some(format!("{name} {}", shown(Some(other)))),
    };
    let words: Vec<String> = fields.iter().filter_map(word).collect();
    words.join("  ")
}
