//! Work on several processors.

use std::{
    panic::resume_unwind,
    thread::{ScopedJoinHandle, available_parallelism},
};

/// What a thread of a scope answers; where it panicked, so does whoever waits for it.
pub(crate) fn ended<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Items that are worth a second thread.
const WORTH: usize = 16;

/// Does the same with every item, by all processors; the answers are in the items' order.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = available_parallelism().map_or(1, usize::from);
    if items.len() < WORTH || processors == 1 {
        return items.iter().map(work).collect();
    }
    let share = items.len().div_ceil(processors);
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = items
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().map(work).collect::<Vec<R>>()))
            .collect();
        running.into_iter().flat_map(ended).collect()
    })
}
