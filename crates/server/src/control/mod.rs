//! Site control: from files to a plan to a job, and what happens when the world changes under it.

mod drafts;
mod end;
mod error;
mod repair;
mod stray;
mod view;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use wright_fleet::Fleet;
use wright_inventory::{Event, Inventory};
use wright_model::{Digest, HostState, InstanceRecord, Name};
use wright_site::{Bundle, Desired, Draft, Observed, Plan, PlanSummary, PlannedApp};
use wright_store::SharedStore;
use wright_workflow::{Engine, JobError, JobFilter, JobId, JobSpec, JobSummary};

pub use self::{drafts::Drafts, end::Lost, error::ControlError, stray::Stray};
use self::{drafts::Kept, error::findings};
use crate::{
    api::{UpAnswer, UpRequest},
    library::Library,
    members::Planning,
    records::{self, SiteRecord, Specs, kind},
    secrets::Vault,
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
    /// What instances shall run with.
    pub specs: Arc<Specs>,
    /// One plan at a time goes from observation to job, so that no two take the same port.
    pub planning: Planning,
    /// What is kept of the last plans.
    pub drafts: Drafts,
}

/// What the planner needs to make a job's plan anew.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanContext {
    /// What the site shall be.
    pub bundle: Digest,
    /// The instances as they were recorded when the job began.
    pub before: BTreeMap<Name, InstanceRecord>,
    /// The apps of the plan.
    pub apps: BTreeMap<Name, PlannedApp>,
}

/// The kind of a job that takes a site down.
const SITE_DOWN: &str = "site-down";

