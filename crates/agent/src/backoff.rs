//! How soon an ended program is started again, and when that happens too often. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use wright_model::BackOff;

const RESTART: BackOff = BackOff {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
};
/// A program that ran this long is taken for mended.
const STEADY: Duration = Duration::from_secs(60);

const FLAPPING_RESTARTS: usize = 3;
const FLAPPING_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// The delays before restarts: 1 s, doubling to 60 s, from the beginning again once the program
/// ran for 60 s.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    failures: u32,
}

impl Restarts {
    /// The delay after the program ran for `ran`.
    pub(crate) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= STEADY {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        RESTART.after(self.failures)
    }
}

/// Forgets restarts that are too long ago to matter and says whether those left are too many.
pub(crate) fn is_flapping(restarts: &mut Vec<Timestamp>, now: Timestamp) -> bool {
    restarts.retain(|at| now.duration_since(*at) < FLAPPING_WINDOW);
    restarts.len() >= FLAPPING_RESTARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_minute() {
        let mut restarts = Restarts::default();
        let delays: Vec<_> = (0..8)
            .map(|_| restarts.after(Duration::from_secs(3)).as_secs())
            .collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_program_that_ran_for_a_minute_starts_anew() {
        let mut restarts = Restarts::default();
        restarts.after(Duration::ZERO);
        restarts.after(Duration::ZERO);
        assert_eq!(restarts.after(STEADY), RESTART.first);
    }

    #[test]
    fn three_restarts_in_ten_minutes_are_flapping() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let ago = |minutes| now - SignedDuration::from_mins(minutes);
        assert!(!is_flapping(&mut vec![ago(11), ago(5), ago(1)], now));
        assert!(is_flapping(&mut vec![ago(9), ago(5), ago(1)], now));
    }
}
