//! Work on several processors.

use std::{panic::resume_unwind, thread::ScopedJoinHandle};

/// What a thread of a scope answers; where it panicked, so does whoever waits for it.
pub(crate) fn ended<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
