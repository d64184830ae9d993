//! How simulated hosts behave: written as TOML, or one of the two that are built in.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What a simulated host does that takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// An archive comes.
    Fetch,
    /// It is unpacked and installed.
    Install,
    /// Configuration is written.
    Configure,
    /// A program is started.
    Start,
    /// From its start until it is ready.
    Ready,
    /// A check is made.
    Check,
    /// A program ends.
    Stop,
    /// An instance is removed.
    Uninstall,
    /// An operation asked for by a person.
    Operate,
}

impl Operation {
    /// The word for it in profiles and messages.
    pub fn word(self) -> &'static str {
        match self {
            Operation::Fetch => "fetch",
            Operation::Install => "install",
            Operation::Configure => "configure",
            Operation::Start => "start",
            Operation::Ready => "ready",
            Operation::Check => "check",
            Operation::Stop => "stop",
            Operation::Uninstall => "uninstall",
            Operation::Operate => "operate",
        }
    }
}

/// How one operation behaves.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Behaviour {
    /// Half of them take no longer, milliseconds; 0: none takes any time.
    #[serde(default)]
    pub median_ms: f64,
    /// The spread: the standard deviation of the logarithm of the time (log-normal).
    #[serde(default)]
    pub sigma: f64,
    /// The part of them that fails, 0 to 1. A failure is one that trying again may mend.
    #[serde(default)]
    pub failures: f64,
}

/// How simulated hosts behave.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Profile {
    /// By operation; what is not named takes no time and never fails.
    pub operations: BTreeMap<Operation, Behaviour>,
    /// The part of the hosts on which everything takes `slow-factor` times as long.
    pub slow: f64,
    /// How much slower they are.
    pub slow_factor: f64,
    /// The part of the hosts that die for good, each at a moment of the first `dies-within-s`.
    pub dead: f64,
    /// Seconds from the start within which those hosts die.
    pub dies_within_s: f64,
    /// The part of the hosts whose connection breaks again and again.
    pub flapping: f64,
    /// Seconds between two breaks, the mean.
    pub flaps_every_s: f64,
    /// The part of the hosts that are out of reach once, and come back.
    pub cut_off: f64,
    /// Seconds for which they are.
    pub cut_off_s: f64,
}

impl Default for Profile {
    fn default() -> Self {
        Profile {
            operations: BTreeMap::new(),
            slow: 0.0,
            slow_factor: 10.0,
            dead: 0.0,
            dies_within_s: 30.0,
            flapping: 0.0,
            flaps_every_s: 10.0,
            cut_off: 0.0,
            cut_off_s: 30.0,
        }
    }
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is not TOML, or has something that is not of a profile.
    #[error("the profile cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A number is out of its range.
    #[error("{what} is {value}; {expected} was expected")]
    Range {
        /// Which number.
        what: String,
        /// What it is.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
}

impl Profile {
    /// Nothing takes any time and nothing fails: what is left is what the control plane takes.
    pub fn instant() -> Self {
        Profile::default()
    }

    /// What small services take on ordinary machines; nothing fails. The medians are those that a
    /// planner assumes where it has measured nothing yet.
    pub fn typical() -> Self {
        let medians = [
            (Operation::Fetch, 300.0),
            (Operation::Install, 300.0),
            (Operation::Configure, 60.0),
            (Operation::Start, 150.0),
            (Operation::Ready, 1000.0),
            (Operation::Check, 150.0),
            (Operation::Stop, 500.0),
            (Operation::Uninstall, 150.0),
            (Operation::Operate, 150.0),
        ];
        let behaviour = |median_ms| Behaviour {
            median_ms,
            sigma: 0.5,
            failures: 0.0,
        };
        Profile {
            operations: medians
                .map(|(operation, median)| (operation, behaviour(median)))
                .into(),
            ..Profile::default()
        }
    }

    /// Reads a profile.
    ///
    /// # Errors
    /// Where it is not one, or a number is out of its range.
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        let profile: Profile = toml::from_str(text)?;
        profile.check()?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), ProfileError> {
        let part = |value: f64| (0.0..=1.0).contains(&value);
        let time = |value: f64| value.is_finite() && value >= 0.0;
        let refuse = |what: String, value, expected| {
            Err(ProfileError::Range {
                what,
                value,
                expected,
            })
        };
        let parts = [
            ("slow", self.slow),
            ("dead", self.dead),
            ("flapping", self.flapping),
            ("cut-off", self.cut_off),
        ];
        let times = [
            ("slow-factor", self.slow_factor),
            ("dies-within-s", self.dies_within_s),
            ("flaps-every-s", self.flaps_every_s),
            ("cut-off-s", self.cut_off_s),
        ];
        for (what, value) in parts {
            if !part(value) {
                return refuse(what.to_owned(), value, "a part from 0 to 1");
            }
        }
        for (what, value) in times {
            if !time(value) {
                return refuse(what.to_owned(), value, "a number from 0");
            }
        }
        let together: f64 = parts.iter().map(|(_, value)| value).sum();
        if !part(together) {
            let what = "slow, dead, flapping and cut-off together".to_owned();
            return refuse(what, together, "at most 1");
        }
        for (operation, of) in &self.operations {
            let named = |field: &str| format!("operations.{}.{field}", operation.word());
            if !part(of.failures) {
                return refuse(named("failures"), of.failures, "a part from 0 to 1");
            }
            for (field, value) in [("median-ms", of.median_ms), ("sigma", of.sigma)] {
                if !time(value) {
                    return refuse(named(field), value, "a number from 0");
                }
            }
        }
        Ok(())
    }

    /// How one operation behaves.
    pub fn behaviour(&self, operation: Operation) -> Behaviour {
        self.operations.get(&operation).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_names_what_is_not_as_usual() {
        let profile = Profile::from_toml(
            "dead = 0.05\n[operations.start]\nmedian-ms = 200\nsigma = 0.5\nfailures = 0.01\n",
        )
        .unwrap();
        assert_eq!(profile.behaviour(Operation::Start).failures, 0.01);
        assert_eq!(profile.behaviour(Operation::Fetch), Behaviour::default());
        assert_eq!((profile.dead, profile.dies_within_s), (0.05, 30.0));
    }

    #[test]
    fn wrong_profiles_are_refused_with_what_is_wrong() {
        let refused = |text: &str| Profile::from_toml(text).unwrap_err().to_string();
        assert_eq!(
            refused("dead = 2"),
            "dead is 2; a part from 0 to 1 was expected"
        );
        assert_eq!(
            refused("dead = 0.6\nslow = 0.6"),
            "slow, dead, flapping and cut-off together is 1.2; at most 1 was expected"
        );
        assert!(refused("[operations.start]\nfailures = -1").contains("operations.start.failures"));
        assert!(refused("[operations.strat]").contains("strat"));
    }
}
