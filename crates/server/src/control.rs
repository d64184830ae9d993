//! Site control: from files to a plan to a job, and what happens when the world changes under it.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use wright_fleet::Fleet;
use wright_inventory::{Event, Inventory, InventoryError};
use wright_model::{Diagnostic, Digest, Host, HostState, InstanceId, InstanceRecord, Name};
use wright_site::{Bundle, Desired, Explanation, Observed, Plan, Report, SiteStatus};
use wright_store::{SharedStore, StoreError};
use wright_workflow::{
    Amendment, Engine, JobError, JobFilter, JobId, JobSpec, JobState, JobSummary, JobView,
};

use crate::{
    api::{UpAnswer, UpRequest},
    library::Library,
    records::{self, SiteRecord, kind},
    secrets::{Vault, VaultError},
};

/// Plans sites and starts the jobs that change them.
pub struct Control {
    /// The store.
    pub store: SharedStore,
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// The package store.
    pub library: Arc<Library>,
    /// The secrets.
    pub vault: Arc<Vault>,
    /// The job engine.
    pub engine: Engine,
    /// The agents.
    pub fleet: Fleet,
    /// One plan at a time goes from observation to job, so that no two take the same port.
    planning: Mutex<()>,
}

/// What the planner needs to make a job's plan anew.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanContext {
    /// What the site shall be.
    pub bundle: Bundle,
    /// The instances as they were recorded when the job began.
    pub before: BTreeMap<Name, InstanceRecord>,
}

/// Why a site was not planned or changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// What was sent is wrong, or cannot be placed. Nothing was changed.
    #[error("{title}")]
    Findings {
        /// What is wrong, in one line.
        title: String,
        /// Each finding.
        diagnostics: Vec<Diagnostic>,
    },
    /// A job of this site runs.
    #[error("job {0} is changing this site; wait for it (`wright job watch {0}`) or cancel it")]
    Busy(JobId),
    /// The plan that was shown is no longer the plan.
    #[error("what is to be done has changed since the plan was shown: plan again")]
    Stale,
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// The inventory failed.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret could not be made.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The job engine refused.
    #[error(transparent)]
    Workflow(JobError),
    /// A value could not be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<JobError> for ControlError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Busy { other, .. } => ControlError::Busy(other),
            error => ControlError::Workflow(error),
        }
    }
}

fn findings(title: impl Into<String>) -> impl FnOnce(Vec<Diagnostic>) -> ControlError {
    let title = title.into();
    move |diagnostics| ControlError::Findings { title, diagnostics }
}

impl Control {
    /// Ties the rooms together.
    pub fn new(
        store: SharedStore,
        inventory: Arc<Inventory>,
        library: Arc<Library>,
        vault: Arc<Vault>,
        engine: Engine,
        fleet: Fleet,
    ) -> Self {
        Control {
            store,
            inventory,
            library,
            vault,
            engine,
            fleet,
            planning: Mutex::new(()),
        }
    }

    /// What `up` would do now. Changes nothing.
    ///
    /// # Errors
    /// Findings in the files, or what cannot be placed.
    pub async fn plan(&self, bundle: &Bundle) -> Result<Plan, ControlError> {
        Ok(self.plan_now(bundle).await?.1)
    }

    async fn plan_now(
        &self,
        bundle: &Bundle,
    ) -> Result<(Desired, Plan, BTreeMap<Name, InstanceRecord>), ControlError> {
        let desired = self.resolve(bundle).await?;
        let observed = self.observe(&desired.site).await?;
        let before = observed.records.clone();
        let plan = self.checked_plan(&desired, &observed).await?;
        Ok((desired, plan, before))
    }

    async fn resolve(&self, bundle: &Bundle) -> Result<Desired, ControlError> {
        let shelf = self.library.shelf().await?;
        wright_site::resolve(bundle, &shelf).map_err(findings("the site's files are not right"))
    }

