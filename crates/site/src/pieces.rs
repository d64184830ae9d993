//! What is kept of a site's last plan, so that the next one costs what has changed.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
    sync::Arc,
};

use serde::Serialize;
use wright_model::{Digest, Name};

use crate::{
    desired::App,
    plan::{Part, Placed, PlannedApp, Way, planned_app},
    resolve::Baselines,
};

/// What was made for a site's last plan, each piece under the digest of all that went into it.
///
/// A cache and no more: with it and without it [`crate::resolve_with`] and [`crate::draft`] answer the
/// same. It holds what the last plan was made of, about two kilobytes for an instance, and nothing
/// older.
#[derive(Debug, Default)]
pub struct Pieces {
    /// The baselines of a file.
    pub(crate) files: Memo<Digest, Arc<Baselines>>,
    /// Baselines with the site's overrides.
    pub(crate) apps: Memo<Digest, Arc<App>>,
    /// Apps whose templates can be rendered.
    pub(crate) rehearsed: Memo<Digest, ()>,
    /// What is known of an app, by its address: the app is kept beside it, so that no other has it.
    pub(crate) known: Memo<usize, Arc<KnownApp>>,
    /// Where everything is.
    pub(crate) placed: Memo<Digest, Arc<Placed>>,
    /// The instances of an app.
    pub(crate) parts: Memo<Digest, Arc<Part>>,
    /// The steps of an app, as far as others need to know of them.
    pub(crate) ways: Memo<Digest, Arc<Way>>,
}

/// The most values that are kept over plans that were refused.
const MOST: usize = 20_000;

/// Values of the last use and of this one.
#[derive(Debug)]
pub(crate) struct Memo<K, V> {
    last: HashMap<K, V>,
    used: HashSet<K>,
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Memo {
            last: HashMap::new(),
            used: HashSet::new(),
        }
    }
}

impl<K: Eq + Hash + Copy, V: Clone> Memo<K, V> {
    pub fn get(&mut self, key: K) -> Option<V> {
        let value = self.last.get(&key)?.clone();
        self.used.insert(key);
        Some(value)
    }

    pub fn put(&mut self, key: K, value: V) {
        self.used.insert(key);
        self.last.insert(key, value);
    }

    /// After a plan was made, forgets what it did not use. One that was refused may not have come to
    /// everything: nothing is forgotten then, unless it has become very much.
    pub fn end(&mut self, made: bool) {
        let used = std::mem::take(&mut self.used);
        if made || self.last.len() > MOST {
            self.last.retain(|key, _| used.contains(key));
        }
    }

    /// The value of every item: those that are not known are made, by all processors.
    ///
    /// Where `make` fails for some, what went wrong with each of them; the others are kept.
    pub fn all<T: Sync, E: Send>(
        &mut self,
        items: &[T],
        key: impl Fn(&T) -> K,
        make: impl Fn(&T) -> Result<V, Vec<E>> + Sync,
    ) -> Result<Vec<V>, Vec<E>>
    where
        V: Send,
    {
        let keys: Vec<K> = items.iter().map(key).collect();
        let mut values: Vec<Option<V>> = keys.iter().map(|key| self.get(*key)).collect();
        let lacking: Vec<usize> = (0..items.len()).filter(|i| values[*i].is_none()).collect();
        let made = crate::together::map(&lacking, |index| make(&items[*index]));
        let mut wrong = Vec::new();
        for (index, made) in lacking.into_iter().zip(made) {
            match made {
                Ok(value) => {
                    self.put(keys[index], value.clone());
                    values[index] = Some(value);
                }
                Err(errors) => wrong.extend(errors),
            }
        }
        if wrong.is_empty() {
            Ok(values.into_iter().flatten().collect())
        } else {
            Err(wrong)
        }
    }
}

/// An app, what others see of it, and their digests.
#[derive(Debug)]
pub(crate) struct KnownApp {
    pub app: Arc<App>,
    pub planned: PlannedApp,
    /// Of all of it.
    pub whole: Digest,
    /// Of what its instances want of hosts.
    pub wants: Digest,
    /// Of what templates of other apps see of it, where its instances are apart.
    pub seen: Digest,
    /// Of `planned`.
    pub told: Digest,
}

impl KnownApp {
    fn of(app: &Arc<App>) -> Self {
        let planned = planned_app(app);
        let wants = (
            app.instances,
            app.limits,
            &app.ports,
            &app.away_from,
            app.store,
        );
        KnownApp {
            whole: digest_of(app.as_ref()),
            wants: digest_of(&wants),
            seen: digest_of(&(&app.secrets, &app.parameters)),
            told: digest_of(&planned),
            planned,
            app: app.clone(),
        }
    }
}

impl Pieces {
    /// What is known of these apps.
    pub(crate) fn known<'a>(
        &mut self,
        apps: impl Iterator<Item = &'a Arc<App>>,
    ) -> Vec<Arc<KnownApp>> {
        let apps: Vec<&Arc<App>> = apps.collect();
        let address = |app: &&Arc<App>| Arc::as_ptr(app).addr();
        let known = self.known.all(&apps, address, |app| -> Result<_, Vec<()>> {
            Ok(Arc::new(KnownApp::of(app)))
        });
        known.unwrap_or_default()
    }
}

/// All map keys are text, so that JSON cannot fail.
pub(crate) fn digest_of<T: Serialize + ?Sized>(value: &T) -> Digest {
    Digest::of_json(value).unwrap_or_else(|_| Digest::of(b""))
}

/// What goes into a piece, for its digest: each part with its length, so that no two lists of parts
/// are written alike.
#[derive(Debug, Default)]
pub(crate) struct Parts(Vec<u8>);

impl Parts {
    pub fn of(what: &str) -> Self {
        Parts::default().text(what)
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u64).to_le_bytes());
        self.0.extend(bytes);
    }

    pub fn text(mut self, text: &str) -> Self {
        self.add(text.as_bytes());
        self
    }

    pub fn digest(mut self, digest: Digest) -> Self {
        self.add(digest.as_bytes());
        self
    }

    pub fn number(mut self, number: u64) -> Self {
        self.add(&number.to_le_bytes());
        self
    }

    pub fn name(&mut self, name: &Name) {
        self.add(name.as_str().as_bytes());
    }

    pub fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.add(&address.octets()),
            IpAddr::V6(address) => self.add(&address.octets()),
        }
    }

    pub fn seal(&self) -> Digest {
        Digest::of(&self.0)
    }
}
