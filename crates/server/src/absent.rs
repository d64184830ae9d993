//! Hosts whose agents are away, and for how long that counts.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use wright_model::Name;

/// Hosts whose agents are away.
///
/// When a server fails, all its agents are away at once and call others, which takes the longer the
/// more they are. As long as some of them come back, the others' time has not begun.
#[derive(Debug, Default)]
pub struct Absent {
    hosts: BTreeMap<Name, Away>,
    /// When one came back last of those that left with their server.
    returned: Option<Instant>,
}

#[derive(Debug)]
struct Away {
    since: Instant,
    /// Whether it left because its server failed.
    with_server: bool,
    /// Whether its state says that it is lost.
    recorded: bool,
}

impl Absent {
    /// An agent left.
    pub fn left(&mut self, host: Name, with_server: bool, recorded: bool, now: Instant) {
        let away = Away {
            since: now,
            with_server,
            recorded,
        };
        self.hosts.insert(host, away);
    }

    /// It came back.
    pub fn came(&mut self, host: &Name, now: Instant) {
        if self.hosts.remove(host).is_some_and(|away| away.with_server) {
            self.returned = Some(now);
        }
    }

    /// A host is given up.
    pub fn forget(&mut self, host: &Name) {
        self.hosts.remove(host);
    }

    /// Nobody could be heard until now.
    pub fn begin_anew(&mut self, now: Instant) {
        self.hosts.values_mut().for_each(|away| away.since = now);
    }

    /// Hosts that are away for so long, and whose state does not say so yet; from now on it does.
    pub fn take_unrecorded(&mut self, after: Duration, now: Instant) -> Vec<Name> {
        let returned = self.returned;
        let due = |away: &Away| !away.recorded && now.duration_since(away.begun(returned)) >= after;
        let due = self.hosts.iter_mut().filter(|(_, away)| due(away));
        due.map(|(host, away)| {
            away.recorded = true;
            host.clone()
        })
        .collect()
    }

    /// All, and since when that counts.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, Instant)> {
        let hosts = self.hosts.iter();
        hosts.map(|(host, away)| (host, away.begun(self.returned)))
    }
}

impl Away {
    fn begun(&self, returned: Option<Instant>) -> Instant {
        match returned {
            Some(returned) if self.with_server => self.since.max(returned),
            _ => self.since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn counted(absent: &Absent, now: Instant) -> Vec<u64> {
        let since = absent.iter().map(|(_, since)| now.duration_since(since));
        since.map(|away| away.as_secs()).collect()
    }

    #[test]
    fn as_long_as_some_come_back_from_a_server_that_failed_the_others_are_waited_for() {
        let (mut absent, start) = (Absent::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for host in ["h1", "h2", "h3"] {
            absent.left(name(host), true, false, start);
        }
        absent.left(name("alone"), false, false, start);
        absent.came(&name("h1"), at(4));
        assert_eq!(counted(&absent, at(6)), [6, 2, 2]);
        assert_eq!(absent.take_unrecorded(LIMIT, at(6)), [name("alone")]);
        // Nobody came back any more.
        assert_eq!(
            absent.take_unrecorded(LIMIT, at(9)),
            [name("h2"), name("h3")]
        );
        assert!(absent.take_unrecorded(LIMIT, at(99)).is_empty());
    }

    #[test]
    fn who_comes_and_goes_by_itself_gives_nobody_time() {
        let (mut absent, start) = (Absent::default(), Instant::now());
        absent.left(name("dead"), true, false, start);
        for second in 1..9 {
            let now = start + Duration::from_secs(second);
            absent.left(name("flaps"), false, false, now);
            absent.came(&name("flaps"), now);
        }
        assert_eq!(counted(&absent, start + Duration::from_secs(9)), [9]);
    }

    #[test]
    fn what_nobody_could_hear_does_not_count() {
        let (mut absent, start) = (Absent::default(), Instant::now());
        absent.left(name("h1"), false, false, start);
        absent.begin_anew(start + LIMIT);
        assert_eq!(counted(&absent, start + LIMIT), [0]);
    }
}
