use tokio::task::JoinSet;

use super::*;
use crate::{MAX_KEY, MAX_OPERATIONS, MAX_VALUE};

/// Value, created, modified and version follow the writes of a key.
pub async fn a_key_has_its_value_and_where_it_came_from(store: SharedStore) -> Outcome {
    assert_eq!(store.get(b"origin").await?, None);
    let created = put(&store, "origin", "one").await?;
    let modified = put(&store, "origin", "two").await?;
    let (key, value) = (bytes("origin"), bytes("two"));
    let wanted = Entry {
        key,
        value,
        created,
        modified,
        version: 2,
        lease: None,
    };
    assert_eq!(store.get(b"origin").await?, Some(wanted));
    Ok(())
}

/// A key that is made again has a new beginning and its first version.
pub async fn a_removed_key_begins_anew(store: SharedStore) -> Outcome {
    put(&store, "again", "one").await?;
    delete(&store, "again").await?;
    assert_eq!(store.get(b"again").await?, None);
    let revision = put(&store, "again", "two").await?;
    let entry = store.get(b"again").await?;
    assert_eq!(
        entry.map(|entry| (entry.created, entry.version)),
        Some((revision, 1))
    );
    Ok(())
}

/// A commit writes each key at most once, with what its last operation says.
pub async fn the_last_operation_on_a_key_of_a_commit_wins(store: SharedStore) -> Outcome {
    let before = put(&store, "last/a", "old").await?;
    let operations = vec![
        Operation::put("last/a", "one"),
        Operation::put("last/b", "one"),
        Operation::DeleteRange(Range::prefix("last/")),
        Operation::put("last/a", "two"),
        Operation::put("last/c", "one"),
        Operation::Delete(bytes("last/c")),
    ];
    let mut watch = store.watch(Range::prefix("last/"), before).await?;
    let revision = store.commit(Vec::new(), operations).await?;
    let change = (
        revision,
        "last/a".to_owned(),
        Some("old".to_owned()),
        Some("two".to_owned()),
    );
    assert_eq!(short(&next(&mut watch).await?), [change]);
    assert_eq!(
        keys(&store, Range::prefix("last/"), None).await?,
        ["last/a"]
    );
    assert_eq!(
        store.get(b"last/a").await?.map(|entry| entry.version),
        Some(2)
    );
    Ok(())
}

/// However many keys it writes.
pub async fn a_commit_raises_the_revision_by_one(store: SharedStore) -> Outcome {
    let before = put(&store, "raise/a", "x").await?;
    let many = ["raise/b", "raise/c", "raise/d"].map(|key| Operation::put(key, "x"));
    assert_eq!(store.commit(Vec::new(), many.to_vec()).await?, before + 1);
    assert_eq!(store.revision().await?, before + 1);
    Ok(())
}

/// Nothing is written, no revision is used, and the first false guard is named.
pub async fn a_false_guard_refuses_the_whole_commit(store: SharedStore) -> Outcome {
    let before = put(&store, "refuse/a", "x").await?;
    let false_one = Guard::Version(bytes("refuse/a"), 7);
    let guards = vec![
        Guard::Exists(bytes("refuse/a")),
        false_one.clone(),
        Guard::Absent(bytes("refuse/a")),
    ];
    let refused = store
        .commit(guards, vec![Operation::put("refuse/b", "x")])
        .await;
    assert!(
        matches!(&refused, Err(StoreError::Refused { guard, revision }) if *guard == false_one && *revision == before),
        "{refused:?}"
    );
    assert_eq!(store.get(b"refuse/b").await?, None);
    assert_eq!(store.revision().await?, before);
    Ok(())
}

