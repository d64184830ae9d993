//! Work on threads of its own.

use std::{io, thread, time::Duration};

use tokio::{runtime::Builder, sync::oneshot};

/// How long what was begun on a thread that may block is waited for at the end.
const LEFT: Duration = Duration::from_secs(1);

/// Does work on a runtime of its own, whose reads of the store go first.
///
/// A job may make thousands of steps ready at once, and whatever shares their runtime waits behind
/// them, again at each of its own awaits. Threads take turns by the operating system's rules: who has
/// little to do is served at once.
///
/// # Errors
/// Where there is no thread to be had.
pub fn apart<F, W>(name: &'static str, threads: usize, work: F) -> io::Result<Ended>
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = ()>,
{
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .on_thread_start(wright_store::reads_go_first)
        .enable_all()
        .build()?;
    let (done, ended) = oneshot::channel::<()>();
    let body = move || {
        runtime.block_on(async { work().await });
        runtime.shutdown_timeout(LEFT);
        drop(done);
    };
    thread::Builder::new().name(name.to_owned()).spawn(body)?;
    Ok(Ended(ended))
}

/// The end of work that is done apart.
pub struct Ended(oneshot::Receiver<()>);

impl Ended {
    /// Waits for it.
    pub async fn wait(self) {
        // Nothing is sent: that the sender is gone is the news.
        drop(self.0.await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_apart_goes_on_while_this_runtime_is_busy() {
        let (answer, answered) = std::sync::mpsc::channel();
        let done = apart("apart", 1, move || async move {
            tokio::task::yield_now().await;
            let _ = answer.send(thread::current().name().map(str::to_owned));
        })
        .unwrap();
        // Nothing of this runtime is polled here.
        let name = answered.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(name.as_deref(), Some("apart"));
        done.wait().await;
    }
}
