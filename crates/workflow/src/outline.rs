use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::WAIT;
use crate::records::Status;
use crate::{JobSummary, JobView, StepChange, StepError, StepRecord, StepState, Wait};

/// What is to tell of a step's progress: its record without what carries it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepOutline {
    /// See [`crate::Step`].
    pub name: String,
    /// See [`crate::Step`].
    pub verb: String,
    /// Where it is in the plan's order, from 0.
    pub place: u32,
    /// See [`crate::Step`].
    pub layer: u32,
    /// See [`crate::Step`].
    pub expected_ms: u64,
    /// The most attempts in all.
    pub attempts_allowed: u32,
    /// Whose answer it waits for and what is asked, where that is all it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<Box<(String, String)>>,
    /// Whether a later plan no longer has this step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    /// Where it is.
    pub state: StepState,
    /// Attempts begun.
    pub attempts: u32,
    /// When everything it needs had succeeded.
    pub ready_at: Option<Timestamp>,
    /// When the first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended for good.
    pub ended_at: Option<Timestamp>,
    /// The error of the last failed attempt.
    pub error: Option<Box<StepError>>,
    /// Whether an operator waived it.
    pub waived: bool,
    /// The places of the steps that it needs.
    needs: Vec<u32>,
}

impl StepOutline {
    fn of(place: u32, record: &StepRecord, places: &HashMap<&str, u32>) -> Self {
        let needs = record.step.needs.iter();
        StepOutline {
            name: record.step.name.clone(),
            verb: record.step.verb.clone(),
            place,
            layer: record.step.layer,
            expected_ms: record.step.expected_ms,
            attempts_allowed: record.step.retry.attempts,
            asks: asked(record),
            dropped: record.dropped,
            state: record.state,
            attempts: record.attempts,
            ready_at: record.ready_at,
            started_at: record.started_at,
            ended_at: record.ended_at,
            error: record.error.clone().map(Box::new),
            waived: record.waived.is_some(),
            needs: needs
                .filter_map(|need| places.get(need.as_str()).copied())
                .collect(),
        }
    }

    fn take(&mut self, status: Status) {
        self.state = status.state;
        self.attempts = status.attempts;
        self.ready_at = status.ready_at;
        self.started_at = status.started_at;
        self.ended_at = status.ended_at;
        self.error = status.error.map(Box::new);
        self.waived = status.waived.is_some();
    }

    /// As [`StepRecord::is_satisfied`].
    pub fn is_satisfied(&self) -> bool {
        self.state == StepState::Succeeded || self.waived
    }
}

/// Whom a step asks what.
fn asked(record: &StepRecord) -> Option<Box<(String, String)>> {
    if record.step.verb != WAIT {
        return None;
    }
    let wait = Wait::deserialize(&record.step.input).ok()?;
    Some(Box::new((wait.from, wait.what)))
}

/// A job as far as its progress goes, in which single steps and what they need are found without
/// looking at the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct JobOutline {
    summary: JobSummary,
    /// In the plan's order.
    steps: Vec<StepOutline>,
    /// Places of steps, ordered by the steps' names.
    by_name: Vec<u32>,
}

/// What became of steps of an outline, by their places in it.
#[derive(Debug)]
pub(crate) struct Found(Vec<(usize, Status)>);

/// An outline as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    summary: JobSummary,
    steps: Vec<StepOutline>,
}

impl From<JobOutline> for Written {
    fn from(outline: JobOutline) -> Self {
        let JobOutline { summary, steps, .. } = outline;
        Written { summary, steps }
    }
}

impl From<Written> for JobOutline {
    fn from(Written { summary, steps }: Written) -> Self {
        let mut by_name: Vec<u32> = (0..).zip(&steps).map(|(place, _)| place).collect();
        by_name.sort_unstable_by_key(|place| steps.get(*place as usize).map(|step| &step.name));
        JobOutline {
            summary,
            steps,
            by_name,
        }
    }
}

impl JobOutline {
    /// Of a job with its steps.
    pub fn of(job: &JobView) -> Self {
        Self::of_records(&job.summary, &job.steps.iter().collect::<Vec<_>>())
    }

    pub(crate) fn of_records(summary: &JobSummary, records: &[&StepRecord]) -> Self {
        let places: HashMap<&str, u32> = (0..)
            .zip(records)
            .map(|(place, record)| (record.step.name.as_str(), place))
            .collect();
        let steps: Vec<StepOutline> = (0..)
            .zip(records)
            .map(|(place, record)| StepOutline::of(place, record, &places))
            .collect();
        let mut by_name: Vec<(&str, u32)> = places.into_iter().collect();
        by_name.sort_unstable();
        JobOutline {
            summary: summary.clone(),
            by_name: by_name.into_iter().map(|(_, place)| place).collect(),
            steps,
        }
    }