/// Every sort of guard, on a key that is there and on one that is not: only [`Guard::Absent`] holds
/// for the latter.
pub async fn each_guard_tells_true_from_false(store: SharedStore) -> Outcome {
    put(&store, "guard/there", "old").await?;
    let modified = put(&store, "guard/there", "x").await?;
    let (there, absent) = (bytes("guard/there"), bytes("guard/absent"));
    let cases = [
        (Guard::Absent(absent.clone()), true),
        (Guard::Absent(there.clone()), false),
        (Guard::Exists(there.clone()), true),
        (Guard::Exists(absent.clone()), false),
        (Guard::Modified(there.clone(), modified), true),
        (Guard::Modified(there.clone(), modified - 1), false),
        (Guard::Modified(absent.clone(), 0), false),
        (Guard::Version(there.clone(), 2), true),
        (Guard::Version(there.clone(), 1), false),
        (Guard::Version(absent.clone(), 0), false),
        (Guard::Value(there.clone(), bytes("x")), true),
        (Guard::Value(there, bytes("old")), false),
        (Guard::Value(absent, Bytes::new()), false),
    ];
    for (guard, holds) in cases {
        let done = store
            .commit(
                vec![guard.clone()],
                vec![Operation::put("guard/other", "x")],
            )
            .await;
        match done {
            Ok(_) => assert!(holds, "{guard:?} should be false"),
            Err(StoreError::Refused { .. }) => assert!(!holds, "{guard:?} should be true"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Also where all of them are committed at once.
pub async fn of_many_who_make_one_key_one_wins(store: SharedStore) -> Outcome {
    let mut writers = JoinSet::new();
    for writer in 0..64 {
        let store = store.clone();
        writers.spawn(async move {
            let guards = vec![Guard::Absent(bytes("race"))];
            store
                .commit(guards, vec![Operation::put("race", writer.to_string())])
                .await
        });
    }
    let done = writers.join_all().await;
    let won: Vec<Revision> = done
        .iter()
        .filter_map(|done| done.as_ref().ok().copied())
        .collect();
    assert!(
        done.iter()
            .flat_map(|done| done.as_ref().err())
            .all(StoreError::is_refused),
        "{done:?}"
    );
    assert_eq!(won.len(), 1);
    assert_eq!(
        store.get(b"race").await?.map(|entry| entry.modified),
        won.first().copied()
    );
    Ok(())
}

/// Reading, adding one and writing under [`Guard::Modified`], by many at once.
pub async fn no_increment_is_lost_under_compare_and_set(store: SharedStore) -> Outcome {
    const WRITERS: usize = 8;
    const INCREMENTS: usize = 25;
    put(&store, "counter", "0").await?;
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            for _ in 0..INCREMENTS {
                increment(&store).await?;
            }
            Outcome::Ok(())
        });
    }
    writers.join_all().await.into_iter().collect::<Outcome>()?;
    let counter = store.get(b"counter").await?.map(|entry| text(&entry.value));
    assert_eq!(counter, Some((WRITERS * INCREMENTS).to_string()));
    Ok(())
}

async fn increment(store: &SharedStore) -> Outcome {
    loop {
        let entry = store.get(b"counter").await?.ok_or(StoreError::Closed)?;
        let count: u64 = text(&entry.value).parse().unwrap_or(0);
        let guards = vec![Guard::Modified(entry.key, entry.modified)];
        match store
            .commit(
                guards,
                vec![Operation::put("counter", (count + 1).to_string())],
            )
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if error.is_refused() => {}
            Err(error) => return Err(error),
        }
    }
}

/// Keys, values and the number of operations; what is just at the limit is taken.
pub async fn what_is_over_a_limit_is_refused(store: SharedStore) -> Outcome {
    let before = store.revision().await?;
    let (long_key, long_value) = (vec![b'k'; MAX_KEY + 1], vec![b'v'; MAX_VALUE + 1]);
    let many = |count: usize| vec![Operation::put("limit", "x"); count];
    let too_large = [
        (vec![], vec![Operation::put(long_key.clone(), "x")]),
        (vec![], vec![Operation::Delete(long_key.clone().into())]),
        (vec![Guard::Absent(long_key.clone().into())], vec![]),
        (vec![], vec![Operation::put("limit", long_value.clone())]),
        (vec![], many(MAX_OPERATIONS + 1)),
        (vec![Guard::Absent(bytes("limit"))], many(MAX_OPERATIONS)),
    ];
    for (guards, operations) in too_large {
        let refused = store.commit(guards, operations).await;
        assert!(
            matches!(refused, Err(StoreError::TooLarge { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(store.revision().await?, before);
    let largest = Operation::put(
        long_key[..MAX_KEY].to_vec(),
        long_value[..MAX_VALUE].to_vec(),
    );
    store.commit(Vec::new(), vec![largest]).await?;
    store.commit(Vec::new(), many(MAX_OPERATIONS)).await?;
    Ok(())
}
