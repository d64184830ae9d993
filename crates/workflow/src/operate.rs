//! What people do to jobs. Each is written into the job's record with who and why; the engine that
//! walks the job sees it there.

use jiff::SignedDuration;
use wright_store::{Guard, Operation, StoreError};

use crate::engine::{Engine, Shared, refuse_unless, state_error};
use crate::records::{Meta, load, load_meta, meta_guard, meta_key, put_json, subject_key};
use crate::{JobAction, JobError, JobEvent, JobId, JobState, StepState};

/// The wait of a step that waits when the store fails.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// What is written beside a job's record.
type Aside = Option<(Guard, Operation)>;

impl Engine {
    /// Ends a job: nothing new starts, what runs is cancelled, half-made scopes are undone. A pause
    /// is over with it.
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
                meta.summary.paused = None;
                meta.history.push(event.clone());
            }
            Ok(None)
        })
        .await
    }

    /// Nothing more of a job starts, neither steps nor undoing; what runs goes on to its end. A job
    /// of which a step failed stays as it is, so that the step can be retried or waived.
    ///
    /// # Errors
    /// [`JobError::State`] where the job has ended, was cancelled or is paused already.
    pub async fn pause(&self, id: JobId, reason: &str, actor: &str) -> Result<(), JobError> {
        let event = self.event(JobAction::Pause, actor, reason);
        self.update_meta(id, |meta| {
            let why = match &meta.summary {
                job if job.state.is_final() => "it has ended",
                job if job.paused.is_some() => "it is paused",
                _ if meta.cancel.is_some() => "it was cancelled, and what it did is taken back",
                _ => {
                    meta.summary.paused = Some(event.clone());
                    meta.history.push(event.clone());
                    return Ok(None);
                }
            };
            Err(state_error(&meta.summary, why))
        })
        .await
    }

    /// A paused job goes on.
    ///
    /// # Errors
    /// [`JobError::State`] where the job is not paused.
    pub async fn resume(&self, id: JobId, reason: &str, actor: &str) -> Result<(), JobError> {
        let event = self.event(JobAction::Resume, actor, reason);
        self.update_meta(id, |meta| {
            if meta.summary.paused.take().is_none() {
                return Err(state_error(&meta.summary, "it is not paused"));
            }
            meta.history.push(event.clone());
            Ok(None)
        })
        .await
    }

    /// Begins again what failed, was skipped, undone or stuck, as an operator's decision; answers
    /// with the job's new plan number. What has succeeded or was waived stays.
    ///
    /// # Errors
    /// [`JobError::State`] where the job has not failed, [`JobError::Busy`] where another job of the
    /// subject has not ended, [`JobError::NoReason`].
    pub async fn retry(&self, id: JobId, reason: &str, actor: &str) -> Result<u64, JobError> {
        let event = self.reasoned(JobAction::Retry, actor, reason)?;
        self.begin_again(id, &event).await
    }

    /// Tries a step again that has failed, or that waits for its next attempt, while other steps of
    /// its job run or it is paused. Its attempts count anew.
    ///
    /// # Errors
    /// [`JobError::Step`] where the step has not failed, [`JobError::State`] where the job is being
    /// undone or has ended ([`Engine::retry`] begins it again), [`JobError::NoReason`].
    pub async fn retry_step(
        &self,
        id: JobId,
        step: &str,
        reason: &str,
        actor: &str,
    ) -> Result<(), JobError> {
        let event = self.order(JobAction::Retry, step, actor, reason)?;
        let failed = [StepState::Failed, StepState::Backoff];
        self.refuse_unless_step(id, step, &failed).await?;
        let otherwise = "only a running job's step can be retried; retry the job";
        self.give(id, &event, otherwise).await
    }

    /// Waives a step that has failed: the job goes on as if it had succeeded. A job that has ended is
    /// begun again without it, as with [`Engine::retry`].
    ///
    /// # Errors
    /// [`JobError::Step`] where the step has not failed, [`JobError::State`] where the job is being
    /// undone or has succeeded, [`JobError::Busy`] where another job of the subject has not ended,
    /// [`JobError::NoReason`].
    pub async fn skip(
        &self,
        id: JobId,
        step: &str,
        reason: &str,
        actor: &str,
    ) -> Result<(), JobError> {
        let event = self.order(JobAction::Skip, step, actor, reason)?;
        let failed = [
            StepState::Failed,
            StepState::Backoff,
            StepState::Undone,
            StepState::Stuck,
        ];
        self.refuse_unless_step(id, step, &failed).await?;
        let (meta, _) = load_meta(self.shared.store.as_ref(), id).await?;
        if meta.summary.state.is_final() {
            return self.begin_again(id, &event).await.map(drop);
        }
        let otherwise = "what it did is being taken back; wait for its end";
        self.give(id, &event, otherwise).await
    }

    /// Leaves an order to whoever walks the job, which must be running.
    async fn give(
        &self,
        id: JobId,
        order: &JobEvent,
        otherwise: &'static str,
    ) -> Result<(), JobError> {
        self.update_meta(id, |meta| {
            refuse_unless(&meta.summary, JobState::Running, otherwise)?;
            meta.orders.push(order.clone());
            meta.history.push(order.clone());
            Ok(None)
        })
        .await
    }

    /// Takes back what a job did that has ended, also where it succeeded: every step that has an
    /// undo, in reverse order. The job's cause names the steps that have none. It ends cancelled.
    ///
    /// # Errors
    /// [`JobError::State`] where the job has not ended, is stuck or too old, [`JobError::Busy`] where
    /// another job of the subject has not ended, [`JobError::NoReason`].
    pub async fn undo(&self, id: JobId, reason: &str, actor: &str) -> Result<(), JobError> {
        let event = self.reasoned(JobAction::Undo, actor, reason)?;
        let loaded = load(self.shared.store.as_ref(), id).await?;
        let stays: Vec<&str> = loaded
            .records
            .iter()
            .filter(|r| r.state == StepState::Succeeded && r.attempts > 0 && r.step.undo.is_none())
            .map(|record| record.step.name.as_str())
            .collect();
        let mut cause = format!("taken back by {actor}: {reason}");
        match stays.as_slice() {
            [] => {}
            few if few.len() <= 5 => {
                cause = format!("{cause}; stays, for it has no undo: {}", few.join(", "));
            }
            [first, rest @ ..] => {
                let more = rest.len();
                cause = format!("{cause}; stays, for it has no undo: {first} and {more} more");
            }
        }
        self.refuse_busy_unless_running(&loaded.meta).await?;
        self.update_meta(id, |meta| {
            let why = match meta.summary.state {
                JobState::Running | JobState::Undoing => "it has not ended: cancel it",
                JobState::Stuck => "a step could not be taken back: a person must look",
                _ if meta.summary.forgotten => "it is so old that its steps are no longer kept",
                _ => {
                    let summary = &mut meta.summary;
                    (summary.state, summary.ended_at) = (JobState::Undoing, None);
                    summary.cause.clone_from(&cause);
                    summary.plan += 1;
                    (meta.cancel, meta.whole) = (Some(event.clone()), true);
                    meta.history.push(event.clone());
                    return Ok(Some(taken_up(meta)));
                }
            };
            Err(state_error(&meta.summary, why))
        })
        .await
    }

    /// A job that has not succeeded runs again: all of it, or without the step that the event waives.
    async fn begin_again(&self, id: JobId, event: &JobEvent) -> Result<u64, JobError> {
        let (meta, _) = load_meta(self.shared.store.as_ref(), id).await?;
        self.refuse_busy_unless_running(&meta).await?;
        self.update_meta(id, |meta| {
            let summary = &mut meta.summary;
            if !summary.state.is_final() || summary.state == JobState::Succeeded {
                return Err(state_error(
                    summary,
                    "only a failed, cancelled or stuck job can be retried",
                ));
            }
            if summary.forgotten {
                let why = "it is so old that its steps are no longer kept";
                return Err(state_error(summary, why));
            }
            summary.state = JobState::Running;
            summary.plan += 1;
            summary.ended_at = None;
            summary.cause.clear();
            (meta.cancel, meta.resume, meta.whole) = (None, true, false);
            meta.orders
                .extend(event.step.is_some().then(|| event.clone()));
            meta.history.push(event.clone());
            Ok(Some(taken_up(meta)))
        })
        .await?;
        let (meta, _) = load_meta(self.shared.store.as_ref(), id).await?;
        Ok(meta.summary.plan)
    }

    async fn refuse_busy_unless_running(&self, meta: &Meta) -> Result<(), JobError> {
        if meta.summary.state.is_final() {
            self.refuse_busy(&meta.summary.subject).await?;
        }
        Ok(())
    }

    async fn refuse_unless_step(
        &self,
        id: JobId,
        step: &str,
        allowed: &[StepState],
    ) -> Result<(), JobError> {
        let loaded = load(self.shared.store.as_ref(), id).await?;
        let found = loaded.records.iter().find(|r| r.step.name == step);
        let why = match found {
            None => "the job has no such step",
            Some(record) if record.dropped => "the job's plan no longer has it",
            Some(record) if record.waived.is_some() => "it is skipped already",
            Some(record) if !allowed.contains(&record.state) => "it has not failed",
            Some(_) => return Ok(()),
        };
        let step = step.to_owned();
        Err(JobError::Step { job: id, step, why })
    }

    async fn update_meta(
        &self,
        id: JobId,
        change: impl Fn(&mut Meta) -> Result<Aside, JobError>,
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

    pub(crate) fn event(&self, action: JobAction, actor: &str, reason: &str) -> JobEvent {
        let at = self.shared.settings.clock.now();
        JobEvent {
            at,
            actor: actor.to_owned(),
            action,
            step: None,
            reason: reason.to_owned(),
        }
    }

    /// The same, with a reason.
    pub(crate) fn reasoned(
        &self,
        action: JobAction,
        actor: &str,
        reason: &str,
    ) -> Result<JobEvent, JobError> {
        if reason.trim().is_empty() {
            return Err(JobError::NoReason);
        }
        Ok(self.event(action, actor, reason))
    }

    fn order(
        &self,
        action: JobAction,
        step: &str,
        actor: &str,
        reason: &str,
    ) -> Result<JobEvent, JobError> {
        Ok(JobEvent {
            step: Some(step.to_owned()),
            ..self.reasoned(action, actor, reason)?
        })
    }
}

/// That the job is the unfinished one of its subject again.
fn taken_up(meta: &Meta) -> (Guard, Operation) {
    let subject = subject_key(&meta.summary.subject);
    let id = meta.summary.id.to_string();
    (
        Guard::Absent(subject.clone().into()),
        Operation::put(subject, id),
    )
}

impl Shared {
    /// Tells jobs that wait for slots to look again.
    pub fn tell_freed(&self) {
        self.freed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What a step that waits does when it cannot read or write: it waits a little and tries again.
    /// Where the job is another engine's now, or the store is closed, it waits until it is dropped.
    pub async fn bear(&self, error: JobError) {
        let over = match &error {
            JobError::Store(StoreError::Closed) => true,
            JobError::Store(StoreError::Refused { guard, .. }) => matches!(guard, Guard::Value(..)),
            _ => false,
        };
        if over {
            return std::future::pending().await;
        }
        if !matches!(&error, JobError::Store(error) if error.is_refused()) {
            tracing::warn!(%error, "a step that waits cannot go on; trying again");
            let clock = &self.settings.clock;
            let now = clock.now();
            clock
                .sleep_until(now.checked_add(PAUSE).unwrap_or(now))
                .await;
        }
    }
}