    /// The job.
    pub fn summary(&self) -> &JobSummary {
        &self.summary
    }

    /// Every step, in the plan's order; those that a later plan dropped come last.
    pub fn steps(&self) -> &[StepOutline] {
        &self.steps
    }

    /// The steps whose names begin so, by name.
    pub fn named<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a StepOutline> {
        let first = self
            .by_name
            .partition_point(|place| self.name_at(*place) < prefix);
        self.by_name[first..]
            .iter()
            .filter_map(|place| self.at(*place))
            .take_while(move |step| step.name.starts_with(prefix))
    }

    /// What a step of this job needs, in the order it names them.
    pub fn needs_of<'a>(&'a self, step: &'a StepOutline) -> impl Iterator<Item = &'a StepOutline> {
        step.needs.iter().filter_map(|place| self.at(*place))
    }

    /// Takes in what changed; steps that it does not have are passed over. The places of the others.
    pub fn take(&mut self, summary: JobSummary, changes: Vec<StepChange>) -> Vec<usize> {
        let found = self.find(changes);
        let places = found.0.iter().map(|(place, _)| *place).collect();
        self.take_found(summary, found);
        places
    }

    /// Finds the steps that changed, which is most of the work of taking that in.
    pub(crate) fn find(&self, changes: Vec<StepChange>) -> Found {
        let place = |name: &str| {
            let found = self
                .by_name
                .binary_search_by(|place| self.name_at(*place).cmp(name));
            found.ok().map(|at| self.by_name[at] as usize)
        };
        let found = changes.into_iter();
        Found(
            found
                .filter_map(|change| Some((place(&change.name)?, change.status)))
                .collect(),
        )
    }

    /// Takes in what changed of steps that were found in it as it is.
    pub(crate) fn take_found(&mut self, summary: JobSummary, Found(found): Found) {
        self.summary = summary;
        for (place, status) in found {
            if let Some(step) = self.steps.get_mut(place) {
                step.take(status);
            }
        }
    }

    fn at(&self, place: u32) -> Option<&StepOutline> {
        self.steps.get(place as usize)
    }

    fn name_at(&self, place: u32) -> &str {
        self.at(place).map_or("", |step| &step.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{step, view};

    proptest! {
        #[test]
        fn an_outline_that_was_told_every_change_is_that_of_the_job_as_it_is(
            changes in prop::collection::vec((0_usize..30, 0_u32..5, any::<bool>()), 0..60),
        ) {
            let names: Vec<String> = (0..30).map(|n| format!("s{}", n * 7 % 30)).collect();
            let needs = |n: usize| names[..n].iter().rev().take(2).map(String::as_str);
            let steps = (0..30).map(|n| step(&names[n], &needs(n).collect::<Vec<_>>()));
            let mut job = view(steps.collect());
            let mut outline = JobOutline::of(&job);
            for (place, attempts, done) in changes {
                let record = &mut job.steps[place];
                record.attempts = attempts;
                record.state = if done { StepState::Succeeded } else { StepState::Backoff };
                record.error = (!done).then(|| StepError {
                    message: format!("the {attempts}th"),
                    retry: true,
                    evidence: Vec::new(),
                });
                let (name, status) = (record.step.name.clone(), Status::of(record));
                job.summary.plan += 1;
                outline.take(job.summary.clone(), vec![StepChange { name, status }]);
            }
            prop_assert_eq!(&outline, &JobOutline::of(&job));
            let written = serde_json::to_string(&outline).unwrap();
            prop_assert_eq!(&outline, &serde_json::from_str(&written).unwrap());
            for record in &job.steps {
                let named = outline.named(&record.step.name);
                let found = named.filter(|found| found.name == record.step.name);
                let found: Vec<&StepOutline> = found.collect();
                prop_assert_eq!(found.len(), 1);
                let needs = outline.needs_of(found[0]).map(|need| &need.name);
                prop_assert!(needs.eq(&record.step.needs));
            }
        }
    }

    #[test]
    fn steps_are_found_by_the_beginning_of_their_names() {
        let names = [
            "ready/a-10@h",
            "ready/a-1@h2",
            "start/a-1@h",
            "ready/a-1@h1",
        ];
        let job = view(names.map(|name| step(name, &[])).into());
        let outline = JobOutline::of(&job);
        let found = |prefix| -> Vec<u32> { outline.named(prefix).map(|step| step.place).collect() };
        assert_eq!(found("ready/a-1@"), [3, 1]);
        assert_eq!(found("start/"), [2]);
        assert!(found("zero").is_empty());
    }
}
