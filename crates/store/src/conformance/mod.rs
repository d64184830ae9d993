//! What every engine must do, as checks that any engine's tests can call.
//!
//! Each check takes a store that nobody else writes to; it may hold keys of earlier checks. A check
//! panics where the engine breaks the contract, and answers an error where the engine fails.

mod commits;
mod etcd;
mod leases;
mod ranges;
mod watches;

use std::time::Duration;

use bytes::Bytes;

pub use self::{
    commits::*,
    etcd::{EtcdCluster, EtcdMember, MAX_TXN_OPS},
    leases::*,
    ranges::*,
    watches::*,
};
use crate::{Changes, Entry, Guard, Operation, Range, Revision, SharedStore, StoreError, Watch};

/// What a check answers.
pub type Outcome = Result<(), StoreError>;

/// How long a check waits for what must come, before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes one test of each check; `$open` is an async function that gives a guard (what must live as
/// long as the store) and the store. `$name on $open` makes one test of all checks, one after the
/// other on one store, for engines that take long to open.
#[macro_export]
macro_rules! conformance_tests {
    ($open:path) => {
        $crate::conformance_tests! { @all each $open }
    };
    ($name:ident on $open:path) => {
        $crate::conformance_tests! { @all $name $open }
    };
    (@each $open:path: $($check:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $check() {
            let (_kept, store) = $open().await;
            $crate::conformance::$check(store).await.unwrap();
        }
    )*};
    (@$name:ident $open:path: $($check:ident)*) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            let (_kept, store) = $open().await;
            $(
                println!("{}", stringify!($check));
                $crate::conformance::$check(store.clone()).await.unwrap();
            )*
        }
    };
    (@all $how:ident $open:path) => {
        $crate::conformance_tests! { @$how $open:
            a_key_has_its_value_and_where_it_came_from
            a_removed_key_begins_anew
            the_last_operation_on_a_key_of_a_commit_wins
            a_commit_raises_the_revision_by_one
            a_false_guard_refuses_the_whole_commit
            each_guard_tells_true_from_false
            of_many_who_make_one_key_one_wins
            no_increment_is_lost_under_compare_and_set
            what_is_over_a_limit_is_refused
            a_range_is_in_order_and_half_open
            pages_of_one_revision_are_one_state
            an_old_revision_reads_as_it_was
            a_future_revision_is_refused
            compaction_forgets_the_past_and_keeps_the_present
            a_watch_replays_and_goes_on_without_gap
            a_watch_groups_a_commit_and_leaves_out_other_keys
            a_slow_reader_misses_nothing_and_holds_up_nobody
            a_watch_from_a_compacted_revision_says_so
            what_was_read_can_be_watched_from
            the_keys_of_a_revoked_lease_vanish_in_one_commit
            a_lease_that_is_not_kept_alive_ends
            a_key_put_without_its_lease_outlives_it
            a_lease_that_ended_takes_no_keys
        }
    };
}

async fn put(store: &SharedStore, key: &str, value: &str) -> Result<Revision, StoreError> {
    store
        .commit(
            Vec::new(),
            vec![Operation::put(key.to_owned(), value.to_owned())],
        )
        .await
}

async fn delete(store: &SharedStore, key: &str) -> Result<Revision, StoreError> {
    store
        .commit(Vec::new(), vec![Operation::Delete(bytes(key))])
        .await
}

async fn keys(
    store: &SharedStore,
    range: Range,
    at: Option<Revision>,
) -> Result<Vec<String>, StoreError> {
    Ok(store
        .range(range, 0, at)
        .await?
        .entries
        .iter()
        .map(|entry| text(&entry.key))
        .collect())
}

fn bytes(text: &str) -> Bytes {
    text.to_owned().into()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A change in short: revision, key, value before and after.
type Short = (Revision, String, Option<String>, Option<String>);

fn short(changes: &Changes) -> Vec<Short> {
    let value = |entry: &Option<Entry>| entry.as_ref().map(|entry| text(&entry.value));
    let one = |change: &crate::Change| {
        (
            change.revision,
            text(&change.key),
            value(&change.before),
            value(&change.after),
        )
    };
    changes.iter().map(one).collect()
}

/// The next commit of a watch, within [`PATIENCE`].
async fn next(watch: &mut Watch) -> Result<Changes, StoreError> {
    match tokio::time::timeout(PATIENCE, watch.next()).await {
        Ok(Some(changes)) => changes,
        Ok(None) => Err(StoreError::Closed),
        Err(_) => Err(StoreError::Engine("the change did not come".to_owned())),
    }
}
