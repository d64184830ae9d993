use std::time::Duration;

/// Waits between attempts that fail: the first one, then twice as long each time, up to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl BackOff {
    /// The wait after so many failures in a row, from 1.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let back_off = BackOff {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
        };
        let waits = [1, 2, 3, 6, 7, 99, u32::MAX].map(|failures| back_off.after(failures));
        let seconds = waits.map(|wait| wait.as_secs());
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60, 60]);
    }
}
