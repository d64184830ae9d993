use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use uuid::Uuid;
use wright_store::{Guard, MAX_VALUE, Operation, Range, SharedStore, StoreError};

use crate::plan::MAX_STEP;
use crate::records::{
    self, LIST, Meta, Planned, SUBJECTS, context_pieces, draft_key, from_json, into_commits,
    list_key, load, load_meta, load_plan, meta_guard, meta_key, plan_pieces, plan_prefix, put_json,
    read_all, subject_key,
};
use crate::walk::Slots;
use crate::watch::JobWatch;
use crate::{
    Amendment, JobAction, JobError, JobEvent, JobFilter, JobId, JobSpec, JobState, JobSummary,
    JobView, PlanError, Settings, Step, Verbs, check_plan,
};

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
}

impl Engine {
    /// An engine; nothing runs before [`Engine::run`].
    pub fn new(store: SharedStore, verbs: Verbs, settings: Settings) -> Self {
        let slots = Mutex::new(Slots::new(settings.global, settings.per_target));
        let freed = watch::Sender::new(0);
        Engine {
            shared: Arc::new(Shared {
                store,
                verbs,
                settings,
                slots,
                freed,
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
                if !self.shared.verbs.has(verb) {
                    return Err(PlanError::UnknownVerb {
                        step: step.name.clone(),
                        verb: verb.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Records a job; it is durable when this returns, and begins at once where an engine runs.
    ///
    /// # Errors
    /// [`JobError::Plan`] where the graph is wrong, [`JobError::Busy`] where another job of the
    /// subject has not ended, or where the store fails. Nothing is visible then.
    pub async fn submit(&self, spec: JobSpec) -> Result<JobId, JobError> {
        self.check(&spec.steps)?;
        self.refuse_busy(&spec.subject).await?;
        let (id, plan_key) = (JobId(Uuid::now_v7()), Uuid::now_v7());
        let now = self.shared.settings.clock.now();
        let planned: Vec<Planned> = spec
            .steps
            .into_iter()
            .map(|step| Planned {
                step,
                dropped: false,
                abandoned: false,
            })
            .collect();
        let summary = JobSummary {
            id,
            kind: spec.kind,
            subject: spec.subject,
            title: spec.title,
            actor: spec.actor,
            state: JobState::Running,
            plan: 1,
            created_at: now,
            ended_at: None,
            cause: String::new(),
        };
        let subject = subject_key(&summary.subject);
        let meta = Meta {
            summary,
            plan_key,
            cancel: None,
            resume: false,
            history: Vec::new(),
        };
        let mut pieces = context_pieces(id, &spec.context)?;
        pieces.extend(plan_pieces(id, plan_key, &planned)?);
        let visible = vec![
            put_json(meta_key(id), &meta)?,
            Operation::put(subject.clone(), id.to_string()),
            Operation::put(list_key(id), id.to_string()),
        ];
        let mut guards = vec![Guard::Absent(subject.into())];
        let mut commits =
            into_commits(pieces.into_iter().map(|piece| vec![piece]).chain([visible]));
        let mut last = commits.pop().unwrap_or_default();
        if !commits.is_empty() {
            self.commit_draft(id, now, commits).await?;
            guards.push(Guard::Exists(draft_key(id).into()));
            last.push(Operation::Delete(draft_key(id).into()));
        }
        match self.shared.store.commit(guards, last).await {
            Ok(_) => Ok(id),
            Err(StoreError::Refused { guard, revision }) => {
                self.forget_draft(id).await;
                self.refuse_busy(&meta.summary.subject).await?;
                // The other one ended in between.
                Err(StoreError::Refused { guard, revision }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn refuse_busy(&self, subject: &str) -> Result<(), JobError> {
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
        self.shared.store.commit(Vec::new(), vec![mark]).await?;
        for operations in commits {
            self.shared.store.commit(Vec::new(), operations).await?;
        }
        Ok(())
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

    /// Ends a job: nothing new starts, what runs is cancelled, half-made scopes are undone.
    ///
    /// # Errors
    /// [`JobError::State`] where the job is being undone or has ended.
    pub async fn cancel(&self, id: JobId, reason: &str, actor: &str) -> Result<(), JobError> {
        let event = self.event(JobAction::Cancel, actor, reason);
        self.update_meta(id, |meta| {
            refuse_unless(
                &meta.summary,
                JobState::Running,
                "only a running job can be cancelled",
            )?;
            if meta.cancel.is_none() {
                meta.cancel = Some(event.clone());
                meta.history.push(event.clone());
            }
            Ok(None)
        })
        .await
    }

    /// Begins again what failed, was skipped, undone or stuck, as an operator's decision; answers
    /// with the job's new plan number. What has succeeded stays.
    ///
    /// # Errors
    /// [`JobError::State`] where the job has not failed, [`JobError::Busy`] where another job of the
    /// subject has not ended.
    pub async fn retry(&self, id: JobId, reason: &str, actor: &str) -> Result<u64, JobError> {
        let event = self.event(JobAction::Retry, actor, reason);
        let (meta, _) = load_meta(self.shared.store.as_ref(), id).await?;
        if meta.summary.state.is_final() && meta.summary.state != JobState::Succeeded {
            self.refuse_busy(&meta.summary.subject).await?;
        }
        self.update_meta(id, |meta| {
            let summary = &mut meta.summary;
            if !summary.state.is_final() || summary.state == JobState::Succeeded {
                return Err(state_error(
                    summary,
                    "only a failed, cancelled or stuck job can be retried",
                ));
            }
            summary.state = JobState::Running;
            summary.plan += 1;
            summary.ended_at = None;
            summary.cause.clear();
            let subject = subject_key(&summary.subject);
            (meta.cancel, meta.resume) = (None, true);
            meta.history.push(event.clone());
            Ok(Some((
                Guard::Absent(subject.clone().into()),
                Operation::put(subject, id.to_string()),
            )))
        })
        .await?;
        Ok(load_meta(self.shared.store.as_ref(), id)
            .await?
            .0
            .summary
            .plan)
    }

    async fn update_meta(
        &self,
        id: JobId,
        change: impl Fn(&mut Meta) -> Result<Option<(Guard, Operation)>, JobError>,
    ) -> Result<(), JobError> {
        loop {
            let (mut meta, revision) = load_meta(self.shared.store.as_ref(), id).await?;
            let beside = change(&mut meta)?;
            let mut guards = vec![meta_guard(id, revision)];
            let mut operations = vec![put_json(meta_key(id), &meta)?];
            if let Some((guard, operation)) = beside {
                guards.push(guard);
                operations.push(operation);
            }
            match self.shared.store.commit(guards, operations).await {
                Err(StoreError::Refused {
                    guard: Guard::Modified(..),
                    ..
                }) => {}
                Err(error) if error.is_refused() => {
                    self.refuse_busy(&meta.summary.subject).await?;
                }
                other => return other.map(|_| ()).map_err(Into::into),
            }
        }
    }

    fn event(&self, action: JobAction, actor: &str, reason: &str) -> JobEvent {
        let at = self.shared.settings.clock.now();
        JobEvent {
            at,
            actor: actor.to_owned(),
            action,
            reason: reason.to_owned(),
        }
    }

    /// A job with its steps, at one revision.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or where the store fails.
    pub async fn show(&self, id: JobId) -> Result<JobView, JobError> {
        Ok(load(self.shared.store.as_ref(), id).await?.view())
    }

    /// A job without its steps.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or where the store fails.
    pub async fn summary(&self, id: JobId) -> Result<JobSummary, JobError> {
        Ok(load_meta(self.shared.store.as_ref(), id).await?.0.summary)
    }

    /// Waits for a job's end, without its steps; how it ended.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or where the store fails or is closed.
    pub async fn ended(&self, id: JobId) -> Result<JobSummary, JobError> {
        let store = &self.shared.store;
        loop {
            let after = store.revision().await?;
            let summary = self.summary(id).await?;
            if summary.state.is_final() {
                return Ok(summary);
            }
            let mut changes = store.watch(Range::key(meta_key(id)), after).await?;
            match changes.next().await {
                None => return Err(StoreError::Closed.into()),
                Some(Err(StoreError::Compacted { .. }) | Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// The jobs that have not ended, newest first: at most one for each subject.
    async fn unfinished(&self) -> Result<Vec<JobId>, JobError> {
        let store = self.shared.store.as_ref();
        let (entries, _) = read_all(store, Range::prefix(SUBJECTS), None).await?;
        let ids = entries
            .iter()
            .filter_map(|entry| String::from_utf8_lossy(&entry.value).parse::<JobId>().ok());
        let mut ids: Vec<JobId> = ids.collect();
        ids.sort_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    async fn all(&self) -> Result<Vec<JobId>, JobError> {
        let store = self.shared.store.as_ref();
        let (entries, _) = read_all(store, Range::prefix(LIST), None).await?;
        let ids = entries
            .iter()
            .filter_map(|entry| String::from_utf8_lossy(&entry.value).parse().ok());
        Ok(ids.collect())
    }

    /// At most `limit` jobs (0: all), newest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn list(
        &self,
        limit: usize,
        filter: &JobFilter,
    ) -> Result<Vec<JobSummary>, JobError> {
        let store = self.shared.store.as_ref();
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut jobs = Vec::new();
        // The indexes hold ids only: reading them whole is cheap, and metas are read until enough
        // match.
        let ids = match filter.unfinished {
            Some(true) => self.unfinished().await?,
            _ => self.all().await?,
        };
        for id in ids {
            if jobs.len() >= limit {
                break;
            }
            let Some(entry) = store.get(meta_key(id).as_bytes()).await? else {
                continue;
            };
            let meta: Meta = from_json(&entry.key, &entry.value)?;
            if filter.takes(&meta.summary) {
                jobs.push(meta.summary);
            }
        }
        Ok(jobs)
    }

    /// Follows a job: first the whole view, then what changes, until it ends.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or where the store fails.
    pub async fn watch(&self, id: JobId) -> Result<JobWatch, JobError> {
        JobWatch::begin(self.shared.store.clone(), id).await
    }
}

fn refuse_unless(job: &JobSummary, state: JobState, why: &'static str) -> Result<(), JobError> {
    if job.state == state {
        Ok(())
    } else {
        Err(state_error(job, why))
    }
}

fn state_error(job: &JobSummary, why: &'static str) -> JobError {
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
    let kept = amendment.steps.into_iter().map(|step| Planned {
        step,
        dropped: false,
        abandoned: false,
    });
    kept.chain(dropped).collect()
}

// A step with the wrapping of its piece must fit into one value.
const _: () = assert!(MAX_STEP + (256 << 10) < MAX_VALUE);
