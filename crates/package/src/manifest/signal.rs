use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A signal that can ask a program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Signal {
    /// `SIGTERM`: what programs expect.
    #[default]
    Term,
    /// `SIGINT`: as Ctrl-C; PostgreSQL's fast shutdown.
    Int,
    /// `SIGQUIT`: nginx's graceful shutdown.
    Quit,
    /// `SIGHUP`.
    Hup,
    /// `SIGUSR1`.
    Usr1,
    /// `SIGUSR2`.
    Usr2,
    /// `SIGWINCH`: Apache's graceful shutdown.
    Winch,
    /// `SIGKILL`: at once, for programs that lose nothing by it.
    Kill,
}

/// A text that names no [`Signal`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a signal that ends a program")]
pub struct SignalError(String);

const ALL: [Signal; 8] = [
    Signal::Term,
    Signal::Int,
    Signal::Quit,
    Signal::Hup,
    Signal::Usr1,
    Signal::Usr2,
    Signal::Winch,
    Signal::Kill,
];

/// Every signal's name.
pub(super) const NAMES: [&str; 8] = [
    "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGKILL",
];

impl Signal {
    /// The signal's name, such as `SIGTERM`.
    pub fn as_str(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The signal's number on Linux (signal(7), x86, ARM and most others).
    pub fn number(self) -> i32 {
        match self {
            Signal::Hup => 1,
            Signal::Int => 2,
            Signal::Quit => 3,
            Signal::Kill => 9,
            Signal::Usr1 => 10,
            Signal::Usr2 => 12,
            Signal::Term => 15,
            Signal::Winch => 28,
        }
    }
}

impl FromStr for Signal {
    type Err = SignalError;

    fn from_str(text: &str) -> Result<Self, SignalError> {
        ALL.into_iter()
            .find(|signal| signal.as_str() == text)
            .ok_or_else(|| SignalError(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Signal {
    type Error = SignalError;

    fn try_from(text: String) -> Result<Self, SignalError> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> String {
        signal.to_string()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_survives_its_name() {
        for signal in ALL {
            assert_eq!(signal.as_str().parse(), Ok(signal));
        }
    }
}
