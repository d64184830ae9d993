use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What somebody does to a target.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// To learn that it is there, and what it is.
    Read,
    /// To make, change or remove its record.
    Write,
    /// To answer what a job's step waits for.
    Approve,
    /// To change what runs: build, stop, retry, kill.
    Operate,
    /// To read secret fields in clear. Each time is audited.
    SeeSecrets,
    /// To change who may do what. What says so (see [`Act::needed`]) is not changed with less.
    Administer,
}

/// The kinds that decide what others may do or are told, or what resources are: to write them is to
/// administer.
const DECISIVE: [&str; 9] = [
    "binding",
    "identity-provider",
    "kind",
    "quota",
    "role",
    "team",
    "token",
    "user",
    "webhook",
];

impl Act {
    /// All of them.
    pub const ALL: [Act; 6] = [
        Act::Read,
        Act::Write,
        Act::Approve,
        Act::Operate,
        Act::SeeSecrets,
        Act::Administer,
    ];

    /// What a rule must allow for this act on a kind: writing a role, a binding or another kind by
    /// which rights are had is administering.
    #[must_use]
    pub fn needed(self, kind: &str) -> Act {
        match self {
            Act::Write if DECISIVE.contains(&kind) => Act::Administer,
            act => act,
        }
    }

    /// As it is written in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Act::Read => "read",
            Act::Write => "write",
            Act::Approve => "approve",
            Act::Operate => "operate",
            Act::SeeSecrets => "see-secrets",
            Act::Administer => "administer",
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no [`Act`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no act: read, write, approve, operate, see-secrets or administer was expected")]
pub struct NoAct(String);

impl FromStr for Act {
    type Err = NoAct;

    fn from_str(word: &str) -> Result<Self, NoAct> {
        let found = Act::ALL.into_iter().find(|act| act.as_str() == word);
        found.ok_or_else(|| NoAct(word.to_owned()))
    }
}
