use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wright_model::Span;
use wright_store::{Guard, Operation, Range, Revision, Watch};

use crate::attempt::{Attempt, End, Ended};
use crate::ended::EndedJob;
use crate::engine::{Engine, Shared};
use crate::kept::Ask;
use crate::plan::{JOB, WAIT};
use crate::records::{
    Commit, Loaded, Meta, Turn, from_json, load, load_fresh, load_plan, meta_guard, meta_key,
    owner_key, put_json, subject_key,
};
use crate::run::Claim;
use crate::subjob::Submitting;
use crate::wait::Waiting;
use crate::walk::{Decisions, JobChange, Slots, Standing, Start, Walk};
use crate::{Before, JobAction, JobError, JobEvent, JobId, JobOutline, JobState, Verb};

/// Walks one job that this engine owns: events into the walk, its decisions into the store and then
/// into the world. Dropping it ends all attempts and changes no record.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    id: JobId,
    claim: Claim,
    meta: Meta,
    meta_revision: Revision,
    /// The number of the log's next entry.
    next_entry: u64,
    metas: Watch,
    walk: Walk,
    attempts: JoinSet<()>,
    ended: mpsc::UnboundedReceiver<Ended>,
    tells: mpsc::UnboundedSender<Ended>,
    tokens: HashMap<usize, CancellationToken>,
    freed: watch::Receiver<u64>,
    asks: mpsc::UnboundedReceiver<Ask>,
    /// The revision at which the store says what the walk's records say.
    revision: Revision,
    /// Whether the records are no longer in the plan's order.
    replanned: bool,
}

impl Driver {
    /// Takes a job up from its records. `None` where it has ended.
    pub async fn load(
        shared: Arc<Shared>,
        id: JobId,
        claim: Claim,
    ) -> Result<Option<Self>, JobError> {
        // Before the job is no longer fresh: who asks for it waits.
        let asks = shared.walked.begin(id);
        let loaded = Self::load_asked(shared.clone(), id, claim, asks).await;
        if !matches!(loaded, Ok(Some(_))) {
            shared.walked.end(id);
        }
        loaded
    }

    async fn load_asked(
        shared: Arc<Shared>,
        id: JobId,
        claim: Claim,
        asks: mpsc::UnboundedReceiver<Ask>,
    ) -> Result<Option<Self>, JobError> {
        let store = shared.store.as_ref();
        let Loaded {
            meta,
            meta_revision,
            revision,
            records,
            next_entry,
            ..
        } = match shared.take_fresh(id) {
            Some(fresh) => load_fresh(store, id, fresh).await?,
            None => load(store, id).await?,
        };
        if meta.summary.state.is_final() {
            return Ok(None);
        }
        let metas = shared
            .store
            .watch(Range::key(meta_key(id)), revision)
            .await?;
        let standing = Standing {
            undoing: (meta.summary.state == JobState::Undoing).then(|| meta.summary.cause.clone()),
            cancelled: meta.cancel.as_ref().map(cancel_cause),
            resume: meta.resume,
            paused: meta.summary.paused.is_some(),
            whole: meta.whole,
            orders: meta.orders.clone(),
            tenant: meta.summary.tenant.clone(),
            verbs: shared.verbs.clone(),
        };
        let now = shared.settings.clock.now();
        let mut walk = Walk::new(records, meta.summary.created_at, standing, now);
        let freed = shared.freed.subscribe();
        walk.resume(&mut lock(&shared));
        tracing::debug!(job = %id, steps = walk.records().len(), "the job is taken up");
        let (attempts, tokens) = (JoinSet::new(), HashMap::new());
        let (tells, ended) = mpsc::unbounded_channel();
        let driver = Driver {
            shared,
            id,
            claim,
            meta,
            meta_revision,
            next_entry,
            metas,
            walk,
            attempts,
            ended,
            tells,
            tokens,
            freed,
            asks,
            revision,
            replanned: false,
        };
        Ok(Some(driver))
    }

    /// Walks the job to its end.
    pub async fn run(mut self) -> Result<(), JobError> {
        let mut ended = HashMap::new();
        loop {
            while self.advance(&mut ended).await? {}
            if self.meta.summary.state.is_final() {
                self.hand_over();
                return Ok(());
            }
            self.next_events(&mut ended).await?;
        }
    }

    /// Leaves the steps, which change no more, to whoever looks at the job next.
    fn hand_over(&mut self) {
        if !self.replanned {
            let records = self.walk.end(&mut lock(&self.shared));
            self.shared.keep_ended(EndedJob {
                id: self.id,
                meta_revision: self.meta_revision,
                records,
            });
        }
    }

