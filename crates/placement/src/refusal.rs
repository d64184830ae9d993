use std::fmt;

use serde::{Deserialize, Serialize};
use wright_model::Name;

/// Why a host does not take an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The instance must stay on a host that is not offered.
    Pinned,
    /// The host takes no new instances now.
    Closed,
    /// A port is taken.
    Port,
    /// An app is there that the instance must be away from, or that must be away from it.
    AwayFrom,
    /// An instance of the same app is there, and two on one host are not allowed.
    Spread,
    /// Not enough memory.
    Memory,
    /// Not enough processors.
    Cpu,
}

impl Rule {
    /// The rule's name, as people see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::Pinned => "pinned",
            Rule::Closed => "closed",
            Rule::Port => "port",
            Rule::AwayFrom => "away-from",
            Rule::Spread => "spread",
            Rule::Memory => "memory",
            Rule::Cpu => "cpu",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why one host does not take one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRefusal {
    /// The host.
    pub host: Name,
    /// The first rule it breaks.
    pub rule: Rule,
    /// What is in the way, such as `port 8080 is taken by shop/catalog-1`.
    pub detail: String,
}

/// An instance that no host takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Refusal {
    /// The instance.
    pub instance: Name,
    /// The rule that most hosts break.
    pub rule: Rule,
    /// Every host, by name. Empty where there is no host at all.
    pub hosts: Vec<HostRefusal>,
}

/// How many hosts a message names one by one.
const NAMED: usize = 8;

impl Refusal {
    pub(crate) fn new(instance: Name, mut hosts: Vec<HostRefusal>) -> Self {
        hosts.sort_by(|a, b| a.host.cmp(&b.host));
        let count = |rule| hosts.iter().filter(|h| h.rule == rule).count();
        let rule = hosts
            .iter()
            .map(|h| h.rule)
            .max_by_key(|rule| (count(*rule), std::cmp::Reverse(*rule)))
            .unwrap_or(Rule::Closed);
        Refusal {
            instance,
            rule,
            hosts,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no host takes {} (rule: {})", self.instance, self.rule)?;
        if self.hosts.is_empty() {
            return f.write_str(": there is no host");
        }
        for (index, refusal) in self.hosts.iter().take(NAMED).enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            write!(f, "{separator}{}: {}", refusal.host, refusal.detail)?;
        }
        if self.hosts.len() > NAMED {
            write!(f, "; and {} more hosts", self.hosts.len() - NAMED)?;
        }
        Ok(())
    }
}
