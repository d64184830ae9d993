//! What people are shown of a site: its status, why instances do not run, the report.

use std::collections::BTreeMap;

use wright_model::{Host, HostState, InstanceRecord, Name};
use wright_site::{Explanation, Report, SiteStatus};
use wright_workflow::JobView;

use super::{Control, ControlError};
use crate::records::{self, SiteRecord};

impl Control {
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
            unrepaired: record.unrepaired,
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
        if !picture.unrepaired.is_empty() {
            let dead = |explanation: &&mut Explanation| {
                let record = picture.records.get(&explanation.instance);
                let host = record.map(|record| &record.spec.host);
                let dead = |known: &Host| known.state == HostState::Dead;
                picture
                    .hosts
                    .iter()
                    .any(|known| Some(&known.name) == host && dead(known))
            };
            for explanation in all.iter_mut().filter(dead) {
                explanation.help.clone_from(&picture.unrepaired);
            }
        }
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
            .resolve(&records::bundle(&self.store, record.bundle).await?)
            .await
            .ok()
            .map(|desired| wright_site::graph::topology(&desired));
        Ok(Report::new(&job, topology))
    }
}

struct Picture {
    job: Option<JobView>,
    hosts: Vec<Host>,
    records: BTreeMap<Name, InstanceRecord>,
    /// See [`SiteRecord::unrepaired`].
    unrepaired: String,
}
