//! What follows from a host's death: a running job gets a new plan, a site that stood is repaired.

use std::{collections::BTreeMap, sync::Arc};

use wright_inventory::{Event, Put};
use wright_model::{Diagnostic, HostState, InstanceId, Name};
use wright_workflow::{Amendment, JobId, JobView};

use super::{Control, ControlError, PlanContext, SITE_DOWN, Work};
use crate::records::{self, SiteRecord, kind};

impl Control {
    /// Moves what ran, or was to run, on a host that was given up.
    pub(super) async fn host_died(self: &Arc<Self>, host: &Name) -> Result<(), ControlError> {
        let _one = self.planning.lock().await?;
        let sites: Vec<(String, SiteRecord)> = self.inventory.list_named_as(kind::SITE).await?;
        for site in sites.iter().filter_map(|(site, _)| site.parse().ok()) {
            self.site_lost(&site, host).await?;
        }
        // Only now: until the plans are made anew, what waits for the host shall wait.
        self.fleet.forget(host);
        Ok(())
    }

    /// Moves what a site had, or was to have, on a host that was given up. Under the lock of
    /// planning. Where it cannot be done, an event says why.
    pub(super) async fn site_lost(
        self: &Arc<Self>,
        site: &Name,
        host: &Name,
    ) -> Result<(), ControlError> {
        let Some(record) = records::site(&self.inventory, site).await? else {
            return Ok(());
        };
        let done = match self.running(site).await? {
            Some(job) => self.amend(job, host).await,
            None if record.going => Ok(()),
            None => {
                let here = self.observe(site).await?.records;
                if here.values().all(|record| record.spec.host != *host) {
                    return Ok(());
                }
                let title = format!("repair {site} after the death of {host}");
                self.repair(&record, title, "wright")
                    .await
                    .and_then(left_out)
            }
        };
        self.note_repair(site, host, done).await
    }

    /// Tells where a site could not be repaired, and why.
    async fn note_repair(
        &self,
        site: &Name,
        host: &Name,
        done: Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        let Err(error) = done else { return Ok(()) };
        let Some(mut record) = records::site(&self.inventory, site).await? else {
            return Ok(());
        };
        let message = format!("host {host} died: {}", one_line(&error));
        let event = Event::new(
            "wright",
            "site-not-repaired",
            &format!("site/{site}"),
            &message,
        );
        record.unrepaired = message;
        let mut writes = Put::new(kind::SITE, site.as_str(), &record)?.operations()?;
        writes.push(event.operation()?);
        self.store.commit(Vec::new(), writes).await?;
        Ok(())
    }

