use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt as _;
use serde::Deserialize as _;
use tokio::sync::watch;
use uuid::Uuid;
use wright_store::{Guard, MAX_VALUE, Operation, Range, Revision, SharedStore, StoreError};

use crate::ended::LastEnded;
use crate::inject::Injections;
use crate::kept::{Outlines, Walked};
use crate::plan::{JOB, MAX_STEP, WAIT, only_waits};
use crate::records::{
    self, Fresh, Meta, Planned, context_pieces, draft_key, into_commits, list_key, load_meta,
    load_plan, meta_guard, meta_key, plan_pieces, plan_prefix, put_json, subject_key,
};
use crate::walk::Slots;
use crate::{
    Amendment, Graph, JobAction, JobError, JobId, JobOutline, JobParent, JobSpec, JobState,
    JobSummary, PlanError, Settings, Step, StepRecord, SubJob, Verbs, Wait, check_plan,
};

/// Commits of one large job that are under way together.
const AT_ONCE: usize = 8;

/// The durable job engine. Clones are the same engine.
///
/// Everything it is asked goes through the store, so any engine on the store may be asked about any
/// job; the one that owns the job (see [`Engine::run`]) sees the change and acts.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub store: SharedStore,
    pub verbs: Verbs,
    pub settings: Settings,
    /// Attempts in use, over all jobs.
    pub slots: Mutex<Slots>,
    /// Counts up whenever slots became free.
    pub freed: watch::Sender<u64>,
    /// The job that was submitted last, until it is walked.
    pub fresh: Mutex<Option<Fresh>>,
    /// The outlines of jobs that are asked about.
    pub outlines: Outlines,
    /// The jobs that are walked here.
    pub walked: Walked,
    /// The steps of the job that ended last.
    pub ended: LastEnded,
    /// Whether the jobs that were unfinished when this engine began to run are read.
    pub taken_up: watch::Sender<bool>,
    /// What tests want to happen.
    pub injections: Mutex<Injections>,
}

impl Shared {
    fn keep_fresh(&self, plan: Option<Fresh>) {
        *self.fresh.lock().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// The plan of a job, if it is the one that was submitted last.
    pub fn take_fresh(&self, job: JobId) -> Option<Fresh> {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.take_if(|fresh| fresh.summary.id == job)
    }

    /// The outline of that job, before anything became of it, and a revision since which the store's
    /// watch tells all that did.
    pub fn fresh_outline(&self, job: JobId) -> Option<(JobOutline, Revision)> {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = fresh.as_ref().filter(|fresh| fresh.summary.id == job)?;
        let steps = fresh.steps.iter();
        let records: Vec<StepRecord> = steps
            .map(|planned| StepRecord::new(planned.step.clone()))
            .collect();
        let records: Vec<&StepRecord> = records.iter().collect();
        Some((
            JobOutline::of_records(&fresh.summary, &records),
            fresh.since,
        ))
    }
}

/// What is submitted together with a job.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// The step that it is of.
    pub parent: Option<JobParent>,
    /// What else must be true.
    pub guards: Vec<Guard>,
    /// What is written in the commit that makes it visible.
    pub operations: Vec<Operation>,
}

impl Engine {
    /// An engine; nothing runs before [`Engine::run`].
    pub fn new(store: SharedStore, verbs: Verbs, settings: Settings) -> Self {
        let slots = Mutex::new(Slots::new(
            settings.global,
            settings.per_target,
            settings.per_tenant,
        ));
        let freed = watch::Sender::new(0);
        Engine {
            shared: Arc::new(Shared {
                store,
                verbs,
                settings,
                slots,
                freed,
                fresh: Mutex::default(),
                outlines: Outlines::default(),
                walked: Walked::default(),
                ended: LastEnded::default(),
                taken_up: watch::Sender::new(false),
                injections: Mutex::default(),
            }),
        }
    }

    fn check(&self, steps: &[Step]) -> Result<(), PlanError> {
        check_plan(steps)?;
        for step in steps {
            for verb in [Some(&step.verb), step.undo.as_ref().map(|undo| &undo.verb)]
                .into_iter()
                .flatten()
            {
                if !only_waits(verb) && !self.shared.verbs.has(verb) {
                    return Err(PlanError::UnknownVerb {
                        step: step.name.clone(),
                        verb: verb.clone(),
                    });
                }
            }
            self.check_own(step)?;
        }
        Ok(())
    }

