//! How soon an instance is asked again whether it does its work. Pure.

use std::time::Duration;

use wright_model::{CheckKind, Probe};

/// While a program starts, the first checks are close together, because most start at once, and
/// none is late by much: others wait for it.
const FIRST: Duration = Duration::from_millis(50);
const SLOWEST_FIRST: Duration = Duration::from_millis(200);
/// So many bad checks in a row make a ready program unready.
const BAD_CHECKS: u32 = 3;
/// A bad check of a ready program is repeated after this time.
const AGAIN: Duration = Duration::from_secs(1);
/// After so many good checks in a row a program is steady.
const STEADY: u32 = 3;
/// A check that starts processes is made only every so many periods of a steady program.
const SPARED: u32 = 3;

/// The checks of one run of a program.
#[derive(Debug)]
pub(crate) struct Pace {
    every: Duration,
    /// Whether a check costs processes.
    is_costly: bool,
    /// Whether the program was ready.
    was_ready: bool,
    starting: Duration,
    good: u32,
    bad: u32,
}

impl Pace {
    pub(crate) fn new(probe: &Probe, was_ready: bool) -> Self {
        Pace {
            every: probe.every.duration(),
            is_costly: matches!(probe.check, CheckKind::Command(_) | CheckKind::Monitor),
            was_ready,
            starting: FIRST,
            good: 0,
            bad: 0,
        }
    }

    /// Counts a good check.
    pub(crate) fn good(&mut self) {
        (self.was_ready, self.bad) = (true, 0);
        self.good = self.good.saturating_add(1);
    }

    /// Counts a bad check. Whether a program that was ready is not ready any more.
    pub(crate) fn bad(&mut self) -> bool {
        self.good = 0;
        self.bad = self.bad.saturating_add(1);
        self.was_ready && self.bad >= BAD_CHECKS
    }

    /// How long until the next check.
    pub(crate) fn wait(&mut self) -> Duration {
        if !self.was_ready {
            self.starting = (self.starting * 3 / 2).min(SLOWEST_FIRST);
            return self.starting;
        }
        match self.bad {
            0 if self.is_costly && self.good >= STEADY => self.every * SPARED,
            0 => self.every,
            1..BAD_CHECKS => self.every.min(AGAIN),
            _ => self.every,
        }
    }
}

#[cfg(test)]
mod tests {
    use wright_model::Span;

    use super::*;

    fn pace(check: CheckKind) -> Pace {
        let (every, timeout) = (Span::from_secs(5), Span::from_secs(5));
        let probe = Probe {
            check,
            every,
            timeout,
        };
        Pace::new(&probe, false)
    }

    fn waits(pace: &mut Pace, checks: &str) -> Vec<u128> {
        let wait = |check| {
            match check {
                '+' => pace.good(),
                _ => drop(pace.bad()),
            }
            pace.wait().as_millis()
        };
        checks.chars().map(wait).collect()
    }

    #[test]
    fn a_program_that_starts_is_asked_at_least_every_fifth_of_a_second() {
        let waited = waits(&mut pace(CheckKind::Monitor), "------");
        assert_eq!(waited, [75, 112, 168, 200, 200, 200]);
    }

    #[test]
    fn a_steady_program_is_spared_checks_that_start_processes() {
        let waited = waits(&mut pace(CheckKind::Monitor), "-++++");
        assert_eq!(waited, [75, 5000, 5000, 15_000, 15_000]);
    }

    #[test]
    fn checks_that_cost_little_are_made_every_period() {
        let tcp = CheckKind::Tcp("http".parse().unwrap());
        let waited = waits(&mut pace(tcp), "+++++");
        assert_eq!(waited, [5000; 5]);
    }

    #[test]
    fn a_program_that_fails_once_is_asked_often_until_it_is_steady_again() {
        let waited = waits(&mut pace(CheckKind::Monitor), "+++-+++");
        assert_eq!(waited, [5000, 5000, 15_000, 1000, 5000, 5000, 15_000]);
    }

    #[test]
    fn three_bad_checks_make_it_unready() {
        let mut pace = pace(CheckKind::Monitor);
        assert!(!pace.bad() && !pace.bad() && !pace.bad(), "it never was");
        pace.good();
        assert!(!pace.bad() && !pace.bad() && pace.bad());
        assert_eq!(pace.wait(), Duration::from_secs(5));
    }
}