    async fn checked_plan(
        &self,
        desired: &Desired,
        observed: &Observed,
    ) -> Result<Plan, ControlError> {
        let parent = records::site(&self.inventory, &desired.site)
            .await?
            .map_or(0, |site| site.plan);
        let plan = wright_site::plan(desired, observed, parent)
            .map_err(findings(format!("site {} cannot be planned", desired.site)))?;
        let broken = wright_site::lint(&plan);
        if broken.is_empty() {
            Ok(plan)
        } else {
            Err(ControlError::Findings {
                title: format!("the plan of site {} breaks an invariant", desired.site),
                diagnostics: broken,
            })
        }
    }

    /// The world as the planner sees it, for one site.
    async fn observe(&self, site: &Name) -> Result<Observed, ControlError> {
        let known = records::site(&self.inventory, site).await?;
        let mut observed = Observed {
            hosts: records::hosts(&self.inventory).await?,
            apps: known.map(|known| known.apps).unwrap_or_default(),
            ..Observed::default()
        };
        for record in records::instances(&self.inventory).await? {
            if record.spec.id.site == *site {
                observed.records.insert(record.spec.id.name.clone(), record);
            } else {
                observed.others.push(record.spec);
            }
        }
        // What other sites' jobs are about to install is taken, too.
        for job in self.unfinished().await? {
            if job.subject == subject(site) {
                continue;
            }
            let view = self.engine.show(job.id).await?;
            for record in view
                .steps
                .iter()
                .filter(|record| record.step.verb == "install" && !record.dropped)
            {
                let digest = record
                    .step
                    .input
                    .get("spec")
                    .and_then(|digest| digest.as_str()?.parse::<Digest>().ok());
                if let Some(spec) = match digest {
                    Some(digest) => records::spec(&self.store, digest).await?,
                    None => None,
                } && !observed.others.iter().any(|other| other.id == spec.id)
                {
                    observed.others.push(spec);
                }
            }
        }
        Ok(observed)
    }

    /// Builds a site, or changes it to what its files say.
    ///
    /// # Errors
    /// Findings, a job that already runs, a plan that is no longer the one shown.
    pub async fn up(
        self: &Arc<Self>,
        request: UpRequest,
        actor: &str,
    ) -> Result<UpAnswer, ControlError> {
        let _one = self.planning.lock().await;
        let (desired, plan, before) = self.plan_now(&request.bundle).await?;
        if request.plan.is_some_and(|shown| shown != plan.digest) {
            return Err(ControlError::Stale);
        }
        if let Some(job) = self.running(&desired.site).await? {
            return Err(ControlError::Busy(job));
        }
        if plan.is_empty() {
            return Ok(UpAnswer { job: None, plan });
        }
        let title = if before.is_empty() {
            format!("build {}", desired.site)
        } else {
            format!("change {}", desired.site)
        };
        let job = self
            .carry_out(
                &desired,
                &plan,
                request.bundle,
                before,
                "site-up",
                title,
                actor,
            )
            .await?;
        Ok(UpAnswer {
            job: Some(job),
            plan,
        })
    }

    #[allow(clippy::too_many_arguments)]
    async fn carry_out(
        self: &Arc<Self>,
        desired: &Desired,
        plan: &Plan,
        bundle: Bundle,
        before: BTreeMap<Name, InstanceRecord>,
        kind: &str,
        title: String,
        actor: &str,
    ) -> Result<JobId, ControlError> {
        let site = &desired.site;
        self.vault.ensure(site, &desired.secrets()).await?;
        self.keep_specs(plan, &before).await?;
        self.forget_instances(plan).await?;
        let context = PlanContext {
            bundle: bundle.clone(),
            before,
        };
        let job = self
            .engine
            .submit(JobSpec {
                kind: kind.to_owned(),
                subject: subject(site),
                title,
                actor: actor.to_owned(),
                context: serde_json::to_value(&context)?,
                steps: plan.steps.clone(),
            })
            .await?;
        self.follow(job);
        let served = records::site(&self.inventory, site)
            .await?
            .is_some_and(|site| site.served);
        let record = SiteRecord {
            bundle,
            job: Some(job),
            plan: plan.parent + 1,
            apps: plan.apps.clone(),
            going: false,
            served,
        };
        self.inventory
            .put_as(kind::SITE, site.as_str(), &record)
            .await?;
        self.event(
            actor,
            kind,
            site,
            &format!("job {job}: {} steps", plan.steps.len()),
        )
        .await?;
        Ok(job)
    }

