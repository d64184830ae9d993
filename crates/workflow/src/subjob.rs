//! The verb `job`: a step that is another job.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use wright_model::Span;
use wright_store::{Guard, Range};

use crate::engine::{Beside, Engine};
use crate::records::{Child, child_key, child_prefix, from_json, load_meta, put_json, read_all};
use crate::wait::{failure, later};
use crate::{
    JobError, JobId, JobParent, JobSpec, JobState, JobSummary, Outcome, Step, StepContext,
    StepError, Verb,
};

/// The input of a step with the verb [`JOB`](crate::JOB). The job's actor and tenant are those of
/// the job that the step is of. The same verb as the step's undo takes the job back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubJob {
    /// See [`JobSpec`].
    pub kind: String,
    /// See [`JobSpec`]; another one than that of the job that the step is of.
    pub subject: String,
    /// See [`JobSpec`].
    pub title: String,
    /// See [`JobSpec`].
    #[serde(default)]
    pub context: Value,
    /// What it does.
    pub graph: Graph,
}

/// Where a sub-job's steps are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Graph {
    /// Here.
    Steps(Vec<Step>),
    /// In the store, for what is too large for a step: each value below this prefix, in the order of
    /// keys, is a JSON list of steps.
    At(String),
}

/// The verb.
pub(crate) struct Submitting {
    pub engine: Engine,
    pub deadline: Span,
}

#[async_trait]
impl Verb for Submitting {
    async fn run(&self, context: &StepContext, input: &Value) -> Result<Outcome, StepError> {
        if context.undo {
            return self.take_back(context).await;
        }
        let spec: SubJob = match serde_json::from_value(input.clone()) {
            Ok(spec) => spec,
            Err(error) => return Err(failure(format!("the job is not told: {error}"))),
        };
        loop {
            match self.child(context, &spec).await {
                Ok(Some(child)) => return self.follow(context, &child).await,
                Ok(None) => return Err(failure("cancelled before its job was submitted".into())),
                Err(JobError::Plan(error)) => return Err(failure(error.to_string())),
                Err(busy @ JobError::Busy { .. }) => {
                    return Err(StepError {
                        retry: true,
                        ..failure(busy.to_string())
                    });
                }
                Err(error) => self.engine.shared.bear(error).await,
            }
        }
    }
}

impl Submitting {
    /// The job of this attempt: known already, or submitted now. `None` where it was cancelled before.
    async fn child(&self, context: &StepContext, sub: &SubJob) -> Result<Option<Child>, JobError> {
        let shared = &self.engine.shared;
        let key = child_key(context.job, &context.step, context.attempt);
        if let Some(entry) = shared.store.get(key.as_bytes()).await? {
            return from_json(&entry.key, &entry.value).map(Some);
        }
        if context.cancel.is_cancelled() {
            return Ok(None);
        }
        let (parent, _) = load_meta(shared.store.as_ref(), context.job).await?;
        let child = Child {
            job: JobId(Uuid::now_v7()),
            until: later(shared.settings.clock.now(), self.deadline),
        };
        let spec = JobSpec {
            kind: sub.kind.clone(),
            subject: sub.subject.clone(),
            title: sub.title.clone(),
            actor: parent.summary.actor,
            tenant: Some(parent.summary.tenant),
            context: sub.context.clone(),
            steps: self.steps(&sub.graph).await?,
        };
        let unknown = Guard::Absent(key.clone().into());
        let beside = Beside {
            parent: Some(JobParent {
                job: context.job,
                step: context.step.clone(),
            }),
            guards: vec![context.unfenced(), unknown],
            operations: vec![put_json(key, &child)?],
        };
        self.engine.submit_beside(child.job, spec, beside).await?;
        Ok(Some(child))
    }

    async fn steps(&self, graph: &Graph) -> Result<Vec<Step>, JobError> {
        let prefix = match graph {
            Graph::Steps(steps) => return Ok(steps.clone()),
            Graph::At(prefix) => prefix.clone(),
        };
        let store = self.engine.shared.store.as_ref();
        let (entries, _) = read_all(store, Range::prefix(prefix), None).await?;
        let mut steps = Vec::new();
        for entry in entries {
            steps.append(&mut from_json(&entry.key, &entry.value)?);
        }
        Ok(steps)
    }

