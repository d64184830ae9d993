//! Looks after an agent: one that ends is started again.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::agent::{Agent, Running};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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

/// The pause before a start, after one of `last`.
fn next_pause(last: Duration, ran: Duration) -> Duration {
    if ran >= STEADY {
        FIRST_PAUSE
    } else {
        (last * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
    }
}

async fn keep(agent: Agent, mut running: Running) {
    let mut pause = Duration::ZERO;
    loop {
        let begun = Instant::now();
        let how = running.ended().await;
        pause = next_pause(pause, begun.elapsed());
        tracing::warn!(host = %agent.host, how, ?pause, "the agent ended; it is started again");
        running = loop {
            sleep(pause).await;
            match agent.spawn() {
                Ok(running) => break running,
                Err(error) => {
                    tracing::error!(host = %agent.host, %error, "the agent cannot be started");
                    pause = next_pause(pause, Duration::ZERO);
                }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_limit_and_begins_anew_after_a_steady_run() {
        let mut pause = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pause = next_pause(pause, Duration::ZERO);
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(next_pause(pause, STEADY), FIRST_PAUSE);
    }
}