    /// Waits for something to happen and tells the walk all that has.
    async fn next_events(
        &mut self,
        outcomes: &mut HashMap<usize, Vec<Operation>>,
    ) -> Result<(), JobError> {
        let clock = self.shared.settings.clock.clone();
        let wake_at = self.walk.wake_at();
        let waits_for_slot = self.walk.waits_for_slot();
        tokio::select! {
            Some(ended) = self.ended.recv() => {
                self.take_ended(ended, outcomes);
                while let Ok(ended) = self.ended.try_recv() {
                    self.take_ended(ended, outcomes);
                }
                while self.attempts.try_join_next().is_some() {}
            }
            () = sleep_until(&clock, wake_at), if wake_at.is_some() => {}
            _ = self.freed.changed(), if waits_for_slot => {}
            Some(ask) = self.asks.recv() => {
                // Everything that was decided is written: that was done before anything is waited for.
                if !self.replanned {
                    let records = self.walk.records();
                    let outline = JobOutline::of_records(&self.meta.summary, &records);
                    let _ = ask.send((outline, self.revision));
                }
            }
            changes = self.metas.next() => match changes {
                None => return Err(wright_store::StoreError::Closed.into()),
                Some(changes) => {
                    for change in changes? {
                        if let Some(after) = change.after && after.modified > self.meta_revision {
                            let meta = from_json(&after.key, &after.value)?;
                            self.take_meta(meta, after.modified).await?;
                        }
                    }
                }
            }
        }
        self.walk.tick(self.shared.settings.clock.now());
        Ok(())
    }

    fn take_ended(&mut self, (index, end): Ended, outcomes: &mut HashMap<usize, Vec<Operation>>) {
        self.tokens.remove(&index);
        let now = self.shared.settings.clock.now();
        let result = match end {
            End::Done(result) => result,
            End::Recalled { spared } => {
                let mut slots = lock(&self.shared);
                return self.walk.recalled(index, spared, now, &mut slots);
            }
        };
        let facts = self.walk.records_facts(index);
        let result = result.map(|outcome| {
            if facts && !outcome.writes.is_empty() {
                outcomes.insert(index, outcome.writes);
            }
            outcome.output
        });
        self.walk.ended(index, result, now, &mut lock(&self.shared));
    }

    /// Somebody amended, paused or cancelled the job, or gave an order about a step.
    async fn take_meta(&mut self, meta: Meta, revision: Revision) -> Result<(), JobError> {
        let now = self.shared.settings.clock.now();
        if meta.plan_key != self.meta.plan_key {
            let plan = load_plan(self.shared.store.as_ref(), self.id, meta.plan_key).await?;
            if plan.is_empty() {
                // Replaced once more meanwhile: that change comes next, with its own plan. Until
                // then the old plan stands.
                let (meta, revision) = (
                    Meta {
                        plan_key: self.meta.plan_key,
                        ..meta
                    },
                    revision,
                );
                (self.meta, self.meta_revision) = (meta, revision);
                return Ok(());
            }
            self.walk.replan(plan, now);
            self.replanned = true;
        }
        self.walk.pause(meta.summary.paused.is_some());
        for order in &meta.orders {
            self.walk.obey(order, now);
        }
        if let Some(event) = &meta.cancel {
            self.walk.cancel(cancel_cause(event), now);
        }
        (self.meta, self.meta_revision) = (meta, revision);
        Ok(())
    }

    /// Decides, writes, acts. Whether there was anything to do.
    async fn advance(
        &mut self,
        outcomes: &mut HashMap<usize, Vec<Operation>>,
    ) -> Result<bool, JobError> {
        let now = self.shared.settings.clock.now();
        let wants_less = self.walk.dispatch(now, &mut lock(&self.shared));
        let decisions = self.walk.take();
        if decisions.is_empty() && self.meta.orders.is_empty() {
            if wants_less {
                self.shared.tell_freed();
            }
            return Ok(false);
        }
        self.write(&decisions, outcomes, now).await?;
        for index in &decisions.cancel {
            if let Some(token) = self.tokens.get(index) {
                token.cancel();
            }
        }
        self.start(&decisions);
        // Other jobs may wait for what this one gave back.
        self.shared.tell_freed();
        self.freed.mark_unchanged();
        Ok(true)
    }

    async fn write(
        &mut self,
        decisions: &Decisions,
        outcomes: &mut HashMap<usize, Vec<Operation>>,
        now: Timestamp,
    ) -> Result<(), JobError> {
        let mut turn = Turn::new(self.id, self.next_entry);
        for &index in &decisions.changed {
            let writes = outcomes.remove(&index).unwrap_or_default();
            turn.add(self.walk.record(index), writes)?;
        }
        let meta = self.next_meta(decisions.job.as_ref(), now);
        let of_job = match &meta {
            Some(meta) => self.meta_operations(meta)?,
            None => Vec::new(),
        };
        let (commits, next_entry) = turn.commits(of_job);
        let last = commits.len().saturating_sub(1);
        for (n, Commit { operations, entry }) in commits.into_iter().enumerate() {
            let mut guards = vec![self.claim.guard.clone()];
            guards.extend(entry.map(|key| Guard::Absent(key.into())));
            let with_meta = n == last && meta.is_some();
            if with_meta {
                guards.push(meta_guard(self.id, self.meta_revision));
            }
            let revision = self.shared.store.commit(guards, operations).await?;
            self.revision = revision;
            if with_meta {
                self.meta_revision = revision;
            }
        }
        self.next_entry = next_entry;
        if let Some(meta) = meta {
            self.meta = meta;
        }
        Ok(())
    }