    /// Waits for the job's end, and ends it where this step's time is over or it is cancelled itself.
    async fn follow(&self, context: &StepContext, child: &Child) -> Result<Outcome, StepError> {
        let clock = self.engine.shared.settings.clock.clone();
        let mut stop = None;
        let summary = loop {
            let why = tokio::select! {
                ended = self.engine.ended(child.job) => match ended {
                    Ok(summary) => break summary,
                    Err(JobError::Unknown(job)) => return Err(failure(format!("job {job} is no longer known"))),
                    Err(error) => {
                        self.engine.shared.bear(error).await;
                        continue;
                    }
                },
                () = context.cancel.cancelled(), if stop.is_none() => "the job it is part of does not go on".to_owned(),
                () = clock.sleep_until(child.until), if stop.is_none() => {
                    format!("the deadline of {} passed", self.deadline)
                }
            };
            match self.cancel(context, child.job, &why).await {
                Ok(()) => stop = Some(why),
                Err(error) => self.engine.shared.bear(error).await,
            }
        };
        let JobSummary {
            id, title, cause, ..
        } = &summary;
        let state = format!("{:?}", summary.state).to_lowercase();
        match (summary.state, stop) {
            (JobState::Succeeded, _) => Ok(Outcome {
                output: json!({ "job": id }),
                ..Outcome::default()
            }),
            (_, Some(why)) => Err(StepError {
                retry: true,
                ..failure(format!("{why}; job {id} ({title}) is {state}: {cause}"))
            }),
            (_, None) => Err(failure(format!("job {id} ({title}) is {state}: {cause}"))),
        }
    }

    /// Tells a job to end; that it has ended or is being undone is as good.
    async fn cancel(&self, context: &StepContext, job: JobId, why: &str) -> Result<(), JobError> {
        match self.engine.cancel(job, why, &actor(context)).await {
            Err(JobError::State { .. } | JobError::Unknown(_)) => Ok(()),
            other => other,
        }
    }

    /// Takes back what the jobs of this step did, the newest first. May be done again at any point.
    async fn take_back(&self, context: &StepContext) -> Result<Outcome, StepError> {
        let children = loop {
            match self.children(context).await {
                Ok(children) => break children,
                Err(error) => self.engine.shared.bear(error).await,
            }
        };
        for child in children.iter().rev() {
            loop {
                match self.undo_job(context, *child).await {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(JobError::Unknown(_)) => break,
                    Err(error @ JobError::Busy { .. }) => {
                        return Err(StepError {
                            retry: true,
                            ..failure(error.to_string())
                        });
                    }
                    Err(error @ JobError::State { .. }) => return Err(failure(error.to_string())),
                    Err(error) => self.engine.shared.bear(error).await,
                }
            }
        }
        Ok(Outcome {
            output: json!({ "jobs": children }),
            ..Outcome::default()
        })
    }

    /// The jobs of all attempts at this step, in their order.
    async fn children(&self, context: &StepContext) -> Result<Vec<JobId>, JobError> {
        let prefix = format!("{}{}/", child_prefix(context.job), context.step);
        let store = self.engine.shared.store.as_ref();
        let (entries, _) = read_all(store, Range::prefix(prefix.clone()), None).await?;
        let mut children = Vec::new();
        for entry in entries {
            // The children of a step whose name begins with this one's are below it, too.
            if !entry.key[prefix.len()..].contains(&b'/') {
                children.push(from_json::<Child>(&entry.key, &entry.value)?.job);
            }
        }
        Ok(children)
    }

    /// Brings a job nearer to being taken back; whether it is.
    async fn undo_job(&self, context: &StepContext, job: JobId) -> Result<bool, JobError> {
        let why = "the step it belongs to is taken back";
        let (meta, _) = load_meta(self.engine.shared.store.as_ref(), job).await?;
        if !meta.summary.state.is_final() {
            self.cancel(context, job, why).await?;
            self.engine.ended(job).await?;
            return Ok(false);
        }
        if meta.whole && meta.summary.state == JobState::Cancelled {
            return Ok(true);
        }
        self.engine.undo(job, why, &actor(context)).await?;
        Ok(false)
    }
}

fn actor(context: &StepContext) -> String {
    format!("step {} of job {}", context.step, context.job)
}
