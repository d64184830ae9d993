use super::*;

/// Keys come in the order of their bytes; the end is not part of the range.
pub async fn a_range_is_in_order_and_half_open(store: SharedStore) -> Outcome {
    for key in [
        "order/b",
        "order/a",
        "order/\u{ff}",
        "order/aa",
        "order/c",
        "orderly",
    ] {
        put(&store, key, "x").await?;
    }
    let half = Range {
        start: bytes("order/a"),
        end: Some(bytes("order/c")),
    };
    assert_eq!(
        keys(&store, half, None).await?,
        ["order/a", "order/aa", "order/b"]
    );
    let all = ["order/a", "order/aa", "order/b", "order/c", "order/\u{ff}"];
    assert_eq!(keys(&store, Range::prefix("order/"), None).await?, all);
    assert_eq!(
        keys(&store, Range::key("order/a"), None).await?,
        ["order/a"]
    );
    let nothing = Range {
        start: bytes("order/c"),
        end: Some(bytes("order/a")),
    };
    assert!(keys(&store, nothing, None).await?.is_empty());
    Ok(())
}

/// Pages asked for at the first page's revision do not see what was written in between.
pub async fn pages_of_one_revision_are_one_state(store: SharedStore) -> Outcome {
    for key in ["page/1", "page/2", "page/3", "page/4"] {
        put(&store, key, "before").await?;
    }
    let first = store.range(Range::prefix("page/"), 2, None).await?;
    assert_eq!((first.entries.len(), first.more), (2, true));
    put(&store, "page/25", "after").await?;
    put(&store, "page/3", "after").await?;
    delete(&store, "page/4").await?;
    let rest = Range {
        start: bytes("page/2\0"),
        ..Range::prefix("page/")
    };
    let second = store.range(rest, 2, Some(first.revision)).await?;
    let found: Vec<_> = second
        .entries
        .iter()
        .map(|entry| (text(&entry.key), text(&entry.value)))
        .collect();
    let was = ["page/3", "page/4"].map(|key| (key.to_owned(), "before".to_owned()));
    assert_eq!(
        (found, second.more, second.revision),
        (was.to_vec(), false, first.revision)
    );
    Ok(())
}

/// With the entries as they were then.
pub async fn an_old_revision_reads_as_it_was(store: SharedStore) -> Outcome {
    put(&store, "old/a", "one").await?;
    let then = put(&store, "old/b", "one").await?;
    let was = store.range(Range::prefix("old/"), 0, None).await?;
    put(&store, "old/a", "two").await?;
    delete(&store, "old/b").await?;
    put(&store, "old/c", "one").await?;
    assert_eq!(
        store.range(Range::prefix("old/"), 0, Some(then)).await?,
        was
    );
    assert_eq!(
        keys(&store, Range::prefix("old/"), None).await?,
        ["old/a", "old/c"]
    );
    Ok(())
}

/// To read, to watch from and to compact at.
pub async fn a_future_revision_is_refused(store: SharedStore) -> Outcome {
    let newest = put(&store, "future", "x").await?;
    let read = store
        .range(Range::key("future"), 0, Some(newest + 1))
        .await
        .map(drop);
    let compacted = store.compact(newest + 1).await;
    for refused in [read, compacted] {
        assert!(
            matches!(refused, Err(StoreError::Future { asked, .. }) if asked == newest + 1),
            "{refused:?}"
        );
    }
    Ok(())
}

/// What is there stays, with its version and beginning; what was there before is refused.
pub async fn compaction_forgets_the_past_and_keeps_the_present(store: SharedStore) -> Outcome {
    let past = put(&store, "compact/a", "one").await?;
    put(&store, "compact/gone", "one").await?;
    put(&store, "compact/a", "two").await?;
    let before = delete(&store, "compact/gone").await?;
    let after = put(&store, "compact/a", "three").await?;
    let range = Range::prefix("compact/");
    let (then, now) = (
        store.range(range.clone(), 0, Some(before)).await?,
        store.range(range.clone(), 0, Some(after)).await?,
    );
    store.compact(before).await?;
    let refused = store.range(range.clone(), 0, Some(past)).await;
    assert!(
        matches!(refused, Err(StoreError::Compacted { asked, oldest }) if asked == past && oldest == before)
    );
    assert_eq!(store.range(range.clone(), 0, Some(before)).await?, then);
    assert_eq!(store.range(range.clone(), 0, None).await?, now);
    // Compacting at an older revision changes nothing.
    store.compact(past).await?;
    assert_eq!(store.range(range, 0, Some(before)).await?, then);
    Ok(())
}
