use std::fmt;

use futures::future::BoxFuture;
use jiff::Timestamp;

/// Where the engine gets the time from. Tests bring their own: back-off and deadlines then pass
/// when the test says so, whatever the store's threads are doing meanwhile.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Returns at `at` or later.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let wait = at.duration_since(self.now());
        // A negative wait is no wait.
        let wait = std::time::Duration::try_from(wait).unwrap_or_default();
        Box::pin(tokio::time::sleep(wait))
    }
}
