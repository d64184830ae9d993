use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use wright_model::BackOff;

/// Attempts that cost nothing.
const FREE: u32 = 5;
/// The waits after those that cost.
const BACK_OFF: BackOff = BackOff {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(15 * 60),
};
/// After this long without an attempt all is forgotten, seconds.
const FORGOTTEN: i64 = 60 * 60;
/// The most that is remembered: the oldest go.
const REMEMBERED: usize = 16_384;

/// How often somebody has failed to prove who he is, and how long he waits for the next attempt: five
/// attempts are free, then the wait doubles from one second to a quarter of an hour. Pure: the caller
/// brings the time.
#[derive(Debug, Default)]
pub struct Throttle {
    failures: HashMap<String, Failures>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Throttle {
    /// How long `who` (a user's name, an address) still waits; `None`: he may try.
    pub fn wait(&self, who: &str, now: Timestamp) -> Option<Duration> {
        let failed = self.failures.get(who)?;
        let over = failed.count.checked_sub(FREE)?;
        let waited = now.duration_since(failed.last);
        let waited = Duration::try_from(waited).unwrap_or_default();
        BACK_OFF
            .after(over.saturating_add(1))
            .checked_sub(waited)
            .filter(|left| !left.is_zero())
    }

    /// Notes a failed attempt.
    pub fn failed(&mut self, who: &str, now: Timestamp) {
        if self.failures.len() >= REMEMBERED {
            self.forget(now);
        }
        let one = Failures {
            count: 0,
            last: now,
        };
        let failed = self.failures.entry(who.to_owned()).or_insert(one);
        *failed = Failures {
            count: failed.count.saturating_add(1),
            last: now,
        };
    }

    /// Notes that he proved who he is.
    pub fn succeeded(&mut self, who: &str) {
        self.failures.remove(who);
    }

    fn forget(&mut self, now: Timestamp) {
        let old = |failed: &Failures| now.duration_since(failed.last).as_secs() > FORGOTTEN;
        self.failures.retain(|_, failed| !old(failed));
        while self.failures.len() >= REMEMBERED {
            let oldest = self.failures.iter().min_by_key(|(_, failed)| failed.last);
            let Some(oldest) = oldest.map(|(who, _)| who.clone()) else {
                return;
            };
            self.failures.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_attempts_are_free_then_the_wait_doubles_up_to_a_quarter_of_an_hour() {
        let mut throttle = Throttle::default();
        let now = Timestamp::UNIX_EPOCH;
        let mut waits = Vec::new();
        for _ in 0..17 {
            waits.push(throttle.wait("ada", now).map_or(0, |wait| wait.as_secs()));
            throttle.failed("ada", now);
        }
        assert_eq!(
            waits,
            [
                0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900
            ]
        );
        assert_eq!(throttle.wait("grace", now), None);
        throttle.succeeded("ada");
        assert_eq!(throttle.wait("ada", now), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let mut throttle = Throttle::default();
        for second in 0..=REMEMBERED as i64 {
            let now = Timestamp::from_second(second).unwrap();
            throttle.failed(&second.to_string(), now);
        }
        assert!(throttle.failures.len() <= REMEMBERED);
        assert!(!throttle.failures.contains_key("0"));
    }
}
