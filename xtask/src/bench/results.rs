//! What was measured: on the terminal, and in `bench/results/NAME.json`.

use std::fs;

use comfy_table::{Table, presets};
use jiff::Timestamp;
use procfs::{CpuInfo, Current as _, LoadAverage, Meminfo};
use serde::Serialize;

use crate::{Result, run};

/// One thing that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What it is.
    pub what: String,
    /// How much; the median where `runs` has several.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// The target: no more than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// The target: no less than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Whose value stands beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// That value, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_value: Option<f64>,
    /// What each run gave, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<f64>,
    /// What the peer's runs gave.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peer_runs: Vec<f64>,
    /// How to measure it again.
    pub command: String,
    /// What everything random in it was made from.
    pub seed: u64,
}

impl Row {
    /// The median of some runs.
    pub fn median(what: &str, unit: &'static str, runs: Vec<f64>) -> Self {
        let value = median(&runs);
        Row {
            runs,
            ..Row::single(what, unit, value)
        }
    }

    /// Something that was measured once.
    pub fn single(what: &str, unit: &'static str, value: f64) -> Self {
        Row {
            what: what.to_owned(),
            value,
            unit,
            at_most: None,
            at_least: None,
            peer: None,
            peer_value: None,
            runs: Vec::new(),
            peer_runs: Vec::new(),
            command: String::new(),
            seed: 0,
        }
    }

    /// The target is no more than this.
    pub fn at_most(self, bound: f64) -> Self {
        Row {
            at_most: Some(bound),
            ..self
        }
    }

    /// The target is no less than this.
    pub fn at_least(self, bound: f64) -> Self {
        Row {
            at_least: Some(bound),
            ..self
        }
    }

    /// The same of a peer.
    pub fn beside(self, peer: &str, runs: Vec<f64>) -> Self {
        Row {
            peer: Some(peer.to_owned()),
            peer_value: Some(median(&runs)),
            peer_runs: runs,
            ..self
        }
    }

    /// Whether the target is met; `None` where there is none.
    pub fn is_met(&self) -> Option<bool> {
        match (self.at_most, self.at_least) {
            (None, None) => None,
            (most, least) => Some(
                most.is_none_or(|most| self.value <= most)
                    && least.is_none_or(|least| self.value >= least),
            ),
        }
    }

    fn target(&self) -> String {
        let most = self.at_most.map(|bound| format!("≤ {bound}"));
        most.or_else(|| self.at_least.map(|bound| format!("≥ {bound}")))
            .unwrap_or_default()
    }
}

/// The middle one of some values; of an even number the mean of the middle two; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    /// The load average of the minute before: how many other processes wanted to run.
    load_before: f32,
}

impl Machine {
    /// This one, before anything is measured.
    ///
    /// # Errors
    /// Where `/proc` does not say.
    pub fn this() -> Result<Self> {
        let cpus = CpuInfo::current()?;
        Ok(Machine {
            cpu: cpus.model_name(0).unwrap_or("unknown").to_owned(),
            cores: cpus.num_cores(),
            memory_mib: Meminfo::current()?.mem_total >> 20,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            load_before: LoadAverage::current()?.one,
        })
    }
}

/// A bench's results.
#[derive(Debug, Serialize)]
pub struct Results {
    /// The bench.
    pub bench: &'static str,
    /// When it ended.
    pub date: Timestamp,
    /// Where.
    pub machine: Machine,
    /// The versions of the peers.
    pub peers: Vec<String>,
    /// What was measured.
    pub rows: Vec<Row>,
}

impl Results {
    /// Writes `bench/results/NAME.json`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self) -> Result {
        let path = run::root()
            .join("bench/results")
            .join(format!("{}.json", self.bench));
        let json = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&path, json).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// The results for a terminal, and which targets are missed.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "WHAT",
            "VALUE",
            "TARGET",
            "",
            "PEER",
            "PEER'S VALUE",
        ]);
        for row in &self.rows {
            let met = row
                .is_met()
                .map_or("", |met| if met { "met" } else { "MISSED" });
            let peer = row.peer_value.map_or_else(String::new, |value| {
                format!("{} {}", figure(value), row.unit)
            });
            table.add_row([
                row.what.clone(),
                format!("{} {}", figure(row.value), row.unit),
                row.target(),
                met.to_owned(),
                row.peer.clone().unwrap_or_default(),
                peer,
            ]);
        }
        let missed: Vec<_> = self
            .rows
            .iter()
            .filter(|row| row.is_met() == Some(false))
            .map(|row| row.what.as_str())
            .collect();
        let verdict = match missed[..] {
            [] => "every target is met".to_owned(),
            _ => format!("MISSED: {}", missed.join("; ")),
        };
        format!("{table}\n{verdict}")
    }
}

/// A number with as many digits as mean something.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_target_is_met_or_missed_only_where_there_is_one() {
        let row = Row::median("wall", "s", vec![2.0, 4.0, 3.0]);
        assert_eq!(row.is_met(), None);
        assert_eq!(row.clone().at_most(3.0).is_met(), Some(true));
        assert_eq!(row.clone().at_most(2.9).is_met(), Some(false));
        assert_eq!(row.at_least(3.1).is_met(), Some(false));
    }
}