    /// Specifications that steps of a plan, or their undoing, will ask for.
    async fn keep_specs(
        &self,
        plan: &Plan,
        before: &BTreeMap<Name, InstanceRecord>,
    ) -> Result<(), ControlError> {
        let planned = plan.instances.values().map(|planned| &planned.spec);
        let former = before.values().map(|record| &record.spec);
        Ok(records::put_specs(&self.store, planned.chain(former)).await?)
    }

    /// Takes a site down.
    ///
    /// # Errors
    /// Where there is no such site, or a job of it runs.
    pub async fn down(
        self: &Arc<Self>,
        site: &Name,
        actor: &str,
    ) -> Result<UpAnswer, ControlError> {
        let _one = self.planning.lock().await;
        let record = records::site(&self.inventory, site).await?;
        let mut record = record.ok_or_else(|| ControlError::NotFound(format!("site {site}")))?;
        if let Some(job) = self.running(site).await? {
            return Err(ControlError::Busy(job));
        }
        let observed = self.observe(site).await?;
        let plan = wright_site::plan_down(site, &observed, record.plan);
        if plan.steps.is_empty() {
            self.forget(site).await?;
            return Ok(UpAnswer { job: None, plan });
        }
        self.forget_instances(&plan).await?;
        let context = PlanContext {
            bundle: record.bundle.clone(),
            before: observed.records,
        };
        let job = self
            .engine
            .submit(JobSpec {
                kind: "site-down".to_owned(),
                subject: subject(site),
                title: format!("take down {site}"),
                actor: actor.to_owned(),
                context: serde_json::to_value(&context)?,
                steps: plan.steps.clone(),
            })
            .await?;
        self.follow(job);
        (record.job, record.going, record.plan) = (Some(job), true, record.plan + 1);
        self.inventory
            .put_as(kind::SITE, site.as_str(), &record)
            .await?;
        self.event(
            actor,
            "site-down",
            site,
            &format!("job {job}: {} steps", plan.steps.len()),
        )
        .await?;
        Ok(UpAnswer {
            job: Some(job),
            plan,
        })
    }

