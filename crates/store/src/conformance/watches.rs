use tokio::task::JoinSet;

use super::*;

fn change(revision: Revision, key: &str, before: Option<&str>, after: Option<&str>) -> Short {
    (
        revision,
        key.to_owned(),
        before.map(str::to_owned),
        after.map(str::to_owned),
    )
}

/// A watch that begins in the past, while many write: every commit once, in order.
pub async fn a_watch_replays_and_goes_on_without_gap(store: SharedStore) -> Outcome {
    const WRITERS: usize = 8;
    const WRITES: usize = 40;
    let start = put(&store, "gapless/start", "x").await?;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            for write in 0..WRITES {
                put(&store, &format!("gapless/{writer}"), &write.to_string()).await?;
            }
            Outcome::Ok(())
        });
    }
    let mut watchers = JoinSet::new();
    for _ in 0..4 {
        // Each begins at another moment of the writing.
        put(&store, "gapless/start", "x").await?;
        let mut watch = store.watch(Range::prefix("gapless/"), start).await?;
        watchers.spawn(async move {
            let (mut last, mut seen) = (start, vec![0; WRITERS]);
            while seen.iter().any(|seen| *seen < WRITES) {
                for (revision, key, _, after) in short(&next(&mut watch).await?) {
                    assert_eq!(revision, last + 1, "nobody else writes here");
                    last = revision;
                    if let Ok(writer) = key.trim_start_matches("gapless/").parse::<usize>() {
                        assert_eq!(after, Some(seen[writer].to_string()));
                        seen[writer] += 1;
                    }
                }
            }
            Outcome::Ok(())
        });
    }
    writers.join_all().await.into_iter().collect::<Outcome>()?;
    watchers.join_all().await.into_iter().collect()
}

/// What one commit did to the range comes at once, with before and after; the rest does not come.
pub async fn a_watch_groups_a_commit_and_leaves_out_other_keys(store: SharedStore) -> Outcome {
    let start = put(&store, "group/a", "one").await?;
    let both = vec![
        Operation::put("group/b", "one"),
        Operation::put("other", "one"),
        Operation::put("group/a", "two"),
    ];
    let second = store.commit(Vec::new(), both).await?;
    put(&store, "other", "two").await?;
    let removed = delete(&store, "group/a").await?;
    delete(&store, "group/nothing").await?;
    let mut watch = store.watch(Range::prefix("group/"), start).await?;
    let made = [
        change(second, "group/a", Some("one"), Some("two")),
        change(second, "group/b", None, Some("one")),
    ];
    assert_eq!(short(&next(&mut watch).await?), made);
    assert_eq!(
        short(&next(&mut watch).await?),
        [change(removed, "group/a", Some("two"), None)]
    );
    let live = put(&store, "group/a", "three").await?;
    let found = next(&mut watch).await?;
    assert_eq!(
        short(&found),
        [change(live, "group/a", None, Some("three"))]
    );
    assert_eq!(
        found.first().and_then(|change| change.after.clone()),
        store.get(b"group/a").await?
    );
    Ok(())
}

/// Thousands of commits while a watch is not read; then it reads all of them.
pub async fn a_slow_reader_misses_nothing_and_holds_up_nobody(store: SharedStore) -> Outcome {
    const COMMITS: usize = 6000;
    let start = store.revision().await?;
    let mut watch = store.watch(Range::prefix("slow/"), start).await?;
    let mut writers = JoinSet::new();
    for writer in 0..200 {
        let store = store.clone();
        writers.spawn(async move {
            for _ in 0..COMMITS / 200 {
                put(&store, &format!("slow/{writer}"), "x").await?;
            }
            Outcome::Ok(())
        });
    }
    writers.join_all().await.into_iter().collect::<Outcome>()?;
    for revision in (start + 1..).take(COMMITS) {
        let changes = next(&mut watch).await?;
        assert_eq!(
            changes
                .iter()
                .map(|change| change.revision)
                .collect::<Vec<_>>(),
            [revision]
        );
    }
    Ok(())
}

/// At once, or as the first thing that the watch says.
pub async fn a_watch_from_a_compacted_revision_says_so(store: SharedStore) -> Outcome {
    let past = put(&store, "compacted", "one").await?;
    let kept = put(&store, "compacted", "two").await?;
    store.compact(kept).await?;
    let refused = match store.watch(Range::key("compacted"), past).await {
        Ok(mut watch) => next(&mut watch).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(
        matches!(refused, Err(StoreError::Compacted { .. })),
        "{refused:?}"
    );
    let mut watch = store.watch(Range::key("compacted"), kept).await?;
    let live = put(&store, "compacted", "three").await?;
    assert_eq!(
        short(&next(&mut watch).await?),
        [change(live, "compacted", Some("two"), Some("three"))]
    );
    Ok(())
}

/// List, then watch from the list's revision: the revision is never in the future, however close
/// behind a commit the list is read.
pub async fn what_was_read_can_be_watched_from(store: SharedStore) -> Outcome {
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for count in 0..200 {
                put(&store, "list", &count.to_string()).await?;
            }
            Outcome::Ok(())
        })
    };
    while !writer.is_finished() {
        let page = store.range(Range::key("list"), 0, None).await?;
        store.watch(Range::key("list"), page.revision).await?;
        assert!(store.revision().await? >= page.revision);
    }
    writer
        .await
        .map_err(|error| StoreError::Engine(error.to_string()))?
}
