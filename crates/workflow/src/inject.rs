//! Hooks for tests, in the style of steno's `saga_inject_error` and `saga_inject_repeat`
//! (<https://docs.rs/steno>): a planner's tests let each step of a graph fail, and each step happen
//! more than once, without a verb that knows of it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::PoisonError;

use crate::JobId;
use crate::engine::{Engine, Shared};

/// How often an attempt's effect happens, each time under the same effect key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// Of the step, times from 1.
    pub action: NonZeroU32,
    /// Of its undo, times from 1.
    pub undo: NonZeroU32,
}

/// What a test wants to happen to the steps of jobs.
pub(crate) type Injections = HashMap<(JobId, String), Injection>;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Injection {
    Error,
    Repeat(Repeat),
}

/// What a test wants to happen to one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Injected {
    /// It fails for good without any effect.
    pub error: bool,
    /// How often its effect happens.
    pub times: NonZeroU32,
}

impl Engine {
    /// For tests: every attempt at this step fails for good, and its verb is not asked. Its undo is
    /// not affected. Holds for this engine until it is dropped.
    pub fn inject_error(&self, job: JobId, step: &str) {
        self.inject(job, step, Injection::Error);
    }

    /// For tests: each attempt at this step, or at its undo, asks its verb so many times, one after
    /// the other, with the same [effect key](crate::StepContext::effect_key); the last answer counts.
    /// Holds for this engine until it is dropped.
    pub fn inject_repeat(&self, job: JobId, step: &str, repeat: Repeat) {
        self.inject(job, step, Injection::Repeat(repeat));
    }

    fn inject(&self, job: JobId, step: &str, injection: Injection) {
        let injections = self.shared.injections.lock();
        injections
            .unwrap_or_else(PoisonError::into_inner)
            .insert((job, step.to_owned()), injection);
    }
}

impl Shared {
    pub fn injected(&self, job: JobId, step: &str, undo: bool) -> Injected {
        let injections = self.injections.lock();
        let injections = injections.unwrap_or_else(PoisonError::into_inner);
        let found = if injections.is_empty() {
            None
        } else {
            injections.get(&(job, step.to_owned()))
        };
        let (error, times) = match found {
            Some(Injection::Error) => (!undo, NonZeroU32::MIN),
            Some(Injection::Repeat(repeat)) if undo => (false, repeat.undo),
            Some(Injection::Repeat(repeat)) => (false, repeat.action),
            None => (false, NonZeroU32::MIN),
        };
        Injected { error, times }
    }
}
