use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rand_distr::{Distribution as _, LogNormal};
use wright_model::Digest;

use crate::Behaviour;

/// Everything random, from one seed. What is drawn depends on what it is drawn for only.
#[derive(Debug, Clone, Copy)]
pub struct Chance {
    seed: u64,
}

impl Chance {
    /// From this seed.
    pub fn new(seed: u64) -> Self {
        Chance { seed }
    }

    /// The source of what is drawn for something.
    pub(crate) fn of(self, what: &[&str]) -> StdRng {
        let text = format!("{}/{}", self.seed, what.join("/"));
        // Equal on every machine and in every version of the compiler, unlike the standard hash.
        let digest = Digest::of(text.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_bytes()[..8]);
        StdRng::seed_from_u64(u64::from_le_bytes(first))
    }
}

/// What one operation turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// How long it takes.
    pub takes: Duration,
    /// Whether it fails at the end of that time.
    pub fails: bool,
}

impl Behaviour {
    /// Draws one operation.
    pub(crate) fn draw(&self, rng: &mut StdRng) -> Drawn {
        let fails = self.failures > 0.0 && rng.random::<f64>() < self.failures;
        let millis = match LogNormal::new(self.median_ms.ln(), self.sigma) {
            Ok(times) if self.median_ms > 0.0 => times.sample(rng),
            _ => 0.0,
        };
        Drawn {
            takes: Duration::try_from_secs_f64(millis / 1000.0).unwrap_or(Duration::MAX),
            fails,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_depends_on_seed_and_purpose_only() {
        let draw = |seed, what: &[&str]| Chance::new(seed).of(what).random::<u64>();
        assert_eq!(draw(1, &["h1", "start"]), draw(1, &["h1", "start"]));
        assert_ne!(draw(1, &["h1", "start"]), draw(2, &["h1", "start"]));
        assert_ne!(draw(1, &["h1", "start"]), draw(1, &["h2", "start"]));
    }

    #[test]
    fn durations_lie_around_their_median_and_failures_near_their_rate() {
        let behaviour = Behaviour {
            median_ms: 200.0,
            sigma: 0.5,
            failures: 0.1,
        };
        let mut rng = Chance::new(7).of(&["test"]);
        let mut drawn: Vec<Drawn> = (0..2000).map(|_| behaviour.draw(&mut rng)).collect();
        let failed = drawn.iter().filter(|drawn| drawn.fails).count();
        assert!((140..260).contains(&failed), "{failed}");
        drawn.sort_by_key(|drawn| drawn.takes);
        let median = drawn[1000].takes.as_millis();
        assert!((180..220).contains(&median), "{median}");
    }

    #[test]
    fn a_median_of_zero_takes_no_time() {
        let drawn = Behaviour::default().draw(&mut Chance::new(1).of(&[]));
        assert_eq!((drawn.takes, drawn.fails), (Duration::ZERO, false));
    }
}