    fn next_meta(&self, change: Option<&JobChange>, now: Timestamp) -> Option<Meta> {
        if change.is_none() && !self.meta.resume && self.meta.orders.is_empty() {
            return None;
        }
        let mut meta = self.meta.clone();
        meta.resume = false;
        meta.orders.clear();
        if let Some(JobChange { state, cause }) = change {
            meta.summary.state = *state;
            meta.summary.cause = cause.clone();
            meta.summary.ended_at = state.is_final().then_some(now);
            meta.summary.paused = meta.summary.paused.filter(|_| !state.is_final());
        }
        Some(meta)
    }

    fn meta_operations(&self, meta: &Meta) -> Result<Vec<Operation>, JobError> {
        let mut operations = vec![put_json(meta_key(self.id), meta)?];
        if meta.summary.state.is_final() {
            operations.push(Operation::Delete(subject_key(&meta.summary.subject).into()));
            operations.push(Operation::Delete(owner_key(self.id).into()));
        }
        Ok(operations)
    }

    /// Starts attempts; those that follow each other in one task, so that their orders go out together.
    fn start(&mut self, decisions: &Decisions) {
        let led = decisions.start.iter().filter_map(|start| start.after);
        let led: HashSet<usize> = led.collect();
        let mut leaders: HashMap<usize, Before> = HashMap::new();
        let mut together = FuturesUnordered::new();
        // What is followed comes before what follows it.
        for start in &decisions.start {
            if start.after.is_none() && !together.is_empty() {
                self.attempts.spawn(std::mem::take(&mut together).collect());
            }
            let cancelled = decisions.cancel.contains(&start.index);
            let before = start.after.and_then(|after| leaders.get(&after).cloned());
            let mut attempt = self.attempt(*start, before, cancelled);
            if led.contains(&start.index) {
                let (tells, ended) = watch::channel(None);
                attempt.ended = Some(tells);
                let before = Before {
                    effect_key: attempt.effect_key(),
                    deadline: attempt.until,
                    ended,
                };
                leaders.insert(start.index, before);
            }
            together.push(attempt.tell(self.tells.clone()));
        }
        if !together.is_empty() {
            self.attempts.spawn(together.collect());
        }
    }

    fn attempt(&mut self, start: Start, before: Option<Before>, cancelled: bool) -> Attempt {
        let step = self.walk.record(start.index).step.clone();
        let verb = match &step.undo {
            Some(undo) if start.undo => &undo.verb,
            _ => &step.verb,
        };
        let verb =
            own_verb(&self.shared, verb, step.deadline).or_else(|| self.shared.verbs.get(verb));
        let cancel = CancellationToken::new();
        if cancelled {
            cancel.cancel();
        }
        self.tokens.insert(start.index, cancel.clone());
        let begins = before.as_ref().map_or_else(Instant::now, |it| it.deadline);
        Attempt {
            index: start.index,
            verb,
            injected: self.shared.injected(self.id, &step.name, start.undo),
            grace: self.shared.settings.grace,
            clock: self.shared.settings.clock.clone(),
            job: self.id,
            attempt: start.attempt,
            fence: self.claim.fence,
            undo: start.undo,
            cancel,
            until: begins + step.deadline.duration(),
            step,
            before,
            ended: None,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.walk.release_slots(&mut lock(&self.shared));
        self.shared.tell_freed();
        self.shared.walked.end(self.id);
    }
}

/// No code panics while it holds the slots; if one did, the counts are still whole.
fn lock(shared: &Shared) -> MutexGuard<'_, Slots> {
    shared.slots.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn sleep_until(clock: &Arc<dyn crate::Clock>, at: Option<Timestamp>) {
    if let Some(at) = at {
        clock.sleep_until(at).await;
    }
}

fn cancel_cause(event: &JobEvent) -> String {
    let what = match event.action {
        JobAction::Undo => "taken back",
        _ => "cancelled",
    };
    format!("{what} by {}: {}", event.actor, event.reason)
}

/// The engine's own verbs.
fn own_verb(shared: &Arc<Shared>, name: &str, deadline: Span) -> Option<Arc<dyn Verb>> {
    let engine = Engine {
        shared: shared.clone(),
    };
    match name {
        WAIT => Some(Arc::new(Waiting { engine, deadline })),
        JOB => Some(Arc::new(Submitting { engine, deadline })),
        _ => None,
    }
}
