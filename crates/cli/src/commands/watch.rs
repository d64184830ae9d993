//! `wright watch`: every change once, whatever happens to the server meanwhile.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;
use wright_model::BackOff;

use super::{Context, encoded};
use crate::{
    args::{Format, WatchArgs},
    client::ServerEvent,
    failure::Failure,
    output,
};

/// The waits before a server is asked again.
const AGAIN: BackOff = BackOff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(5),
};
/// A server that lives says something every few seconds.
const SILENCE: Duration = Duration::from_secs(20);

/// Prints changes until Ctrl-C, or until what comes next is no longer kept.
pub async fn run(context: Context, watching: WatchArgs) -> Result<(), Failure> {
    let mut follower = Follower {
        context,
        kinds: watching.kinds.unwrap_or_default(),
        group: watching.group,
        filter: watching.filter,
        position: watching.from.map(|from| from.to_string()),
        failures: 0,
    };
    loop {
        match follower.follow().await {
            Err(failure) if failure.is_unreachable() => follower.pause(&failure).await,
            Err(failure) => return Err(failure),
            Ok(()) => follower.pause(&Failure::link("the server ended it")).await,
        }
    }
}

struct Follower {
    context: Context,
    kinds: String,
    group: Option<String>,
    filter: String,
    /// What was told last.
    position: Option<String>,
    /// Connections in a row that told nothing.
    failures: u32,
}

impl Follower {
    /// Prints what one connection tells.
    async fn follow(&mut self) -> Result<(), Failure> {
        let from = self.position.as_ref().map(|from| format!("&from={from}"));
        let group = self.group.as_deref();
        let group = group.map(|group| format!("&group={}", encoded(group)));
        let (kinds, filter) = (encoded(&self.kinds), encoded(&self.filter));
        let path = format!(
            "/watch?kind={kinds}&filter={filter}{}{}",
            group.unwrap_or_default(),
            from.unwrap_or_default()
        );
        let mut events = self.context.client.named_events(&path).await?;
        loop {
            let Ok(event) = tokio::time::timeout(SILENCE, events.next()).await else {
                return Err(Failure::unreachable("the server says nothing any more"));
            };
            let Some(event) = event else {
                return Ok(());
            };
            self.tell(event?)?;
        }
    }

    fn tell(&mut self, event: ServerEvent) -> Result<(), Failure> {
        let data: Value = serde_json::from_str(&event.data)
            .map_err(|error| Failure::failed(format!("the server's event: {error}")))?;
        match event.event.as_str() {
            "change" if self.context.format == Format::Table => output::say(&line(&data)),
            "change" => output::say(&event.data),
            "expired" => return Err(Failure::failed(text(&data["detail"]))),
            "failed" => return Err(Failure::unreachable(text(&data["detail"]))),
            _ => {}
        }
        self.position = Some(event.id);
        self.failures = 0;
        Ok(())
    }

    async fn pause(&mut self, failure: &Failure) {
        if self.failures == 0 {
            eprintln!("{failure}\ngoing on as soon as a server answers");
        }
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(AGAIN.after(self.failures)).await;
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// `812  host/h3  changed  body.state lost → dead`.
fn line(change: &Value) -> String {
    let fields = change["fields"].as_array().map(Vec::as_slice);
    let fields: Vec<&str> = fields
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let fields = match change["what"].as_str() {
        Some("changed") => match fields.as_slice() {
            [field] => format!("{field} {}", difference(change, field)),
            fields => fields.join(" "),
        },
        _ => String::new(),
    };
    let name = format!("{}/{}", text(&change["kind"]), text(&change["name"]));
    let line = format!(
        "{:<10} {name:<32} {:<8} {fields}",
        text(&change["position"]),
        text(&change["what"]),
    );
    line.trim_end().to_owned()
}

/// What one field was and is.
fn difference(change: &Value, field: &str) -> String {
    let side = |side: &str| {
        let mut value = &change[side];
        for name in field.split('.') {
            value = &value[name];
        }
        match value {
            Value::Null => "nothing".to_owned(),
            Value::String(text) => text.clone(),
            value => value.to_string(),
        }
    };
    format!("{} → {}", side("before"), side("after"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_one_line_that_says_what_differs() {
        let mut change = json!({
            "position": "812", "kind": "host", "name": "h3", "what": "changed",
            "fields": ["body.state"],
            "before": { "body": { "state": "lost" } }, "after": { "body": { "state": "dead" } },
        });
        let words = |change: &Value| {
            line(change)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(words(&change), "812 host/h3 changed body.state lost → dead");
        change["fields"] = json!(["body.state", "body.since"]);
        assert_eq!(words(&change), "812 host/h3 changed body.state body.since");
        change["what"] = json!("left");
        assert_eq!(words(&change), "812 host/h3 left");
    }
}