    /// Refuses a step of the engine's own verbs that could only fail.
    fn check_own(&self, step: &Step) -> Result<(), PlanError> {
        let wrong = |reason: String| PlanError::Input {
            step: step.name.clone(),
            verb: step.verb.clone(),
            reason,
        };
        match step.verb.as_str() {
            WAIT => {
                Wait::deserialize(&step.input).map_err(|error| wrong(error.to_string()))?;
            }
            JOB => {
                let sub = SubJob::deserialize(&step.input);
                let sub = sub.map_err(|error| wrong(error.to_string()))?;
                if let Graph::Steps(steps) = &sub.graph {
                    self.check(steps)
                        .map_err(|error| wrong(error.to_string()))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Records a job; it is durable when this returns, and begins at once where an engine runs.
    ///
    /// # Errors
    /// [`JobError::Plan`] where the graph is wrong, [`JobError::Busy`] where another job of the
    /// subject has not ended, or where the store fails. Nothing is visible then.
    pub async fn submit(&self, spec: JobSpec) -> Result<JobId, JobError> {
        let id = JobId(Uuid::now_v7());
        self.submit_beside(id, spec, Beside::default()).await?;
        Ok(id)
    }

    pub(crate) async fn submit_beside(
        &self,
        id: JobId,
        spec: JobSpec,
        beside: Beside,
    ) -> Result<(), JobError> {
        self.check(&spec.steps)?;
        self.refuse_busy(&spec.subject).await?;
        let plan_key = Uuid::now_v7();
        let tenant = match spec.tenant {
            Some(tenant) => tenant,
            None if spec.subject.is_empty() => "default".to_owned(),
            None => spec.subject.clone(),
        };
        let now = self.shared.settings.clock.now();
        let planned: Vec<Planned> = spec.steps.into_iter().map(Planned::from).collect();
        let summary = JobSummary {
            id,
            kind: spec.kind,
            subject: spec.subject,
            title: spec.title,
            actor: spec.actor,
            tenant,
            parent: beside.parent,
            state: JobState::Running,
            paused: None,
            plan: 1,
            created_at: now,
            ended_at: None,
            cause: String::new(),
            forgotten: false,
        };
        let subject = subject_key(&summary.subject);
        let meta = Meta {
            summary,
            plan_key,
            cancel: None,
            resume: false,
            orders: Vec::new(),
            whole: false,
            history: Vec::new(),
        };
        let mut pieces = context_pieces(id, &spec.context)?;
        pieces.extend(plan_pieces(id, plan_key, &planned)?);
        let mut visible = vec![
            put_json(meta_key(id), &meta)?,
            Operation::put(subject.clone(), id.to_string()),
            Operation::put(list_key(id), id.to_string()),
        ];
        visible.extend(beside.operations);
        let mut guards = beside.guards;
        guards.push(Guard::Absent(subject.into()));
        let mut commits =
            into_commits(pieces.into_iter().map(|piece| vec![piece]).chain([visible]));
        let mut last = commits.pop().unwrap_or_default();
        if !commits.is_empty() {
            self.commit_draft(id, now, commits).await?;
            guards.push(Guard::Exists(draft_key(id).into()));
            last.push(Operation::Delete(draft_key(id).into()));
        }
        // Before the job can be seen, and walked.
        self.shared.keep_fresh(Some(Fresh {
            summary: meta.summary.clone(),
            plan_key,
            steps: planned,
            since: self.shared.store.revision().await?,
        }));
        let visible = self.shared.store.commit(guards, last).await;
        if visible.is_err() {
            self.shared.keep_fresh(None);
        }
        match visible {
            Ok(_) => Ok(()),
            Err(StoreError::Refused { guard, revision }) => {
                self.forget_draft(id).await;
                self.refuse_busy(&meta.summary.subject).await?;
                // The other one ended in between.
                Err(StoreError::Refused { guard, revision }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn refuse_busy(&self, subject: &str) -> Result<(), JobError> {
        let Some(entry) = self
            .shared
            .store
            .get(subject_key(subject).as_bytes())
            .await?
        else {
            return Ok(());
        };
        let other = String::from_utf8_lossy(&entry.value).parse();
        let other = other.map_err(|_| StoreError::Engine(format!("{subject} names no job")))?;
        Err(JobError::Busy {
            subject: subject.to_owned(),
            other,
        })
    }

    async fn commit_draft(
        &self,
        id: JobId,
        now: jiff::Timestamp,
        commits: Vec<Vec<Operation>>,
    ) -> Result<(), JobError> {
        let mark = Operation::put(draft_key(id), now.to_string());
        let store = &self.shared.store;
        store.commit(Vec::new(), vec![mark]).await?;
        let commits = commits.into_iter().map(|operations| {
            let made = store.commit(Vec::new(), operations);
            Ok(async { made.await.map(drop) })
        });
        // In any order, several to a write of the disk.
        let made = futures::stream::iter(commits).try_for_each_concurrent(AT_ONCE, |made| made);
        Ok(made.await?)
    }

    async fn forget_draft(&self, id: JobId) {
        let operations = vec![
            Operation::DeleteRange(Range::prefix(records::job_prefix(id))),
            Operation::Delete(draft_key(id).into()),
        ];
        if let Err(error) = self.shared.store.commit(Vec::new(), operations).await {
            tracing::warn!(job = %id, %error, "a refused job's pieces stay until they are swept");
        }
    }

    /// Replaces a job's plan and answers with the new plan's number.
    ///
    /// What is in both plans keeps its state, except that skipped steps get another chance. Of the
    /// steps that the new plan does not have, running ones are cancelled and the others never run;
    /// what they did stays, and is undone only if their scope is (not if it is abandoned).
    ///
    /// # Errors
    /// [`JobError::PlanMoved`] where the job's plan is not `expected_plan`, [`JobError::State`]
    /// where the job is being undone or has ended, [`JobError::Plan`] where the graph is wrong.
    pub async fn amend(
        &self,
        id: JobId,
        expected_plan: u64,
        amendment: Amendment,
    ) -> Result<u64, JobError> {
        self.check(&amendment.steps)?;
        let store = &self.shared.store;
        let (mut meta, revision) = load_meta(store.as_ref(), id).await?;
        let old_key = meta.plan_key;
        let old = load_plan(store.as_ref(), id, old_key).await?;
        refuse_unless(
            &meta.summary,
            JobState::Running,
            "only a running job's plan can be replaced",
        )?;
        if meta.cancel.is_some() {
            return Err(state_error(&meta.summary, "it was cancelled"));
        }
        if meta.summary.plan != expected_plan {
            return Err(JobError::PlanMoved {
                job: id,
                expected: expected_plan,
                found: meta.summary.plan,
            });
        }
        meta.plan_key = Uuid::now_v7();
        meta.summary.plan += 1;
        meta.history
            .push(self.event(JobAction::Amend, &amendment.actor, &amendment.reason));
        let planned = merge_plans(old, amendment);
        let pieces = plan_pieces(id, meta.plan_key, &planned)?;
        for operations in into_commits(pieces.into_iter().map(|piece| vec![piece])) {
            store.commit(Vec::new(), operations).await?;
        }
        let operations = vec![
            put_json(meta_key(id), &meta)?,
            Operation::DeleteRange(Range::prefix(plan_prefix(id, old_key))),
        ];
        match store
            .commit(vec![meta_guard(id, revision)], operations)
            .await
        {
            Ok(_) => Ok(meta.summary.plan),
            Err(error) => {
                let orphans = Operation::DeleteRange(Range::prefix(plan_prefix(id, meta.plan_key)));
                let _ = store.commit(Vec::new(), vec![orphans]).await;
                if !error.is_refused() {
                    return Err(error.into());
                }
                let (now, _) = load_meta(store.as_ref(), id).await?;
                refuse_unless(
                    &now.summary,
                    JobState::Running,
                    "only a running job's plan can be replaced",
                )?;
                Err(JobError::PlanMoved {
                    job: id,
                    expected: expected_plan,
                    found: now.summary.plan,
                })
            }
        }
    }
}

pub(crate) fn refuse_unless(
    job: &JobSummary,
    state: JobState,
    why: &'static str,
) -> Result<(), JobError> {
    if job.state == state {
        Ok(())
    } else {
        Err(state_error(job, why))
    }
}

pub(crate) fn state_error(job: &JobSummary, why: &'static str) -> JobError {
    JobError::State {
        job: job.id,
        state: job.state,
        why,
    }
}

/// The new plan's steps in their order, then those that it no longer has.
fn merge_plans(old: Vec<Planned>, amendment: Amendment) -> Vec<Planned> {
    let names: HashSet<String> = amendment
        .steps
        .iter()
        .map(|step| step.name.clone())
        .collect();
    let given_up: HashSet<&String> = amendment.abandon_scopes.iter().collect();
    let dropped: Vec<Planned> = old
        .into_iter()
        .filter(|planned| !names.contains(&planned.step.name))
        .map(|planned| Planned {
            dropped: true,
            abandoned: planned.abandoned || given_up.contains(&planned.step.scope),
            step: planned.step,
        })
        .collect();
    let kept = amendment.steps.into_iter().map(Planned::from);
    kept.chain(dropped).collect()
}

// A step with the wrapping of its piece must fit into one value.
const _: () = assert!(MAX_STEP + (256 << 10) < MAX_VALUE);
