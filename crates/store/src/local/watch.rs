//! Watches: each a task that follows the commits at its reader's pace.

use std::sync::{Arc, Weak};

use tokio::sync::{mpsc, watch};

use super::{
    read::{self, Readers},
    recent::Recent,
};
use crate::{Changes, Range, Revision, StoreError, Watch};

/// Commits that wait for a slow reader before its task waits, too.
const AHEAD: usize = 64;
/// The most commits that are read from the file at once.
const STRIDE: Revision = 1000;

/// Starts one.
pub(super) fn start(
    recent: &Arc<Recent>,
    readers: Arc<Readers>,
    range: Range,
    after: Revision,
) -> Result<Watch, StoreError> {
    read::check_kept(after, recent.newest(), recent.oldest())?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let newest = recent.follow();
    // Only the news is held on to: the store may be closed while somebody watches.
    tokio::spawn(follow(
        newest,
        Arc::downgrade(recent),
        readers,
        range,
        after,
        sender,
    ));
    Ok(Watch::new(receiver))
}

async fn follow(
    mut newest: watch::Receiver<Revision>,
    recent: Weak<Recent>,
    readers: Arc<Readers>,
    range: Range,
    mut after: Revision,
    sender: mpsc::Sender<Result<Changes, StoreError>>,
) {
    loop {
        tokio::select! {
            changed = newest.wait_for(|newest| *newest > after) => if changed.is_err() { return },
            () = sender.closed() => return,
        }
        let Some(recent) = recent.upgrade() else {
            return;
        };
        let commits = match next(&recent, &readers, &range, after).await {
            Ok((commits, reached)) => {
                after = reached;
                commits
            }
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        drop(recent);
        for changes in commits {
            if sender.send(Ok(changes)).await.is_err() {
                return;
            }
        }
    }
}

/// What comes after `after` in the range, and how far that reaches.
async fn next(
    recent: &Recent,
    readers: &Arc<Readers>,
    range: &Range,
    after: Revision,
) -> Result<(Vec<Changes>, Revision), StoreError> {
    if let Some(commits) = recent.since(after) {
        let reached = after + commits.len() as Revision;
        let touched = commits
            .iter()
            .map(|changes| in_range(changes, range))
            .filter(|changes| !changes.is_empty());
        return Ok((touched.collect(), reached));
    }
    let to = recent.newest().min(after + STRIDE);
    let range = range.clone();
    let read = readers.read(move |readers| readers.since(&range, after, to));
    Ok((read.await?, to))
}

fn in_range(changes: &Changes, range: &Range) -> Changes {
    changes
        .iter()
        .filter(|change| range.contains(&change.key))
        .cloned()
        .collect()
}