    /// Gives a running job a new plan without the dead host.
    async fn amend(&self, job: JobId, host: &Name) -> Result<(), ControlError> {
        let view = self.engine.show(job).await?;
        let touched = view
            .steps
            .iter()
            .any(|record| !record.dropped && record.step.target.as_deref() == Some(host.as_str()));
        let context: PlanContext = serde_json::from_value(view.context.clone())?;
        let lived = context
            .before
            .values()
            .any(|record| record.spec.host == *host);
        if !touched && !lived {
            return Ok(());
        }
        let gone: Vec<String> = gone_scopes(&view, host);
        if view.summary.kind == SITE_DOWN {
            // What was on a dead host is gone: its steps are dropped, the records with them.
            let kept = view
                .steps
                .iter()
                .filter(|record| !record.dropped)
                .map(|record| record.step.as_ref().clone());
            let steps = wright_site::without_host(kept.collect(), host);
            self.replace_plan(&view, steps, gone, host).await?;
            return self.forget_records(host).await;
        }
        let bundle = records::bundle(&self.store, context.bundle).await?;
        let mut kept = self.drafts.of(&bundle);
        let desired = self.resolve(&bundle, &mut kept).await?;
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
        let draft = match self.draft(&desired, &observed, &mut kept).await {
            Ok(draft) => draft,
            Err(error) => {
                let reason = format!(
                    "host {host} died and the rest cannot take its instances: {}",
                    one_line(&error)
                );
                self.engine.cancel(job, &reason, "wright").await?;
                return Err(error);
            }
        };
        let known = view.steps.iter().filter(|record| !record.dropped);
        let steps = tokio::task::block_in_place(|| draft.steps());
        if known.map(|record| record.step.as_ref()).eq(&steps) {
            return Ok(());
        }
        self.vault.ensure(&desired.site, &desired.secrets()).await?;
        self.keep_specs(&draft, &context.before).await?;
        self.forget_instances(&desired.site, draft.forget()).await?;
        let number = self.replace_plan(&view, steps, gone, host).await?;
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

    /// Starts a job that makes a site again what it was when it stood. Under the lock of planning.
    pub(super) async fn repair(
        self: &Arc<Self>,
        record: &SiteRecord,
        title: String,
        actor: &str,
    ) -> Result<Repair, ControlError> {
        let bundle = &records::bundle(&self.store, record.stood.unwrap_or(record.bundle)).await?;
        let mut kept = self.drafts.of(bundle);
        let desired = self.resolve(bundle, &mut kept).await?;
        let observed = self.observe(&desired.site).await?;
        let draft = self.draft(&desired, &observed, &mut kept).await?;
        let lost = draft.warnings().iter();
        let lost = lost.filter(|warning| warning.code == "store-lost");
        let lost = lost.cloned().collect();
        let work = Work {
            bundle,
            kind: "site-repair",
            title,
            actor,
        };
        let job = match draft.step_count() {
            0 => None,
            _ => Some(self.carry_out(&draft, work).await?),
        };
        Ok(Repair { job, lost })
    }

    /// Gives up the data of an instance that is gone for good, with its host or from it, as an operator's
    /// decision; the instance is then set up anew.
    ///
    /// # Errors
    /// Where there is no such instance, or its host is not dead and has it.
    pub async fn forget_instance(
        self: &Arc<Self>,
        id: &InstanceId,
        actor: &str,
    ) -> Result<(), ControlError> {
        let _one = self.planning.lock().await?;
        let record = records::instance(&self.inventory, id).await?;
        let record = record.ok_or_else(|| ControlError::NotFound(format!("instance {id}")))?;
        let host = record.spec.host;
        let hosts = records::hosts(&self.inventory).await?;
        let lives = hosts
            .iter()
            .any(|known| known.name == host && known.state != HostState::Dead);
        if lives && !self.is_missing(&host, id).await? {
            return Err(ControlError::Alive {
                instance: id.clone(),
                host,
            });
        }
        let message = format!("given up with its data; it was on {host}");
        let event = Event::new(
            actor,
            "instance-forgotten",
            &format!("instance/{id}"),
            &message,
        );
        let mut writes = records::delete_instance(id);
        writes.push(event.operation()?);
        self.store.commit(Vec::new(), writes).await?;
        let Some(record) = records::site(&self.inventory, &id.site).await? else {
            return Ok(());
        };
        if record.going || self.running(&id.site).await?.is_some() {
            return Ok(());
        }
        let title = format!("set up {id} without its data");
        let done = self.repair(&record, title, actor).await;
        self.note_repair(&id.site, &host, done.and_then(left_out))
            .await
    }

    /// Removes the records of instances whose host is gone for good and that nobody replaces.
    pub(super) async fn forget_instances(
        &self,
        site: &Name,
        gone: &[Name],
    ) -> Result<(), ControlError> {
        for name in gone {
            let id = InstanceId {
                site: site.clone(),
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
}

/// A repair that was begun.
pub(super) struct Repair {
    /// The job, where there is something to do.
    pub job: Option<JobId>,
    /// Stores whose data is gone: they are left to a person.
    lost: Vec<Diagnostic>,
}

/// What a repair had to leave to a person.
fn left_out(Repair { lost, .. }: Repair) -> Result<(), ControlError> {
    if lost.is_empty() {
        return Ok(());
    }
    let title = "not everything can be set up elsewhere".to_owned();
    Err(ControlError::Findings {
        title,
        diagnostics: lost,
    })
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

fn one_line(error: &ControlError) -> String {
    match error {
        ControlError::Findings { title, diagnostics } => {
            let each: Vec<String> = diagnostics
                .iter()
                .map(|finding| match finding.help.as_str() {
                    "" => finding.message.clone(),
                    help => format!("{} ({help})", finding.message),
                })
                .collect();
            format!("{title}: {}", each.join("; "))
        }
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
