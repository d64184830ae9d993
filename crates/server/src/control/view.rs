//! What people are shown of a site: its status, why instances do not run, the report.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokio::sync::RwLockReadGuard;
use wright_model::{Host, HostState, InstanceId, InstanceRecord, Name};
use wright_site::{Causes, Explanation, Report, Scene, SiteStatus};
use wright_workflow::{JobId, JobOutline, JobView, SharedOutline};

use super::{Control, ControlError};
use crate::records::{self, SiteRecord, kind};

impl Control {
    /// The last job of a site with its steps.
    async fn last_job(&self, record: &SiteRecord) -> Result<Option<JobView>, ControlError> {
        match record.job {
            Some(job) => Ok(Some(self.engine.show(job).await?)),
            None => Ok(None),
        }
    }

    /// A tree of apps and instances.
    ///
    /// # Errors
    /// Where there is no such site.
    pub async fn status(&self, site: &Name) -> Result<SiteStatus, ControlError> {
        let (_, outline) = self.last_outline(site).await?;
        let records = self.records_of(site).await?;
        let hosts = records::hosts(&self.inventory).await?;
        let statuses = self.fleet.statuses();
        let job = read(outline.as_ref()).await;
        let job = job.as_deref();
        Ok(tokio::task::block_in_place(|| {
            wright_site::status(site, job, &records, &statuses, &hosts)
        }))
    }

    /// The instances of a site as recorded.
    async fn records_of(
        &self,
        site: &Name,
    ) -> Result<BTreeMap<Name, InstanceRecord>, ControlError> {
        let recorded = records::instances(&self.inventory).await?.into_iter();
        let own = recorded.filter(|record| record.spec.id.site == *site);
        let named = own.map(|record| (record.spec.id.name.clone(), record));
        Ok(named.collect())
    }

    /// Why one instance does not run; nothing where it is ready. What it costs goes with what that
    /// instance waits for, not with the site.
    ///
    /// # Errors
    /// Where there is no such site or instance.
    pub async fn explain(
        &self,
        site: &Name,
        instance: &Name,
    ) -> Result<Option<Explanation>, ControlError> {
        let (last, outline) = self.last_outline(site).await?;
        let id = InstanceId {
            site: site.clone(),
            name: instance.clone(),
        };
        let record = records::instance(&self.inventory, &id).await?;
        let records = record.map(|record| (instance.clone(), record));
        let records = records.into_iter().collect();
        let nowhere = BTreeMap::new();
        let bare = Scene {
            site,
            job: None,
            records: &records,
            hosts: &nowhere,
            status: &|_| None,
        };
        // Not held while the store is asked: whoever takes in what changes would wait, and everybody
        // who comes after that.
        let host = {
            let job = read(outline.as_ref()).await;
            let job = job.as_deref();
            Scene { job, ..bare }.host_of(instance)
        };
        let host = host.ok_or_else(|| ControlError::NotFound(format!("instance {id}")))?;
        let known = records::host(&self.inventory, &host).await?;
        let hosts = known.map(|known| (host.clone(), known));
        let hosts: BTreeMap<Name, Host> = hosts.into_iter().collect();
        // What other hosts say of it is not asked: that is a look at each of thousands, under one lock.
        let status = self.fleet.status_on(host.as_str(), &id);
        let job = read(outline.as_ref()).await;
        let scene = Scene {
            job: job.as_deref(),
            hosts: &hosts,
            status: &|_| status.clone(),
            ..bare
        };
        let told = scene.explain(instance, &host);
        Ok(told.map(|told| last.with_advice(told, hosts.get(&host))))
    }

    /// Why instances of a site do not run.
    ///
    /// # Errors
    /// Where there is no such site.
    pub async fn causes(&self, site: &Name) -> Result<Causes, ControlError> {
        let (last, outline) = self.last_outline(site).await?;
        let records = self.records_of(site).await?;
        let hosts = records::hosts(&self.inventory).await?;
        let hosts = hosts.into_iter().map(|host| (host.name.clone(), host));
        let hosts = hosts.collect();
        let statuses = self.fleet.statuses();
        let job = read(outline.as_ref()).await;
        let scene = Scene {
            site,
            job: job.as_deref(),
            records: &records,
            hosts: &hosts,
            status: &|id| statuses.get(id).cloned(),
        };
        // Tens of milliseconds for a large site: what else this thread has to do goes to others.
        let told = tokio::task::block_in_place(|| scene.explain_all());
        let advised = told.into_iter().map(|told| {
            let host = scene.host_of(&told.instance);
            let host = host.and_then(|host| hosts.get(&host));
            last.with_advice(told, host)
        });
        Ok(Causes::of(advised))
    }

    /// What there is to know of a site's last change, and its job's outline.
    async fn last_outline(
        &self,
        site: &Name,
    ) -> Result<(LastChange, Option<SharedOutline>), ControlError> {
        let last: Option<LastChange> = self.inventory.get_as(kind::SITE, site.as_str()).await?;
        let last = last.ok_or_else(|| ControlError::NotFound(format!("site {site}")))?;
        let outline = match last.job {
            Some(job) => Some(self.engine.outline(job).await?),
            None => None,
        };
        Ok((last, outline))
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
        let bundle = records::bundle(&self.store, record.bundle).await?;
        let mut kept = self.drafts.of(&bundle);
        let desired = self.resolve(&bundle, &mut kept).await.ok();
        let topology = desired.map(|desired| wright_site::graph::topology(&desired));
        Ok(Report::new(&job, topology))
    }
}

async fn read(outline: Option<&SharedOutline>) -> Option<RwLockReadGuard<'_, JobOutline>> {
    match outline {
        Some(outline) => Some(outline.read().await),
        None => None,
    }
}

/// The part of a [`SiteRecord`] that explanations need: its apps may be thousands.
#[derive(Debug, Deserialize)]
struct LastChange {
    job: Option<JobId>,
    #[serde(default)]
    unrepaired: String,
}

impl LastChange {
    /// With what would help where the instance's host is dead and nothing could replace it.
    fn with_advice(&self, mut told: Explanation, host: Option<&Host>) -> Explanation {
        if !self.unrepaired.is_empty() && host.is_some_and(|host| host.state == HostState::Dead) {
            told.why.help.clone_from(&self.unrepaired);
        }
        told
    }
}
