use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use wright_model::Span;

use crate::{Clock, JobState, JobSummary, Step, SystemClock, Verb};

/// The verbs an engine has, by name.
#[derive(Clone, Default)]
pub struct Verbs(HashMap<String, Arc<dyn Verb>>);

impl Verbs {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more; a later one of the same name wins.
    pub fn with(mut self, name: impl Into<String>, verb: impl Verb) -> Self {
        self.insert(name, Arc::new(verb));
        self
    }

    /// Adds one; a later one of the same name wins.
    pub fn insert(&mut self, name: impl Into<String>, verb: Arc<dyn Verb>) {
        self.0.insert(name.into(), verb);
    }

    /// Whether there is a verb of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether an attempt with this verb may be begun while one with the other runs.
    pub(crate) fn follows(&self, name: &str, before: &str) -> bool {
        self.0.get(name).is_some_and(|verb| verb.follows(before))
    }

    /// The verb of this name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Verb>> {
        self.0.get(name).cloned()
    }
}

impl fmt::Debug for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// How an engine works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The engine's name, unique among those that share the store. A new process of the same name
    /// takes its predecessor's jobs over at once; others wait for the lease to end.
    pub name: String,
    /// The most attempts at once on one target, over all jobs.
    pub per_target: usize,
    /// The most attempts at once, over all jobs.
    pub global: usize,
    /// The most attempts at once of one tenant's jobs. Below that, tenants take turns.
    pub per_tenant: usize,
    /// How long ended jobs are kept.
    pub keep: Keep,
    /// How long after the death of an engine others take its jobs over, seconds.
    pub lease_seconds: u32,
    /// Whether other engines walk jobs of the same store: those that walk fewer are then let first.
    pub shared: bool,
    /// How long an attempt may take to return once it was cancelled; then it is dropped.
    pub grace: Span,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            name: "wright".to_owned(),
            per_target: 16,
            global: 8_192,
            per_tenant: 8_192,
            keep: Keep::default(),
            lease_seconds: 15,
            shared: false,
            grace: Span::from_secs(5),
            clock: Arc::new(SystemClock),
        }
    }
}

/// How long jobs that have ended are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// With their steps and what their planners know; after that only how they ended.
    pub steps: Span,
    /// At all.
    pub jobs: Span,
}

impl Default for Keep {
    /// 90 days with steps, a year at all.
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Keep {
            steps: Span::from_secs(90 * DAY),
            jobs: Span::from_secs(365 * DAY),
        }
    }
}

/// A new plan for a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Amendment {
    /// The new graph. Steps are matched by name: what is in both keeps its state.
    pub steps: Vec<Step>,
    /// Scopes whose old steps are given up: the host they acted on is dead. The steps of these
    /// scopes that the new plan no longer has are never undone.
    pub abandon_scopes: Vec<String>,
    /// Who amends.
    pub actor: String,
    /// Why, in one line.
    pub reason: String,
}

/// Which jobs to list; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Those about this.
    pub subject: Option<String>,
    /// Those of this sort.
    pub kind: Option<String>,
    /// Those in this state.
    pub state: Option<JobState>,
    /// Those that have not ended (`Some(true)`) or have (`Some(false)`).
    pub unfinished: Option<bool>,
}

impl JobFilter {
    pub(crate) fn takes(&self, job: &JobSummary) -> bool {
        self.subject
            .as_ref()
            .is_none_or(|subject| *subject == job.subject)
            && self.kind.as_ref().is_none_or(|kind| *kind == job.kind)
            && self.state.is_none_or(|state| state == job.state)
            && self
                .unfinished
                .is_none_or(|unfinished| unfinished != job.state.is_final())
    }
}
