//! The expected critical path over apps: each is a few numbers, whatever it has of instances.

use std::collections::{BTreeMap, BTreeSet};

use wright_model::Name;

use super::{
    path::Chain,
    steps::{self, Durations, Labelled, expected_ms},
    types::PlannedApp,
};

/// An app and what its steps come to.
pub(super) struct Stretch<'a> {
    pub name: &'a Name,
    pub way: &'a super::part::Way,
    /// The places of the apps that gate it, all before its own.
    pub gates: Vec<usize>,
}

/// What the end of some steps was decided by.
#[derive(Debug, Clone, Copy)]
enum Cause<'a> {
    Nothing,
    /// The end of the app at this place.
    Done(usize),
    /// The stop of an app's removed instances.
    Stopped(&'a Name),
}

/// When everything is expected to be over.
pub(super) struct Critical<'a> {
    stretches: Vec<Stretch<'a>>,
    /// Of each app when it is ready and the place of the gate that decides it.
    opens: Vec<Option<(u64, usize)>>,
    ready: Vec<Option<u64>>,
    done: Vec<Option<u64>>,
    /// Of apps with removed instances, when their removal may begin, and why then.
    removals: BTreeMap<&'a Name, (u64, Cause<'a>)>,
    removed: BTreeMap<&'a Name, Vec<&'a Labelled>>,
    durations: &'a Durations,
}

/// A part of the critical path.
pub(super) enum Link<'a> {
    /// Steps of the app at this place.
    App(usize, &'a Chain),
    /// Steps by their names.
    Steps(Vec<String>),
}

impl<'a> Critical<'a> {
    /// Of apps, each after those that gate it.
    pub fn of(
        stretches: Vec<Stretch<'a>>,
        removed: &'a [Labelled],
        former: &'a BTreeMap<Name, PlannedApp>,
        stays: &dyn Fn(&Name) -> bool,
        durations: &'a Durations,
    ) -> Self {
        let mut critical = Critical {
            opens: Vec::with_capacity(stretches.len()),
            ready: Vec::with_capacity(stretches.len()),
            done: Vec::with_capacity(stretches.len()),
            removals: BTreeMap::new(),
            removed: steps::removed_by_app(removed),
            durations,
            stretches,
        };
        for stretch in &critical.stretches {
            let gates = stretch.gates.iter();
            let gates =
                gates.filter_map(|gate| Some((critical.ready.get(*gate).copied()??, *gate)));
            // Of equal ones the first.
            let opens = gates.max_by_key(|(ms, gate)| (*ms, std::cmp::Reverse(*gate)));
            let open = opens.map(|(ms, _)| ms);
            let end = |reach: &super::path::Reach| reach.at(open).map(|(ms, _)| ms);
            let (ready, done) = (end(&stretch.way.ready), end(&stretch.way.done));
            critical.opens.push(opens);
            critical.ready.push(ready);
            critical.done.push(done);
        }
        critical.place_removals(former, stays);
        critical
    }

    fn place_removals(
        &mut self,
        former: &'a BTreeMap<Name, PlannedApp>,
        stays: &dyn Fn(&Name) -> bool,
    ) {
        if self.removed.is_empty() {
            return;
        }
        let places: BTreeMap<&Name, usize> = self
            .stretches
            .iter()
            .enumerate()
            .map(|(place, stretch)| (stretch.name, place))
            .collect();
        let dependents = steps::dependents(former);
        let layer = |name: &&'a Name| former.get(*name).map_or(0, |app| app.layer);
        let mut names: Vec<&'a Name> = self.removed.keys().copied().collect();
        // Who needed others goes before them.
        names.sort_by_key(|name| (std::cmp::Reverse(layer(name)), *name));
        for name in names {
            let others: BTreeSet<&'a Name> = dependents.get(name).cloned().unwrap_or_default();
            let done = others.iter().copied().chain([name]).filter_map(|other| {
                let place = *places.get(other)?;
                Some((self.done[place]?, Cause::Done(place)))
            });
            let stopped = others.iter().copied().filter(|_| !stays(name));
            let stopped = stopped.filter_map(|other| {
                let (begin, _) = self.removals.get(other)?;
                Some((
                    begin + self.takes(&["drain", "stop"]),
                    Cause::Stopped(other),
                ))
            });
            let begin = done.chain(stopped).max_by_key(|(ms, _)| *ms);
            self.removals
                .insert(name, begin.unwrap_or((0, Cause::Nothing)));
        }
    }

    fn takes(&self, verbs: &[&str]) -> u64 {
        let each = verbs.iter().map(|verb| expected_ms(verb, self.durations));
        each.sum()
    }

    /// How long everything is expected to take, milliseconds, and the path that decides it.
    pub fn path(&'a self) -> (u64, Vec<Link<'a>>) {
        const REMOVAL: [&str; 3] = ["drain", "stop", "uninstall"];
        let removal = self.takes(&REMOVAL);
        let done = self.done.iter().enumerate();
        let done = done.filter_map(|(place, ms)| Some(((*ms)?, place)));
        let done = done.max_by_key(|(ms, place)| (*ms, std::cmp::Reverse(*place)));
        let gone = self.removals.iter();
        let gone = gone.map(|(name, (begin, _))| (begin + removal, *name));
        let gone = gone.max_by_key(|(ms, _)| *ms);
        let mut links = Vec::new();
        let end = match (done, gone) {
            (done, Some((ms, name))) if done.is_none_or(|(done, _)| done < ms) => {
                self.trace_removal(name, &REMOVAL, &mut links);
                ms
            }
            (Some((ms, place)), _) => {
                self.trace(place, false, &mut links);
                ms
            }
            (None, _) => 0,
        };
        links.reverse();
        (end, links)
    }

    /// The way to an app's end or its readiness, last first.
    fn trace(&'a self, place: usize, ready: bool, links: &mut Vec<Link<'a>>) {
        let way = self.stretches[place].way;
        let reach = if ready { &way.ready } else { &way.done };
        let opens = self.opens[place];
        let gated = reach.at(opens.map(|(ms, _)| ms)).is_some_and(|(_, g)| g);
        let chain = if gated { &reach.gated } else { &reach.own };
        links.extend(chain.as_ref().map(|chain| Link::App(place, chain)));
        if let Some((_, gate)) = opens.filter(|_| gated) {
            self.trace(gate, true, links);
        }
    }

    fn trace_removal(&'a self, name: &Name, verbs: &[&str], links: &mut Vec<Link<'a>>) {
        let first = self.removed.get(name).and_then(|removed| removed.first());
        let steps = first.map(|first| verbs.iter().map(|verb| first.step(verb)).collect());
        links.push(Link::Steps(steps.unwrap_or_default()));
        match self.removals.get(name).map(|(_, cause)| *cause) {
            Some(Cause::Done(place)) => self.trace(place, false, links),
            Some(Cause::Stopped(other)) => self.trace_removal(other, &["drain", "stop"], links),
            Some(Cause::Nothing) | None => {}
        }
    }
}
