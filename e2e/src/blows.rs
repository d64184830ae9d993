//! Blows at random moments, for tests that strike.

#![allow(clippy::expect_used)]

use std::{collections::BTreeMap, fmt, str::FromStr};

use rand::{SeedableRng as _, rngs::StdRng};

/// A number that the environment may set: how long a test is, or its seed.
///
/// # Panics
/// Where it is set to something else.
pub fn from_environment<T: FromStr>(name: &str, otherwise: T) -> T {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| {
        text.parse().ok().expect("a number in the environment")
    })
}

/// What was struck, and how often.
#[derive(Debug)]
pub struct Blows {
    /// What everything random is drawn from.
    pub random: StdRng,
    given: BTreeMap<&'static str, u64>,
}

impl Blows {
    /// None yet.
    pub fn new(seed: u64) -> Self {
        Blows {
            random: StdRng::seed_from_u64(seed),
            given: BTreeMap::new(),
        }
    }

    /// How many.
    pub fn given(&self) -> u64 {
        self.given.values().sum()
    }

    /// One more.
    pub fn count(&mut self, what: &'static str) {
        *self.given.entry(what).or_default() += 1;
    }
}

impl fmt::Display for Blows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.given)
    }
}
