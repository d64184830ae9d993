//! Instances that a host has and nobody recorded, and those that are recorded and not there.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wright_inventory::{Event, InventoryError};
use wright_model::{InstanceId, Name, Traffic};
use wright_protocol::Task;
use wright_workflow::JobId;

use super::{Control, ControlError, end::site_of};
use crate::records;

/// How long a host may take to stop and to uninstall one.
const PATIENCE: Duration = Duration::from_secs(120);

/// An instance that is not where it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The host.
    pub host: Name,
    /// The instance.
    pub instance: InstanceId,
    /// Whether it is recorded there; else its agent has it.
    pub recorded: bool,
}

impl Control {
    /// Compares what connected agents have with what is recorded, of one host or of all. Of sites that
    /// a job is changing nothing is said.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn strays(&self, of: Option<&Name>) -> Result<Vec<Stray>, ControlError> {
        // What agents have is asked first, and jobs last: what a job has done in between is seen.
        let mut present: BTreeSet<(Name, InstanceId)> = BTreeSet::new();
        let agents = self.fleet.agents().into_iter().map(|agent| agent.host);
        let hosts: BTreeSet<Name> = agents
            .filter(|host| of.is_none_or(|of| of == host))
            .collect();
        for host in &hosts {
            let instances = self.fleet.instances_on(host.as_str()).unwrap_or_default();
            present.extend(instances.into_iter().map(|id| (host.clone(), id)));
        }
        let recorded = records::instances(&self.inventory).await?;
        let changing: BTreeSet<Name> = self
            .unfinished()
            .await?
            .iter()
            .filter_map(|job| site_of(&job.subject))
            .collect();
        let recorded: BTreeSet<(Name, InstanceId)> = recorded
            .into_iter()
            .map(|record| (record.spec.host, record.spec.id))
            .filter(|(host, _)| hosts.contains(host))
            .collect();
        let stray = |recorded: bool| {
            move |(host, instance): &(Name, InstanceId)| Stray {
                host: host.clone(),
                instance: instance.clone(),
                recorded,
            }
        };
        let missing = recorded.difference(&present).map(stray(true));
        let unknown = present.difference(&recorded).map(stray(false));
        let mut strays: Vec<Stray> = missing.chain(unknown).collect();
        strays.retain(|stray| !changing.contains(&stray.instance.site));
        Ok(strays)
    }

    /// Whether an instance that is recorded on a host is not there, though its agent is.
    pub(super) async fn is_missing(
        &self,
        host: &Name,
        instance: &InstanceId,
    ) -> Result<bool, ControlError> {
        let mut strays = self.strays(Some(host)).await?.into_iter();
        Ok(strays.any(|stray| stray.recorded && stray.instance == *instance))
    }

    /// Sets up again, on its host, an instance that is recorded and not there: the record says that it is
    /// out of service, and a job makes the site whole.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] where it is there, or its site is not to stand;
    /// [`ControlError::Busy`] where a job changes its site; [`ControlError::DataLost`] where it kept data.
    pub async fn set_up_missing(
        self: &Arc<Self>,
        host: &Name,
        instance: &InstanceId,
        actor: &str,
    ) -> Result<Option<JobId>, ControlError> {
        let _one = self.planning.lock().await?;
        let site = &instance.site;
        if let Some(job) = self.running(site).await? {
            return Err(ControlError::Busy(job));
        }
        let missing = || ControlError::NotFound(format!("instance {instance} missing on {host}"));
        let record = records::instance(&self.inventory, instance).await?;
        let mut record = record.ok_or_else(missing)?;
        if !self.is_missing(host, instance).await? {
            return Err(missing());
        }
        if record.spec.store {
            return Err(ControlError::DataLost {
                instance: instance.clone(),
                host: host.clone(),
            });
        }
        let standing = records::site(&self.inventory, site).await?;
        let standing = standing.filter(|standing| !standing.going);
        let standing = standing
            .ok_or_else(|| ControlError::NotFound(format!("site {site} that is to stand")))?;
        record.traffic = Traffic::Off;
        let message = format!("it was not on {host} any more, and is set up again");
        let subject = format!("instance/{instance}");
        let event = Event::new(actor, "instance-missing", &subject, &message);
        let mut writes = records::put_instance(&record)?;
        writes.push(event.operation()?);
        self.store.commit(Vec::new(), writes).await?;
        let title = format!("set up {instance} again on {host}");
        Ok(self.repair(&standing, title, actor).await?.job)
    }

    /// Stops and uninstalls an instance that a host has and nobody recorded.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] where it is recorded or not there; [`ControlError::Busy`] where a job
    /// changes its site; where its host does not do it.
    pub async fn remove_stray(
        &self,
        host: &Name,
        instance: &InstanceId,
        actor: &str,
    ) -> Result<(), ControlError> {
        // Under the lock of planning no job begins that would install it.
        let _one = self.planning.lock().await?;
        if let Some(job) = self.running(&instance.site).await? {
            return Err(ControlError::Busy(job));
        }
        let stray = Stray {
            host: host.clone(),
            instance: instance.clone(),
            recorded: false,
        };
        if !self.strays(Some(host)).await?.contains(&stray) {
            let what = format!("instance {instance} on host {host} that nobody recorded");
            return Err(ControlError::NotFound(what));
        }
        let deadline = Instant::now() + PATIENCE;
        for task in [
            Task::Stop {
                instance: instance.clone(),
            },
            Task::Uninstall {
                instance: instance.clone(),
            },
        ] {
            let key = format!("stray/{}", Uuid::now_v7());
            let done = self
                .fleet
                .submit(host, &key, task, deadline, CancellationToken::new())
                .await;
            done.map_err(|fault| ControlError::Host {
                host: host.clone(),
                reason: fault.message,
            })?;
        }
        let subject = format!("host/{host}");
        let message = format!("{instance}, which nobody had recorded, was stopped and uninstalled");
        let event = Event::new(actor, "stray-removed", &subject, &message);
        let noted: Result<(), InventoryError> = self.inventory.record(&event).await;
        Ok(noted?)
    }
}
