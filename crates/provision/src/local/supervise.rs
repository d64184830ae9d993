//! Looks after an agent: one that ends is started again.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use wright_model::BackOff;

use super::agent::{Agent, Running};

const START: BackOff = BackOff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(5),
};

/// An agent that ran this long did not fail at its start.
const STEADY: Duration = Duration::from_secs(30);

/// The care for one agent. Dropping it lets the agent live, unattended.
#[derive(Debug)]
pub(super) struct Supervision {
    over: CancellationToken,
    task: JoinHandle<Option<()>>,
}

impl Supervision {
    pub(super) fn begin(agent: Agent, running: Running) -> Self {
        let over = CancellationToken::new();
        let task = tokio::spawn(over.clone().run_until_cancelled_owned(keep(agent, running)));
        Supervision { over, task }
    }

    /// Ends the care; from here on nobody starts the agent.
    pub(super) async fn end(mut self) {
        self.over.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Supervision {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

/// Failed starts in a row, after `before` of them and one that `ran` so long.
fn failures(before: u32, ran: Duration) -> u32 {
    if ran >= STEADY {
        1
    } else {
        before.saturating_add(1)
    }
}

async fn keep(agent: Agent, mut running: Running) {
    let mut failed = 0;
    loop {
        let begun = Instant::now();
        let how = running.ended().await;
        failed = failures(failed, begun.elapsed());
        let pause = START.after(failed);
        tracing::warn!(host = %agent.host, how, ?pause, "the agent ended; it is started again");
        running = loop {
            sleep(START.after(failed)).await;
            match agent.spawn() {
                Ok(running) => break running,
                Err(error) => {
                    tracing::error!(host = %agent.host, %error, "the agent cannot be started");
                    failed = failures(failed, Duration::ZERO);
                }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_each_failure_and_begins_anew_after_a_steady_run() {
        let failed = failures(failures(0, Duration::ZERO), Duration::ZERO);
        assert_eq!(START.after(failed), START.first * 2);
        assert_eq!(START.after(failures(failed, STEADY)), START.first);
    }
}
