use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::mpsc;

use super::{Change, Filter, Told, filter::Key};

/// A watcher's number.
pub(super) type Id = u64;

/// Who wants to be told of what.
#[derive(Debug, Default)]
pub(super) struct Interests {
    watchers: HashMap<Id, Interest>,
    kinds: HashMap<String, Interested>,
    every: Interested,
}

/// What one watcher wants to be told, and where.
#[derive(Debug)]
pub(super) struct Interest {
    /// Of these kinds; none: of all.
    pub kinds: Arc<[String]>,
    pub filter: Option<Arc<dyn Filter>>,
    pub queue: mpsc::Sender<Told>,
}

/// Watchers of one kind, by the value that a field must have for them.
#[derive(Debug, Default)]
struct Interested {
    any: HashSet<Id>,
    equal: HashMap<Vec<String>, HashMap<Key, HashSet<Id>>>,
}

impl Interested {
    fn is_empty(&self) -> bool {
        self.any.is_empty() && self.equal.is_empty()
    }

    fn add(&mut self, id: Id, sought: Option<(Vec<String>, Key)>) {
        match sought {
            None => self.any.insert(id),
            Some((path, key)) => {
                let values = self.equal.entry(path).or_default();
                values.entry(key).or_default().insert(id)
            }
        };
    }

    fn remove(&mut self, id: Id, sought: Option<&(Vec<String>, Key)>) {
        let Some((path, key)) = sought else {
            self.any.remove(&id);
            return;
        };
        let Some(values) = self.equal.get_mut(path) else {
            return;
        };
        if let Some(watchers) = values.get_mut(key) {
            watchers.remove(&id);
            if watchers.is_empty() {
                values.remove(key);
            }
        }
        if values.is_empty() {
            self.equal.remove(path);
        }
    }

    fn all(&self) -> impl Iterator<Item = Id> {
        let equal = self.equal.values().flat_map(HashMap::values).flatten();
        self.any.iter().chain(equal).copied()
    }

    /// Whoever may be concerned, each once.
    fn candidates(&self, change: &Change, found: &mut Vec<Id>) {
        found.extend(&self.any);
        if self.equal.is_empty() {
            return;
        }
        let content = change.content();
        for (path, values) in &self.equal {
            let key = |side: &Option<_>| Key::at(side.as_ref()?, path);
            let (before, after) = (key(&content.before), key(&content.after));
            let same = before == after;
            let sides = [before, after.filter(|_| !same)];
            let concerned = sides
                .into_iter()
                .flatten()
                .filter_map(|key| values.get(&key));
            found.extend(concerned.flatten());
        }
    }
}

/// The equality by which a filter's watchers are found.
fn sought(filter: Option<&dyn Filter>) -> Option<(Vec<String>, Key)> {
    let mut equalities = filter?.equalities().iter();
    equalities.find_map(|it| Some((it.path.clone(), Key::of(&it.value)?)))
}

impl Interests {
    pub fn add(&mut self, id: Id, interest: Interest) {
        let sought = sought(interest.filter.as_deref());
        if interest.kinds.is_empty() {
            self.every.add(id, sought);
        } else {
            for kind in interest.kinds.iter() {
                let interested = self.kinds.entry(kind.clone()).or_default();
                interested.add(id, sought.clone());
            }
        }
        self.watchers.insert(id, interest);
    }

    pub fn remove(&mut self, id: Id) {
        let Some(interest) = self.watchers.remove(&id) else {
            return;
        };
        let sought = sought(interest.filter.as_deref());
        if interest.kinds.is_empty() {
            self.every.remove(id, sought.as_ref());
        }
        for kind in interest.kinds.iter() {
            if let Some(interested) = self.kinds.get_mut(kind) {
                interested.remove(id, sought.as_ref());
                if interested.is_empty() {
                    self.kinds.remove(kind);
                }
            }
        }
    }

    /// Lets go of everybody: all find out by themselves what they missed.
    pub fn clear(&mut self) {
        *self = Interests::default();
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Whether somebody wants to be told of a kind.
    pub fn wants(&self, kind: &str) -> bool {
        !self.every.is_empty() || self.kinds.contains_key(kind)
    }

    /// Lets go of all who may be concerned: they find out by themselves.
    fn let_go(&mut self, kind: &str) {
        let interested = [self.kinds.get(kind), Some(&self.every)];
        let interested = interested.into_iter().flatten();
        let ids: Vec<Id> = interested.flat_map(Interested::all).collect();
        ids.into_iter().for_each(|id| self.remove(id));
    }

    /// Tells whom it concerns, and lets go of those whose queue is full.
    pub fn tell(&mut self, change: &Arc<Change>) {
        if !change.is_complete() {
            // Somebody came while the rest of it was being read, or it could not be.
            return self.let_go(&change.kind);
        }
        let mut candidates = Vec::new();
        for interested in [self.kinds.get(&change.kind), Some(&self.every)] {
            if let Some(interested) = interested.filter(|interested| !interested.is_empty()) {
                interested.candidates(change, &mut candidates);
            }
        }
        for id in candidates {
            let Some(interest) = self.watchers.get(&id) else {
                continue;
            };
            let Some(what) = change.judge(interest.filter.as_deref()) else {
                continue;
            };
            let change = change.clone();
            if interest.queue.try_send(Told { change, what }).is_err() {
                self.remove(id);
            }
        }
    }
}
