//! Specifications and sites' files that nothing refers to any more are removed from the store.
//!
//! Both are kept by digest, and are written anew whenever something is going to refer to them. So what
//! was not written for a day and is not referred to now is garbage; what is written again meanwhile
//! stays, for each removal checks the revision.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wright_model::Digest;
use wright_store::{Entry, Guard, Operation, Range, Revision, SharedStore, StoreError};
use wright_workflow::{Engine, JobError};

/// How often it is swept, and how long something must not have been written.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// What is kept by digest.
const KEPT: [&str; 2] = ["spec/", "bundle/"];
/// The resources that refer to it; jobs do, too.
const REFERRING: [&str; 2] = ["r/site/", "r/instance/"];
/// How many entries are read at once; each may be half a mebibyte.
const PAGE: usize = 32;

/// Sweeps until `shutdown`.
pub async fn run(store: SharedStore, engine: Engine, shutdown: CancellationToken) {
    let mut written_before = None;
    let mut due = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = due.tick() => {}
        }
        let swept = match written_before {
            Some(revision) => sweep(&store, &engine, revision).await,
            None => Ok(0),
        };
        match swept {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "swept what nothing refers to"),
            Err(error) => tracing::warn!(%error, "what nothing refers to could not be swept"),
        }
        written_before = store.revision().await.ok();
    }
}

/// Removes what was last written at `written_before` or earlier and nothing refers to; how many.
async fn sweep(
    store: &SharedStore,
    engine: &Engine,
    written_before: Revision,
) -> Result<usize, JobError> {
    let mut old = BTreeMap::new();
    for prefix in KEPT {
        each(store, prefix, |entry| {
            let Some(digest) = digest_in(prefix, &entry.key) else {
                return;
            };
            let pieces: &mut Vec<Entry> = old.entry((prefix, digest)).or_default();
            pieces.push(Entry {
                value: Default::default(),
                ..entry
            });
        })
        .await?;
    }
    old.retain(|_, pieces| pieces.iter().all(|piece| piece.modified <= written_before));
    // Read after what is old: what comes to refer to it from now on writes it anew.
    let used = references(store, engine).await?;
    let mut swept = 0;
    for ((_, digest), pieces) in old {
        if used.contains(&digest) {
            continue;
        }
        let unmoved = pieces
            .iter()
            .map(|piece| Guard::Modified(piece.key.clone(), piece.modified));
        let removed = pieces
            .iter()
            .map(|piece| Operation::Delete(piece.key.clone()));
        match store.commit(unmoved.collect(), removed.collect()).await {
            Ok(_) => swept += 1,
            Err(error) if error.is_refused() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(swept)
}

/// Every digest that a job with steps, a site or an instance mentions.
async fn references(store: &SharedStore, engine: &Engine) -> Result<HashSet<Digest>, JobError> {
    let mut used = HashSet::new();
    for prefix in REFERRING {
        each(store, prefix, |entry| {
            if let Ok(resource) = serde_json::from_slice(&entry.value) {
                collect(&resource, &mut used);
            }
        })
        .await?;
    }
    engine
        .each_kept(|job| {
            collect(&job.context, &mut used);
            for step in job.steps.iter().map(|record| &record.step) {
                collect(&step.input, &mut used);
                if let Some(undo) = &step.undo {
                    collect(&undo.input, &mut used);
                }
            }
        })
        .await?;
    Ok(used)
}

fn collect(value: &Value, used: &mut HashSet<Digest>) {
    match value {
        Value::String(text) => used.extend(text.parse::<Digest>()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, used)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, used)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The digest after the prefix, up to the end or the next slash.
fn digest_in(prefix: &str, key: &[u8]) -> Option<Digest> {
    let rest = std::str::from_utf8(key.get(prefix.len()..)?).ok()?;
    rest.split('/').next()?.parse().ok()
}

/// Everything below a prefix, page by page, at one revision.
async fn each(
    store: &SharedStore,
    prefix: &str,
    mut visit: impl FnMut(Entry),
) -> Result<(), StoreError> {
    let mut range = Range::prefix(prefix.to_owned());
    let mut at = None;
    loop {
        let page = store.range(range.clone(), PAGE, at).await?;
        at = Some(page.revision);
        if let Some(last) = page.entries.last() {
            range = range.after(&last.key);
        }
        page.entries.into_iter().for_each(&mut visit);
        if !page.more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wright_model::Span;
    use wright_workflow::{JobSpec, Retry, Settings, Step, Undo, Verbs, WAIT};

    use super::*;

    /// A step that mentions one digest in its input and another in its undo's.
    fn step(does: &Digest, undoes: &Digest) -> Step {
        Step {
            name: "ask".to_owned(),
            verb: WAIT.to_owned(),
            input: json!({ "what": does, "from": "anna" }),
            needs: Vec::new(),
            scope: "s".to_owned(),
            target: None,
            layer: 0,
            deadline: Span::from_secs(1),
            retry: Retry::default(),
            undo: Some(Undo {
                verb: WAIT.to_owned(),
                input: json!({ "specs": [undoes] }),
            }),
            expected_ms: 1,
        }
    }

    #[tokio::test]
    async fn what_is_old_and_nothing_refers_to_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file:{}", dir.path().display());
        let store = wright_store::open(&url).await.unwrap();
        let engine = Engine::new(store.clone(), Verbs::new(), Settings::default());
        let digest = |text: &str| Digest::of(text.as_bytes());
        let key = |text: &str| match text {
            "files" | "old files" => format!("bundle/{}/0000", digest(text)),
            _ => format!("spec/{}", digest(text)),
        };
        let put = async |text: &str| {
            let operation = Operation::put(key(text), text.to_owned());
            store.commit(Vec::new(), vec![operation]).await.unwrap()
        };
        for text in [
            "does",
            "undoes",
            "context",
            "site",
            "files",
            "old",
            "old files",
        ] {
            put(text).await;
        }
        let site = json!({ "bundle": digest("files"), "other": { "spec": digest("site") } });
        let site = Operation::put("r/site/shop", site.to_string());
        store.commit(Vec::new(), vec![site]).await.unwrap();
        let job = JobSpec {
            subject: "site/shop".to_owned(),
            context: json!({ "before": [digest("context")] }),
            steps: vec![step(&digest("does"), &digest("undoes"))],
            ..JobSpec::default()
        };
        engine.submit(job).await.unwrap();
        let day = store.revision().await.unwrap();
        put("new").await;

        assert_eq!(sweep(&store, &engine, day).await.unwrap(), 2);
        for text in ["does", "undoes", "context", "site", "files", "new"] {
            let kept = store.get(key(text).as_bytes()).await.unwrap();
            assert!(kept.is_some(), "{text} is in use");
        }
        for text in ["old", "old files"] {
            assert_eq!(store.get(key(text).as_bytes()).await.unwrap(), None);
        }
    }
}