/// What a plan is carried out as.
struct Work<'a> {
    bundle: &'a Bundle,
    kind: &'a str,
    title: String,
    actor: &'a str,
}
impl Control {
    /// What `up` would do now, with every step. Changes nothing.
    ///
    /// # Errors
    /// Findings in the files, or what cannot be placed.
    pub async fn plan(&self, bundle: &Bundle) -> Result<Plan, ControlError> {
        self.look(bundle, |draft: &Draft<'_>| draft.whole()).await
    }

    /// What `up` would do now, as people are shown it. Changes nothing.
    ///
    /// # Errors
    /// See [`Control::plan`].
    pub async fn preview(&self, bundle: &Bundle) -> Result<PlanSummary, ControlError> {
        self.look(bundle, |draft: &Draft<'_>| draft.summary()).await
    }

    async fn look<T>(
        &self,
        bundle: &Bundle,
        look: impl FnOnce(&Draft<'_>) -> T,
    ) -> Result<T, ControlError> {
        let mut kept = self.drafts.of(bundle);
        let desired = self.resolve(bundle, &mut kept).await?;
        let observed = self.observe(&desired.site).await?;
        let draft = self.draft(&desired, &observed, &mut kept).await?;
        Ok(tokio::task::block_in_place(|| look(&draft)))
    }

    async fn resolve(&self, bundle: &Bundle, kept: &mut Kept<'_>) -> Result<Desired, ControlError> {
        let shelf = self.library.shelf().await?;
        let pieces = &mut kept.pieces;
        tokio::task::block_in_place(|| wright_site::resolve_with(bundle, &shelf, pieces))
            .map_err(findings("the site's files are not right"))
    }

    /// A plan that breaks no invariant.
    async fn draft<'a>(
        &self,
        desired: &'a Desired,
        observed: &'a Observed,
        kept: &mut Kept<'_>,
    ) -> Result<Draft<'a>, ControlError> {
        let parent = records::site(&self.inventory, &desired.site)
            .await?
            .map_or(0, |site| site.plan);
        let pieces = &mut kept.pieces;
        // A second for a large site: what else this thread has to do goes to others meanwhile.
        let (draft, broken) = tokio::task::block_in_place(|| {
            let draft = wright_site::draft(desired, observed, parent, pieces)?;
            let broken = draft.lint();
            Ok((draft, broken))
        })
        .map_err(findings(format!("site {} cannot be planned", desired.site)))?;
        if broken.is_empty() {
            Ok(draft)
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
            apps: records::apps(&self.store, known.as_ref()).await?,
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
                    Some(digest) => self.specs.get(digest).await?,
                    None => None,
                } && !observed.others.iter().any(|other| other.id == spec.id)
                {
                    observed.others.push(spec.as_ref().clone());
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
        let _one = self.planning.lock().await?;
        let mut kept = self.drafts.of(&request.bundle);
        let desired = self.resolve(&request.bundle, &mut kept).await?;
        let site = desired.site.clone();
        if let Some(job) = self.running(&site).await? {
            return Err(ControlError::Busy(job));
        }
        self.conclude(&site).await?;
        let observed = self.observe(&site).await?;
        let draft = self.draft(&desired, &observed, &mut kept).await?;
        if request.plan.is_some_and(|shown| shown != draft.digest()) {
            return Err(ControlError::Stale);
        }
        let plan = draft.summary();
        if draft.is_empty() {
            self.note_wish(&draft, &request.bundle).await?;
            return Ok(UpAnswer { job: None, plan });
        }
        let title = if observed.records.is_empty() {
            format!("build {site}")
        } else {
            format!("change {site}")
        };
        let work = Work {
            bundle: &request.bundle,
            kind: "site-up",
            title,
            actor,
        };
        let job = self.carry_out(&draft, work).await?;
        Ok(UpAnswer {
            job: Some(job),
            plan,
        })
    }

    /// Which site the files are of.
    ///
    /// # Errors
    /// Findings in the files.
    pub async fn site_of(&self, bundle: &Bundle) -> Result<Name, ControlError> {
        let mut kept = self.drafts.of(bundle);
        Ok(self.resolve(bundle, &mut kept).await?.site)
    }

    /// Makes a plan's secrets, keeps what its steps ask for, and starts its job.
    async fn carry_out(
        self: &Arc<Self>,
        draft: &Draft<'_>,
        work: Work<'_>,
    ) -> Result<JobId, ControlError> {
        let (desired, observed) = (draft.desired(), draft.observed());
        let site = &desired.site;
        self.vault.ensure(site, &desired.secrets()).await?;
        self.keep_specs(draft, &observed.records).await?;
        let context = PlanContext {
            bundle: records::put_bundle(&self.store, work.bundle).await?,
            before: observed.records.clone(),
            apps: wright_site::apps(desired),
        };
        let job = JobSpec {
            kind: work.kind.to_owned(),
            subject: subject(site),
            title: work.title,
            actor: work.actor.to_owned(),
            tenant: None,
            context: serde_json::to_value(&context)?,
            steps: tokio::task::block_in_place(|| draft.steps()),
        };
        self.start_job(site, draft.forget(), job, context).await
    }

    /// Starts a job that changes a site, and notes in the site's record that it is the one.
    async fn start_job(
        self: &Arc<Self>,
        site: &Name,
        forget: &[Name],
        spec: JobSpec,
        context: PlanContext,
    ) -> Result<JobId, ControlError> {
        self.forget_instances(site, forget).await?;
        let (kind, actor, steps) = (spec.kind.clone(), spec.actor.clone(), spec.steps.len());
        let job = self.engine.submit(spec).await?;
        self.note_job(site, job, &kind, context).await?;
        self.follow(job);
        let message = format!("job {job}: {steps} steps");
        self.event(&actor, &kind, site, &message).await?;
        Ok(job)
    }

    /// Whether a site's record names a job.
    async fn is_noted(&self, site: &Name, job: JobId) -> Result<bool, ControlError> {
        let known = records::site(&self.inventory, site).await?;
        Ok(known.is_some_and(|known| known.job == Some(job)))
    }

    /// Writes what a job makes of its site into the site's record. Done when the server is
    /// started, too, where the last one died right after the job was submitted.
    async fn note_job(
        &self,
        site: &Name,
        job: JobId,
        kind: &str,
        context: PlanContext,
    ) -> Result<(), ControlError> {
        let known = records::site(&self.inventory, site).await?;
        if known.as_ref().is_some_and(|known| known.job == Some(job)) {
            return Ok(());
        }
        let going = kind == SITE_DOWN;
        let record = SiteRecord {
            bundle: context.bundle,
            job: Some(job),
            plan: known.as_ref().map_or(0, |known| known.plan) + 1,
            apps: Some(records::put_apps(&self.store, &context.apps).await?),
            going,
            stood: known.and_then(|known| known.stood),
            concluded: None,
            unrepaired: String::new(),
        };
        self.inventory
            .put_as(kind::SITE, site.as_str(), &record)
            .await?;
        Ok(())
    }

    /// Keeps what a site was asked to be where it is that already: what comes later, such as a
    /// repair, must not go by what it was asked before.
    async fn note_wish(&self, draft: &Draft<'_>, bundle: &Bundle) -> Result<(), ControlError> {
        let desired = draft.desired();
        let Some(mut record) = records::site(&self.inventory, &desired.site).await? else {
            return Ok(());
        };
        let bundle = records::put_bundle(&self.store, bundle).await?;
        if record.stood == Some(bundle) && record.bundle == bundle && !record.going {
            return Ok(());
        }
        (record.bundle, record.stood, record.going) = (bundle, Some(bundle), false);
        record.apps = Some(records::put_apps(&self.store, &wright_site::apps(desired)).await?);
        self.inventory
            .put_as(kind::SITE, desired.site.as_str(), &record)
            .await?;
        Ok(())
    }

    /// Specifications that steps of a plan, or their undoing, will ask for.
    async fn keep_specs(
        &self,
        draft: &Draft<'_>,
        before: &BTreeMap<Name, InstanceRecord>,
    ) -> Result<(), ControlError> {
        let former = before.values().map(|record| &record.spec);
        Ok(self.specs.put(draft.specs().chain(former)).await?)
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
        let _one = self.planning.lock().await?;
        if let Some(job) = self.running(site).await? {
            return Err(ControlError::Busy(job));
        }
        self.conclude(site).await?;
        let record = records::site(&self.inventory, site).await?;
        let record = record.ok_or_else(|| ControlError::NotFound(format!("site {site}")))?;
        let observed = self.observe(site).await?;
        let mut plan = wright_site::plan_down(site, &observed, record.plan);
        let steps = std::mem::take(&mut plan.steps);
        let summary = plan.summary();
        if steps.is_empty() {
            self.forget_instances(site, &plan.forget).await?;
            self.forget(site).await?;
            return Ok(UpAnswer {
                job: None,
                plan: summary,
            });
        }
        let context = PlanContext {
            bundle: record.bundle,
            before: observed.records,
            apps: observed.apps,
        };
        let spec = JobSpec {
            kind: SITE_DOWN.to_owned(),
            subject: subject(site),
            title: format!("take down {site}"),
            actor: actor.to_owned(),
            tenant: None,
            context: serde_json::to_value(&context)?,
            steps,
        };
        let job = self.start_job(site, &plan.forget, spec, context).await?;
        Ok(UpAnswer {
            job: Some(job),
            plan: summary,
        })
    }

    /// Begins a site's last job again where it did not succeed, without the step that is waived.
    ///
    /// # Errors
    /// Where another job has changed the site since, or the job runs or has succeeded.
    pub async fn retry(
        self: &Arc<Self>,
        job: JobId,
        waived: Option<&str>,
        reason: &str,
        actor: &str,
    ) -> Result<JobSummary, ControlError> {
        let _one = self.planning.lock().await?;
        let site = end::site_of(&self.engine.summary(job).await?.subject);
        if let Some(site) = &site {
            let record = records::site(&self.inventory, site).await?;
            let record = record.ok_or_else(|| ControlError::NotFound(format!("site {site}")))?;
            if let Some(later) = record.job.filter(|last| *last != job) {
                return Err(ControlError::Overtaken { later });
            }
        }
        match waived {
            None => drop(self.engine.retry(job, reason, actor).await?),
            Some(step) => self.engine.skip(job, step, reason, actor).await?,
        }
        self.follow(job);
        if let Some(site) = &site {
            let hosts = records::hosts(&self.inventory).await?;
            for host in hosts.iter().filter(|host| host.state == HostState::Dead) {
                self.site_lost(site, &host.name).await?;
            }
        }
        Ok(self.engine.summary(job).await?)
    }

    /// Jobs that have not ended.
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

    /// The unfinished job of a site.
    async fn running(&self, site: &Name) -> Result<Option<JobId>, ControlError> {
        let subject = subject(site);
        let unfinished = self.unfinished().await?;
        Ok(unfinished
            .into_iter()
            .find(|job| job.subject == subject)
            .map(|job| job.id))
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

fn subject(site: &Name) -> String {
    format!("site/{site}")
}
