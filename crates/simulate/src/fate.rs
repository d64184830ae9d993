use std::time::Duration;

use rand::RngExt as _;

use crate::{Chance, Profile};

/// What becomes of a simulated host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does its work.
    Steady,
    /// It does, and takes longer.
    Slow,
    /// It is gone for good after a while.
    Dies {
        /// From its start.
        after: Duration,
    },
    /// Its connection breaks again and again.
    Flaps {
        /// Between two breaks, the mean.
        every: Duration,
    },
    /// It is out of reach once.
    CutOff {
        /// From its start.
        after: Duration,
        /// How long.
        lasts: Duration,
    },
}

fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
}

impl Fate {
    /// The fate of a host.
    pub fn of(host: &str, profile: &Profile, chance: Chance) -> Self {
        let mut rng = chance.of(&["fate", host]);
        let (lot, moment) = (rng.random::<f64>(), rng.random::<f64>());
        let after = seconds(profile.dies_within_s * moment);
        let mut bound = 0.0;
        let mut falls = |part: f64| {
            bound += part;
            lot < bound
        };
        if falls(profile.dead) {
            Fate::Dies { after }
        } else if falls(profile.flapping) {
            Fate::Flaps {
                every: seconds(profile.flaps_every_s),
            }
        } else if falls(profile.cut_off) {
            Fate::CutOff {
                after,
                lasts: seconds(profile.cut_off_s),
            }
        } else if falls(profile.slow) {
            Fate::Slow
        } else {
            Fate::Steady
        }
    }

    /// The `nth` break of its connection: how long it holds before, and how long it is gone then;
    /// `None` where it holds for good. A host that is gone for good is gone for [`Duration::MAX`].
    pub(crate) fn outage(
        self,
        nth: u32,
        host: &str,
        chance: Chance,
    ) -> Option<(Duration, Duration)> {
        match (self, nth) {
            (Fate::Dies { after }, 0) => Some((after, Duration::MAX)),
            (Fate::CutOff { after, lasts }, 0) => Some((after, lasts)),
            (Fate::Flaps { every }, nth) => {
                let mut rng = chance.of(&["flap", host, &nth.to_string()]);
                // Around the mean, so that they do not all break at once.
                let holds = every.mul_f64(rng.random_range(0.5..1.5));
                Some((holds, Duration::from_millis(rng.random_range(50..1000))))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_come_in_the_parts_that_the_profile_says() {
        let profile = Profile {
            dead: 0.05,
            slow: 0.2,
            ..Profile::default()
        };
        let fates: Vec<Fate> = (0..2000)
            .map(|n| Fate::of(&format!("sim{n}"), &profile, Chance::new(3)))
            .collect();
        let count = |test: fn(&Fate) -> bool| fates.iter().filter(|fate| test(fate)).count();
        let dead = count(|fate| matches!(fate, Fate::Dies { .. }));
        let slow = count(|fate| *fate == Fate::Slow);
        assert!((70..130).contains(&dead), "{dead}");
        assert!((350..450).contains(&slow), "{slow}");
        assert_eq!(dead + slow + count(|fate| *fate == Fate::Steady), 2000);
    }

    #[test]
    fn the_dead_stay_away_and_the_cut_off_come_back() {
        let after = Duration::from_secs(3);
        let chance = Chance::new(1);
        assert_eq!(
            Fate::Dies { after }.outage(0, "sim1", chance),
            Some((after, Duration::MAX))
        );
        let lasts = Duration::from_secs(9);
        let cut = Fate::CutOff { after, lasts };
        assert_eq!(cut.outage(0, "sim1", chance), Some((after, lasts)));
        assert_eq!(cut.outage(1, "sim1", chance), None);
        assert_eq!(Fate::Steady.outage(0, "sim1", chance), None);
    }
}