    /// Follows jobs to their end and hosts to theirs, until `shutdown`.
    pub async fn run(
        self: Arc<Self>,
        mut died: mpsc::UnboundedReceiver<Name>,
        shutdown: CancellationToken,
    ) {
        match self.unfinished().await {
            Ok(jobs) => jobs.into_iter().for_each(|job| self.follow(job.id)),
            Err(error) => tracing::error!(%error, "unfinished jobs cannot be read"),
        }
        loop {
            let done = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(host) = died.recv() => self.host_died(&host).await,
            };
            if let Err(error) = done {
                tracing::error!(%error, "site control could not follow");
            }
        }
    }

    /// Sees to what follows from a job's end when it comes.
    fn follow(self: &Arc<Self>, job: JobId) {
        let control = Arc::downgrade(self);
        let engine = self.engine.clone();
        tokio::spawn(async move {
            let ended = async {
                let mut watch = engine.watch(job).await?;
                while watch.next().await.transpose()?.is_some() {}
                match control.upgrade() {
                    Some(control) => control.job_ended(job).await,
                    None => Ok(()),
                }
            };
            if let Err(error) = ended.await {
                tracing::error!(%job, %error, "a job's end could not be followed");
            }
        });
    }

    /// What follows from a job's end: a site that is gone is forgotten, one that is up has served.
    async fn job_ended(&self, job: JobId) -> Result<(), ControlError> {
        let view = self.engine.show(job).await?.summary;
        let Some(site) = view
            .subject
            .strip_prefix("site/")
            .and_then(|site| site.parse::<Name>().ok())
        else {
            return Ok(());
        };
        let word = format!("{:?}", view.state).to_lowercase();
        let message = if view.cause.is_empty() {
            word.clone()
        } else {
            format!("{word}: {}", view.cause)
        };
        self.event(
            "wright",
            &format!("job-{word}"),
            &site,
            &format!("{}: {message}", view.title),
        )
        .await?;
        match (view.kind.as_str(), view.state) {
            ("site-down", JobState::Succeeded) => self.forget(&site).await,
            (_, JobState::Succeeded) => {
                let Some(mut record) = records::site(&self.inventory, &site).await? else {
                    return Ok(());
                };
                record.served = true;
                Ok(self
                    .inventory
                    .put_as(kind::SITE, site.as_str(), &record)
                    .await
                    .map(|_| ())?)
            }
            _ => Ok(()),
        }
    }

    async fn forget(&self, site: &Name) -> Result<(), ControlError> {
        self.vault.forget(site).await?;
        Ok(self.inventory.delete(kind::SITE, site.as_str()).await?)
    }

    /// Moves what ran, or was to run, on a host that was given up.
    async fn host_died(self: &Arc<Self>, host: &Name) -> Result<(), ControlError> {
        let _one = self.planning.lock().await;
        let sites: Vec<(String, SiteRecord)> = self.inventory.list_named_as(kind::SITE).await?;
        for (name, record) in sites {
            let Ok(site) = name.parse::<Name>() else {
                continue;
            };
            let done = match self.running(&site).await? {
                Some(job) => self.amend(job, host).await,
                None if record.going => Ok(()),
                None => self.repair(&site, record.bundle, host).await,
            };
            if let Err(error) = done {
                let message = match &error {
                    ControlError::Findings { title, diagnostics } => {
                        let each: Vec<String> = diagnostics
                            .iter()
                            .map(|finding| finding.message.clone())
                            .collect();
                        format!("{title}: {}", each.join("; "))
                    }
                    other => other.to_string(),
                };
                self.event(
                    "wright",
                    "site-not-repaired",
                    &site,
                    &format!("host {host} died: {message}"),
                )
                .await?;
            }
        }
        Ok(())
    }

    /// Gives a running job a new plan without the dead host.
    async fn amend(&self, job: JobId, host: &Name) -> Result<(), ControlError> {
        let view = self.engine.show(job).await?;
        let touched = view
            .steps
            .iter()
            .any(|record| record.step.target.as_deref() == Some(host.as_str()));
        let context: PlanContext = serde_json::from_value(view.context.clone())?;
        let lived = context
            .before
            .values()
            .any(|record| record.spec.host == *host);
        if !touched && !lived {
            return Ok(());
        }
        let gone: Vec<String> = gone_scopes(&view, host);
        if view.summary.kind == "site-down" {
            // What was on a dead host is gone: its steps are dropped, the records with them.
            let kept = view
                .steps
                .iter()
                .filter(|record| !record.dropped)
                .map(|record| record.step.clone());
            let steps = wright_site::without_host(kept.collect(), host);
            self.replace_plan(&view, steps, gone, host).await?;
            return self.forget_records(host).await;
        }
        let desired = self.resolve(&context.bundle).await?;
        let mut observed = self.observe(&desired.site).await?;
        let dead: Vec<Name> = observed
            .hosts
            .iter()
            .filter(|host| host.state == HostState::Dead)
            .map(|host| host.name.clone())
            .collect();
        observed.records.clone_from(&context.before);
        observed.pins = pins(&view, &context);
        observed.pins.retain(|_, pinned| !dead.contains(pinned));
        let plan = match self.checked_plan(&desired, &observed).await {
            Ok(plan) => plan,
            Err(error) => {
                let reason = format!(
                    "host {host} died and the rest cannot take its instances: {}",
                    one_line(&error)
                );
                self.engine.cancel(job, &reason, "wright").await?;
                return Err(error);
            }
        };
        self.vault.ensure(&desired.site, &desired.secrets()).await?;
        self.keep_specs(&plan, &context.before).await?;
        self.forget_instances(&plan).await?;
        let number = self.replace_plan(&view, plan.steps, gone, host).await?;
        let message = format!("host {host} died: job {job} goes on with plan {number}");
        self.event("wright", "site-replanned", &desired.site, &message)
            .await
    }

    async fn replace_plan(
        &self,
        view: &JobView,
        steps: Vec<wright_workflow::Step>,
        abandon_scopes: Vec<String>,
        host: &Name,
    ) -> Result<u64, ControlError> {
        let reason = format!("host {host} died");
        let amendment = Amendment {
            steps,
            abandon_scopes,
            actor: "wright".to_owned(),
            reason,
        };
        Ok(self
            .engine
            .amend(view.summary.id, view.summary.plan, amendment)
            .await?)
    }

    async fn unfinished(&self) -> Result<Vec<JobSummary>, JobError> {
        self.engine
            .list(
                0,
                &JobFilter {
                    unfinished: Some(true),
                    ..JobFilter::default()
                },
            )
            .await
    }

    /// Starts a job that sets up elsewhere what ran on the dead host.
    async fn repair(
        self: &Arc<Self>,
        site: &Name,
        bundle: Bundle,
        host: &Name,
    ) -> Result<(), ControlError> {
        let (desired, plan, before) = self.plan_now(&bundle).await?;
        if plan.steps.is_empty() || !before.values().any(|record| record.spec.host == *host) {
            return Ok(());
        }
        let title = format!("repair {site} after the death of {host}");
        self.carry_out(
            &desired,
            &plan,
            bundle,
            before,
            "site-repair",
            title,
            "wright",
        )
        .await
        .map(|_| ())
    }

    /// Removes the records of instances whose host is gone for good and that nobody replaces.
    async fn forget_instances(&self, plan: &Plan) -> Result<(), ControlError> {
        for name in &plan.forget {
            let id = InstanceId {
                site: plan.site.clone(),
                name: name.clone(),
            };
            self.store
                .commit(Vec::new(), records::delete_instance(&id))
                .await?;
        }
        Ok(())
    }

    async fn forget_records(&self, host: &Name) -> Result<(), ControlError> {
        for record in records::instances(&self.inventory).await? {
            if record.spec.host == *host {
                self.store
                    .commit(Vec::new(), records::delete_instance(&record.spec.id))
                    .await?;
            }
        }
        Ok(())
    }

    /// The unfinished job of a site.
    async fn running(&self, site: &Name) -> Result<Option<JobId>, ControlError> {
        let subject = subject(site);
        let unfinished = self.unfinished().await?;
        Ok(unfinished
            .into_iter()
            .find(|job| job.subject == subject)
            .map(|job| job.id))
    }

    /// The last job of a site with its steps.
    async fn last_job(&self, record: &SiteRecord) -> Result<Option<JobView>, ControlError> {
        match record.job {
            Some(job) => Ok(Some(self.engine.show(job).await?)),
            None => Ok(None),
        }
    }

    /// What a site is, or is becoming: the desired state as recorded, its last job and its hosts.
    async fn picture(&self, site: &Name) -> Result<Picture, ControlError> {
        let record = records::site(&self.inventory, site).await?;
        let record = record.ok_or_else(|| ControlError::NotFound(format!("site {site}")))?;
        let job = self.last_job(&record).await?;
        let observed = self.observe(site).await?;
        Ok(Picture {
            job,
            hosts: observed.hosts,
            records: observed.records,
        })
    }

    /// A tree of apps and instances.
    ///
    /// # Errors
    /// Where there is no such site.
    pub async fn status(&self, site: &Name) -> Result<SiteStatus, ControlError> {
        let picture = self.picture(site).await?;
        let statuses = self.fleet.statuses();
        Ok(wright_site::status(
            site,
            picture.job.as_ref(),
            &picture.records,
            &statuses,
            &picture.hosts,
        ))
    }

    /// Why instances do not run.
    ///
    /// # Errors
    /// Where there is no such site or instance.
    pub async fn explain(
        &self,
        site: &Name,
        instance: Option<&Name>,
    ) -> Result<Vec<Explanation>, ControlError> {
        let picture = self.picture(site).await?;
        let statuses = self.fleet.statuses();
        let mut all = wright_site::explain(
            site,
            picture.job.as_ref(),
            &picture.records,
            &statuses,
            &picture.hosts,
        );
        if let Some(instance) = instance {
            all.retain(|explanation| explanation.instance == *instance);
            if all.is_empty() {
                return Err(ControlError::NotFound(format!(
                    "instance {site}/{instance}"
                )));
            }
        }
        Ok(all)
    }

    /// The report of a site's last job.
    ///
    /// # Errors
    /// Where there is no such site, or nothing was ever done for it.
    pub async fn report(&self, site: &Name) -> Result<Report, ControlError> {
        let record = records::site(&self.inventory, site).await?;
        let record = record.ok_or_else(|| ControlError::NotFound(format!("site {site}")))?;
        let job = self.last_job(&record).await?;
        let job = job.ok_or_else(|| ControlError::NotFound(format!("job of site {site}")))?;
        let topology = self
            .resolve(&record.bundle)
            .await
            .ok()
            .map(|desired| wright_site::graph::topology(&desired));
        Ok(Report::new(&job, topology))
    }

    async fn event(
        &self,
        actor: &str,
        kind: &str,
        site: &Name,
        message: &str,
    ) -> Result<(), ControlError> {
        Ok(self
            .inventory
            .record(&Event::new(actor, kind, &format!("site/{site}"), message))
            .await?)
    }
}

