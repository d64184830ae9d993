//! Which instance of a service to call next: weighted round robin that avoids those that just
//! failed. Pure; the caller passes the time.

use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// How long an instance that failed is avoided.
const AVOID: Duration = Duration::from_secs(3);

/// What the route lookup answers.
#[derive(Debug, Clone, Deserialize)]
pub struct Table {
    /// The instances that serve now.
    pub endpoints: Vec<Endpoint>,
}

/// One instance.
#[derive(Debug, Clone, Deserialize)]
pub struct Endpoint {
    /// Its IP address.
    pub address: String,
    /// Its ports by name.
    pub ports: BTreeMap<String, u16>,
    /// Its share of the calls, relative to the others; 0 for none.
    pub weight: u32,
}

#[derive(Debug)]
struct Member {
    authority: String,
    weight: i64,
    credit: i64,
}

/// The instances of one service.
#[derive(Debug, Default)]
pub struct Rotation {
    members: Vec<Member>,
    failed: HashMap<String, Instant>,
}

impl Rotation {
    /// Replaces the instances; what failed stays remembered.
    pub fn update(&mut self, table: &Table) {
        self.members = table
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.weight > 0)
            .filter_map(|endpoint| {
                let authority = format!("{}:{}", endpoint.address, endpoint.ports.get("http")?);
                let credit = self
                    .members
                    .iter()
                    .find(|m| m.authority == authority)
                    .map_or(0, |m| m.credit);
                Some(Member {
                    authority,
                    weight: endpoint.weight.into(),
                    credit,
                })
            })
            .collect();
        self.failed
            .retain(|authority, _| self.members.iter().any(|m| m.authority == *authority));
    }

    /// How many instances there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The instance to call next, as `address:port`. When all failed lately, the one that failed longest
    /// ago. Smooth weighted round robin as in nginx: everyone earns its weight, the richest pays all.
    pub fn pick(&mut self, now: Instant) -> Option<String> {
        self.failed
            .retain(|_, when| now.duration_since(*when) < AVOID);
        let failed = &self.failed;
        let usable = |member: &&mut Member| !failed.contains_key(&member.authority);
        let total: i64 = self
            .members
            .iter_mut()
            .filter(usable)
            .map(|member| member.weight)
            .sum();
        if total == 0 {
            return self
                .members
                .iter()
                .min_by_key(|member| failed.get(&member.authority))
                .map(|member| member.authority.clone());
        }
        let mut best: Option<&mut Member> = None;
        for member in self.members.iter_mut().filter(usable) {
            member.credit += member.weight;
            if best
                .as_ref()
                .is_none_or(|richest| member.credit > richest.credit)
            {
                best = Some(member);
            }
        }
        best.map(|member| {
            member.credit -= total;
            member.authority.clone()
        })
    }

    /// Remembers that an instance failed.
    pub fn failed(&mut self, authority: &str, now: Instant) {
        self.failed.insert(authority.to_owned(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(weights: &[u32]) -> Rotation {
        let endpoints = weights
            .iter()
            .enumerate()
            .map(|(at, &weight)| Endpoint {
                address: format!("h{at}"),
                ports: BTreeMap::from([("http".into(), 1)]),
                weight,
            })
            .collect();
        let mut rotation = Rotation::default();
        rotation.update(&Table { endpoints });
        rotation
    }

    fn picks(rotation: &mut Rotation, now: Instant, count: usize) -> String {
        (0..count)
            .filter_map(|_| rotation.pick(now))
            .map(|authority| authority[1..2].to_owned())
            .collect()
    }

    #[test]
    fn calls_are_shared_by_weight_and_evenly_spread() {
        assert_eq!(picks(&mut rotation(&[2, 1]), Instant::now(), 6), "010010");
        assert_eq!(picks(&mut rotation(&[1, 0]), Instant::now(), 2), "00");
    }

    #[test]
    fn what_failed_is_avoided_for_a_while() {
        let now = Instant::now();
        let mut rotation = rotation(&[1, 1]);
        rotation.failed("h0:1", now);
        assert_eq!(picks(&mut rotation, now, 3), "111");
        assert!(picks(&mut rotation, now + AVOID, 3).contains('0'));
    }

    #[test]
    fn when_all_failed_the_one_that_failed_first_is_tried() {
        let now = Instant::now();
        let mut rotation = rotation(&[1, 1]);
        rotation.failed("h1:1", now);
        rotation.failed("h0:1", now + Duration::from_millis(1));
        assert_eq!(picks(&mut rotation, now + Duration::from_millis(2), 1), "1");
    }
}