/// Where the newest plan of a job has every instance.
fn pins(view: &JobView, context: &PlanContext) -> BTreeMap<Name, Name> {
    let recorded = context
        .before
        .iter()
        .map(|(name, record)| (name.clone(), record.spec.host.clone()));
    let mut pins: BTreeMap<Name, Name> = recorded.collect();
    for record in view
        .steps
        .iter()
        .filter(|record| !record.dropped && record.step.verb == "install")
    {
        let input = &record.step.input;
        let instance = input["instance"]
            .as_str()
            .and_then(|id| id.parse::<InstanceId>().ok());
        let host = input["host"]
            .as_str()
            .and_then(|host| host.parse::<Name>().ok());
        pins.extend(instance.map(|id| id.name).zip(host));
    }
    pins
}

struct Picture {
    job: Option<JobView>,
    hosts: Vec<Host>,
    records: BTreeMap<Name, InstanceRecord>,
}

fn subject(site: &Name) -> String {
    format!("site/{site}")
}

fn one_line(error: &ControlError) -> String {
    match error {
        ControlError::Findings { diagnostics, .. } => diagnostics
            .iter()
            .map(|finding| finding.message.as_str())
            .collect::<Vec<_>>()
            .join("; "),
        error => error.to_string(),
    }
}

/// Scopes of which a step acts on the dead host: nothing there can be undone.
fn gone_scopes(view: &JobView, host: &Name) -> Vec<String> {
    let mut gone: Vec<String> = view
        .steps
        .iter()
        .filter(|record| record.step.target.as_deref() == Some(host.as_str()))
        .map(|record| record.step.scope.clone())
        .collect();
    gone.sort();
    gone.dedup();
    gone
}
